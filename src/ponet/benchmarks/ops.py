"""`ponet benchmark ops`: each op of each backend against the time to copy the bytes that it must move."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ponet.benchmarks.common import Advance, Machine, Record
from ponet.benchmarks.encoders import fixed_ids, sentence_ids
from ponet.benchmarks.measure import interleave
from ponet.mixers.base import build_mixer
from ponet.models.configuration_ponet import PoNetConfig
from ponet.ops import Layout, backends, mean_aggregation, segment_local_fusion, softmax_aggregation, use_backend
from ponet.utils.errors import PoNetError

OPS: dict[str, Callable[..., Any]] = {
    "mean_aggregation": mean_aggregation,
    "softmax_aggregation": softmax_aggregation,
    "segment_local_fusion": segment_local_fusion,
}
DIRECTIONS = ("forward", "backward")
ROUNDS, QUICK_ROUNDS = 15, 3
ROW_SECONDS, QUICK_ROW_SECONDS = 10.0, 2.0
GPU_CALLS = 10
"""Calls in a row that make one measurement on a GPU, where one is as short as a launch."""
MIXER_TOKENS, QUICK_MIXER_TOKENS = 4096, 1024


@dataclass(frozen=True)
class Case:
    """A batch to run the ops on."""

    name: str
    documents: int
    length: int
    """Tokens of each document."""
    width: int
    heads: int
    segments: str
    """ "pairs" (runs of 2 tokens), "sentences" (between special tokens), or "one" a document."""

    @property
    def tokens(self) -> int:
        """`T`."""
        return self.documents * self.length

    def layout(self, seed: int, device: str = "cpu") -> Layout:
        """Where its documents and segments lie."""
        random = np.random.default_rng(seed)
        ids, special = [], np.zeros(self.tokens, dtype=bool)
        for i in range(self.documents):
            if self.segments == "pairs":
                ids.append(fixed_ids(self.length, 2))
            elif self.segments == "sentences":
                ids.append(np.concatenate([[0], sentence_ids(self.length - 2, random) + 1, [self.length]]))
                special[[i * self.length, (i + 1) * self.length - 1]] = True
            else:
                ids.append(np.zeros(self.length, dtype=np.int64))
        offsets = torch.arange(self.documents + 1) * self.length
        flags = torch.from_numpy(special) if special.any() else None
        return Layout.from_packed(offsets, torch.from_numpy(np.concatenate(ids)), flags).to(device)


CASES = {
    "lra-text": Case("LRA Text: d 64, segments of 2 tokens", 4, 4096, 64, 2, "pairs"),
    "base": Case("Base: d 768, sentences", 8, 1024, 768, 12, "sentences"),
    "one-segment": Case("Base: d 768, one long segment", 1, 8192, 768, 12, "one"),
}
QUICK_CASES = {
    "lra-text": replace(CASES["lra-text"], documents=1),
    "base": replace(CASES["base"], documents=2, length=512),
    "one-segment": replace(CASES["one-segment"], length=1024),
}
GPU_SCALE = 16
"""Times as many documents (tokens of the one document) on a GPU, whose memory is that much faster."""


@dataclass(frozen=True)
class OpsPlan:
    """What to measure; raises a PoNetError for rounds that can't be."""

    machine: Machine = field(default_factory=Machine)
    quick: bool = False
    rounds: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds is not None and self.rounds < 1:
            raise PoNetError(f"--rounds must be at least 1, not {self.rounds}.")

    @property
    def cases(self) -> dict[str, Case]:
        """The batches by name."""
        if self.machine.device == "cpu":
            return QUICK_CASES if self.quick else CASES
        scale = 1 if self.quick else GPU_SCALE
        return {
            key: replace(case, length=case.length * scale)
            if case.segments == "one"
            else replace(case, documents=case.documents * scale)
            for key, case in CASES.items()
        }

    @property
    def backends(self) -> list[str]:
        """Those of this machine that compute on the device, the fused one first."""
        return [*(name for name in backends() if name == self.fused), "reference"]

    @property
    def fused(self) -> str:
        """The backend whose kernels are for the device."""
        return "numba" if self.machine.device == "cpu" else "triton"

    def interleave(self, candidates: dict[str, Callable[[], object]]) -> dict[str, dict[str, Any]]:
        """Their times, in turns."""
        calls = GPU_CALLS if self.machine.device == "cuda" else 1
        timings = interleave(
            {name: _repeat(run, calls) for name, run in candidates.items()},
            rounds=self.rounds or (QUICK_ROUNDS if self.quick else ROUNDS),
            warm_up=2,
            budget=QUICK_ROW_SECONDS if self.quick else ROW_SECONDS,
            synchronize=self.machine.synchronize,
            least=3,
        )
        for timing in timings.values():
            timing.seconds = [seconds / calls for seconds in timing.seconds]
        return {name: timing.to_dict() for name, timing in timings.items()}


