"""SMP, LMP and PF, forward and backward, in Numba: each a pass over packed tokens (see `ponet.ops.reference`).

A pass walks the tokens sorted by segment, block by block; the part of a segment in a block is a run. A segment within a
block is done with at once, while its numbers are in the cache. One longer than a block is combined from its runs first,
and its tokens are finished in a second walk, so that it is as parallel as many short ones. Where several numbers tie
for a maximum the first wins, and a NaN beats all.
"""

import numpy as np

from ponet.ops.numba_rows import (
    Array,
    Rows,
    Runs,
    beats,
    block_of,
    border,
    compiled,
    find,
    kernel,
    load,
    piece_of,
    store,
    sum_over_blocks,
    take,
)


@kernel
def pool_and_fuse(
    counter: Array,
    tasks: int,
    step: int,
    g: Array,
    o: Rows,
    s: Rows,
    l: Rows,  # noqa: E741
    runs: Runs,
    y: Array,
    top: Array,
    argmax: Array,
    partial: Array,
    places: Array,
    cut: Array,
) -> None:
    """Fills `y`, and unless they are empty `top` and `argmax`, each segment's maxima and their tokens, in three steps.

    A task is a block; in step 1, where maxima over blocks are made, a block and one of so many equal pieces of the
    width. Steps 1 and 2 are needed if step 0 made `cut [1]` true.

    Args:
        g: `[B * d]`. y: `[T * d]`. top: `[S * d]`. argmax: `[S * d]` int32.
        partial: `[blocks, 2, d]`, maxima in the accumulator's type. places: likewise, int32, their tokens.
    """
    pieces = tasks // partial.shape[0]
    task = take(counter)
    while task < tasks:
        if step == 0:
            _pool_whole_segments(task, g, o, s, l, runs, y, top, argmax, partial, places, cut)
        elif step == 1:
            _max_over_blocks(task // pieces, task % pieces, pieces, runs, top, argmax, partial, places)
        else:
            _fuse_cut_segments(task, g, o, l, runs, y, partial)
        task = take(counter)


@kernel
def pool_and_fuse_backward(
    counter: Array,
    tasks: int,
    step: int,
    dy: Rows,
    g: Array,
    o: Rows,
    l: Rows,  # noqa: E741
    top: Array,
    argmax: Array,
    runs: Runs,
    dg: Array,
    do: Array,
    ds: Array,
    dl: Array,
    partial: Array,
    document_partial: Array,
    cut: Array,
) -> None:
    """Fills `dg [B * d]` (given as zeros), `do`, `ds` and `dl [T * d]`. Steps as `pool_and_fuse`'s, step 1 always.

    Args:
        partial, document_partial: `[blocks, 2, d]` in the accumulator's type, sums over segments and documents.
    """
    d = np.uint64(partial.shape[2])
    pieces = tasks // partial.shape[0]
    task = take(counter)
    while task < tasks:
        if step == 0:
            _gradients_of_block(task, dy, g, o, top, argmax, runs, dg, do, ds, partial, document_partial, cut)
            _local_gradients(task, dy, l, runs, dl, partial)
        elif step == 1:
            b, piece = task // pieces, task % pieces
            if cut[0]:
                sum_over_blocks(b, piece, pieces, runs.cu_segments, runs.cu_segments, runs.block, partial)
            document = sum_over_blocks(
                b, piece, pieces, runs.cu_seqlens, runs.cu_segments, runs.block, document_partial
            )
            if document >= 0:
                low, high = piece_of(d, piece, pieces)
                for c in range(low, high):
                    store(dg, np.uint64(document) * d + c, document_partial[b, 1, c])
        else:
            _route_cut_segments(task, argmax, runs, ds, partial)
        task = take(counter)


@compiled
def _pool_whole_segments(
    b: int,
    g: Array,
    o: Rows,
    s: Rows,
    l: Rows,  # noqa: E741
    runs: Runs,
    y: Array,
    top: Array,
    argmax: Array,
    partial: Array,
    places: Array,
    cut: Array,
) -> None:
    d = np.uint64(partial.shape[2])
    cu_segments, cu_seqlens = runs.cu_segments, runs.cu_seqlens
    begin, end = border(cu_segments, runs.block, b), border(cu_segments, runs.block, b + 1)
    maxima, tokens, factor = np.empty(d, partial.dtype), np.empty(d, np.int32), np.empty(d, partial.dtype)
    segment, document = find(cu_segments, begin), find(cu_seqlens, begin)
    first = begin
    while first < end:
        start, stop = cu_segments[segment], cu_segments[segment + 1]
        last = min(stop, end)
        _maxima_of_run(s, runs.order, first, last, top.shape[0] > 0, maxima, tokens)
        if first == start and last == stop:
            while first >= cu_seqlens[document + 1]:
                document += 1
            if top.shape[0] > 0:
                place = np.uint64(segment) * d
                for c in range(d):
                    store(top, place + c, maxima[c])
                    argmax[place + c] = tokens[c]
            _fuse_run(g, o, l, runs, document, first, last, maxima, factor, y)
        else:
            cut[0] = True
            side = 0 if first > start else 1
            for c in range(d):
                partial[b, side, c] = maxima[c]
                places[b, side, c] = tokens[c]
        first = last
        segment += 1


@compiled
def _maxima_of_run(s: Rows, order: Array, first: int, last: int, want: bool, maxima: Array, tokens: Array) -> None:
    """The maxima over the tokens `first : last` of one segment, and, if `want`, the tokens that hold them."""
    d = np.uint64(maxima.shape[0])
    data, stride = s.data, np.uint64(s.stride)
    for p in range(first, last):
        token = order[p] if order.shape[0] > 0 else p
        row = np.uint64(token) * stride
        if p == first:
            for c in range(d):
                maxima[c] = load(data, row + c)
                tokens[c] = np.int32(token)
        elif want:
            for c in range(d):
                value, best = load(data, row + c), maxima[c]
                better = beats(value, best)
                maxima[c] = value if better else best
                tokens[c] = np.int32(token) if better else tokens[c]
        else:
            for c in range(d):
                value, best = load(data, row + c), maxima[c]
                maxima[c] = value if beats(value, best) else best


@compiled
def _max_over_blocks(
    b: int, piece: int, pieces: int, runs: Runs, top: Array, argmax: Array, partial: Array, places: Array
) -> None:
    """As `sum_over_blocks`, for maxima; a later block's is taken only where it is greater."""
    d = np.uint64(partial.shape[2])
    low, high = piece_of(d, piece, pieces)
    begin, end = border(runs.cu_segments, runs.block, b), border(runs.cu_segments, runs.block, b + 1)
    segment = find(runs.cu_segments, end - 1)
    start, stop = runs.cu_segments[segment], runs.cu_segments[segment + 1]
    if start < begin or stop <= end:
        return
    for other in range(b + 1, block_of(runs.cu_segments, runs.block, stop - 1) + 1):
        for c in range(low, high):
            value, best = partial[other, 0, c], partial[b, 1, c]
            better = beats(value, best)
            partial[b, 1, c] = value if better else best
            places[b, 1, c] = places[other, 0, c] if better else places[b, 1, c]
    if top.shape[0] > 0:
        for c in range(low, high):
            store(top, np.uint64(segment) * d + c, partial[b, 1, c])
            argmax[np.uint64(segment) * d + c] = places[b, 1, c]


@compiled
def _fuse_cut_segments(b: int, g: Array, o: Rows, l: Rows, runs: Runs, y: Array, partial: Array) -> None:  # noqa: E741
    begin, end = border(runs.cu_segments, runs.block, b), border(runs.cu_segments, runs.block, b + 1)
    factor = np.empty(partial.shape[2], partial.dtype)
    segments = find(runs.cu_segments, begin), find(runs.cu_segments, end - 1)
    for i in range(1 if segments[0] == segments[1] else 2):
        start, stop = runs.cu_segments[segments[i]], runs.cu_segments[segments[i] + 1]
        if start < begin or stop > end:
            document, owner = find(runs.cu_seqlens, start), block_of(runs.cu_segments, runs.block, start)
            first, last = max(start, begin), min(stop, end)
            _fuse_run(g, o, l, runs, document, first, last, partial[owner, 1], factor, y)


@compiled
def _fuse_run(
    g: Array,
    o: Rows,
    l: Rows,  # noqa: E741
    runs: Runs,
    document: int,
    first: int,
    last: int,
    maxima: Array,
    factor: Array,
    y: Array,
) -> None:
    """`y = (g + maxima) * o + max(l)` for the tokens `first : last` of one segment; `g * o` at special tokens."""
    d = np.uint64(factor.shape[0])
    order, special = runs.order, runs.special
    o_data, o_stride, l_data, l_stride = o.data, np.uint64(o.stride), l.data, np.uint64(l.stride)
    at_g = np.uint64(document) * d
    for c in range(d):
        factor[c] = load(g, at_g + c) + maxima[c]
    for p in range(first, last):
        token = order[p] if order.shape[0] > 0 else p
        at_o, at_y = np.uint64(token) * o_stride, np.uint64(token) * d
        if special.shape[0] > 0 and special[token]:
            for c in range(d):
                store(y, at_y + c, load(g, at_g + c) * load(o_data, at_o + c))
            continue
        left, right = _neighbours(token, runs)
        at_left, at_l, at_right = np.uint64(left) * l_stride, np.uint64(token) * l_stride, np.uint64(right) * l_stride
        for c in range(d):
            best = load(l_data, at_left + c)
            value = load(l_data, at_l + c)
            best = value if beats(value, best) else best
            value = load(l_data, at_right + c)
            best = value if beats(value, best) else best
            store(y, at_y + c, factor[c] * load(o_data, at_o + c) + best)


@compiled
def _neighbours(token: int, runs: Runs) -> tuple[int, int]:
    """The tokens to the left and right within a token's window; where there is none, the token itself."""
    joins_next, special = runs.joins_next, runs.special
    left, right = token, token
    if token > 0 and joins_next[token - 1] and not (special.shape[0] > 0 and special[token - 1]):
        left = token - 1
    if joins_next[token] and not (special.shape[0] > 0 and special[token + 1]):
        right = token + 1
    return left, right


@compiled
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
    cut: Array,
) -> None:
    """`do`; `ds` and `dg` where the whole segment or document lies in the block, else this block's part of the sums."""
    d = np.uint64(partial.shape[2])
    cu_segments, cu_seqlens, order, special = runs.cu_segments, runs.cu_seqlens, runs.order, runs.special
    o_data, o_stride, dy_data, dy_stride = o.data, np.uint64(o.stride), dy.data, np.uint64(dy.stride)
    begin, end = border(cu_segments, runs.block, b), border(cu_segments, runs.block, b + 1)
    total, document_total = np.empty(d, partial.dtype), np.zeros(d, partial.dtype)
    factor = np.empty(d, partial.dtype)
    segment, document = find(cu_segments, begin), find(cu_seqlens, begin)
    first = begin
    while first < end:
        start, stop = cu_segments[segment], cu_segments[segment + 1]
        last = min(stop, end)
        at_g, at_top = np.uint64(document) * d, np.uint64(segment) * d
        for c in range(d):
            factor[c] = load(g, at_g + c) + load(top, at_top + c)
            total[c] = 0
        for p in range(first, last):
            token = order[p] if order.shape[0] > 0 else p
            at_o, at_dy, at_do = np.uint64(token) * o_stride, np.uint64(token) * dy_stride, np.uint64(token) * d
            if special.shape[0] > 0 and special[token]:
                for c in range(d):
                    gradient = load(dy_data, at_dy + c)
                    store(do, at_do + c, gradient * load(g, at_g + c))
                    document_total[c] += gradient * load(o_data, at_o + c)
            else:
                for c in range(d):
                    gradient = load(dy_data, at_dy + c)
                    store(do, at_do + c, gradient * factor[c])
                    total[c] += gradient * load(o_data, at_o + c)
        for c in range(d):
            document_total[c] += total[c]
        if first == start and last == stop:
            _route_run(order, first, last, argmax, segment, total, ds)
        else:
            cut[0] = True
            side = 0 if first > start else 1
            for c in range(d):
                partial[b, side, c] = total[c]
        first = last
        segment += 1
        if first == end or first == cu_seqlens[document + 1]:
            if cu_seqlens[document] >= begin and cu_seqlens[document + 1] <= end:
                for c in range(d):
                    store(dg, at_g + c, document_total[c])
            else:
                side = 0 if cu_seqlens[document] < begin else 1
                for c in range(d):
                    document_partial[b, side, c] = document_total[c]
            for c in range(d):
                document_total[c] = 0
            if first < end:
                document = find(cu_seqlens, first)


