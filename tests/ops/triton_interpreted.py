"""What `test_triton.py` runs in a separate process, where Triton interprets kernels on the CPU.

Triton decides that when it is imported, and for the whole process, so the tests' own process can't.
"""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any
from unittest import mock

import torch
from tests.ops.cases import (
    CASES,
    LEAVES,
    NAN_CASES,
    OPS,
    Case,
    call,
    check,
    lengths_and_segments,
    poisoned,
    results,
    runs,
    strided,
)
from torch import Tensor

from ponet.ops import dispatch
from ponet.ops.autograd import LayoutTensors
from ponet.ops.reference import Backend

EXTRA = (
    Case("short segments", lengths_and_segments([50, 0, 20], runs(1, 1, 2), "some"), 20),
    Case("as long as a block", lengths_and_segments([3, 128, 129], runs(5, 32, 33, 9)), 20, numbers="ties"),
    Case("as wide as to read x twice", lengths_and_segments([140, 0, 3], runs(70, 20)), 1030, heads=3),
)
EVERY = {str(case): case for case in (*CASES, *NAN_CASES, *EXTRA)}


class Interpreter:
    """A child process that computes the functions of this module."""

    def __init__(self) -> None:
        self.executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        with mock.patch.dict(os.environ, TRITON_INTERPRET="1"):
            self.executor.submit(_begin).result()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.executor.submit(function, *arguments).result()

    def close(self) -> None:
        self.executor.shutdown()


def _begin() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)  # NaNs are wanted
    _backend()


def _backend() -> Backend:
    from ponet.ops.triton import BACKEND

    return BACKEND


def _inputs(name: str, dtype: torch.dtype = torch.float32) -> Any:
    return EVERY[name].inputs(dtype)


def agrees(op: str, name: str, dtype: torch.dtype) -> None:
    check(op, EVERY[name], _backend(), dtype)


def is_the_same_again(op: str, name: str) -> None:
    layout, inputs = _inputs(name)
    first = results(_backend(), op, inputs, layout)
    with poisoned():
        again = results(_backend(), op, inputs, layout)
    assert all(torch.equal(first[key], again[key]) for key in first)


def takes_memory_in_any_order(op: str, name: str) -> None:
    layout, inputs = _inputs(name)
    expected = results(_backend(), op, inputs, layout)
    found = results(_backend(), op, strided(inputs), layout)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def takes_expanded_gradients(op: str, name: str) -> None:
    layout, inputs = _inputs(name)
    found = []
    for gradient in (torch.ones(()), None):  # one number in all places; a tensor of ones
        outputs = list(call(_backend(), op, inputs, layout).values())
        gradients = [torch.ones_like(one) if gradient is None else gradient.expand_as(one) for one in outputs]
        leaves = [inputs[name] for name in LEAVES[op]]
        found.append(torch.autograd.grad(outputs, leaves, gradients))
    assert all(map(torch.equal, *found))


def is_the_same_without_gradients(op: str, name: str) -> None:
    layout, inputs = _inputs(name)
    expected = call(_backend(), op, inputs, layout)
    with torch.no_grad(), poisoned():
        found = call(_backend(), op, inputs, layout)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert not any(output.requires_grad for output in found.values())


def is_registered_soundly(name: str) -> None:
    layout, inputs = _inputs(name)
    _backend()
    ops, opcheck = torch.ops.ponet, torch.library.opcheck
    tensors = LayoutTensors.of(layout)
    opcheck(ops.triton_mean_aggregation, (inputs["x"], *tensors))
    opcheck(ops.triton_softmax_aggregation, (inputs["x"], inputs["queries"], *tensors, True))
    opcheck(ops.triton_segment_local_fusion, (inputs["g"], inputs["projections"], *tensors, True))


def is_whole_when_compiled(op: str, name: str) -> None:
    @torch.compile(fullgraph=True, backend="aot_eager", dynamic=True)
    def compiled(tensors: dict[str, Tensor], layout: Any) -> dict[str, Tensor]:
        return {key: output * 2 for key, output in call(_backend_, op, tensors, layout).items()}

    _backend_ = _backend()
    layout, inputs = _inputs(name)
    expected = results(_backend_, op, inputs, layout)
    outputs = compiled(inputs, layout)
    leaves = [inputs[name] for name in LEAVES[op]]
    found = torch.autograd.grad(sum(output.sum() for output in outputs.values()), leaves)
    whole = call(_backend_, op, inputs, layout)
    gradients = torch.autograd.grad(sum(output.sum() * 2 for output in whole.values()), leaves)
    for key, output in outputs.items():
        torch.testing.assert_close(output, expected[key] * 2)
    for one, other in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, other)


def is_chosen_by_name(name: str) -> None:
    layout, inputs = _inputs(name)
    assert "triton" in dispatch.backends()
    with dispatch.use_backend("triton"):
        found = dispatch.segment_local_fusion(inputs["g"], inputs["projections"], layout)
    assert torch.equal(found, _backend().segment_local_fusion(inputs["g"], inputs["projections"], layout))


def message_for_float64() -> str:
    layout, inputs = EVERY["T=63"].inputs(torch.float64)
    try:
        _backend().mean_aggregation(inputs["x"], layout)
    except ValueError as error:
        return str(error)
    return ""


def launches() -> dict[str, int]:
    """Kernels launched by each op and its backward."""
    from triton.runtime.interpreter import InterpretedFunction

    number = {}
    layout, inputs = EVERY["T=63"].inputs(torch.float32)
    for op in OPS:
        for part in ("forward", "backward"):
            with mock.patch.object(
                InterpretedFunction, "run", autospec=True, side_effect=InterpretedFunction.run
            ) as run:
                outputs = call(_backend(), op, inputs, layout)
                if part == "backward":
                    run.reset_mock()
                    sum(output.sum() for output in outputs.values()).backward()
            number[f"{op} {part}"] = run.call_count
    return number
