"""What the Numba kernels share: compiling, pointers, storage types, blocks of tokens, threads.

A kernel is a function `(numbers, like)`. `numbers [n]` int64 holds the next task, the next worker, the number of tasks
and the step (`COUNT` and on), then what the kernel needs: sizes, and addresses of tensors; `like` is a number of their
storage type. It is so few arguments since each would cost a call a microsecond, and pointers since Numba counts
references to arrays and lets their indices be negative, both of which keep loops from running in vectors.

A pass cuts packed tokens into blocks, each a task for whichever thread is free. Documents and segments are runs:
offsets `[K + 1]`, run `k` holding the places `offsets[k] : offsets[k + 1]`. Where a block ends is up to the input
alone, not to the number of threads, and so are all results.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core.compiler import Compiler
from numba.extending import intrinsic, overload
from torch import Tensor

Pointer = Any
"""In a kernel: memory of numbers, those of bfloat16 as uint16, bools as uint8."""
Numbers = Any
"""A kernel's `numbers`."""

BLOCK_NUMBERS = 2**15
"""Numbers of a `[T, d]` tensor in a block: few, so that a block of each tensor of a pass fits a core's cache."""
_WORTH_A_THREAD = 2**17
"""Numbers to go through, in a twentieth of a millisecond or so, that are worth waking a thread for."""

# --- Compiling -------------------------------------------------------------------------------------------------------


class _NoAlias(Compiler):
    """For functions whose pointers lead to separate memory, so that loops need no checks whether they do."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):  # type: ignore[no-untyped-def]
        flags.noalias = True
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)


_REGROUP = {"reassoc", "contract", "nsz"}
_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("numba_*.py"))))


def kernel(function: Callable[..., Any]) -> Any:
    """`numba.njit` for a function that `run` calls, on several threads at a time; cached on disk where there is room.

    Numba would renew the cache when the kernel's own file changes; here any of this backend's files will do.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    try:
        compiled = njit(cache=True, **options)(function)
        compiled._cache._cache_file._source_stamp = _SOURCES.hexdigest()
    except (RuntimeError, AttributeError):  # no folder to write to, or another Numba's cache
        return njit(**options)(function)
    return compiled


def compiled(function: Callable[..., Any]) -> Any:
    """`numba.njit` for a function that kernels call; no way in from Python, which would take time to compile."""
    return njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def loop(function: Callable[..., Any]) -> Any:
    """`compiled`, for a loop over channels: its pointers must not lead to the same memory where one is written to."""
    return njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_NoAlias)(function)


def regrouped(function: Callable[..., Any]) -> Any:
    """`loop`, with sums in any order, so that they run in vectors. Infinities and NaNs keep their meaning."""
    return njit(
        error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_NoAlias, fastmath=_REGROUP
    )(function)


# --- Pointers --------------------------------------------------------------------------------------------------------


def _pointer_to(element: Any) -> Any:
    """An intrinsic that makes an address a pointer to a type, or to that which a function gives for `like`'s."""
    if callable(element) and not isinstance(element, types.Type):

        @intrinsic
        def pointer_like(_: Any, address: Any, like: Any) -> Any:
            to = types.CPointer(element(like))
            return to(address, like), lambda context, builder, _, arguments: builder.inttoptr(
                arguments[0], context.get_value_type(to)
            )

        return pointer_like

    @intrinsic
    def pointer(_: Any, address: Any) -> Any:
        to = types.CPointer(element)
        return to(address), lambda context, builder, _, arguments: builder.inttoptr(
            arguments[0], context.get_value_type(to)
        )

    return pointer


integers = _pointer_to(types.int64)
"""In a kernel: `integers(address)`, a tensor of int64."""
tokens = _pointer_to(types.int32)
"""In a kernel: `tokens(address)`, a tensor of int32."""
flags = _pointer_to(types.uint8)
"""In a kernel: `flags(address)`, a tensor of bool."""
stored = _pointer_to(lambda like: like)
"""In a kernel: `stored(address, like)`, a tensor of the storage type."""
sums = _pointer_to(lambda like: types.float64 if like == types.float64 else types.float32)
"""In a kernel: `sums(address, like)`, a tensor of the accumulator's type."""