@compiled
def _route_run(order: Array, first: int, last: int, argmax: Array, segment: int, total: Array, ds: Array) -> None:
    """Gives the tokens of a run the gradient of their segment's maximum, where they hold it, and 0 elsewhere."""
    d = np.uint64(total.shape[0])
    place = np.uint64(segment) * d
    nothing = total.dtype.type(0)
    for p in range(first, last):
        token = order[p] if order.shape[0] > 0 else p
        at = np.uint64(token) * d
        for c in range(d):
            gradient = total[c]
            store(ds, at + c, gradient if argmax[place + c] == np.int32(token) else nothing)


@compiled
def _route_cut_segments(b: int, argmax: Array, runs: Runs, ds: Array, partial: Array) -> None:
    begin, end = border(runs.cu_segments, runs.block, b), border(runs.cu_segments, runs.block, b + 1)
    segments = find(runs.cu_segments, begin), find(runs.cu_segments, end - 1)
    for i in range(1 if segments[0] == segments[1] else 2):
        start, stop = runs.cu_segments[segments[i]], runs.cu_segments[segments[i] + 1]
        if start < begin or stop > end:
            owner = block_of(runs.cu_segments, runs.block, start)
            _route_run(runs.order, max(start, begin), min(stop, end), argmax, segments[i], partial[owner, 1], ds)


