"""Calls of Numba kernels from torch: their arguments, scratch memory, threads.

A kernel's arguments are int64 numbers in one piece of memory, sizes and addresses of tensors: few things cost less to
hand over. The first few, up to `ARGUMENTS`, are for the threads, which take tasks until none is left.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from ponet.ops.numba.tools import Kernel

COUNT, WORKERS, TASKS, STEP, CUT, ARGUMENTS = range(6)
"""Places in a kernel's numbers: the next task, the next worker, the number of tasks, the step of a kernel that makes
several, whether a task made known that a document or segment is cut by a block's border; and where the others begin."""

_WORTH_A_THREAD = 2**16
"""Numbers to go through, in some hundredths of a millisecond, that are worth another thread."""
_STORED_AS = {torch.float32: types.float32, torch.float64: types.float64, torch.bfloat16: types.uint16}


@intrinsic
def take(_: Any, numbers: Any, i: Any) -> Any:
    """In a kernel: `numbers[i]`, which rises by one, so that no other thread gets the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(arguments[0], [context.cast(builder, arguments[1], i, types.intp)])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(numbers, i), generate


def address(x: Tensor | None) -> int:
    """Where a contiguous tensor's numbers lie; 0 for one that is missing."""
    return 0 if x is None else x.data_ptr()


class Call:
    """A kernel with its arguments, for tensors of a type; they and the scratch memory must outlive it.

    There are `threads` threads, at most as many as torch uses now, and each has `scratch` bytes, the address of which
    comes last of the arguments.
    """

    def __init__(
        self, kernel: Kernel, dtype: torch.dtype, *arguments: int, rooms: tuple[int, ...], scratch: int
    ) -> None:
        self._function, self._address = kernel.entry(_STORED_AS[dtype])
        self._threads = torch.get_num_threads()
        places = [0]
        for size in (*rooms, self._threads * scratch):
            places.append(places[-1] + (size + 63) // 64 * 64)  # apart by whole lines of the cache
        self._memory = torch.empty(places.pop(), dtype=torch.uint8)
        start = self._memory.data_ptr()
        values = (0, 0, 0, 0, 0, *arguments, *(start + place for place in places))
        self._numbers = (ctypes.c_int64 * len(values))(*values)

    def run(self, step: int, tasks: int, work: int) -> None:
        """Makes a step of so many tasks, on fewer threads where there is little `work`: numbers in memory in all."""
        self._numbers[: STEP + 1] = [0, 0, tasks, step]
        threads = min(self._threads, tasks, work // _WORTH_A_THREAD)
        if threads <= 1:
            self._function(self._numbers)
        elif _openmp is not None and os.getpid() == _owner:
            _openmp(self._address, self._numbers, threads, 0)
        else:
            _run_on_python_threads(self._function, self._numbers, threads)

    @property
    def cut(self) -> bool:
        """Whether a task has set `CUT`."""
        return bool(self._numbers[CUT])


# --- Threads ---------------------------------------------------------------------------------------------------------


def _find_openmp() -> Callable[..., None] | None:
    """`GOMP_parallel` of the very OpenMP that torch uses, whose threads are up; None where torch has another kind."""
    try:
        function = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")).GOMP_parallel
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    function.restype = None
    return function


_openmp = _find_openmp()
_owner = os.getpid()
"""The process whose OpenMP this is: one that is forked from it has the memory of threads, but not the threads."""
_executor: ThreadPoolExecutor | None = None
_executor_owner = 0


def _run_on_python_threads(function: Callable[[Any], None], numbers: Any, threads: int) -> None:
    """Slower to start than OpenMP's. Not Numba's, which abort a process that was forked or that has two computing."""
    global _executor, _executor_owner
    if _executor is None or _executor_owner != os.getpid():
        _executor, _executor_owner = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="ponet"), os.getpid()
    others = [_executor.submit(function, numbers) for _ in range(threads - 1)]
    function(numbers)
    for other in others:
        if not other.cancel():  # one that hasn't begun by now would find nothing to do
            other.result()
