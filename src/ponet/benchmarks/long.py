"""`ponet benchmark long`: one very long document through an encoder, its memory bounded by `chunk_size`."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ponet.benchmarks.common import Advance, Machine, Record
from ponet.benchmarks.encoders import pack, sentence_ids
from ponet.benchmarks.measure import peak_memory
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.modeling_ponet import PoNetModel
from ponet.utils.errors import PoNetError

LENGTHS = (16_000, 64_000, 256_000, 1_000_000)
CHUNK = 16_384
MODEL = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 1024}
_FIRST_ID = 1000
_TIMEOUT = 3600.0


@dataclass(frozen=True)
class LongPlan:
    """What to measure; raises a PoNetError for lengths or a chunk that make no sense."""

    lengths: tuple[int, ...] = LENGTHS
    chunk_size: int = CHUNK
    machine: Machine = field(default_factory=Machine)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.lengths or list(self.lengths) != sorted(set(self.lengths)):
            raise PoNetError("--lengths must rise: for example 16k,64k,256k.")
        if self.chunk_size < 1:
            raise PoNetError(f"--chunk-size must be at least 1, not {self.chunk_size}.")
        if self.machine.device != "cpu":
            raise PoNetError("This measures resident memory, on a CPU only: use --device cpu.")


def measure_long(plan: LongPlan, path: Path, advance: Advance = lambda word, amount=1.0: None) -> dict[str, Any]:
    """Encodes a document of each length in a process of its own, in chunks and all at once, and writes `path` (as
    `Record`) after every length; `advance` is called with its share of all tokens. Returns what the file holds."""
    setup = {
        "description": "6 layers, d 256, 4 heads, FFN 1024; one document of sentences of 25 tokens on average",
        "model": MODEL,
        "chunk_size": plan.chunk_size,
        "device": "cpu",
        "dtype": plan.machine.dtype,
    }
    values: dict[str, Any] = {"setup": setup, "lengths": {}, "growth": None}
    with plan.machine.threaded(), Record(path, plan.seed, values).keeping() as record:
        for length in plan.lengths:
            cells = {}
            for name, chunk in (("chunks", plan.chunk_size), ("whole", None)):
                cell = (length, chunk, plan.machine.dtype, plan.seed)
                memory = peak_memory(prepare, cell, _TIMEOUT, preload=(__name__,))
                rate = {"tokens_per_second": length / memory.seconds} if memory.seconds else {}
                cells[name] = memory.to_dict() | rate
                advance(f"{length:,} tokens, {name}", length)
            values["lengths"][str(length)] = cells
            values["growth"] = growth(values["lengths"])
            record.save()
    return record.content


def growth(lengths: dict[str, Any]) -> float | None:
    """The exponent of time in length, from the first to the last: 1 is linear, 2 quadratic; None for fewer than two."""
    known = [(int(n), cells["chunks"].get("seconds")) for n, cells in lengths.items()]
    known = [(n, seconds) for n, seconds in known if seconds]
    if len(known) < 2:
        return None
    (first, start), (last, end) = known[0], known[-1]
    return math.log(end / start) / math.log(last / first)


def prepare(length: int, chunk_size: int | None, dtype: str, seed: int) -> Callable[[], torch.Tensor]:
    """A model for so many positions, with random weights, and what encodes a random document: `() -> [1, T, d]`."""
    torch.manual_seed(seed)
    config = PoNetConfig(**MODEL, max_position_embeddings=length, chunk_size=chunk_size)  # type: ignore[arg-type]
    model = PoNetModel(config, add_pooling_layer=False).eval().to(getattr(torch, dtype))
    random = np.random.default_rng([seed, length])
    ids = random.integers(_FIRST_ID, config.vocab_size, size=length)
    batch = pack([ids], [sentence_ids(length, random)])

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return model(**batch).last_hidden_state

    return run
