"""What the Numba kernels share: memory, blocks of tokens, and numbers of every storage type.

A kernel is called with arrays and works on pointers to their memory. Arrays are counted references, which threads
would fight over, and their indices may be negative, which keeps loops from running in vectors.

Numba renews its cached code when the file of a kernel changes, not when this one does: after a change here, clear the
cache (`find . -name '*.nb[ci]' -delete`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

Array = Any
"""A contiguous array of one dimension, or within a kernel a pointer into it; bfloat16 as uint16, bool as uint8."""


class Rows(NamedTuple):
    """`[T, d]`, maybe a slice of wider rows: row `t` is `data[t * stride : t * stride + d]`."""

    data: Array
    stride: int


class Runs(NamedTuple):
    """Documents or segments: run `k` holds the places `offsets[k] : offsets[k + 1]`, of `number` runs."""

    offsets: Array
    number: int


class Tokens(NamedTuple):
    """What `Layout` says of each token."""

    order: Array
    sorted: bool
    """Whether tokens lie sorted by segment, and `order` is empty."""
    joins_next: Array
    special: Array
    any_special: bool
    """Whether `special` isn't empty."""


def compiled(function: Callable[..., Any]) -> Any:
    """`numba.njit` for a function that kernels call; no way in from Python, which would take time to compile."""
    return _jit(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def regrouped(function: Callable[..., Any]) -> Any:
    """`compiled`, with sums in any order, so that they run in vectors. Infinities and NaNs keep their meaning."""
    return _jit(function, no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath={"reassoc", "contract", "nsz"})


def kernel(function: Callable[..., Any]) -> Any:
    """`numba.njit` for a function that `numba_calls.run` calls, on several threads at a time."""
    return _jit(function, no_cfunc_wrapper=True)


def _jit(function: Callable[..., Any], **options: Any) -> Any:
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder to cache in: neither $NUMBA_CACHE_DIR nor beside this file nor at home
        return njit(**options)(function)


@intrinsic
def pointer(_: Any, array: Any) -> Any:
    """The memory of an array, which must outlive its use."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(array)(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic
def take(_: Any, counter: Any) -> Any:
    """The number at a pointer, which no other thread gets too, since it rises by one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", arguments[0], ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(counter), generate


def _bitcast(to: Any, width: Any) -> Any:
    """An intrinsic that reads the bits of a number as another type of the same size."""

    @intrinsic
    def cast(_: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], width)

        return to(value), generate

    return cast


_as_float = _bitcast(types.float32, ir.FloatType())
_as_bits = _bitcast(types.uint32, ir.IntType(32))


def load(data: Array, i: int) -> Any:
    """`data[i]` in a kernel, as float32 where the storage is bfloat16."""
    raise NotImplementedError("only within a kernel")


def store(data: Array, i: int, value: Any) -> None:
    """`data[i] = value` in a kernel, rounded to the nearest where the storage is bfloat16."""
    raise NotImplementedError("only within a kernel")


@overload(load, strict=False)
def _load(data: Any, i: Any) -> Any:
    if data.dtype == types.uint16:
        return lambda data, i: _as_float(np.uint32(np.uint32(data[i]) << np.uint32(16)))
    return lambda data, i: data[i]


@overload(store, strict=False)
def _store(data: Any, i: Any, value: Any) -> Any:
    if data.dtype == types.uint16:

        def rounded(data, i, value):  # type: ignore[no-untyped-def]
            bits = _as_bits(np.float32(value))
            nearest = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            data[i] = np.uint16(nearest) if value == value else np.uint16(0x7FC0)  # a NaN's bits mustn't be rounded

        return rounded

    def plain(data, i, value):  # type: ignore[no-untyped-def]
        data[i] = value

    return plain


@compiled
def rows_at(rows: Rows) -> Rows:
    """`Rows` by pointer."""
    return Rows(pointer(rows.data), rows.stride)


@compiled
def runs_at(runs: Runs) -> Runs:
    """`Runs` by pointer."""
    return Runs(pointer(runs.offsets), runs.number)


@compiled
def tokens_at(tokens: Tokens) -> Tokens:
    """`Tokens` by pointer."""
    order, joins_next, special = pointer(tokens.order), pointer(tokens.joins_next), pointer(tokens.special)
    return Tokens(order, tokens.sorted, joins_next, special, tokens.any_special)


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
def border(runs: Runs, block: int, b: int) -> int:
    """Where block `b` begins: at `b * block`, or at the start of the run there, unless that is longer than a block.

    So only runs longer than a block are cut, and each of their blocks but the first begins at a multiple of `block`.
    Borders depend on the input alone, not on the number of threads, and so do sums made block by block.
    """
    place, total = b * block, runs.offsets[runs.number]
    if place >= total:
        return total
    run = find(runs, place)
    return place if runs.offsets[run + 1] - runs.offsets[run] > block else runs.offsets[run]


@compiled
def block_of(runs: Runs, block: int, place: int) -> int:
    """The block, of those between borders, that holds a place."""
    b = place // block
    return b + 1 if place >= border(runs, block, b + 1) else b


@compiled
def beats(value: Any, best: Any) -> bool:
    """Whether a later number takes the maximum: only a greater one does, or the first NaN."""
    return (not (value <= best)) & (best == best)


@compiled
def fill(data: Array, start: int, number: int, value: Any) -> None:
    """`data[start : start + number] = value`."""
    for i in range(number):
        data[start + i] = value


@compiled
def copy(data: Array, start: int, number: int, to: Array, at: int) -> None:
    """`to[at : at + number] = data[start : start + number]`, of whatever storage types."""
    for i in range(number):
        store(to, at + i, load(data, start + i))


@compiled
def sum_over_blocks(
    b: int, low: int, high: int, width: int, partial: Array, runs: Runs, borders: Runs, block: int
) -> int:
    """Adds up what the blocks of a run found, for the run that begins in block `b` and goes on after it.

    `partial [blocks, 2, width]` holds what each block found for the run that began before it, and for the one that goes
    on after it; the sum, of the numbers `low : high`, lands in the latter place of block `b`. Blocks end at `borders`.

    Returns:
        The run, or -1 where there is none.
    """
    begin, end = border(borders, block, b), border(borders, block, b + 1)
    run = find(runs, end - 1)
    start, stop = runs.offsets[run], runs.offsets[run + 1]
    if start < begin or stop <= end:
        return -1
    for other in range(b + 1, block_of(borders, block, stop - 1) + 1):
        for c in range(low, high):
            partial[(2 * b + 1) * width + c] += partial[2 * other * width + c]
    return run
