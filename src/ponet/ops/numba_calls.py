"""From torch to a Numba kernel: tensors as arrays, scratch space, threads."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numba
import torch
from torch import Tensor

from ponet.ops.numba_rows import Array, Rows

_BLOCK_NUMBERS = 32768
"""Numbers of a `[T, d]` tensor in a block: few, so that a block of each tensor of a pass fits a core's cache."""

_one_at_a_time = threading.Lock()
_owner = os.getpid()


def accumulator(x: Tensor) -> torch.dtype:
    """The type in which sums of `x` are made."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def block_size(d: int, least: int = 16) -> int:
    """Tokens of width `d` in a block: a function of the shapes alone, so that results don't depend on threads."""
    return max(least, _BLOCK_NUMBERS // d)


def partials(x: Tensor, block: int, *shape: int) -> Tensor:
    """`[blocks, 2, *shape]` uninitialised, in the accumulator's type: what each block of `x [T, d]` adds to the runs
    that cross its two borders.
    """
    return x.new_empty((x.shape[0] + block - 1) // block, 2, *shape, dtype=accumulator(x))


def array(x: Tensor) -> Array:
    """A tensor's memory, contiguous (a copy only where it wasn't); bfloat16 as uint16, which NumPy knows."""
    x = x.detach().contiguous()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def optional_array(x: Tensor | None, dtype: torch.dtype) -> Array:
    """`array`, with an empty one for None: one signature to compile."""
    return array(torch.empty(0, dtype=dtype) if x is None else x)


def flat(x: Tensor) -> Array:
    """`array`, in one dimension."""
    return array(x).reshape(-1)


def rows(x: Tensor) -> Rows:
    """The rows of `[T, d]` where they lie: a slice of a wider tensor isn't copied."""
    T, d = x.shape
    if d > 1 and x.stride(1) != 1:
        x = x.contiguous()
    stride = x.stride(0) if T > 1 else d
    return Rows(array(x.detach().as_strided(((T - 1) * stride + d,), (1,))), stride)


def run(kernel: Any, *arguments: Any) -> None:
    """Calls a parallel kernel on as many threads as torch uses.

    Raises:
        RuntimeError: in a process that was forked after kernels ran in its parent, where Numba's threads don't exist.
    """
    if not usable_here():
        raise RuntimeError("the numba backend can't compute in a process forked after its first use; spawn it instead")
    threads = torch.get_num_threads()
    with _exclusive(), _numba_threads(threads):
        kernel(*arguments)
    if torch.get_num_threads() != threads:  # where torch and Numba share one OpenMP, its start sets the number of both
        torch.set_num_threads(threads)


def usable_here() -> bool:
    """Whether this process may run kernels."""
    return os.getpid() == _owner


@contextlib.contextmanager
def _numba_threads(number: int) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(number, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _exclusive() -> contextlib.AbstractContextManager[Any]:
    """A lock, unless Numba's threading layer is known to serve several callers at a time: "workqueue" doesn't."""
    try:
        safe = numba.threading_layer() != "workqueue"
    except ValueError:  # it is chosen by the first call
        safe = False
    return contextlib.nullcontext() if safe else _one_at_a_time
