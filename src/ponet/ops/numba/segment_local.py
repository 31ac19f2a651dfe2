"""SMP, LMP and PF forward, in Numba: one pass over packed tokens (see `ponet.ops.reference`).

The pass goes through the tokens in the order of their segments, block by block; the part of a segment in a block is a
run. A segment within a block is done with at once, while its numbers are in the cache. One longer than a block is put
together from its runs first, and its tokens are finished in a second walk, so that it is as parallel as many short
ones. Where several numbers tie for a maximum the first wins.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ponet.ops.autograd import Places
from ponet.ops.numba.blocks import BLOCK_NUMBERS, PIECE, Runs, block_of, border, find, going_on, slot
from ponet.ops.numba.threads import COUNT, CUT, STEP, TASKS, WORKERS, Call, address, take
from ponet.ops.numba.tools import (
    Kernel,
    Pointer,
    address_of,
    at,
    beats,
    compiled,
    copy,
    fill,
    flags,
    greater,
    integers,
    load,
    loop,
    store,
    stored,
    sums,
    tokens,
)
from ponet.ops.reference import accumulator


class Order(NamedTuple):
    """In a kernel: what a `Layout` says of each token."""

    order: Pointer
    sorted: bool
    """Whether tokens lie sorted by segment, and there is no `order`."""
    joins_next: Pointer
    special: Pointer
    any_special: bool
    """Whether there is `special`."""


def pool_and_fuse(g: Tensor, projections: Tensor, places: Places, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """`library.Kernels.pool_and_fuse`."""
    T, d = projections.shape[0], g.shape[1]
    S = places.cu_segments.shape[0] - 1 if keep else 0
    y, top, argmax = g.new_empty(T, d), g.new_empty(S, d), g.new_empty(S, d, dtype=torch.int32)
    if T and d:
        block = max(16, BLOCK_NUMBERS // d)
        blocks = (T + block - 1) // block
        # so long as no segment is longer than a block, there is nothing to put together
        size, rows = accumulator(g.dtype).itemsize, 2 * blocks if places.cu_segments.shape[0] - 1 < T else 0
        call = Call(
            _pool_and_fuse,
            g.dtype,
            *(block, d, T, *described(places), address(g), address(projections), address(y)),
            *(keep, address(top), address(argmax)),
            rooms=(rows * d * size, rows * d * 4),
            scratch=4 * d * size,
        )
        call.run(0, blocks, 4 * y.numel())
        if call.cut:
            call.run(1, (d + PIECE - 1) // PIECE, blocks * d)
            call.run(2, blocks, 3 * y.numel())
    return y, top, argmax


def described(places: Places) -> tuple[int, ...]:
    """The seven numbers that `places_at` reads."""
    return (
        *(address(places.cu_seqlens), places.cu_seqlens.shape[0] - 1),
        *(address(places.cu_segments), places.cu_segments.shape[0] - 1),
        *(address(places.segment_order), address(places.joins_next), address(places.special)),
    )


@compiled
def places_at(numbers: Pointer, i: int, block: int) -> Any:
    """Documents, segments and tokens from the addresses in `numbers[i:]`."""
    documents = Runs(integers(numbers[i]), numbers[i + 1], block)
    segments = Runs(integers(numbers[i + 2]), numbers[i + 3], block)
    order = Order(
        integers(numbers[i + 4]),
        numbers[i + 4] == 0,
        flags(numbers[i + 5]),
        flags(numbers[i + 6]),
        numbers[i + 6] != 0,
    )
    return documents, segments, order


@Kernel
def _pool_and_fuse(like: Pointer) -> None:
    """Fills `y`, and if `keep` also `top` and `argmax`.

    Step 0, a task a block, does all that needs no more than the block, and makes `CUT` 1 where a segment is
    cut; step 1, a task a piece of the width, puts cut segments' maxima together; step 2, a task a block, finishes their
    tokens.
    """
    numbers = integers(address_of(like))
    block, d, T = numbers[5], numbers[6], numbers[7]
    documents, segments, order = places_at(numbers, 8, block)
    g, projections, y = stored(numbers[15], like), stored(numbers[16], like), stored(numbers[17], like)
    keep, top, argmax = numbers[18] != 0, stored(numbers[19], like), tokens(numbers[20])
    parts, holders = sums(numbers[21], like), tokens(numbers[22])
    scratch = at(sums(numbers[23], like), take(numbers, WORKERS) * 4 * d)
    nothing = stored_beside(scratch, d, like)
    fill(nothing, d, -np.inf)
    tasks, step = numbers[TASKS], numbers[STEP]
    task = take(numbers, COUNT)
    while task < tasks:
        if step == 0:
            if _pool_block(
                task, d, g, projections, documents, segments, order, y, keep, top, argmax, parts, holders, scratch,
                nothing,
            ):  # fmt: skip
                numbers[CUT] = 1
        elif step == 1:
            low, high = task * PIECE, min((task + 1) * PIECE, d)
            for b in range((T + block - 1) // block):
                _max_of_parts(b, low, high, d, segments, keep, top, argmax, parts, holders)
        else:
            _fuse_cut_segments(task, d, g, projections, documents, segments, order, y, parts, scratch, nothing)
        task = take(numbers, COUNT)


@compiled
def stored_beside(scratch: Pointer, d: int, like: Any) -> Pointer:
    """The last `d` numbers of a worker's `[4 * d]`, as room for numbers of the storage type."""
    return stored(address_of(at(scratch, 3 * d)), like)


