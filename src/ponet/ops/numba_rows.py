"""What the Numba kernels share: rows in memory, blocks of tokens, and numbers of every storage type.

Numba renews its cached code when the file of a kernel changes, not when this one does: after a change here, clear the
cache (`find . -name '*.nb[ci]' -delete`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

Array = NDArray[Any]


class Rows(NamedTuple):
    """`[T, d]` in flat memory: row `t` is `data[t * stride : t * stride + d]`; bfloat16 as uint16.

    Places in it are counted unsigned, since a loop doesn't run in vectors if it must ask whether an index is negative.
    Nor does one that takes a field out of a tuple, for that counts references: fields are taken before loops.
    """

    data: Array
    stride: int


class Runs(NamedTuple):
    """Where documents and segments lie, as in `Layout`, and the number of tokens in a block."""

    cu_seqlens: Array
    cu_segments: Array
    order: Array
    """`[T]`, or empty where tokens are sorted by segment already."""
    joins_next: Array
    special: Array
    """`[T]`, or empty where no token is special."""
    block: int


def compiled(function: Callable[..., Any]) -> Any:
    """`numba.njit` for a function that other kernels call; no way in from Python, which costs time to compile."""
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
def take(_: Any, counter: Any) -> Any:
    """`counter[0]`, which no other thread gets too, since it rises by one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = context.make_array(counter)(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

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


def load(data: Array, i: Any) -> Any:
    """`data[i]` in a kernel, as float32 where the storage is bfloat16."""
    raise NotImplementedError("only within a kernel")


def store(data: Array, i: Any, value: Any) -> None:
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
def find(offsets: Array, position: int) -> int:
    """The run that holds a position: the last `k` with `offsets[k] <= position`. Runs may be empty."""
    low, high = 0, offsets.shape[0] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if offsets[middle] <= position:
            low = middle
        else:
            high = middle
    return low


@compiled
def border(offsets: Array, block: int, b: int) -> int:
    """Where block `b` begins: at `b * block`, or at the start of the run there, unless that is longer than a block.

    So only runs longer than a block are cut, and each of their blocks but the first begins at a multiple of `block`.
    Borders depend on the input alone, not on the number of threads, and so do sums made block by block.
    """
    position = b * block
    if position >= offsets[-1]:
        return offsets[-1]
    run = find(offsets, position)
    return position if offsets[run + 1] - offsets[run] > block else offsets[run]


@compiled
def block_of(offsets: Array, block: int, position: int) -> int:
    """The block that holds a position."""
    b = position // block
    return b + 1 if position >= border(offsets, block, b + 1) else b


@compiled
def piece_of(width: int, piece: int, pieces: int) -> tuple[int, int]:
    """Where one of so many equal pieces of a width begins and ends."""
    return np.uint64(width * np.uint64(piece) // np.uint64(pieces)), np.uint64(
        width * np.uint64(piece + 1) // np.uint64(pieces)
    )


@compiled
def beats(value: Any, best: Any) -> bool:
    """Whether a later number takes the maximum: only a greater one does, or the first NaN."""
    return (not (value <= best)) & (best == best)


@compiled
def sum_over_blocks(b: int, piece: int, pieces: int, offsets: Array, borders: Array, block: int, partial: Array) -> int:
    """Adds up what the blocks of a run found, for the run that begins in block `b` and goes on after it.

    `partial [blocks, 2, width]` holds what each block found for the run that began before it, and for the one that goes
    on after it; the sum, of one of `pieces` pieces of the width, lands in the latter place of block `b`. Runs are
    `offsets`', blocks have the borders of `borders`'.

    Returns:
        The run, or -1 where there is none.
    """
    low, high = piece_of(np.uint64(partial.shape[2]), piece, pieces)
    begin, end = border(borders, block, b), border(borders, block, b + 1)
    run = find(offsets, end - 1)
    if offsets[run] < begin or offsets[run + 1] <= end:
        return -1
    for other in range(b + 1, block_of(borders, block, offsets[run + 1] - 1) + 1):
        for c in range(low, high):
            partial[b, 1, c] += partial[other, 0, c]
    return run
