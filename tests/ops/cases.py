"""Inputs on which every backend must agree with the reference, and how results are compared.

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_agrees(case):
        check("segment_local_fusion", case, NUMBA, torch.float32)

A backend is compared with the reference in float64, on numbers that its own type holds exactly, in values and
gradients. All memory that it allocates is filled with NaNs first, so that what a kernel leaves unwritten is noticed.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ponet.ops import Layout
from ponet.ops.reference import BACKEND as REFERENCE
from ponet.ops.reference import Backend

OPS = ("mean_aggregation", "softmax_aggregation", "softmax_aggregation_weights", "segment_local_fusion")

TOLERANCES = {torch.float64: 1e-11, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 2e-2}
"""Of a difference, relative to the number, or to a quarter of the greatest of its tensor where that is more."""


@dataclass(frozen=True)
class Case:
    """A layout with a width and heads. `numbers` is "any", "ties", "nan", "overflow", or "minus infinity" in s and l.

    A pass of the Numba backend goes through blocks of `2**15 // d` tokens, 16 at least, one of the Triton backend
    through blocks of 32 (softmax: 128); long documents and segments are cut into several of them.
    """

    name: str
    layout: Callable[[], Layout]
    d: int
    heads: int = 2
    numbers: str = "any"

    def __str__(self) -> str:
        return self.name

    def inputs(self, dtype: torch.dtype, device: str = "cpu", seed: int = 0) -> tuple[Layout, dict[str, Tensor]]:
        """The layout, and leaf tensors that require gradients: `x [T, d]`, `queries [B, h, d]`, `g [B, d]` and
        `projections [T, 3 d]`, all exact in `dtype`."""
        layout = self.layout()
        T, B = layout.num_tokens, layout.batch_size
        random = torch.Generator().manual_seed(seed)
        sizes = {"x": (T, self.d), "queries": (B, self.heads, self.d), "g": (B, self.d), "projections": (T, 3 * self.d)}
        tensors = {}
        for name, size in sizes.items():
            tensor = torch.randn(size, generator=random)
            if name == "queries":
                tensor *= self.d**-0.5
                if self.numbers == "overflow":
                    tensor[..., 0] = 1e3
            elif self.numbers == "ties":
                tensor = (tensor * 1.5).round() + 0.0  # no -0.0
            elif self.numbers == "nan" and name == "projections":
                tensor[torch.rand(size, generator=random) < 0.1] = torch.nan
            elif self.numbers == "minus infinity" and name == "projections":
                s, l = tensor[:, self.d : 2 * self.d], tensor[:, 2 * self.d :]  # noqa: E741
                s[torch.rand(s.shape, generator=random) < 0.6] = -torch.inf
                l[torch.rand(l.shape, generator=random) < 0.6] = -torch.inf
                s[:, : self.d // 4] = s[:, : self.d // 4].clamp(min=-1)
            elif self.numbers == "overflow" and name == "x":
                tensor[: T // 2, 0] = -1e38  # these tokens' scores are -inf in float32, and never have weight
            tensors[name] = tensor.to(dtype).to(device).requires_grad_()
        return layout if device == "cpu" else layout.to(device), tensors


def lengths_and_segments(
    lengths: list[int], segments: Callable[[int], Tensor] | None = None, special: str = "none"
) -> Callable[[], Layout]:
    """Packed documents; `segments` gives a document's ids `[n]`, `special` is "none", "ends" or "some"."""

    def build() -> Layout:
        cu_seqlens = torch.tensor([0, *lengths]).cumsum(0)
        T = int(cu_seqlens[-1])
        ids = None if segments is None else torch.cat([torch.empty(0, dtype=torch.long), *map(segments, lengths)])
        flags = None if special == "none" else torch.zeros(T, dtype=torch.bool)
        if special == "ends" and flags is not None:
            filled = [k for k, n in enumerate(lengths) if n]
            flags[cu_seqlens[:-1][filled]] = True
            flags[cu_seqlens[1:][filled] - 1] = True
        elif special == "some" and flags is not None:
            flags[:] = torch.rand(T, generator=torch.Generator().manual_seed(1)) < 0.2
        return Layout.from_packed(cu_seqlens, ids, flags)

    return build


