"""Segment max-pooling, local max-pooling and pooling fusion, in Numba: one pass over tokens.

The pass goes through the tokens in the order of their segments. The tokens of a segment that is cut by the end of a
block are finished in a second walk, when its maxima are known. Where several numbers tie for a maximum the first wins.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ponet.ops.autograd import LayoutTensors
from ponet.ops.numba.blocks import BLOCK_NUMBERS, PIECE, Runs, block_of, block_start, cut_run, find, partial_row
from ponet.ops.numba.kernel import (
    Accumulator,
    Bool,
    Int32,
    Int64,
    Kernel,
    Launch,
    PerThread,
    Pointer,
    Scratch,
    Storage,
    address_of,
    arguments,
    at,
    compiled,
    copy,
    fill,
    inlined,
    load,
    loop,
    per_thread,
    pointer_like,
    run_tasks,
    store,
)
from ponet.ops.reference import accumulator


class Tokens(NamedTuple):
    """What a `Layout` says of tokens."""

    documents: Runs
    segments: Runs
    order: Int64
    is_sorted: bool
    """Whether tokens lie sorted by segment; there is no `order` then."""
    joins_next: Bool
    special: Bool
    has_special: bool

    @classmethod
    def of(cls, layout: LayoutTensors, block: int) -> "Tokens":
        """Of a layout, with the length of the blocks."""
        return cls(
            Runs(layout.cu_seqlens, layout.cu_seqlens.shape[0] - 1, block),
            Runs(layout.cu_segments, layout.cu_segments.shape[0] - 1, block),
            order=layout.segment_order,
            is_sorted=layout.segment_order is None,
            joins_next=layout.joins_next,
            special=layout.special,
            has_special=layout.special is not None,
        )


class _Fusion(NamedTuple):
    tokens: Tokens
    blocks: int
    d: int
    g: Storage
    projections: Storage
    y: Storage
    save_maxima: bool
    top: Storage
    argmax: Int32
    partials: Accumulator
    holders: Int32
    """Of the partial maxima."""
    scratch: PerThread


def segment_local_fusion(
    g: Tensor, projections: Tensor, layout: LayoutTensors, save_maxima: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """See `ponet.ops.autograd.Kernels`."""
    (T, d), S = (projections.shape[0], g.shape[1]), layout.cu_segments.shape[0] - 1
    rows = S if save_maxima else 0
    y, top, argmax = g.new_empty(T, d), g.new_empty(rows, d), g.new_empty(rows, d, dtype=torch.int32)
    if T and d:
        block = max(16, BLOCK_NUMBERS // d)
        blocks, size = (T + block - 1) // block, accumulator(g.dtype).itemsize
        partials = 2 * blocks * d if S < T else 0  # segments of one token are never cut
        fields = _Fusion(
            Tokens.of(layout, block),
            *(blocks, d, g, projections, y, save_maxima, top, argmax),
            partials=Scratch(partials * size),
            holders=Scratch(partials * 4),
            scratch=per_thread(4 * d, size),
        )
        launch = Launch(_fusion, g.dtype, fields)
        launch.run(0, blocks, 4 * y.numel())
        if launch.cut:
            launch.run(1, (d + PIECE - 1) // PIECE, blocks * d)
            launch.run(2, blocks, 3 * y.numel())
    return y, top, argmax


@Kernel
def _fusion(like: Pointer) -> None:
    run_tasks(_step, arguments(_Fusion, like), like)


@compiled
def _step(step: int, task: int, a: _Fusion, scratch: Pointer) -> bool:
    """Fills `y`, and if `save_maxima` also `top` and `argmax`. Step 0, a task a block: all but what needs the maxima of
    segments that are cut; step 1, a task a piece of the width: these maxima; step 2, a task a block: these segments'
    tokens."""
    if step == 1:
        low, high = task * PIECE, min((task + 1) * PIECE, a.d)
        for b in range(a.blocks):
            _combine_partials(b, low, high, a)
        return False
    nothing = pointer_like(a.y, address_of(at(scratch, 3 * a.d)))
    fill(nothing, a.d, -np.inf)
    if step == 0:
        return _fusion_of_block(task, a, scratch, nothing)
    _fuse_cut_segments(task, a, scratch, nothing)
    return False


@compiled
def _fusion_of_block(b: int, a: _Fusion, scratch: Pointer, nothing: Pointer) -> bool:
    """Step 0 of a block; whether it cuts a segment. `nothing` is a row of -inf."""
    d, documents, segments = a.d, a.tokens.documents, a.tokens.segments
    begin, end = block_start(segments, b), block_start(segments, b + 1)
    segment, document, cut = find(segments, begin), find(documents, begin), False
    first = begin
    while first < end:
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        last = min(stop, end)
        if first == start and last == stop:
            while first >= documents.offsets[document + 1]:
                document += 1
            maxima, holders = scratch, pointer_like(a.argmax, address_of(at(scratch, d)))
            _maxima(first, last, a, a.save_maxima, maxima, holders)
            if a.save_maxima:
                copy(maxima, d, at(a.top, segment * d))
                copy(holders, d, at(a.argmax, segment * d))
            _fuse_run(document, first, last, a, maxima, at(scratch, 2 * d), nothing)
        else:
            cut = True
            row = partial_row(segments, segment, b, begin) * d
            _maxima(first, last, a, True, at(a.partials, row), at(a.holders, row))
        first = last
        segment += 1
    return cut


@inlined
def token_at(place: int, tokens: Tokens) -> int:
    """The token at a place in the order of segments."""
    return place if tokens.is_sorted else tokens.order[place]


# --- Segment maxima --------------------------------------------------------------------------------------------------


@inlined
def _maxima(first: int, last: int, a: _Fusion, save_maxima: bool, maxima: Pointer, holders: Pointer) -> None:
    """The maxima of `s` over the places `first : last` of one segment; if `save_maxima`, the tokens that hold them."""
    d, token = a.d, token_at(first, a.tokens)
    copy(at(a.projections, (3 * token + 1) * d), d, maxima)
    if save_maxima:
        fill(holders, d, np.int32(token))
    # Four rows at a time: their first lines, which no processor foresees, are then waited for all at once.
    four = last - (last - first - 1) % 4
    for place in range(first + 1, four, 4):
        t0, t1, t2, t3 = place, place + 1, place + 2, place + 3
        if not a.tokens.is_sorted:
            t0, t1, t2, t3 = a.tokens.order[t0], a.tokens.order[t1], a.tokens.order[t2], a.tokens.order[t3]
        s = at(a.projections, d)
        s0, s1, s2, s3 = at(s, 3 * t0 * d), at(s, 3 * t1 * d), at(s, 3 * t2 * d), at(s, 3 * t3 * d)
        if save_maxima:
            k0, k1, k2, k3 = np.int32(t0), np.int32(t1), np.int32(t2), np.int32(t3)
            _take_greatest_of_four(s0, s1, s2, s3, k0, k1, k2, k3, d, maxima, holders)
        else:
            _greatest_of_four(s0, s1, s2, s3, d, maxima)
    for place in range(four, last):
        token = token_at(place, a.tokens)
        s = at(a.projections, (3 * token + 1) * d)
        if save_maxima:
            _take_greater(s, d, np.int32(token), maxima, holders)
        else:
            _greater_of(s, d, maxima)


@compiled
def _beats(value: Any, best: Any) -> bool:
    """Whether a later number takes the maximum: only a greater one does, or the first NaN."""
    return (not (value <= best)) & (best == best)


@compiled
def _greater(best: Any, value: Any) -> Any:
    """The maximum, by `_beats`."""
    return value if _beats(value, best) else best


@loop
def _take_greater(s: Pointer, d: int, token: Any, maxima: Pointer, holders: Pointer) -> None:
    for c in range(d):
        value, best = load(s, c), maxima[c]
        better = _beats(value, best)
        maxima[c] = value if better else best
        holders[c] = token if better else holders[c]


@loop
def _greater_of(s: Pointer, d: int, maxima: Pointer) -> None:
    for c in range(d):
        maxima[c] = _greater(maxima[c], load(s, c))


@loop
def _take_greatest_of_four(
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
    holders: Pointer,
) -> None:
    for c in range(d):
        best, holder = maxima[c], holders[c]
        v0, v1, v2, v3 = load(s0, c), load(s1, c), load(s2, c), load(s3, c)
        holder, best = t0 if _beats(v0, best) else holder, _greater(best, v0)
        holder, best = t1 if _beats(v1, best) else holder, _greater(best, v1)
        holder, best = t2 if _beats(v2, best) else holder, _greater(best, v2)
        holder, best = t3 if _beats(v3, best) else holder, _greater(best, v3)
        maxima[c], holders[c] = best, holder


@loop
def _greatest_of_four(s0: Pointer, s1: Pointer, s2: Pointer, s3: Pointer, d: int, maxima: Pointer) -> None:
    for c in range(d):
        best = _greater(_greater(maxima[c], load(s0, c)), load(s1, c))
        maxima[c] = _greater(_greater(best, load(s2, c)), load(s3, c))


@loop
def _take_greater_partial(values: Pointer, held: Pointer, n: int, maxima: Pointer, holders: Pointer) -> None:
    for c in range(n):
        value, best = values[c], maxima[c]
        better = _beats(value, best)
        maxima[c] = value if better else best
        holders[c] = held[c] if better else holders[c]


@compiled
def _combine_partials(b: int, low: int, high: int, a: _Fusion) -> None:
    """As `sum_partials`, for maxima; a later block's is taken only where it is greater."""
    d, segments = a.d, a.tokens.segments
    segment = cut_run(segments, block_start(segments, b), block_start(segments, b + 1))
    if segment < 0:
        return
    own, n = (2 * b + 1) * d + low, high - low
    for other in range(b + 1, block_of(segments, segments.offsets[segment + 1] - 1) + 1):
        row = 2 * other * d + low
        _take_greater_partial(at(a.partials, row), at(a.holders, row), n, at(a.partials, own), at(a.holders, own))
    if a.save_maxima:
        copy(at(a.partials, own), n, at(a.top, segment * d + low))
        copy(at(a.holders, own), n, at(a.argmax, segment * d + low))