def _repeat(run: Callable[[], object], calls: int) -> Callable[[], object]:
    return run if calls == 1 else lambda: [run() for _ in range(calls)]


def count_rows(plan: OpsPlan) -> int:
    """How often `measure_ops` advances."""
    return len(plan.cases) * len(OPS) * len(DIRECTIONS) + 2


def measure_ops(plan: OpsPlan, path: Path, advance: Advance = lambda word, amount=1.0: None) -> dict[str, Any]:
    """Measures every op of every backend, forward and backward, and one whole mixer, and writes `path` (as `Record`) as
    it goes. Returns what the file holds."""
    machine = plan.machine
    head: dict[str, Any] = {
        "setup": {"device": machine.device, "dtype": machine.dtype, "fused": plan.fused},
        "backends": plan.backends,
        "layouts": {},
        "groups": {},
    }
    with machine.threaded(), Record(path, plan.seed, head).keeping() as record:
        for key, case in plan.cases.items():
            layout = case.layout(plan.seed, machine.device)
            sizes = {"documents": case.documents, "tokens": case.tokens, "width": case.width, "heads": case.heads}
            head["layouts"][key] = {"name": case.name, **sizes, "segments": layout.num_segments}
            head["groups"][key] = rows = {}
            for op, direction in product(OPS, DIRECTIONS):
                rows[f"{op} {direction}"] = _row(plan, op, direction, case, layout)
                advance(f"{case.name}: {op} {direction}")
            record.save()
        head["groups"]["mixer"] = rows = {}
        for direction, measured in _mixer(plan).items():
            rows[direction] = plan.interleave(measured)
            advance(f"one mixer: {direction}")
        tokens = QUICK_MIXER_TOKENS if plan.quick else MIXER_TOKENS
        head["setup"]["mixer"] = {"tokens": tokens, "operations": 6 * tokens * 768 * 768}
    return record.content


class Need(NamedTuple):
    """The least that an op needs: every input read once, every result written once."""

    bytes: int
    operations: int
    """Additions, multiplications and comparisons."""


def need(op: str, direction: str, case: Case, num_segments: int, size: int) -> Need:
    """The least that an op must do on a case of S segments, with numbers of `size` bytes.

    The backward of `segment_local_fusion` reads the gradient, o, l, and of each segment its maxima and the int32 tokens
    that hold them (s itself is no longer needed), and writes the gradients of o, s, l.
    """
    T, d, h, B, S = case.tokens, case.width, case.heads, case.documents, num_segments
    forward = direction == "forward"
    if op == "mean_aggregation":
        return Need((T + B) * d * size, T * d if forward else B * d)
    if op == "softmax_aggregation":
        if forward:
            return Need((T + 2 * B * h) * d * size, 4 * T * h * d)
        return Need((2 * T + 4 * B * h) * d * size, 10 * T * h * d)
    if forward:
        return Need((4 * T + B) * d * size, 6 * T * d)
    return Need((6 * T + 2 * B) * d * size + S * d * (size + 4), 8 * T * d)