@intrinsic
def at(_: Any, pointer: Any, i: Any) -> Any:
    """In a kernel: the pointer `i` numbers on."""
    return pointer(pointer, i), lambda context, builder, _, arguments: builder.gep(arguments[0], [arguments[1]])


@intrinsic
def address_of(_: Any, pointer: Any) -> Any:
    """In a kernel: a pointer's address, by which the memory can be used as another type's."""
    return types.int64(pointer), lambda context, builder, _, arguments: builder.ptrtoint(arguments[0], ir.IntType(64))


# --- Storage types ---------------------------------------------------------------------------------------------------


def _bitcast(to: Any, width: Any) -> Any:
    """An intrinsic that reads the bits of a number as another type of the same size."""

    @intrinsic
    def cast(_: Any, value: Any) -> Any:
        return to(value), lambda context, builder, _, arguments: builder.bitcast(arguments[0], width)

    return cast


as_float = _bitcast(types.float32, ir.FloatType())
as_bits = _bitcast(types.uint32, ir.IntType(32))


def load(data: Pointer, i: int) -> Any:
    """In a kernel: `data[i]`, as float32 where the storage is bfloat16."""
    raise NotImplementedError("only within a kernel")


def store(data: Pointer, i: int, value: Any) -> None:
    """In a kernel: `data[i] = value`, rounded to the nearest where the storage is bfloat16."""
    raise NotImplementedError("only within a kernel")


@overload(load, strict=False)
def _load(data: Any, i: Any) -> Any:
    if data.dtype == types.uint16:
        return lambda data, i: as_float(np.uint32(np.uint32(data[i]) << np.uint32(16)))
    return lambda data, i: data[i]


@overload(store, strict=False)
def _store(data: Any, i: Any, value: Any) -> Any:
    if data.dtype == types.uint16:

        def rounded(data, i, value):  # type: ignore[no-untyped-def]
            bits = as_bits(np.float32(value))
            nearest = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            # a NaN's bits mustn't be rounded
            data[i] = np.uint16(nearest) if value == value else np.uint16(0x7FC0)

        return rounded

    def plain(data, i, value):  # type: ignore[no-untyped-def]
        data[i] = value

    return plain


ZERO = np.float32(0)
"""Of the narrowest type to compute with, so that it widens no other."""


@compiled
def beats(value: Any, best: Any) -> bool:
    """Whether a later number takes the maximum: only a greater one does, or the first NaN."""
    return (not (value <= best)) & (best == best)


@compiled
def greater(best: Any, value: Any) -> Any:
    """The maximum, by `beats`."""
    return value if beats(value, best) else best


@loop
def fill(data: Pointer, n: int, value: Any) -> None:
    """`data[:n] = value`."""
    for c in range(n):
        store(data, c, value)


@loop
def copy(data: Pointer, n: int, to: Pointer) -> None:
    """`to[:n] = data[:n]`, of whatever types."""
    for c in range(n):
        store(to, c, load(data, c))


@loop
def add(data: Pointer, n: int, to: Pointer) -> None:
    """`to[:n] += data[:n]`."""
    for c in range(n):
        to[c] += load(data, c)


# --- Blocks ----------------------------------------------------------------------------------------------------------


class Runs(NamedTuple):
    """In a kernel: documents or segments, and the `block` by which a pass goes through them."""

    offsets: Pointer
    number: int
    block: int


@compiled
def find(runs: Runs, place: int) -> int:
    """The run that holds a place: the last `k` with `offsets[k] <= place`. Runs may be empty."""
    low, high = 0, runs.number
    while high - low > 1:
        middle = (low + high) // 2
        if runs.offsets[middle] <= place:
            low = middle
        else:
            high = middle
    return low


@compiled
def border(runs: Runs, b: int) -> int:
    """Where block `b` begins: at `b * block`, or at the start of the run there, unless that is longer than a block.

    So only runs longer than a block are cut, and each of their blocks but the first begins at a multiple of `block`.
    """
    place, total = b * runs.block, runs.offsets[runs.number]
    if place >= total:
        return total
    run = find(runs, place)
    return place if runs.offsets[run + 1] - runs.offsets[run] > runs.block else runs.offsets[run]