@compiled
def _local_gradients(b: int, dy: Rows, l: Rows, runs: Runs, dl: Array, partial: Array) -> None:  # noqa: E741
    """`dl` of a block: each token takes the gradient of the windows, its own and its neighbours', that chose it."""
    d = np.uint64(partial.shape[2])
    begin, end = border(runs.cu_segments, runs.block, b), border(runs.cu_segments, runs.block, b + 1)
    choices = np.empty((3, d), np.int32)  # of the tokens t - 1, t, t + 1, in turn
    _choices(begin - 1, l, runs, choices, 0)
    _choices(begin, l, runs, choices, 1)
    data, stride = dy.data, np.uint64(dy.stride)
    nothing = partial.dtype.type(0)
    final = runs.joins_next.shape[0] - 1
    for token in range(begin, end):
        before, here, after = (token - begin) % 3, (token - begin + 1) % 3, (token - begin + 2) % 3
        _choices(token + 1, l, runs, choices, after)
        at_dl, at_dy = np.uint64(token) * d, np.uint64(token) * stride
        at_left, at_right = np.uint64(max(token - 1, 0)) * stride, np.uint64(min(token + 1, final)) * stride
        for c in range(d):
            of_left, own, of_right = load(data, at_left + c), load(data, at_dy + c), load(data, at_right + c)
            gradient = own if choices[here, c] == 1 else nothing
            gradient += of_left if choices[before, c] == 2 else nothing
            gradient += of_right if choices[after, c] == 0 else nothing
            store(dl, at_dl + c, gradient)


@compiled
def _choices(token: int, l: Rows, runs: Runs, choices: Array, place: int) -> None:  # noqa: E741
    """Which of its window each channel of a token takes: 0 its left neighbour, 1 itself, 2 the right one, 3 none."""
    d = np.uint64(choices.shape[1])
    if token < 0 or token >= runs.joins_next.shape[0] or (runs.special.shape[0] > 0 and runs.special[token]):
        for c in range(d):
            choices[place, c] = 3
        return
    data, stride = l.data, np.uint64(l.stride)
    left, right = _neighbours(token, runs)
    at_left, at_l, at_right = np.uint64(left) * stride, np.uint64(token) * stride, np.uint64(right) * stride
    default = np.int32(1) if left == token else np.int32(0)
    for c in range(d):
        best = load(data, at_left + c)
        chosen = default
        value = load(data, at_l + c)
        better = beats(value, best)
        best = value if better else best
        chosen = np.int32(1) if better else chosen
        value = load(data, at_right + c)
        choices[place, c] = np.int32(2) if beats(value, best) else chosen
