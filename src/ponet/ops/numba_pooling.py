"""SMP, LMP and PF, forward and backward, in Numba: each a pass over packed tokens (see `ponet.ops.reference`).

A pass walks the tokens sorted by segment, block by block. The part of a segment in a block is a run. A segment within
one block is done with at once; one that crosses a border is combined from its runs first, and its tokens are finished
in a second walk. Where several numbers tie for a maximum the first wins, and a NaN beats all.
"""

import numpy as np
from numba import prange

from ponet.ops.numba_rows import Array, Rows, Runs, beats, compiled, find, load, store, sum_over_blocks


@compiled(parallel=True)
def pool_and_fuse(
    g: Array, o: Rows, s: Rows, l: Rows, runs: Runs, y: Array, top: Array, argmax: Array, partial: Array, places: Array
) -> None:
    """Fills `y`, and unless they are empty `top` and `argmax`, each segment's maxima and their tokens.

    Args:
        g: `[B * d]`. y: `[T * d]`. top: `[S * d]`. argmax: `[S * d]` int32.
        partial: `[blocks, 2, d]` for maxima in the accumulator's type. places: likewise, int32, for their tokens.
    """
    blocks, _, d = partial.shape
    slices = max(1, d // 64)
    for b in prange(blocks):
        _pool_whole_segments(np.int64(b), g, o, s, l, runs, y, top, argmax, partial, places)
    for task in prange(blocks * slices):
        _max_over_blocks(np.int64(task), slices, runs, top, argmax, partial, places)
    for b in prange(blocks):
        _fuse_cut_segments(np.int64(b), g, o, l, runs, y, partial)


@compiled(parallel=True)
def pool_and_fuse_backward(
    dy: Rows,
    g: Array,
    o: Rows,
    l: Rows,
    top: Array,
    argmax: Array,
    runs: Runs,
    dg: Array,
    do: Array,
    ds: Array,
    dl: Array,
    partial: Array,
    document_partial: Array,
) -> None:
    """Fills `dg [B * d]` (given as zeros), `do`, `ds` and `dl [T * d]`.

    Args:
        partial, document_partial: `[blocks, 2, d]` in the accumulator's type, for sums over segments and documents.
    """
    blocks, _, d = partial.shape
    slices = max(1, d // 64)
    for b in prange(blocks):
        _gradients_of_block(np.int64(b), dy, g, o, top, argmax, runs, dg, do, ds, partial, document_partial)
        _local_gradients(np.int64(b), dy, l, runs, dl, partial)
    for task in prange(blocks * slices):
        sum_over_blocks(np.int64(task), slices, runs.cu_segments, runs.block, partial)
        sum_over_blocks(np.int64(task), slices, runs.cu_seqlens, runs.block, document_partial)
    for b in prange(blocks):
        _route_cut_segments(np.int64(b), argmax, runs, dg, ds, partial, document_partial)


@compiled()
def _pool_whole_segments(
    b: int,
    g: Array,
    o: Rows,
    s: Rows,
    l: Rows,
    runs: Runs,
    y: Array,
    top: Array,
    argmax: Array,
    partial: Array,
    places: Array,
) -> None:
    d = partial.shape[2]
    begin, end = b * runs.block, min((b + 1) * runs.block, runs.joins_next.shape[0])
    maxima, tokens, factor = np.empty(d, partial.dtype), np.empty(d, np.int32), np.empty(d, partial.dtype)
    segment, document = find(runs.cu_segments, begin), find(runs.cu_seqlens, begin)
    first = begin
    while first < end:
        stop = runs.cu_segments[segment + 1]
        last = min(stop, end)
        _maxima_of_run(s, runs.order, first, last, top.shape[0] > 0, maxima, tokens)
        if first == runs.cu_segments[segment] and last == stop:
            while first >= runs.cu_seqlens[document + 1]:
                document += 1
            if top.shape[0] > 0:
                place = np.uint64(segment * d)
                for c in range(d):
                    store(top, place + c, maxima[c])
                    argmax[place + c] = tokens[c]
            _fuse_run(g, o, l, runs, document, first, last, maxima, factor, y)
        else:
            side = 0 if first > runs.cu_segments[segment] else 1
            for c in range(d):
                partial[b, side, c] = maxima[c]
                places[b, side, c] = tokens[c]
        first = last
        segment += 1


@compiled()
def _maxima_of_run(s: Rows, order: Array, first: int, last: int, want: bool, maxima: Array, tokens: Array) -> None:
    d = maxima.shape[0]
    for p in range(first, last):
        token = order[p] if order.shape[0] > 0 else p
        row = np.uint64(token) * np.uint64(s.stride)
        if p == first:
            for c in range(d):
                maxima[c] = load(s.data, row + c)
                tokens[c] = np.int32(token)
        elif want:
            for c in range(d):
                value, best = load(s.data, row + c), maxima[c]
                better = beats(value, best)
                maxima[c] = value if better else best
                tokens[c] = np.int32(token) if better else tokens[c]
        else:
            for c in range(d):
                value, best = load(s.data, row + c), maxima[c]
                maxima[c] = value if beats(value, best) else best


@compiled()
def _max_over_blocks(
    task: int, slices: int, runs: Runs, top: Array, argmax: Array, partial: Array, places: Array
) -> None:
    """As `sum_over_blocks`, for the maxima; the later block's is taken only where it is greater."""
    b, piece = task // slices, task % slices
    d = partial.shape[2]
    low, high = d * piece // slices, d * (piece + 1) // slices
    begin, end = b * runs.block, min((b + 1) * runs.block, runs.joins_next.shape[0])
    segment = find(runs.cu_segments, end - 1)
    if runs.cu_segments[segment] < begin or runs.cu_segments[segment + 1] <= end:
        return
    for other in range(b + 1, (runs.cu_segments[segment + 1] - 1) // runs.block + 1):
        for c in range(low, high):
            value, best = partial[other, 0, c], partial[b, 1, c]
            better = beats(value, best)
            partial[b, 1, c] = value if better else best
            places[b, 1, c] = places[other, 0, c] if better else places[b, 1, c]
    if top.shape[0] > 0:
        for c in range(low, high):
            store(top, segment * d + c, partial[b, 1, c])
            argmax[segment * d + c] = places[b, 1, c]


@compiled()
def _fuse_cut_segments(b: int, g: Array, o: Rows, l: Rows, runs: Runs, y: Array, partial: Array) -> None:
    begin, end = b * runs.block, min((b + 1) * runs.block, runs.joins_next.shape[0])
    factor = np.empty(partial.shape[2], partial.dtype)
    segment = find(runs.cu_segments, begin)
    start, stop = runs.cu_segments[segment], runs.cu_segments[segment + 1]
    if start < begin:  # it began in an earlier block
        document = find(runs.cu_seqlens, begin)
        _fuse_run(g, o, l, runs, document, begin, min(stop, end), partial[start // runs.block, 1], factor, y)
    segment = find(runs.cu_segments, end - 1)
    start, stop = runs.cu_segments[segment], runs.cu_segments[segment + 1]
    if start >= begin and stop > end:  # it goes on in a later one
        document = find(runs.cu_seqlens, start)
        _fuse_run(g, o, l, runs, document, start, end, partial[b, 1], factor, y)


@compiled()
def _fuse_run(
    g: Array, o: Rows, l: Rows, runs: Runs, document: int, first: int, last: int, top: Array, factor: Array, y: Array
) -> None:
    """`y = (g + top) * o + max(l)` for the tokens `first : last` of one segment; `g * o` at special tokens."""
    d = factor.shape[0]
    at_g = np.uint64(document * d)
    for c in range(d):
        factor[c] = load(g, at_g + c) + top[c]
    for p in range(first, last):
        token = runs.order[p] if runs.order.shape[0] > 0 else p
        at_o, at_y = np.uint64(token) * np.uint64(o.stride), np.uint64(token * d)
        if runs.special.shape[0] > 0 and runs.special[token]:
            for c in range(d):
                store(y, at_y + c, load(g, at_g + c) * load(o.data, at_o + c))
            continue
        left, right = _neighbours(token, runs)
        at_left, at_right = np.uint64(left) * np.uint64(l.stride), np.uint64(right) * np.uint64(l.stride)
        at_l = np.uint64(token) * np.uint64(l.stride)
        for c in range(d):
            best = load(l.data, at_left + c)
            value = load(l.data, at_l + c)
            best = value if beats(value, best) else best
            value = load(l.data, at_right + c)
            best = value if beats(value, best) else best
            store(y, at_y + c, factor[c] * load(o.data, at_o + c) + best)


@compiled()
def _neighbours(token: int, runs: Runs) -> tuple[int, int]:
    """The tokens to the left and right within a token's window; where there is none, the token itself."""
    left, right = token, token
    if token > 0 and runs.joins_next[token - 1] and not (runs.special.shape[0] > 0 and runs.special[token - 1]):
        left = token - 1
    if runs.joins_next[token] and not (runs.special.shape[0] > 0 and runs.special[token + 1]):
        right = token + 1
    return left, right


@compiled()
def _gradients_of_block(
    b: int,
    dy: Rows,
    g: Array,
    o: Rows,
    top: Array,
    argmax: Array,
    runs: Runs,
    dg: Array,
    do: Array,
    ds: Array,
    partial: Array,
    document_partial: Array,
) -> None:
    """`do`; `ds` and `dg` where the whole segment or document lies in the block, else this block's part of the sums."""
    d = partial.shape[2]
    begin, end = b * runs.block, min((b + 1) * runs.block, runs.joins_next.shape[0])
    total, document_total = np.empty(d, partial.dtype), np.zeros(d, partial.dtype)
    factor = np.empty(d, partial.dtype)
    segment, document = find(runs.cu_segments, begin), find(runs.cu_seqlens, begin)
    first = begin
    while first < end:
        start, stop = runs.cu_segments[segment], runs.cu_segments[segment + 1]
        last = min(stop, end)
        at_g, at_top = np.uint64(document * d), np.uint64(segment * d)
        for c in range(d):
            factor[c] = load(g, at_g + c) + load(top, at_top + c)
            total[c] = 0
        for p in range(first, last):
            token = runs.order[p] if runs.order.shape[0] > 0 else p
            at_o, at_dy = np.uint64(token) * np.uint64(o.stride), np.uint64(token) * np.uint64(dy.stride)
            at_do = np.uint64(token * d)
            if runs.special.shape[0] > 0 and runs.special[token]:
                for c in range(d):
                    gradient = load(dy.data, at_dy + c)
                    store(do, at_do + c, gradient * load(g, at_g + c))
                    document_total[c] += gradient * load(o.data, at_o + c)
            else:
                for c in range(d):
                    gradient = load(dy.data, at_dy + c)
                    store(do, at_do + c, gradient * factor[c])
                    total[c] += gradient * load(o.data, at_o + c)
        for c in range(d):
            document_total[c] += total[c]
        if first == start and last == stop:
            _route_run(runs.order, first, last, argmax, segment, total, ds)
        else:
            side = 0 if first > start else 1
            for c in range(d):
                partial[b, side, c] = total[c]
        first = last
        segment += 1
        if first == end or first == runs.cu_seqlens[document + 1]:
            if runs.cu_seqlens[document] >= begin and runs.cu_seqlens[document + 1] <= end:
                for c in range(d):
                    store(dg, at_g + c, document_total[c])
            else:
                side = 0 if runs.cu_seqlens[document] < begin else 1
                for c in range(d):
                    document_partial[b, side, c] = document_total[c]
            for c in range(d):
                document_total[c] = 0
            if first < end:
                document = find(runs.cu_seqlens, first)


@compiled()
def _route_run(order: Array, first: int, last: int, argmax: Array, segment: int, total: Array, ds: Array) -> None:
    """Gives the tokens of a run the gradient of their segment's maximum, where they hold it, and 0 elsewhere."""
    d = total.shape[0]
    place = np.uint64(segment * d)
    nothing = total.dtype.type(0)
    for p in range(first, last):
        token = order[p] if order.shape[0] > 0 else p
        at = np.uint64(token * d)
        for c in range(d):
            store(ds, at + c, total[c] if argmax[place + c] == np.int32(token) else nothing)


@compiled()
def _route_cut_segments(
    b: int, argmax: Array, runs: Runs, dg: Array, ds: Array, partial: Array, document_partial: Array
) -> None:
    """`ds` of the segments that cross this block's borders, and `dg` of the document that begins here and goes on."""
    d = partial.shape[2]
    begin, end = b * runs.block, min((b + 1) * runs.block, runs.joins_next.shape[0])
    segment = find(runs.cu_segments, begin)
    start, stop = runs.cu_segments[segment], runs.cu_segments[segment + 1]
    if start < begin:
        _route_run(runs.order, begin, min(stop, end), argmax, segment, partial[start // runs.block, 1], ds)
    segment = find(runs.cu_segments, end - 1)
    start, stop = runs.cu_segments[segment], runs.cu_segments[segment + 1]
    if start >= begin and stop > end:
        _route_run(runs.order, start, end, argmax, segment, partial[b, 1], ds)
    document = find(runs.cu_seqlens, end - 1)
    if runs.cu_seqlens[document] >= begin and runs.cu_seqlens[document + 1] > end:
        for c in range(d):
            store(dg, document * d + c, document_partial[b, 1, c])


@compiled()
def _local_gradients(b: int, dy: Rows, l: Rows, runs: Runs, dl: Array, partial: Array) -> None:
    """`dl` of a block: each token takes the gradient of the windows, its own and its neighbours', that chose it."""
    d = partial.shape[2]
    begin, end = b * runs.block, min((b + 1) * runs.block, runs.joins_next.shape[0])
    choices = np.empty((3, d), np.int32)  # of the tokens t - 1, t, t + 1, in turn
    _choices(begin - 1, l, runs, choices[0])
    _choices(begin, l, runs, choices[1])
    nothing = partial.dtype.type(0)
    final = runs.joins_next.shape[0] - 1
    for token in range(begin, end):
        before, here, after = (token - begin) % 3, (token - begin + 1) % 3, (token - begin + 2) % 3
        _choices(token + 1, l, runs, choices[after])
        at_dl, at_dy = np.uint64(token * d), np.uint64(token) * np.uint64(dy.stride)
        at_left = np.uint64(max(token - 1, 0)) * np.uint64(dy.stride)
        at_right = np.uint64(min(token + 1, final)) * np.uint64(dy.stride)
        for c in range(d):
            gradient = load(dy.data, at_dy + c) if choices[here, c] == 1 else nothing
            gradient += load(dy.data, at_left + c) if choices[before, c] == 2 else nothing
            gradient += load(dy.data, at_right + c) if choices[after, c] == 0 else nothing
            store(dl, at_dl + c, gradient)


@compiled()
def _choices(token: int, l: Rows, runs: Runs, choice: Array) -> None:
    """Which of its window each channel of a token takes: 0 its left neighbour, 1 itself, 2 the right one, 3 none."""
    d = choice.shape[0]
    if token < 0 or token >= runs.joins_next.shape[0] or (runs.special.shape[0] > 0 and runs.special[token]):
        for c in range(d):
            choice[c] = 3
        return
    left, right = _neighbours(token, runs)
    at_left, at_right = np.uint64(left) * np.uint64(l.stride), np.uint64(right) * np.uint64(l.stride)
    at_l = np.uint64(token) * np.uint64(l.stride)
    default = np.int32(1) if left == token else np.int32(0)
    for c in range(d):
        best, chosen = load(l.data, at_left + c), default
        value = load(l.data, at_l + c)
        better = beats(value, best)
        best, chosen = (value, np.int32(1)) if better else (best, chosen)
        value = load(l.data, at_right + c)
        choice[c] = np.int32(2) if beats(value, best) else chosen
