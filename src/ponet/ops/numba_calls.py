"""From torch to a Numba kernel: tensors as arrays, scratch space, threads."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ponet.ops.numba_rows import Array, Rows, Runs, Tokens

_BLOCK_NUMBERS = 32768
"""Numbers of a `[T, d]` tensor in a block: few, so that a block of each tensor of a pass fits a core's cache."""
_WORTH_A_THREAD = 2**18
"""Numbers to go through, in a tenth of a millisecond or so, that are worth waking a thread for."""

_STORED_AS = {torch.bfloat16: torch.uint16, torch.bool: torch.uint8}
"""Types that NumPy or Numba's pointers don't know."""

_executor: ThreadPoolExecutor | None = None
_owner = 0


def accumulator(x: Tensor) -> torch.dtype:
    """The type in which sums of `x` are made."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def block_size(d: int, least: int = 16) -> int:
    """Tokens of width `d` in a block: a function of the shapes alone, so that results don't depend on threads."""
    return max(least, _BLOCK_NUMBERS // d)


def pieces(width: int) -> int:
    """Into how many pieces the width of a sum over blocks is cut, to be made by as many threads."""
    return max(1, width // 256)


def array(x: Tensor) -> Array:
    """A tensor's memory, contiguous (a copy only where it wasn't), in one dimension."""
    x = x.detach().contiguous().view(-1)
    return (x.view(_STORED_AS[x.dtype]) if x.dtype in _STORED_AS else x).numpy()


def rows(x: Tensor) -> Rows:
    """The rows of `[T, d]` where they lie: a slice of a wider tensor isn't copied."""
    T, d = x.shape
    if d > 1 and x.stride(1) != 1:
        x = x.contiguous()
    stride = x.stride(0) if T > 1 else d
    return Rows(array(x.detach().as_strided(((T - 1) * stride + d,), (1,))), stride)


def runs(offsets: Tensor) -> Runs:
    """The documents of `cu_seqlens [B + 1]`, or the segments of `cu_segments [S + 1]`."""
    return Runs(array(offsets), offsets.shape[0] - 1)


def tokens(order: Tensor | None, joins_next: Tensor, special: Tensor | None) -> Tokens:
    """What kernels need to know of tokens, from a `Layout`'s tensors."""
    no_order, no_special = np.empty(0, np.int64), np.empty(0, np.uint8)
    return Tokens(
        no_order if order is None else array(order),
        order is None,
        array(joins_next),
        no_special if special is None else array(special),
        special is not None,
    )


def partials(x: Tensor, block: int, width: int) -> Array:
    """`[blocks * 2 * width]`, in the accumulator's type: room for what each block of `x [T, d]` adds to the runs that
    cross its two borders.
    """
    return array(x.new_empty((x.shape[0] + block - 1) // block * 2 * width, dtype=accumulator(x)))


def scratch(x: Tensor, width: int, dtype: torch.dtype | None = None) -> Array:
    """`[threads * width]`, by default in the accumulator's type."""
    return array(x.new_empty(torch.get_num_threads() * width, dtype=dtype or accumulator(x)))


def run(kernel: Any, tasks: int, work: int, *arguments: Any) -> None:
    """Calls `kernel(counter, tasks, *arguments)` on this thread and others; each takes tasks until there are none.

    There are as many threads as torch uses, fewer for little `work`, the numbers in memory that all tasks go through.
    The threads are Python's, not Numba's: kernels don't hold the interpreter's lock, threads that sleep between calls
    don't get in the way of torch's, and a forked process just starts its own.
    """
    counter = np.zeros(2, np.int64)  # the next task, the next thread
    helpers = min(torch.get_num_threads(), tasks, work // _WORTH_A_THREAD) - 1
    others = [_helpers().submit(kernel, counter, tasks, *arguments) for _ in range(helpers)]
    kernel(counter, tasks, *arguments)
    for other in others:
        if not other.cancel():  # one that hasn't begun by now would find nothing to do
            other.result()


def _helpers() -> ThreadPoolExecutor:
    global _executor, _owner
    if _executor is None or _owner != os.getpid():
        _executor, _owner = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="ponet"), os.getpid()
    return _executor