def runs(*lengths: int) -> Callable[[int], Tensor]:
    """Sorted ids of segments of these lengths, again and again."""

    def ids(n: int) -> Tensor:
        each = torch.tensor(lengths).repeat(n // sum(lengths) + 1)
        return torch.arange(each.shape[0]).repeat_interleave(each)[:n]

    return ids


def shuffled(number: int) -> Callable[[int], Tensor]:
    """Ids in no order, of so many segments."""
    return lambda n: torch.randint(number, (n,), generator=torch.Generator().manual_seed(n)) * 7 - 3


def _padded() -> Layout:
    mask = torch.tensor([[0, 1, 1, 1, 0, 1, 1], [0] * 7, [1, 1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0]])
    segments = torch.tensor([[0, 5, 5, -3, 0, 5, 2], [0] * 7, [0, 1, 1, 2, 2, 0, 0], [9] * 7])
    special = torch.tensor([[0, 1, 0, 0, 0, 0, 1], [0] * 7, [1, 0, 0, 1, 0, 0, 0], [0] * 7]).bool()
    return Layout.from_padded(mask, segments, special)[0]


def _gaps() -> Layout:
    random = torch.Generator().manual_seed(5)
    mask = torch.rand(5, 50, generator=random) < 0.7
    segments = torch.randint(3, (5, 50), generator=random).cumsum(1) // 20
    return Layout.from_padded(mask, segments, torch.rand(5, 50, generator=random) < 0.1)[0]


_MIXED = [1, 63, 0, 130, 2, 7]
CASES = (
    Case("padded, gaps, unsorted, special", _padded, 8),
    Case("gaps in every row", _gaps, 40, heads=4),
    Case("T=63", lengths_and_segments([63], runs(5), "ends"), 64),
    Case("d=500", lengths_and_segments(_MIXED, runs(1, 9, 25), "ends"), 500, heads=4),
    Case("d=1", lengths_and_segments(_MIXED, runs(1, 3)), 1, heads=1),
    Case("d=3, three heads", lengths_and_segments(_MIXED, runs(4), "some"), 3, heads=3),
    Case("d=768, twelve heads", lengths_and_segments([30, 1, 120], runs(25, 70, 3), "ends"), 768, heads=12),
    Case("one-token documents", lengths_and_segments([1] * 40, runs(1)), 32),
    Case("one-token documents, all special", lengths_and_segments([1] * 5, runs(1), "ends"), 32),
    Case("empty documents", lengths_and_segments([0, 0, 12, 0, 3, 0], runs(2), "ends"), 16),
    Case("only empty documents", lengths_and_segments([0, 0]), 16),
    Case("no documents", lengths_and_segments([]), 16),
    Case("one segment a document", lengths_and_segments(_MIXED, None, "ends"), 64),
    Case("one long segment", lengths_and_segments([150]), 500, heads=1),
    Case("one long segment, special", lengths_and_segments([40, 300, 3], None, "some"), 300, heads=5),
    Case("segments of length 1", lengths_and_segments([120, 20], runs(1), "some"), 300),
    Case("segments of length 2", lengths_and_segments([1100, 60], runs(2)), 64),
    Case("long and short segments", lengths_and_segments([350, 50, 140], runs(3, 300, 1, 1, 45), "some"), 256),
    Case("unsorted ids", lengths_and_segments([150, 0, 40], shuffled(9), "some"), 300),
    Case("unsorted ids of two long segments", lengths_and_segments([160], shuffled(2)), 500),
    Case("ties", lengths_and_segments([200, 31], runs(7, 2), "ends"), 300, numbers="ties"),
    Case("ties in a long segment", lengths_and_segments([150]), 500, numbers="ties"),
    Case("ties, unsorted", lengths_and_segments([130, 20], shuffled(5), "some"), 300, numbers="ties"),
    Case("minus infinity", lengths_and_segments([120, 31], runs(3, 100)), 500, numbers="minus infinity"),
    Case("minus infinity, short documents", lengths_and_segments([3, 1, 2] * 9), 8, numbers="minus infinity"),
)
OVERFLOW = Case("scores that overflow", lengths_and_segments([300]), 300, numbers="overflow")
"""For `softmax_aggregation`, in types of float32's range; the gradients overflow too."""
NAN_CASES = (
    Case("NaN in short segments", lengths_and_segments([60, 7], runs(2, 5), "ends"), 300, numbers="nan"),
    Case("NaN in a long segment", lengths_and_segments([150]), 500, numbers="nan"),
    Case("NaN, unsorted", lengths_and_segments([120, 30], shuffled(5)), 300, numbers="nan"),
)


@contextmanager
def poisoned() -> Iterator[None]:
    """Within the block, memory that torch allocates without writing it is full of NaNs or great integers."""
    before, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn)
        torch.utils.deterministic.fill_uninitialized_memory = fill