@compiled
def _pool_block(
    b: int,
    d: int,
    g: Pointer,
    projections: Pointer,
    documents: Runs,
    segments: Runs,
    order: Order,
    y: Pointer,
    keep: bool,
    top: Pointer,
    argmax: Pointer,
    parts: Pointer,
    holders: Pointer,
    scratch: Pointer,
    nothing: Pointer,
) -> bool:
    """Step 0 of a block; whether it cuts a segment."""
    begin, end = border(segments, b), border(segments, b + 1)
    segment, document, cut = find(segments, begin), find(documents, begin), False
    first = begin
    while first < end:
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        last = min(stop, end)
        if first == start and last == stop:
            while first >= documents.offsets[document + 1]:
                document += 1
            maxima, places = scratch, tokens(address_of(at(scratch, d)))
            _maxima_of_run(first, last, d, projections, order, keep, maxima, places)
            if keep:
                copy(maxima, d, at(top, segment * d))
                copy(places, d, at(argmax, segment * d))
            _fuse_run(
                document, first, last, d, g, projections, documents, order, maxima, at(scratch, 2 * d), y, nothing
            )
        else:
            cut = True
            row = slot(segments, segment, b, begin) * d
            _maxima_of_run(first, last, d, projections, order, True, at(parts, row), at(holders, row))
        first = last
        segment += 1
    return cut


@compiled
def _maxima_of_run(
    first: int, last: int, d: int, projections: Pointer, order: Order, keep: bool, maxima: Pointer, places: Pointer
) -> None:
    """The maxima of `s` over the tokens `first : last` of one segment, and, if `keep`, the tokens that hold them."""
    token = first if order.sorted else order.order[first]
    copy(at(projections, (3 * token + 1) * d), d, maxima)
    if keep:
        fill(places, d, np.int32(token))
    # Four rows at a time: their first lines, which no processor foresees, are then waited for all at once.
    four = last - (last - first - 1) % 4
    for place in range(first + 1, four, 4):
        t0, t1, t2, t3 = place, place + 1, place + 2, place + 3
        if not order.sorted:
            t0, t1, t2, t3 = order.order[t0], order.order[t1], order.order[t2], order.order[t3]
        s = at(projections, d)
        s0, s1, s2, s3 = at(s, 3 * t0 * d), at(s, 3 * t1 * d), at(s, 3 * t2 * d), at(s, 3 * t3 * d)
        if keep:
            k0, k1, k2, k3 = np.int32(t0), np.int32(t1), np.int32(t2), np.int32(t3)
            _take_greatest(s0, s1, s2, s3, k0, k1, k2, k3, d, maxima, places)
        else:
            _take_greatest_alone(s0, s1, s2, s3, d, maxima)
    for place in range(four, last):
        token = place if order.sorted else order.order[place]
        s = at(projections, (3 * token + 1) * d)
        if keep:
            _take_greater(s, d, np.int32(token), maxima, places)
        else:
            _take_greater_alone(s, d, maxima)


@loop
def _take_greater(s: Pointer, d: int, token: Any, maxima: Pointer, places: Pointer) -> None:
    for c in range(d):
        value, best = load(s, c), maxima[c]
        better = beats(value, best)
        maxima[c] = value if better else best
        places[c] = token if better else places[c]


@loop
def _take_greater_alone(s: Pointer, d: int, maxima: Pointer) -> None:
    for c in range(d):
        maxima[c] = greater(maxima[c], load(s, c))


@loop
def _take_greatest(
    s0: Pointer,
    s1: Pointer,
    s2: Pointer,
    s3: Pointer,
    t0: Any,
    t1: Any,
    t2: Any,
    t3: Any,
    d: int,
    maxima: Pointer,
    places: Pointer,
) -> None:
    for c in range(d):
        best, place = maxima[c], places[c]
        v0, v1, v2, v3 = load(s0, c), load(s1, c), load(s2, c), load(s3, c)
        place, best = t0 if beats(v0, best) else place, greater(best, v0)
        place, best = t1 if beats(v1, best) else place, greater(best, v1)
        place, best = t2 if beats(v2, best) else place, greater(best, v2)
        place, best = t3 if beats(v3, best) else place, greater(best, v3)
        maxima[c], places[c] = best, place


@loop
def _take_greatest_alone(s0: Pointer, s1: Pointer, s2: Pointer, s3: Pointer, d: int, maxima: Pointer) -> None:
    for c in range(d):
        best = greater(greater(maxima[c], load(s0, c)), load(s1, c))
        maxima[c] = greater(greater(best, load(s2, c)), load(s3, c))