# --- Local maxima and fusion -----------------------------------------------------------------------------------------


@compiled
def _fuse_cut_segments(b: int, a: _Fusion, scratch: Pointer, nothing: Pointer) -> None:
    documents, segments = a.tokens.documents, a.tokens.segments
    begin, end = block_start(segments, b), block_start(segments, b + 1)
    first, last = find(segments, begin), find(segments, end - 1)
    for segment in (first, last):
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        if start < begin or stop > end:
            document = find(documents, start)
            maxima = at(a.partials, (2 * block_of(segments, start) + 1) * a.d)
            _fuse_run(document, max(start, begin), min(stop, end), a, maxima, scratch, nothing)
        if first == last:
            break


@inlined
def _fuse_run(
    document: int, first: int, last: int, a: _Fusion, maxima: Pointer, factor: Pointer, nothing: Pointer
) -> None:
    """`y = (g + maxima) * o + max(l)` for the places `first : last` of one segment; `g * o` where special."""
    d, tokens = a.d, a.tokens
    _sum(at(a.g, document * d), maxima, d, factor)
    place = first
    while place < last:
        token = token_at(place, tokens)
        o = at(a.projections, 3 * token * d)
        place += 1
        if tokens.has_special and tokens.special[token]:
            _product(at(a.g, document * d), o, d, at(a.y, token * d))
            continue
        l = at(o, 2 * d)  # noqa: E741
        left, right = neighbours(token, tokens)
        left_l = at(l, -3 * d) if left else nothing
        if right and tokens.is_sorted and place < last:  # two tokens at a time, which share what is loaded
            _, right = neighbours(token + 1, tokens)
            right_l = at(l, 6 * d) if right else nothing
            _fuse_pair(factor, o, at(o, 3 * d), left_l, l, at(l, 3 * d), right_l, d, at(a.y, token * d))
            place += 1
        else:
            _fuse(factor, o, left_l, l, at(l, 3 * d) if right else nothing, d, at(a.y, token * d))


@inlined
def neighbours(token: int, tokens: Tokens) -> tuple[bool, bool]:
    """Whether the tokens to the left and right are in a token's window."""
    left = token > 0 and tokens.joins_next[token - 1] and not (tokens.has_special and tokens.special[token - 1])
    right = tokens.joins_next[token] and not (tokens.has_special and tokens.special[token + 1])
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
    """The maximum, the first where tied, as the reference's local max-pooling has it."""
    return best if best >= value else value
