"""Blocks of tokens, in Numba: how a pass is divided into tasks, and how their partial results are combined.

Documents and segments are runs: offsets `[K + 1]`, run `k` at the places `offsets[k] : offsets[k + 1]`. A run within
one block is computed at once, while its numbers are in the cache. One that is cut by the end of a block leaves a
partial result in each block that it crosses, and a second step combines them. Where blocks end depends on the input
alone, not on the number of threads, and so do all results.
"""

from typing import NamedTuple

from ponet.ops.numba.kernel import Int64, Pointer, add, at, compiled

BLOCK_NUMBERS = 2**15
"""Numbers of a `[T, d]` tensor in a block: few, so that a block of each tensor of a pass fits a core's cache."""
PIECE = 256
"""Channels of the partial results that one task combines."""


class Runs(NamedTuple):
    """Documents or segments, and the length of the blocks in which a pass goes through them."""

    offsets: Int64
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
def block_start(runs: Runs, b: int) -> int:
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
    """The block that holds a place."""
    b = place // runs.block
    return b + 1 if place >= block_start(runs, b + 1) else b


@compiled
def partial_row(runs: Runs, run: int, b: int, begin: int) -> int:
    """The row of `[2 * blocks, ...]` for the partial result of block `b`, which begins at `begin`, of a cut run.

    A block has two at most: of a run that began in an earlier block, and of one that continues in the next.
    """
    return 2 * b if runs.offsets[run] < begin else 2 * b + 1


@compiled
def cut_run(runs: Runs, begin: int, end: int) -> int:
    """The run that begins in the block `begin : end` and continues in the next; -1 where there is none."""
    if begin < end:
        run = find(runs, end - 1)
        if runs.offsets[run] >= begin and runs.offsets[run + 1] > end:
            return run
    return -1


@compiled
def sum_partials(b: int, runs: Runs, blocks: Runs, partials: Pointer, low: int, high: int, width: int) -> int:
    """Sums the channels `low : high` of the partial results of the run that begins in block `b` and continues after it.

    `partials [2 * blocks, width]`, rows as `partial_row` gives; the sum is left in the run's first. `blocks` are the
    runs by which blocks end.

    Returns:
        The run, or -1 where there is none.
    """
    run = cut_run(runs, block_start(blocks, b), block_start(blocks, b + 1))
    if run >= 0:
        for other in range(b + 1, block_of(blocks, runs.offsets[run + 1] - 1) + 1):
            add(at(partials, 2 * other * width + low), high - low, at(partials, (2 * b + 1) * width + low))
    return run