@loop
def _take_greater_of(values: Pointer, held: Pointer, n: int, maxima: Pointer, places: Pointer) -> None:
    for c in range(n):
        value, best = values[c], maxima[c]
        better = beats(value, best)
        maxima[c] = value if better else best
        places[c] = held[c] if better else places[c]


@compiled
def _max_of_parts(
    b: int,
    low: int,
    high: int,
    d: int,
    segments: Runs,
    keep: bool,
    top: Pointer,
    argmax: Pointer,
    parts: Pointer,
    holders: Pointer,
) -> None:
    """As `sum_parts`, for maxima; a later block's is taken only where it is greater."""
    segment = going_on(segments, border(segments, b), border(segments, b + 1))
    if segment < 0:
        return
    own, n = (2 * b + 1) * d + low, high - low
    for other in range(b + 1, block_of(segments, segments.offsets[segment + 1] - 1) + 1):
        row = 2 * other * d + low
        _take_greater_of(at(parts, row), at(holders, row), n, at(parts, own), at(holders, own))
    if keep:
        copy(at(parts, own), n, at(top, segment * d + low))
        copy(at(holders, own), n, at(argmax, segment * d + low))


@compiled
def _fuse_cut_segments(
    b: int,
    d: int,
    g: Pointer,
    projections: Pointer,
    documents: Runs,
    segments: Runs,
    order: Order,
    y: Pointer,
    parts: Pointer,
    scratch: Pointer,
    nothing: Pointer,
) -> None:
    begin, end = border(segments, b), border(segments, b + 1)
    first, last = find(segments, begin), find(segments, end - 1)
    for segment in (first, last):
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        if start < begin or stop > end:
            document, maxima = find(documents, start), at(parts, (2 * block_of(segments, start) + 1) * d)
            start, stop = max(start, begin), min(stop, end)
            _fuse_run(document, start, stop, d, g, projections, documents, order, maxima, scratch, y, nothing)
        if first == last:
            break


@compiled
def _fuse_run(
    document: int,
    first: int,
    last: int,
    d: int,
    g: Pointer,
    projections: Pointer,
    documents: Runs,
    order: Order,
    maxima: Pointer,
    factor: Pointer,
    y: Pointer,
    nothing: Pointer,
) -> None:
    """`y = (g + maxima) * o + max(l)` for the tokens `first : last` of one segment; `g * o` where special."""
    _sum(at(g, document * d), maxima, d, factor)
    place = first
    while place < last:
        token = place if order.sorted else order.order[place]
        o = at(projections, 3 * token * d)
        place += 1
        if order.any_special and order.special[token]:
            _product(at(g, document * d), o, d, at(y, token * d))
            continue
        l = at(o, 2 * d)  # noqa: E741
        left, right = joined(token, order)
        left_l = at(l, -3 * d) if left else nothing
        if right and order.sorted and place < last:  # two tokens at a time, which share what is loaded
            _, right = joined(token + 1, order)
            right_l = at(l, 6 * d) if right else nothing
            _fuse_pair(factor, o, at(o, 3 * d), left_l, l, at(l, 3 * d), right_l, d, at(y, token * d))
            place += 1
        else:
            _fuse(factor, o, left_l, l, at(l, 3 * d) if right else nothing, d, at(y, token * d))


@compiled
def joined(token: int, order: Order) -> tuple[bool, bool]:
    """Whether the tokens to the left and right are in a token's window."""
    left = token > 0 and order.joins_next[token - 1] and not (order.any_special and order.special[token - 1])
    right = order.joins_next[token] and not (order.any_special and order.special[token + 1])
    return left, right


@loop
def _sum(g: Pointer, maxima: Pointer, d: int, factor: Pointer) -> None:
    for c in range(d):
        factor[c] = load(g, c) + load(maxima, c)


@loop
def _product(g: Pointer, o: Pointer, d: int, y: Pointer) -> None:
    for c in range(d):
        store(y, c, load(g, c) * load(o, c))


@loop
def _fuse(
    factor: Pointer,
    o: Pointer,
    left: Pointer,
    l: Pointer,  # noqa: E741
    right: Pointer,
    d: int,
    y: Pointer,
) -> None:
    for c in range(d):
        window = _first_of(_first_of(load(left, c), load(l, c)), load(right, c))
        store(y, c, factor[c] * load(o, c) + window)


@loop
def _fuse_pair(
    factor: Pointer,
    o0: Pointer,
    o1: Pointer,
    left: Pointer,
    l0: Pointer,
    l1: Pointer,
    right: Pointer,
    d: int,
    y: Pointer,
) -> None:
    """`_fuse` for two tokens that are each other's neighbours."""
    for c in range(d):
        own, other, scale = load(l0, c), load(l1, c), factor[c]
        window0 = _first_of(_first_of(load(left, c), own), other)
        window1 = _first_of(_first_of(own, other), load(right, c))
        store(y, c, scale * load(o0, c) + window0)
        store(y, d + c, scale * load(o1, c) + window1)


@compiled
def _first_of(best: Any, value: Any) -> Any:
    """The maximum, the first where tied, as the reference's LMP has it."""
    return best if best >= value else value
