"""`ponet benchmark efficiency --documents`: real documents of mixed length, packed against padded, in real tokens/s."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ponet.benchmarks.common import Advance, Machine, Record, check_known
from ponet.benchmarks.encoders import (
    ALL,
    KINDS,
    SETUPS,
    WARM_TOKENS,
    Setup,
    Variant,
    build,
    choose_variants,
    fixed_ids,
    make_batch,
    make_step,
    move,
    pack,
)
from ponet.benchmarks.measure import Timing, classify, interleave
from ponet.utils.errors import PoNetError
from ponet.utils.files import data_folder

BATCH = 16
"""Documents of a batch."""
MAX_LENGTH = 4096
BATCHES, QUICK_BATCHES = 12, 3
SECONDS, QUICK_SECONDS = 120.0, 15.0
QUICK_DOCUMENTS = 400
"""Rows that are tokenized in a quick run."""
DOCUMENTS = 3000
"""Rows that are tokenized: more would not change the mix of lengths."""
BYTES = "bytes"
VOCABULARY = Path("bert-base-uncased", "vocab.txt")
"""In the data folder: what documents are tokenized with by default."""
MIXERS = ("pooling", "pooling-published", "fourier", "attention")
WAYS = ("packed", "padded")


@dataclass(frozen=True)
class DocumentsPlan:
    """What to measure on; raises a PoNetError for what can't be measured."""

    path: str
    """A file of rows, a folder of splits or a set in the data folder; its training split counts."""
    config: str = "lra"
    mixers: tuple[str, ...] = MIXERS
    tokenizer: str | None = None
    """A vocab.txt, or "bytes"; None for bert-base-uncased's in the data folder, or bytes where there is none."""
    max_length: int = MAX_LENGTH
    """Tokens that a document keeps at most."""
    batches: int = BATCHES
    seconds: float = SECONDS
    """For one kind."""
    patience: float | None = None
    machine: Machine = field(default_factory=Machine)
    limit: int = DOCUMENTS
    warm_tokens: int = WARM_TOKENS
    """Tokens of the document that each model sees before it is measured."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_known("configuration ", self.config, SETUPS)
        if self.max_length < 8:
            raise PoNetError(f"--max-length must be at least 8 tokens, not {self.max_length}.")
        if self.batches < 1:
            raise PoNetError(f"--rounds must be at least 1, not {self.batches}.")
        found = choose_variants(self.mixers, self.setup, KINDS)
        untrained = [key for key, variant in found.items() if variant.infers_only and key in self.mixers]
        if untrained:
            raise PoNetError(f"'{untrained[0]}' is for inference alone: measure it by length, without --documents.")

    @property
    def setup(self) -> Setup:
        """The configuration."""
        return SETUPS[self.config]

    def chosen(self) -> dict[str, Variant]:
        """The variants; recomputing has nothing to do with padding, and is left out unless it is named."""
        found, every = choose_variants(self.mixers, self.setup, KINDS), ALL in self.mixers
        return {key: each for key, each in found.items() if not (each.infers_only or (every and each.recomputes))}


@dataclass
class BenchmarkDocuments:
    """Real documents as ids."""

    ids: list[NDArray[np.int64]]
    """Token ids `[n]` of each document."""
    segments: list[NDArray[np.int64]]
    """Segment ids `[n]` of each."""
    vocab_size: int
    tokenizer: str
    """In words."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document."""
        return np.array([len(ids) for ids in self.ids])

    def batches(self, count: int, seed: int) -> list[list[int]]:
        """Up to `count` batches of `BATCH` documents, drawn at random, none of them twice."""
        order = np.random.default_rng(seed).permutation(len(self.ids))
        return [order[i : i + BATCH].tolist() for i in range(0, len(order) - BATCH + 1, BATCH)][:count]

    def packed(self, chosen: list[int]) -> dict[str, Tensor]:
        """Documents end to end, with the batch's labels `[B]`, all 0."""
        return _pack([self.ids[i] for i in chosen], [self.segments[i] for i in chosen])

    def padded(self, chosen: list[int]) -> dict[str, Tensor]:
        """The same, every row as long as the longest, all of it computed: padding is tokens in a segment of its own."""
        longest = max(len(self.ids[i]) for i in chosen)
        ids, segments = [], []
        for i in chosen:
            extra = longest - len(self.ids[i])
            ids.append(np.pad(self.ids[i], (0, extra)))
            segments.append(np.pad(self.segments[i], (0, extra), constant_values=int(self.segments[i].max()) + 1))
        return _pack(ids, segments)


def _pack(ids: list[NDArray[np.int64]], segments: list[NDArray[np.int64]]) -> dict[str, Tensor]:
    return pack(ids, segments) | {"labels": torch.zeros(len(ids), dtype=torch.long)}


def read_documents(plan: DocumentsPlan) -> BenchmarkDocuments:
    """The texts of a data set as ids.

    Raises:
        PoNetError: where there are no such documents, or fewer than a batch.
    """
    texts = _texts(plan)
    if len(texts) < BATCH:
        raise PoNetError(f"'{plan.path}' has {len(texts)} documents with text; a batch takes {BATCH}.")
    vocabulary = _vocabulary(plan.tokenizer)
    if vocabulary is None:
        raw = [np.frombuffer(text.encode(), dtype=np.uint8)[: plan.max_length] for text in texts]
        ids = [one.astype(np.int64) + 1 for one in raw]
        return BenchmarkDocuments(ids, [fixed_ids(len(one), 2) for one in ids], 257, "bytes, segments of 2")
    from ponet.models.tokenization_ponet import PoNetTokenizer

    tokenizer = PoNetTokenizer(vocabulary)
    encoded = tokenizer(texts, truncation=True, max_length=plan.max_length)
    ids, segments = ([np.array(row) for row in encoded[name]] for name in ("input_ids", "segment_ids"))
    return BenchmarkDocuments(ids, segments, len(tokenizer), "WordPiece, segments are sentences")