def _row(plan: OpsPlan, op: str, direction: str, case: Case, layout: Layout) -> dict[str, Any]:
    """One op in one direction: what it needs, and the times of copying that and of each backend.

    `fresh` is the copy into newly allocated memory, as an op's results are: on a CPU the system maps large blocks page
    by page, which the plain copy doesn't need.
    """
    dtype, device = getattr(torch, plan.machine.dtype), plan.machine.device
    random = torch.Generator().manual_seed(plan.seed)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random).to(device, dtype)

    T, d, h, B = case.tokens, case.width, case.heads, case.documents
    inputs = {
        "mean_aggregation": lambda: (numbers(T, d),),
        "softmax_aggregation": lambda: (numbers(T, d), numbers(B, h, d) * d**-0.5),
        "segment_local_fusion": lambda: (numbers(B, d), numbers(T, 3 * d)),
    }[op]()
    needed = need(op, direction, case, layout.num_segments, dtype.itemsize)
    # ones: a page of zeros that was never written is the same page everywhere, and comes from the cache
    source = torch.ones(needed.bytes // 2 // dtype.itemsize, dtype=dtype, device=device)
    target = torch.empty_like(source)
    candidates: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(source), "fresh": source.clone}
    for backend in plan.backends:
        candidates[backend] = _forward(op, backend, inputs, layout)
        if direction == "backward":
            candidates[backend] = _backward(candidates[backend], inputs)
    return {"bytes": needed.bytes, "operations": needed.operations, **plan.interleave(candidates)}


def _forward(op: str, backend: str, inputs: tuple[Tensor, ...], layout: Layout) -> Callable[[], Tensor]:
    def run() -> Tensor:
        found = OPS[op](*inputs, layout, backend=backend)
        return found[0] if isinstance(found, tuple) else found

    return run


def _backward(run: Callable[[], object], inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    """The backward alone, of a graph that is made at the first call, which is a warm-up."""
    made: list[Tensor] = []

    def back() -> object:
        if not made:
            for tensor in inputs:
                tensor.requires_grad_()
            output = run()
            assert isinstance(output, Tensor)
            made.extend((output, torch.randn_like(output)))
        return torch.autograd.grad(made[0], inputs, made[1], retain_graph=True)

    return back


def _mixer(plan: OpsPlan) -> dict[str, dict[str, Callable[[], object]]]:
    """One mixer of the base model on one document: ours, the published form, and the matrix product in both."""
    device, dtype = plan.machine.device, getattr(torch, plan.machine.dtype)
    case = Case("", 1, QUICK_MIXER_TOKENS if plan.quick else MIXER_TOKENS, 768, 12, "sentences")
    layout = case.layout(plan.seed, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        x = torch.randn(case.tokens, case.width).to(device, dtype)
        gradient = torch.randn_like(x)
        modules = {
            "ours": build_mixer("pooling", PoNetConfig()).to(device, dtype),
            "published": build_mixer("pooling", PoNetConfig(pooling_formulation="published")).to(device, dtype),
        }
        weight = torch.randn(3 * case.width, case.width).to(device, dtype)
    leaf = x.clone().requires_grad_()
    weight.requires_grad_()
    weights = {name: list(module.parameters()) for name, module in modules.items()} | {"product": [weight]}
    gradients = {"product": torch.randn(case.tokens, 3 * case.width).to(device, dtype)}

    def run(name: str, x: Tensor) -> Tensor:
        if name == "product":
            return F.linear(x, weight)
        with use_backend("reference" if name == "published" else "auto"):
            y: Tensor = modules[name](x, layout)[0]
        return y

    def forward(name: str) -> object:
        with torch.inference_mode():
            return run(name, x)

    def both(name: str) -> object:
        return torch.autograd.grad(run(name, leaf), [leaf, *weights[name]], gradients.get(name, gradient))

    directions = {"forward": forward, "forward and backward": both}
    return {key: {name: partial(direction, name) for name in weights} for key, direction in directions.items()}