def call(backend: Backend, op: str, inputs: dict[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The results of an op of `OPS` by name."""
    if op == "mean_aggregation":
        return {"mean": backend.mean_aggregation(inputs["x"], layout)}
    if op == "segment_local_fusion":
        return {"y": backend.segment_local_fusion(inputs["g"], inputs["projections"], layout)}
    z, weights = backend.softmax_aggregation(
        inputs["x"], inputs["queries"], layout, op == "softmax_aggregation_weights"
    )
    assert (weights is not None) == (op == "softmax_aggregation_weights") or not layout.num_tokens
    return {"z": z} if weights is None or not layout.num_tokens else {"z": z, "weights": weights}


LEAVES = {
    "mean_aggregation": ("x",),
    "softmax_aggregation": ("x", "queries"),
    "softmax_aggregation_weights": ("x", "queries"),
    "segment_local_fusion": ("g", "projections"),
}
"""The inputs of each op."""


def results(backend: Backend, op: str, inputs: dict[str, Tensor], layout: Layout, seed: int = 1) -> dict[str, Tensor]:
    """An op's results, and under `d...` the gradients of its inputs for random gradients of the results."""
    outputs = call(backend, op, inputs, layout)
    random = torch.Generator().manual_seed(seed)
    gradients = []
    for output in outputs.values():
        gradient = torch.randn(output.shape, generator=random).bfloat16()  # exact in every type
        gradients.append(gradient.to(output.dtype).to(output.device))
    leaves = LEAVES[op]
    of = [inputs[name] for name in leaves]
    found: tuple[Any, ...] = (None,) * len(of)
    if all(output.requires_grad for output in outputs.values()):
        found = torch.autograd.grad(list(outputs.values()), of, gradients, allow_unused=True)
    named = {
        f"d{name}": torch.zeros_like(leaf) if one is None else one
        for name, leaf, one in zip(leaves, of, found, strict=True)
    }
    return {name: output.detach() for name, output in outputs.items()} | named


def check(op: str, case: Case, backend: Backend, dtype: torch.dtype, device: str = "cpu", seed: int = 0) -> None:
    """Asserts that a backend's results and gradients are the reference's, and of the inputs' type."""
    layout, inputs = case.inputs(dtype, device, seed)
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in inputs.items()}
    expected = results(REFERENCE, op, exact, layout)
    with poisoned():
        found = results(backend, op, inputs, layout)
    assert found.keys() == expected.keys()
    for name, one in found.items():
        assert one.dtype == dtype, name
        close(name, one, expected[name], TOLERANCES[dtype])


def close(name: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Asserts that a result is as expected, NaNs included; `tolerance` as in `TOLERANCES`."""
    assert found.shape == expected.shape, name
    finite = expected[expected.isfinite()]
    greatest = float(finite.abs().max()) if finite.numel() else 0.0
    scale = greatest / 4 if greatest > 1e-9 else 1.0  # less is rounding of a zero made from numbers of about 1
    torch.testing.assert_close(
        found.double(),
        expected.double(),
        rtol=tolerance,
        atol=tolerance * scale,
        equal_nan=True,
        msg=lambda text: f"{name}: {text}",
    )


def strided(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers as leaf tensors that are not contiguous."""
    return {
        name: torch.stack([tensor.detach()] * 2, -1).transpose(0, 1)[..., 0].transpose(0, 1).requires_grad_()
        for name, tensor in inputs.items()
    }


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, which is where the environment and imported modules can be changed."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=os.environ | environment
    )
