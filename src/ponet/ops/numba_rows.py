"""What the Numba kernels share: rows in memory, blocks of tokens, and numbers of every storage type.

A kernel works on blocks of `block` tokens, whose number depends on the input alone: each thread takes whole blocks, and
what crosses a border between blocks is combined in the order of blocks, so that results don't depend on threads.
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
    """`[T, d]` in flat memory: row `t` is `data[t * stride : t * stride + d]`; bfloat16 as uint16."""

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


def compiled(parallel: bool = False, fastmath: Any = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: `numba.njit`, cached on disk where some folder can be written (numba's own, or `$NUMBA_CACHE_DIR`).

    Of numba's automatic parallelism only `prange` is on: the loops of a kernel must run one after the other.
    """
    off = ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion")
    options = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
    if not parallel:
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

    def decorate(function: Callable[..., Any]) -> Any:
        spread = {**dict.fromkeys(off, False), "prange": True} if parallel else False
        try:
            return njit(cache=True, parallel=spread, **options)(function)
        except RuntimeError:  # no folder to cache in
            spread = {**dict.fromkeys(off, False), "prange": True} if parallel else False
            return njit(parallel=spread, **options)(function)

    return decorate


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


def as_floats(rows: Array, first: int, last: int, scratch: Array, copy: bool) -> Array:
    """`rows[first:last]` in a kernel: themselves, or where they are bfloat16 a place for them in `scratch`, filled if
    `copy`."""
    raise NotImplementedError("only within a kernel")


def store_floats(values: Array, rows: Array, first: int) -> None:
    """Puts what `as_floats` gave room for where it belongs, in a kernel."""
    raise NotImplementedError("only within a kernel")


@overload(as_floats, strict=False)
def _as_floats(rows: Any, first: Any, last: Any, scratch: Any, copy: Any) -> Any:
    if rows.dtype != types.uint16:
        return lambda rows, first, last, scratch, copy: rows[first:last]

    def widened(rows, first, last, scratch, copy):  # type: ignore[no-untyped-def]
        if copy:
            for i in range(last - first):
                for c in range(rows.shape[1]):
                    scratch[i, c] = load(rows, (first + i, c))
        return scratch[: last - first]

    return widened


@overload(store_floats, strict=False)
def _store_floats(values: Any, rows: Any, first: Any) -> Any:
    if rows.dtype != types.uint16:
        return lambda values, rows, first: None

    def narrowed(values, rows, first):  # type: ignore[no-untyped-def]
        for i in range(values.shape[0]):
            for c in range(rows.shape[1]):
                store(rows, (first + i, c), values[i, c])

    return narrowed


@compiled()
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


@compiled()
def beats(value: Any, best: Any) -> bool:
    """Whether a later number takes the maximum: only a greater one does, or the first NaN."""
    return (not (value <= best)) & (best == best)


@compiled()
def sum_over_blocks(task: int, slices: int, offsets: Array, block: int, partial: Array) -> None:
    """Adds up what the blocks of a run found, for a run that begins in this task's block and goes on after it.

    `partial [blocks, 2, width]` holds what each block found for the run that began before it, and for the one that goes
    on after it; the sum lands in the latter place of the run's first block. A task is a block and a slice of the width.
    """
    b, piece = task // slices, task % slices
    width = partial.shape[2]
    low, high = width * piece // slices, width * (piece + 1) // slices
    begin, end = b * block, min((b + 1) * block, offsets[-1])
    run = find(offsets, end - 1)
    if offsets[run] < begin or offsets[run + 1] <= end:
        return
    for other in range(b + 1, (offsets[run + 1] - 1) // block + 1):
        for c in range(low, high):
            partial[b, 1, c] += partial[other, 0, c]
