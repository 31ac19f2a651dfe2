"""Segment max-pooling, local max-pooling and pooling fusion backward, in Numba: one pass over tokens."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ponet.ops.autograd import LayoutTensors
from ponet.ops.numba.blocks import BLOCK_NUMBERS, PIECE, block_of, block_start, find, partial_row, sum_partials
from ponet.ops.numba.kernel import (
    ZERO,
    Accumulator,
    Int32,
    Kernel,
    Launch,
    PerThread,
    Pointer,
    Scratch,
    Storage,
    add,
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
from ponet.ops.numba.segment_local import Tokens, neighbours, token_at
from ponet.ops.reference import accumulator

_ROWS = 7
"""Rows of a thread's scratch memory: two sums, a factor, two unfinished gradients, and two of the storage type."""


class _FusionBackward(NamedTuple):
    tokens: Tokens
    blocks: int
    T: int
    d: int
    dy: Storage
    g: Storage
    projections: Storage
    top: Storage
    argmax: Int32
    dg: Storage
    dprojections: Storage
    partials: Accumulator
    document_partials: Accumulator
    scratch: PerThread


def segment_local_fusion_backward(
    dy: Tensor, g: Tensor, projections: Tensor, top: Tensor, argmax: Tensor, layout: LayoutTensors
) -> tuple[Tensor, Tensor]:
    """See `ponet.ops.autograd.Kernels`."""
    T, d = dy.shape
    dg, dprojections = torch.zeros_like(g), torch.empty_like(projections)
    if T and d:
        block = max(16, BLOCK_NUMBERS // d)
        blocks, size = (T + block - 1) // block, accumulator(g.dtype).itemsize
        fields = _FusionBackward(
            Tokens.of(layout, block),
            *(blocks, T, d, dy, g, projections, top, argmax, dg, dprojections),
            partials=Scratch(2 * blocks * d * size),
            document_partials=Scratch(2 * blocks * d * size),
            scratch=per_thread(_ROWS * d, size),
        )
        launch = Launch(_fusion_backward, g.dtype, fields)
        launch.run(0, blocks, 6 * dy.numel())
        launch.run(1, (d + PIECE - 1) // PIECE, 2 * blocks * d)
        if launch.cut:
            launch.run(2, blocks, dy.numel())
    return dg, dprojections


@Kernel
def _fusion_backward(like: Pointer) -> None:
    run_tasks(_step, arguments(_FusionBackward, like), like)


@compiled
def _step(step: int, task: int, a: _FusionBackward, scratch: Pointer) -> bool:
    """Fills `dg`, given as zeros, and `dprojections`. Step 0, a task a block: all but what sums over cut segments and
    documents are needed for; step 1, a task a piece of the width: these sums; step 2, a task a block: the gradients of
    `s` in cut segments."""
    if step == 0:
        return _gradients_of_block(task, a, scratch)
    documents, segments, d = a.tokens.documents, a.tokens.segments, a.d
    if step == 1:
        low, high = task * PIECE, min((task + 1) * PIECE, d)
        for b in range(a.blocks):
            sum_partials(b, segments, segments, a.partials, low, high, d)
            document = sum_partials(b, documents, segments, a.document_partials, low, high, d)
            if document >= 0:
                copy(at(a.document_partials, (2 * b + 1) * d + low), high - low, at(a.dg, document * d + low))
    else:
        _route_cut_segments(task, a)
    return False


@compiled
def _gradients_of_block(b: int, a: _FusionBackward, scratch: Pointer) -> bool:
    """Of `o` and `l`; of `s` and `g` where the whole segment or document lies in the block, else partial sums.

    Returns:
        Whether the block cuts a segment.
    """
    d, documents, segments = a.d, a.tokens.documents, a.tokens.segments
    begin, end = block_start(segments, b), block_start(segments, b + 1)
    total, document_total, factor, windows = scratch, at(scratch, d), at(scratch, 2 * d), at(scratch, 3 * d)
    nothing = pointer_like(a.dy, address_of(at(scratch, 5 * d)))
    fill(nothing, d, -np.inf)
    fill(windows, 2 * d, 0)
    if begin > 0:  # what the window of the token before the block gives to the block's first
        _window(begin - 1, begin, a, windows, nothing)
    segment, document, cut = find(segments, begin), find(documents, begin), False
    fill(document_total, d, 0)
    first = begin
    while first < end:
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        last = min(stop, end)
        _start_run(at(a.g, document * d), at(a.top, segment * d), d, factor, total)
        _gradients_of_run(first, last, at(a.g, document * d), a, factor, total, document_total)
        add(total, d, document_total)
        whole = first == start and last == stop
        if not whole:
            cut = True
            copy(total, d, at(a.partials, partial_row(segments, segment, b, begin) * d))
        # A token's `ds` and `dl` after the other, while they and what was read for them are in the cache
        for place in range(first, last):
            if whole:
                _route(segment, token_at(place, a.tokens), total, a)
            _window(place, begin, a, windows, nothing)
        first = last
        segment += 1
        if first == end or first == documents.offsets[document + 1]:
            if documents.offsets[document] >= begin and documents.offsets[document + 1] <= end:
                copy(document_total, d, at(a.dg, document * d))
            else:
                copy(document_total, d, at(a.document_partials, partial_row(documents, document, b, begin) * d))
            fill(document_total, d, 0)
            document = find(documents, first)
    _window(end, begin, a, windows, nothing)
    return cut


# --- Of `o`, and the sums over segments and documents ----------------------------------------------------------------


@inlined
def _gradients_of_run(
    first: int, last: int, g: Pointer, a: _FusionBackward, factor: Pointer, total: Pointer, document_total: Pointer
) -> None:
    """Of `o`; and the sums of `dy * o`, those of special tokens in `document_total`."""
    for place in range(first, last):
        token = token_at(place, a.tokens)
        dy, o, do = at(a.dy, token * a.d), at(a.projections, 3 * token * a.d), at(a.dprojections, 3 * token * a.d)
        if a.tokens.has_special and a.tokens.special[token]:
            _gradient_of_product(dy, g, o, a.d, do, document_total)
        else:
            _gradient_of_fused(dy, factor, o, a.d, do, total)


@loop
def _start_run(g: Pointer, top: Pointer, d: int, factor: Pointer, total: Pointer) -> None:
    for c in range(d):
        factor[c] = load(g, c) + load(top, c)
        total[c] = 0


@loop
def _gradient_of_product(dy: Pointer, g: Pointer, o: Pointer, d: int, do: Pointer, total: Pointer) -> None:
    for c in range(d):
        gradient = load(dy, c)
        store(do, c, gradient * load(g, c))
        total[c] += gradient * load(o, c)


@loop
def _gradient_of_fused(dy: Pointer, factor: Pointer, o: Pointer, d: int, do: Pointer, total: Pointer) -> None:
    for c in range(d):
        gradient = load(dy, c)
        store(do, c, gradient * factor[c])
        total[c] += gradient * load(o, c)


# --- Of `s` ----------------------------------------------------------------------------------------------------------


@inlined
def _route(segment: int, token: int, totals: Pointer, a: _FusionBackward) -> None:
    """Gives a token the gradient of each of its segment's maxima that it holds, and 0 elsewhere."""
    _give(totals, at(a.argmax, segment * a.d), np.int32(token), a.d, at(a.dprojections, (3 * token + 1) * a.d))


@loop
def _give(totals: Pointer, holders: Pointer, token: Any, d: int, ds: Pointer) -> None:
    for c in range(d):
        gradient = totals[c]
        store(ds, c, gradient if holders[c] == token else ZERO)


@compiled
def _route_cut_segments(b: int, a: _FusionBackward) -> None:
    segments = a.tokens.segments
    begin, end = block_start(segments, b), block_start(segments, b + 1)
    first, last = find(segments, begin), find(segments, end - 1)
    for segment in (first, last):
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        if start < begin or stop > end:
            totals = at(a.partials, (2 * block_of(segments, start) + 1) * a.d)
            for place in range(max(start, begin), min(stop, end)):
                _route(segment, token_at(place, a.tokens), totals, a)
        if first == last:
            break


# --- Of `l` ----------------------------------------------------------------------------------------------------------


@inlined
def _window(token: int, begin: int, a: _FusionBackward, windows: Pointer, nothing: Pointer) -> None:
    """The window of a token gives its gradient to the first that wins it, which completes the left neighbour's.

    `windows [2, d]` are the unfinished gradients of the left neighbour and of the token. The left neighbour's is
    dropped where that is not in the block that starts at `begin`.
    """
    d, tokens = a.d, a.tokens
    of_left, of_own = windows, at(windows, d)
    dropped = pointer_like(a.dy, address_of(at(windows, 3 * d)))
    dl = at(a.dprojections, (3 * token - 1) * d) if token > begin else dropped
    if token == a.T or (tokens.has_special and tokens.special[token]):
        _gradient_of_no_window(of_left, of_own, d, dl)
    else:
        l = at(a.projections, (3 * token + 2) * d)  # noqa: E741
        left, right = neighbours(token, tokens)
        left_l, right_l = at(l, -3 * d) if left else nothing, at(l, 3 * d) if right else nothing
        _gradient_of_window(at(a.dy, token * d), left_l, l, right_l, left, right, of_left, of_own, d, dl)


@loop
def _gradient_of_no_window(of_left: Pointer, of_own: Pointer, d: int, dl: Pointer) -> None:
    for c in range(d):
        gradient = of_own[c]
        store(dl, c, of_left[c])
        of_left[c] = gradient
        of_own[c] = ZERO


@loop
def _gradient_of_window(
    dy: Pointer,
    left: Pointer,
    l: Pointer,  # noqa: E741
    right: Pointer,
    has_left: bool,
    has_right: bool,
    of_left: Pointer,
    of_own: Pointer,
    d: int,
    dl: Pointer,
) -> None:
    """The gradient of one window; infinities win where there is no neighbour, so that it is dropped then."""
    for c in range(d):
        gradient = load(dy, c)
        at_left, at_own, at_right = load(left, c), load(l, c), load(right, c)
        from_left = at_left >= at_own
        best = at_left if from_left else at_own
        stays = best >= at_right
        store(dl, c, of_left[c] + (gradient if from_left & stays & has_left else ZERO))
        of_left[c] = of_own[c] + (ZERO if from_left | (not stays) else gradient)
        of_own[c] = ZERO if stays | (not has_right) else gradient