def _texts(plan: DocumentsPlan) -> list[str]:
    """The texts of the training split, the first `plan.limit` that aren't empty."""
    from ponet.data.columns import choose_columns, text_column
    from ponet.data.sources import open_source

    splits = open_source(plan.path).splits
    table = splits.get("train") or next(iter(splits.values()))
    column = text_column(table, choose_columns(table, labelled=False).text)
    return [text for text in (str(value) for value in column.slice(0, plan.limit)) if text.strip()]


def _vocabulary(named: str | None) -> Path | None:
    """The vocabulary's file; None for bytes."""
    if named == BYTES:
        return None
    if named is not None:
        path = Path(named) / VOCABULARY.name if Path(named).is_dir() else Path(named)
        if not path.is_file():
            raise PoNetError(f"There is no vocabulary '{path}': give a vocab.txt, or {BYTES}.")
        return path
    data = data_folder()
    return data / VOCABULARY if data is not None and (data / VOCABULARY).is_file() else None


def measure_documents(
    plan: DocumentsPlan, documents: BenchmarkDocuments, path: Path, advance: Advance = lambda word, amount=1.0: None
) -> dict[str, Any]:
    """Measures every variant packed and padded, a batch a round, on what `read_documents` gives, and writes `path` (as
    `Record`) after each of `KINDS`. Returns what the file holds."""
    batches = documents.batches(plan.batches, plan.seed)
    real = [sum(len(documents.ids[i]) for i in chosen) for chosen in batches]
    computed = [BATCH * max(len(documents.ids[i]) for i in chosen) for chosen in batches]
    head: dict[str, Any] = {
        "config": plan.config,
        "setup": {
            "description": plan.setup.name,
            "device": plan.machine.device,
            "dtype": plan.machine.dtype,
            "tokenizer": documents.tokenizer,
            "max_length": plan.max_length,
            "batch": BATCH,
            "batches": len(batches),
        },
        "documents": {
            "name": _name(plan.path),
            "count": len(documents.ids),
            "mean_tokens": float(documents.lengths.mean()),
            "median_tokens": float(np.median(documents.lengths)),
            "longest_tokens": int(documents.lengths.max()),
            "computed_over_real": sum(computed) / sum(real),
        },
        "variants": {key: {"name": variant.name} for key, variant in plan.chosen().items()},
    }
    inputs = {way: [getattr(documents, way)(chosen) for chosen in batches] for way in WAYS}
    with plan.machine.threaded(), Record(path, plan.seed, head).keeping() as record:
        for kind in KINDS:
            for (key, way), timing in _timings(plan, documents.vocab_size, inputs, kind).items():
                record.values["variants"][key].setdefault(kind, {})[way] = _rates(timing, real)
            record.save()
            advance(kind)
    return record.content


def _timings(
    plan: DocumentsPlan, vocab_size: int, inputs: dict[str, list[dict[str, Tensor]]], kind: str
) -> dict[tuple[str, str], Timing]:
    """All variants, packed and padded, on the same batches in turns."""
    steps: dict[tuple[str, str], Callable[[], object]] = {}
    timings = {(key, way): Timing() for key in plan.chosen() for way in WAYS}
    for (key, way), timing in timings.items():
        try:
            steps[key, way] = _walk(plan, vocab_size, plan.chosen()[key], kind, inputs[way])
        except Exception as error:
            timing.status, timing.message = classify(error)
    return timings | interleave(
        steps,
        rounds=len(inputs[WAYS[0]]),
        warm_up=0,  # each model has made a step on a short document
        budget=plan.seconds,
        patience=plan.patience or plan.setup.patience,
        synchronize=plan.machine.synchronize,
        least=min(2, len(inputs[WAYS[0]])),
    )


def _walk(
    plan: DocumentsPlan, vocab_size: int, variant: Variant, kind: str, batches: list[dict[str, Tensor]]
) -> Callable[[], object]:
    """A function whose calls make a step on one batch after the other."""
    machine = plan.machine
    positions = max(plan.max_length, plan.warm_tokens)
    model = build(plan.setup, variant, positions, plan.seed, vocab_size=vocab_size)
    step = make_step(model, variant, kind, machine.dtype, machine.device)
    step(move(make_batch(plan.setup, plan.warm_tokens, 1, plan.seed, vocab_size), machine.device))
    turns = iter(batches)
    return lambda: step(move(next(turns), machine.device))


def _rates(timing: Timing, real: list[int]) -> dict[str, Any]:
    """Real tokens a second over all batches that were timed, with the quartiles of the single ones."""
    found: dict[str, Any] = {"status": timing.status} | ({"message": timing.message} if timing.message else {})
    if timing.seconds:
        rates = [tokens / seconds for tokens, seconds in zip(real, timing.seconds, strict=False)]
        found["tokens_per_second"] = sum(real[: len(rates)]) / sum(timing.seconds)
        found["batches"] = len(rates)
        found["quartiles_tokens_per_second"] = list(Timing(rates).quartiles)
    return found


def _name(path: str) -> str:
    """A data set's name without the folders of a machine."""
    given = Path(path)
    return f"{given.parent.name}/{given.name}" if given.suffix and given.parent.name else given.name
