"""Dropout in Numba, the sum with a residual included: one pass, and no mask in memory.

Which numbers are dropped is a function of a seed and each number's place alone, a hash of both, so that the way back
computes it again instead of reading it, and no number of threads changes it. PyTorch's own draws a mask number by
number on one core (where it can't use Intel's library) and keeps it in memory until the way back.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ponet.ops.numba.threads import COUNT, TASKS, Call, address, take
from ponet.ops.numba.tools import Kernel, Pointer, address_of, at, cast, compiled, integers, load, loop, store, stored

_BLOCK = 2**14
"""Numbers of a task."""
_PLACE = np.uint32(0x9E3779B9)
_FIRST, _SECOND, _THIRD = np.uint32(0xED5AD4BB), np.uint32(0xAC4C1B51), np.uint32(0x31848BAB)
"""Odd factors of the hash: those of the public-domain `triple32`, found by search for little bias."""
_11, _14, _15, _17 = np.uint32(11), np.uint32(14), np.uint32(15), np.uint32(17)


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
        low, high = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
        call = Call(
            _dropout,
            x.dtype,
            *(x.numel(), address(x), address(residual), address(y), min(round(p * 2**32), 2**32 - 1), low, high),
            rooms=(),
            scratch=0,
        )
        call.run(0, blocks, 4 * x.numel())
    return y


@Kernel
def _dropout(like: Pointer) -> None:
    """A task a block."""
    numbers = integers(address_of(like))
    total, limit = numbers[5], np.uint32(numbers[9])
    x, y = stored(numbers[6], like), stored(numbers[8], like)
    scale = np.float64(1) / (np.float64(1) - np.float64(numbers[9]) / np.float64(4294967296.0))
    task = take(numbers, COUNT)
    while task < numbers[TASKS]:
        begin = task * _BLOCK
        n = min(_BLOCK, total - begin)
        # places of more than 32 bits change the seed
        first, low = np.uint32(begin & 0xFFFFFFFF), np.uint32(numbers[10] ^ begin >> 32)
        if numbers[7]:
            residual = stored(numbers[7], like)
            _drop_and_add(at(x, begin), at(residual, begin), at(y, begin), n, first, limit, scale, low, numbers[11])
        else:
            _drop(at(x, begin), at(y, begin), n, first, limit, scale, low, numbers[11])
        task = take(numbers, COUNT)


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
    """32 bits, each as good as a coin, from a place and a seed of twice 32."""
    bits = np.uint32(np.uint32(place * _PLACE) ^ low)
    bits = np.uint32(np.uint32(bits ^ np.uint32(bits >> _17)) + high)
    bits = np.uint32(bits * _FIRST)
    bits = np.uint32(np.uint32(bits ^ np.uint32(bits >> _11)) * _SECOND)
    bits = np.uint32(np.uint32(bits ^ np.uint32(bits >> _15)) * _THIRD)
    return np.uint32(bits ^ np.uint32(bits >> _14))
