"""SMP, LMP and PF backward, in Numba: one pass over packed tokens, as `ponet.ops.numba.segment_local`'s."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ponet.ops.autograd import Places
from ponet.ops.numba.blocks import BLOCK_NUMBERS, PIECE, Runs, block_of, border, find, slot, sum_parts
from ponet.ops.numba.segment_local import Order, described, joined, places_at
from ponet.ops.numba.threads import COUNT, CUT, STEP, TASKS, WORKERS, Call, address, take
from ponet.ops.numba.tools import (
    ZERO,
    Kernel,
    Pointer,
    add,
    address_of,
    at,
    compiled,
    copy,
    fill,
    integers,
    load,
    loop,
    store,
    stored,
    sums,
    tokens,
)
from ponet.ops.reference import accumulator

_ROWS = 7
"""Rows of a worker's scratch: two sums, a factor, two gradients to come, and two of the storage type."""


def pool_and_fuse_backward(
    dy: Tensor, g: Tensor, projections: Tensor, top: Tensor, argmax: Tensor, places: Places
) -> tuple[Tensor, Tensor]:
    """`library.Kernels.pool_and_fuse_backward`."""
    T, d = dy.shape
    dg, dprojections = torch.zeros_like(g), torch.empty_like(projections)
    if T and d:
        block = max(16, BLOCK_NUMBERS // d)
        blocks = (T + block - 1) // block
        size = accumulator(g.dtype).itemsize
        call = Call(
            _pool_and_fuse_backward,
            g.dtype,
            *(block, d, T, *described(places), address(dy), address(g)),
            *(address(projections), address(top), address(argmax), address(dg), address(dprojections)),
            rooms=(2 * blocks * d * size, 2 * blocks * d * size),
            scratch=_ROWS * d * size,
        )
        call.run(0, blocks, 6 * dy.numel())
        call.run(1, (d + PIECE - 1) // PIECE, 2 * blocks * d)
        if call.cut:
            call.run(2, blocks, dy.numel())
    return dg, dprojections


@Kernel
def _pool_and_fuse_backward(like: Pointer) -> None:
    """Fills `dg` (given as zeros) and `dprojections`.

    Step 0, a task a block, does all but what sums over cut segments and documents are needed for, and makes `CUT` 1
    where a segment is cut; step 1, a task a piece of the width, makes these sums; step 2, a task a block,
    hands them to tokens.
    """
    numbers = integers(address_of(like))
    block, d, T = numbers[5], numbers[6], numbers[7]
    documents, segments, order = places_at(numbers, 8, block)
    dy, g, projections = stored(numbers[15], like), stored(numbers[16], like), stored(numbers[17], like)
    top, argmax = stored(numbers[18], like), tokens(numbers[19])
    dg, dprojections = stored(numbers[20], like), stored(numbers[21], like)
    parts, document_parts = sums(numbers[22], like), sums(numbers[23], like)
    scratch = at(sums(numbers[24], like), take(numbers, WORKERS) * _ROWS * d)
    tasks, step = numbers[TASKS], numbers[STEP]
    task = take(numbers, COUNT)
    while task < tasks:
        begin, end = border(segments, task), border(segments, task + 1)
        if step == 0:
            if _gradients_of_block(
                task, begin, end, T, d, dy, g, projections, top, argmax, documents, segments, order, dg, dprojections,
                parts, document_parts, scratch, like,
            ):  # fmt: skip
                numbers[CUT] = 1
        elif step == 1:
            low, high = task * PIECE, min((task + 1) * PIECE, d)
            for b in range((T + block - 1) // block):
                if numbers[CUT]:
                    sum_parts(b, segments, segments, parts, low, high, d)
                document = sum_parts(b, documents, segments, document_parts, low, high, d)
                if document >= 0:
                    copy(at(document_parts, (2 * b + 1) * d + low), high - low, at(dg, document * d + low))
        else:
            _route_cut_segments(begin, end, d, argmax, segments, order, parts, dprojections)
        task = take(numbers, COUNT)


@compiled
def _gradients_of_block(
    b: int,
    begin: int,
    end: int,
    T: int,
    d: int,
    dy: Pointer,
    g: Pointer,
    projections: Pointer,
    top: Pointer,
    argmax: Pointer,
    documents: Runs,
    segments: Runs,
    order: Order,
    dg: Pointer,
    dprojections: Pointer,
    parts: Pointer,
    document_parts: Pointer,
    scratch: Pointer,
    like: Any,
) -> bool:
    """Of `o` and `l`; of `s` and `g` where the whole segment or document lies in the block, else this block's part.

    Returns:
        Whether the block cuts a segment.
    """
    total, document_total, factor, windows = scratch, at(scratch, d), at(scratch, 2 * d), at(scratch, 3 * d)
    nothing = stored(address_of(at(scratch, 5 * d)), like)
    fill(nothing, d, -np.inf)
    _start_windows(begin, d, dy, projections, order, windows, nothing, like)
    segment, document, cut = find(segments, begin), find(documents, begin), False
    fill(document_total, d, 0)
    first = begin
    while first < end:
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        last = min(stop, end)
        _start_run(at(g, document * d), at(top, segment * d), d, factor, total)
        _of_run(
            first, last, d, dy, at(g, document * d), projections, order, factor, total, document_total, dprojections
        )
        add(total, d, document_total)
        whole = first == start and last == stop
        if not whole:
            cut = True
            copy(total, d, at(parts, slot(segments, segment, b, begin) * d))
        # A token's `ds` and `dl` after the other, while they and what was read for them are in the cache
        for place in range(first, last):
            if whole:
                token = place if order.sorted else order.order[place]
                _give(total, at(argmax, segment * d), np.int32(token), d, at(dprojections, (3 * token + 1) * d))
            _window(place, begin, T, d, dy, projections, order, windows, nothing, dprojections, like)
        first = last
        segment += 1
        if first == end or first == documents.offsets[document + 1]:
            if documents.offsets[document] >= begin and documents.offsets[document + 1] <= end:
                copy(document_total, d, at(dg, document * d))
            else:
                copy(document_total, d, at(document_parts, slot(documents, document, b, begin) * d))
            fill(document_total, d, 0)
            document = find(documents, first)
    _window(end, begin, T, d, dy, projections, order, windows, nothing, dprojections, like)
    return cut


@compiled
def _of_run(
    first: int,
    last: int,
    d: int,
    dy: Pointer,
    g: Pointer,
    projections: Pointer,
    order: Order,
    factor: Pointer,
    total: Pointer,
    document_total: Pointer,
    dprojections: Pointer,
) -> None:
    """Of `o`; and the sums of `dy * o`, those of special tokens in `document_total`."""
    for place in range(first, last):
        token = place if order.sorted else order.order[place]
        here = 3 * token * d
        if order.any_special and order.special[token]:
            _of_product(at(dy, token * d), g, at(projections, here), d, at(dprojections, here), document_total)
        else:
            _of_fused(at(dy, token * d), factor, at(projections, here), d, at(dprojections, here), total)


@loop
def _start_run(g: Pointer, top: Pointer, d: int, factor: Pointer, total: Pointer) -> None:
    for c in range(d):
        factor[c] = load(g, c) + load(top, c)
        total[c] = 0


@loop
def _of_product(dy: Pointer, g: Pointer, o: Pointer, d: int, do: Pointer, total: Pointer) -> None:
    for c in range(d):
        gradient = load(dy, c)
        store(do, c, gradient * load(g, c))
        total[c] += gradient * load(o, c)


@loop
def _of_fused(dy: Pointer, factor: Pointer, o: Pointer, d: int, do: Pointer, total: Pointer) -> None:
    for c in range(d):
        gradient = load(dy, c)
        store(do, c, gradient * factor[c])
        total[c] += gradient * load(o, c)


@compiled
def _route(
    segment: int,
    first: int,
    last: int,
    d: int,
    argmax: Pointer,
    order: Order,
    totals: Pointer,
    dprojections: Pointer,
) -> None:
    """Gives the tokens of a run the gradient of each of their segment's maxima that they hold, and 0 elsewhere."""
    for place in range(first, last):
        token = place if order.sorted else order.order[place]
        _give(totals, at(argmax, segment * d), np.int32(token), d, at(dprojections, (3 * token + 1) * d))


@loop
def _give(totals: Pointer, holders: Pointer, token: Any, d: int, ds: Pointer) -> None:
    for c in range(d):
        gradient = totals[c]
        store(ds, c, gradient if holders[c] == token else ZERO)


@compiled
def _route_cut_segments(
    begin: int,
    end: int,
    d: int,
    argmax: Pointer,
    segments: Runs,
    order: Order,
    parts: Pointer,
    dprojections: Pointer,
) -> None:
    first, last = find(segments, begin), find(segments, end - 1)
    for segment in (first, last):
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        if start < begin or stop > end:
            totals = at(parts, (2 * block_of(segments, start) + 1) * d)
            _route(segment, max(start, begin), min(stop, end), d, argmax, order, totals, dprojections)
        if first == last:
            break


@compiled
def _start_windows(
    begin: int, d: int, dy: Pointer, projections: Pointer, order: Order, windows: Pointer, nothing: Pointer, like: Any
) -> None:
    """What the window of the token before a block's first gives to that: `windows [2, d]`, the gradients so far of the
    left neighbour and of the token of the window that is next."""
    fill(windows, 2 * d, 0)
    if begin > 0:
        _window(begin - 1, begin, begin + 1, d, dy, projections, order, windows, nothing, projections, like)


@compiled
def _window(
    token: int,
    begin: int,
    T: int,
    d: int,
    dy: Pointer,
    projections: Pointer,
    order: Order,
    windows: Pointer,
    nothing: Pointer,
    dprojections: Pointer,
    like: Any,
) -> None:
    """Of `l`: the window of a token gives its gradient to the first that wins it, which completes the left neighbour's.

    Where that is not in the block that starts at `begin`, it is dropped.
    """
    of_left, of_own = windows, at(windows, d)
    dropped = stored(address_of(at(windows, 3 * d)), like)
    dl = at(dprojections, (3 * token - 1) * d) if token > begin else dropped
    if token == T or (order.any_special and order.special[token]):
        _of_no_window(of_left, of_own, d, dl)
    else:
        l = at(projections, (3 * token + 2) * d)  # noqa: E741
        left, right = joined(token, order)
        left_l, right_l = at(l, -3 * d) if left else nothing, at(l, 3 * d) if right else nothing
        _of_window(at(dy, token * d), left_l, l, right_l, left, right, of_left, of_own, d, dl)


@loop
def _of_no_window(of_left: Pointer, of_own: Pointer, d: int, dl: Pointer) -> None:
    for c in range(d):
        gradient = of_own[c]
        store(dl, c, of_left[c])
        of_left[c] = gradient
        of_own[c] = ZERO


@loop
def _of_window(
    dy: Pointer,
    left: Pointer,
    l: Pointer,  # noqa: E741
    right: Pointer,
    any_left: bool,
    any_right: bool,
    of_left: Pointer,
    of_own: Pointer,
    d: int,
    dl: Pointer,
) -> None:
    """Hands out the gradient of one window; infinities win where there is no neighbour, so that it is dropped then."""
    for c in range(d):
        gradient = load(dy, c)
        at_left, at_own, at_right = load(left, c), load(l, c), load(right, c)
        from_left = at_left >= at_own
        best = at_left if from_left else at_own
        stays = best >= at_right
        store(dl, c, of_left[c] + (gradient if from_left & stays & any_left else ZERO))
        of_left[c] = of_own[c] + (ZERO if from_left | (not stays) else gradient)
        of_own[c] = ZERO if stays | (not any_right) else gradient
