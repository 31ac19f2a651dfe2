"""Blocks of tokens, in Numba: how a pass is cut into tasks, and how what they found is put together.

Documents and segments are runs: offsets `[K + 1]`, run `k` holding the places `offsets[k] : offsets[k + 1]`. Where a
block ends is up to the input alone, not to the number of threads, and so are all results.
"""

from typing import NamedTuple

from ponet.ops.numba.tools import Pointer, add, at, compiled

BLOCK_NUMBERS = 2**15
"""Numbers of a `[T, d]` tensor in a block: few, so that a block of each tensor of a pass fits a core's cache."""
PIECE = 256
"""Channels of what blocks found that one task puts together."""


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
