"""Dropout in Numba, with the sum with a residual: one pass, and no mask in memory.

Which numbers are dropped is a function of a seed and each number's place alone, a hash of both, so that the backward
recomputes it instead of reading it, and the number of threads does not change it. PyTorch's own draws a mask number by
number on one core (where it can't use Intel's library) and saves it for the backward.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ponet.ops.numba.kernel import (
    Kernel,
    Launch,
    PerThread,
    Pointer,
    Storage,
    arguments,
    at,
    cast,
    compiled,
    load,
    loop,
    per_thread,
    run_tasks,
    store,
)

_BLOCK = 2**14
"""Numbers of a task."""
_PLACE = np.uint32(0x9E3779B9)
_FIRST, _SECOND, _THIRD = np.uint32(0xED5AD4BB), np.uint32(0xAC4C1B51), np.uint32(0x31848BAB)
"""Odd factors of the hash: those of the public-domain `triple32`, found by search for little bias."""
_11, _14, _15, _17 = np.uint32(11), np.uint32(14), np.uint32(15), np.uint32(17)


class _Dropout(NamedTuple):
    total: int
    x: Storage
    residual: Storage
    has_residual: bool
    y: Storage
    limit: int
    low: int
    high: int
    scratch: PerThread


def dropout(x: Tensor, residual: Tensor | None, p: float, seed: int, out: Tensor | None = None) -> Tensor:
    """`residual + dropout(x)`, or `dropout(x)` alone: each number 0 with probability `p`, else `x / (1 - p)`.

    Args:
        x: any shape, contiguous.
        residual: of the same shape and type, contiguous.
        p: below 1; taken to the nearest `1 / 2**32`.
        seed: 64 bits.
        out: takes the result, contiguous; may be `x` itself.
    """
    y = torch.empty_like(x) if out is None else out
    if x.numel():
        blocks = (x.numel() + _BLOCK - 1) // _BLOCK
        limit = min(round(p * 2**32), 2**32 - 1)
        low, high = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
        fields = _Dropout(x.numel(), x, residual, residual is not None, y, limit, low, high, per_thread(0, 0))
        Launch(_dropout, x.dtype, fields).run(0, blocks, 4 * x.numel())
    return y


@Kernel
def _dropout(like: Pointer) -> None:
    run_tasks(_step, arguments(_Dropout, like), like)


@compiled
def _step(step: int, task: int, a: _Dropout, scratch: Pointer) -> bool:
    """A task a block."""
    limit, begin = np.uint32(a.limit), task * _BLOCK
    scale = np.float64(1) / (np.float64(1) - np.float64(a.limit) / np.float64(4294967296.0))
    n = min(_BLOCK, a.total - begin)
    # places of more than 32 bits change the seed
    first, low = np.uint32(begin & 0xFFFFFFFF), np.uint32(a.low ^ begin >> 32)
    if a.has_residual:
        _drop_and_add(at(a.x, begin), at(a.residual, begin), at(a.y, begin), n, first, limit, scale, low, a.high)
    else:
        _drop(at(a.x, begin), at(a.y, begin), n, first, limit, scale, low, a.high)
    return False


@loop
def _drop(x: Pointer, y: Pointer, n: int, first: int, limit: int, scale: float, low: int, high: int) -> None:
    factor, key = cast(scale, x), np.uint32(high)
    for i in range(n):
        number = load(x, i) * factor
        store(y, i, number if _hash(np.uint32(first + np.uint32(i)), low, key) >= limit else number - number)


@loop
def _drop_and_add(
    x: Pointer, residual: Pointer, y: Pointer, n: int, first: int, limit: int, scale: float, low: int, high: int
) -> None:
    factor, key = cast(scale, x), np.uint32(high)
    for i in range(n):
        number = load(x, i) * factor
        kept = number if _hash(np.uint32(first + np.uint32(i)), low, key) >= limit else number - number
        store(y, i, load(residual, i) + kept)


@compiled
def _hash(place: Any, low: Any, high: Any) -> Any:
    """32 random bits from a place and a seed of twice 32."""
    bits = np.uint32(np.uint32(place * _PLACE) ^ low)
    bits = np.uint32(np.uint32(bits ^ np.uint32(bits >> _17)) + high)
    bits = np.uint32(bits * _FIRST)
    bits = np.uint32(np.uint32(bits ^ np.uint32(bits >> _11)) * _SECOND)
    bits = np.uint32(np.uint32(bits ^ np.uint32(bits >> _15)) * _THIRD)
    return np.uint32(bits ^ np.uint32(bits >> _14))