@compiled
def block_of(runs: Runs, place: int) -> int:
    """The block, of those between borders, that holds a place."""
    b = place // runs.block
    return b + 1 if place >= border(runs, b + 1) else b


@compiled
def slot(runs: Runs, run: int, b: int, begin: int) -> int:
    """The row of `[2 * blocks, ...]` for what block `b`, beginning at `begin`, finds of a run that it holds a part of.

    There are two at most: one that began in an earlier block, and one that goes on in the next.
    """
    return 2 * b if runs.offsets[run] < begin else 2 * b + 1


@compiled
def going_on(runs: Runs, begin: int, end: int) -> int:
    """The run that begins in the block `begin : end` and goes on in the next; -1 where there is none."""
    if begin < end:
        run = find(runs, end - 1)
        if runs.offsets[run] >= begin and runs.offsets[run + 1] > end:
            return run
    return -1


@compiled
def sum_parts(b: int, runs: Runs, borders: Runs, parts: Pointer, low: int, high: int, width: int) -> int:
    """Adds up the channels `low : high` of what blocks found of the run that begins in block `b` and goes on after it.

    `parts [2 * blocks, width]`, a row for each `slot`; the sum lands in block `b`'s. Blocks end at `borders`.

    Returns:
        The run, or -1 where there is none.
    """
    run = going_on(runs, border(borders, b), border(borders, b + 1))
    if run >= 0:
        for other in range(b + 1, block_of(borders, runs.offsets[run + 1] - 1) + 1):
            add(at(parts, 2 * other * width + low), high - low, at(parts, (2 * b + 1) * width + low))
    return run


# --- Threads ---------------------------------------------------------------------------------------------------------

COUNT, WORKERS, TASKS, STEP = range(4)
"""Places in a kernel's `numbers` that `run` fills; what it is given comes after."""

_executor: ThreadPoolExecutor | None = None
_owner = 0


@intrinsic
def take(_: Any, numbers: Any, i: Any) -> Any:
    """In a kernel: `numbers[i]`, which rises by one, so that no other thread gets the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(numbers)(context, builder, arguments[0]).data
        place = builder.gep(data, [context.cast(builder, arguments[1], i, types.intp)])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(numbers, i), generate


def run(function: Any, like: Any, work: int, step: int, tasks: int, numbers: Numbers) -> None:
    """Calls a kernel on this thread and others, which take tasks until none is left.

    There are as many threads as torch uses, fewer for little `work`, the numbers in memory that all tasks go through.
    The threads are Python's, not Numba's: those abort a process that was forked, or that has two threads computing.
    """
    numbers[:4] = 0, 0, tasks, step
    helpers = min(torch.get_num_threads(), tasks, work // _WORTH_A_THREAD) - 1
    others = [_helpers().submit(function, numbers, like) for _ in range(helpers)]
    function(numbers, like)
    for other in others:
        if not other.cancel():  # one that hasn't begun by now would find nothing to do
            other.result()


def _helpers() -> ThreadPoolExecutor:
    """The threads beside the caller's, of this process: a forked one doesn't have its parent's."""
    global _executor, _owner
    if _executor is None or _owner != os.getpid():
        _executor, _owner = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="ponet"), os.getpid()
    return _executor


# --- Tensors ---------------------------------------------------------------------------------------------------------

_LIKE = {torch.float32: np.float32(0), torch.float64: np.float64(0), torch.bfloat16: np.uint16(0)}


def like(x: Tensor) -> Any:
    """A number of a tensor's storage type, by which a kernel knows it."""
    return _LIKE[x.dtype]


def address(x: Tensor | None) -> int:
    """Where a contiguous tensor's numbers lie; 0 for one that is missing."""
    return 0 if x is None else x.data_ptr()


class Room:
    """Scratch memory for a kernel: `Room(n, m, ...)` holds so many bytes each, at the addresses `places`."""

    def __init__(self, *sizes: int) -> None:
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + (size + 63) // 64 * 64)  # apart by whole lines of the cache
        self.memory = torch.empty(starts.pop(), dtype=torch.uint8)
        address = self.memory.data_ptr()
        self.places = [address + start for start in starts]
