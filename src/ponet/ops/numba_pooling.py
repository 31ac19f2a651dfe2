"""SMP, LMP and PF, forward and backward, in Numba: each a pass over packed tokens (see `ponet.ops.reference`).

A pass walks the tokens sorted by segment, block by block; the part of a segment in a block is a run. A segment within a
block is done with at once, while its numbers are in the cache. One longer than a block is combined from its runs first,
and its tokens are finished in a second walk, so that it is as parallel as many short ones. Where several numbers tie
for a maximum the first wins.
"""

import numpy as np

from ponet.ops.numba_rows import (
    Array,
    Rows,
    Runs,
    Tokens,
    beats,
    block_of,
    border,
    compiled,
    copy,
    fill,
    find,
    kernel,
    load,
    pointer,
    rows_at,
    runs_at,
    store,
    sum_over_blocks,
    take,
    tokens_at,
)

_NOTHING = np.float32(0)  # of the narrowest type, so that it widens no other


@kernel
def pool_and_fuse(
    counter: Array,
    tasks: int,
    step: int,
    block: int,
    d: int,
    pieces: int,
    g: Array,
    o: Rows,
    s: Rows,
    l: Rows,  # noqa: E741
    documents: Runs,
    segments: Runs,
    tokens: Tokens,
    y: Array,
    keep: bool,
    top: Array,
    argmax: Array,
    partial: Array,
    places: Array,
    numbers: Array,
    integers: Array,
    cut: Array,
) -> None:
    """Fills `y`, and if `keep` also `top` and `argmax`, each segment's maxima and their tokens, in three steps.

    A task is a block; in step 1, where maxima over blocks are made, a block and one of the `pieces` of the width. Steps
    1 and 2 are needed if step 0 made `cut [1]` 1.

    Args:
        g: `[B * d]`. y: `[T * d]`. top: `[S * d]`. argmax: `[S * d]` int32.
        partial: `[blocks * 2 * d]`, maxima in the accumulator's type. places: likewise, int32, their tokens.
        numbers, integers: scratch, `[threads * 2 * d]` in the accumulator's type and `[threads * d]` int32.
    """
    tasks_taken, worker = pointer(counter), take(pointer(counter[1:]))
    runs, docs, toks, o_, l_ = runs_at(segments), runs_at(documents), tokens_at(tokens), rows_at(o), rows_at(l)
    top_, argmax_, partial_, places_ = pointer(top), pointer(argmax), pointer(partial), pointer(places)
    maxima, factor = pointer(numbers[2 * worker * d :]), pointer(numbers[(2 * worker + 1) * d :])
    task = take(tasks_taken)
    while task < tasks:
        if step == 0:
            _pool_whole_segments(
                task, block, d, pointer(g), o_, rows_at(s), l_, docs, runs, toks, pointer(y), keep, top_, argmax_,
                partial_, places_, maxima, pointer(integers[worker * d :]), factor, pointer(cut),
            )  # fmt: skip
        elif step == 1:
            low, high = d * (task % pieces) // pieces, d * (task % pieces + 1) // pieces
            _max_over_blocks(task // pieces, low, high, block, d, runs, keep, top_, argmax_, partial_, places_)
        else:
            _fuse_cut_segments(task, block, d, pointer(g), o_, l_, docs, runs, toks, pointer(y), partial_, factor)
        task = take(tasks_taken)


@kernel
def pool_and_fuse_backward(
    counter: Array,
    tasks: int,
    step: int,
    block: int,
    d: int,
    pieces: int,
    dy: Rows,
    g: Array,
    o: Rows,
    l: Rows,  # noqa: E741
    top: Array,
    argmax: Array,
    documents: Runs,
    segments: Runs,
    tokens: Tokens,
    dg: Array,
    do: Array,
    ds: Array,
    dl: Array,
    partial: Array,
    document_partial: Array,
    numbers: Array,
    integers: Array,
    cut: Array,
) -> None:
    """Fills `dg [B * d]` (given as zeros), `do`, `ds` and `dl [T * d]`. Steps as `pool_and_fuse`'s, step 1 always.

    Args:
        partial, document_partial: `[blocks * 2 * d]` in the accumulator's type, sums over segments and documents.
        numbers, integers: scratch, `[threads * 3 * d]` in the accumulator's type and `[threads * 3 * d]` int32.
    """
    tasks_taken, worker = pointer(counter), take(pointer(counter[1:]))
    runs, docs, toks, dy_ = runs_at(segments), runs_at(documents), tokens_at(tokens), rows_at(dy)
    argmax_, ds_, partial_, document_partial_ = (
        pointer(argmax),
        pointer(ds),
        pointer(partial),
        pointer(document_partial),
    )
    scratch, choices = pointer(numbers[3 * worker * d :]), pointer(integers[3 * worker * d :])
    task = take(tasks_taken)
    while task < tasks:
        if step == 0:
            _gradients_of_block(
                task, block, d, dy_, pointer(g), rows_at(o), pointer(top), argmax_, docs, runs, toks, pointer(dg),
                pointer(do), ds_, partial_, document_partial_, scratch, pointer(numbers[(3 * worker + 1) * d :]),
                pointer(numbers[(3 * worker + 2) * d :]), pointer(cut),
            )  # fmt: skip
            begin, end = border(runs, block, task), border(runs, block, task + 1)
            _local_gradients(begin, end, d, dy_, rows_at(l), docs, toks, pointer(dl), choices)
        elif step == 1:
            b, low, high = task // pieces, d * (task % pieces) // pieces, d * (task % pieces + 1) // pieces
            if cut[0]:
                sum_over_blocks(b, low, high, d, partial_, runs, runs, block)
            document = sum_over_blocks(b, low, high, d, document_partial_, docs, runs, block)
            if document >= 0:
                copy(document_partial_, (2 * b + 1) * d + low, high - low, pointer(dg), document * d + low)
        else:
            _route_cut_segments(task, block, d, argmax_, runs, toks, ds_, partial_)
        task = take(tasks_taken)


@compiled
def _pool_whole_segments(
    b: int,
    block: int,
    d: int,
    g: Array,
    o: Rows,
    s: Rows,
    l: Rows,  # noqa: E741
    documents: Runs,
    segments: Runs,
    tokens: Tokens,
    y: Array,
    keep: bool,
    top: Array,
    argmax: Array,
    partial: Array,
    places: Array,
    maxima: Array,
    holders: Array,
    factor: Array,
    cut: Array,
) -> None:
    begin, end = border(segments, block, b), border(segments, block, b + 1)
    segment, document = find(segments, begin), find(documents, begin)
    first = begin
    while first < end:
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        last = min(stop, end)
        _maxima_of_run(first, last, d, s, tokens, keep, maxima, holders)
        if first == start and last == stop:
            while first >= documents.offsets[document + 1]:
                document += 1
            if keep:
                copy(maxima, 0, d, top, segment * d)
                copy(holders, 0, d, argmax, segment * d)
            _fuse_run(document, first, last, d, g, o, l, documents, tokens, maxima, 0, factor, y)
        else:
            cut[0] = 1
            place = (2 * b if first > start else 2 * b + 1) * d
            copy(maxima, 0, d, partial, place)
            copy(holders, 0, d, places, place)
        first = last
        segment += 1


@compiled
def _maxima_of_run(
    first: int, last: int, d: int, s: Rows, tokens: Tokens, keep: bool, maxima: Array, holders: Array
) -> None:
    """The maxima over the tokens `first : last` of one segment, and, if `keep`, the tokens that hold them."""
    token = first if tokens.sorted else tokens.order[first]
    for c in range(d):
        maxima[c] = load(s.data, token * s.stride + c)
        holders[c] = np.int32(token)
    for p in range(first + 1, last):
        token = p if tokens.sorted else tokens.order[p]
        row = token * s.stride
        if keep:
            for c in range(d):
                value, best = load(s.data, row + c), maxima[c]
                better = beats(value, best)
                maxima[c] = value if better else best
                holders[c] = np.int32(token) if better else holders[c]
        else:
            for c in range(d):
                value, best = load(s.data, row + c), maxima[c]
                maxima[c] = value if beats(value, best) else best


@compiled
def _max_over_blocks(
    b: int,
    low: int,
    high: int,
    block: int,
    d: int,
    segments: Runs,
    keep: bool,
    top: Array,
    argmax: Array,
    partial: Array,
    places: Array,
) -> None:
    """As `sum_over_blocks`, for maxima; a later block's is taken only where it is greater."""
    begin, end = border(segments, block, b), border(segments, block, b + 1)
    segment = find(segments, end - 1)
    start, stop = segments.offsets[segment], segments.offsets[segment + 1]
    if start < begin or stop <= end:
        return
    at = (2 * b + 1) * d
    for other in range(b + 1, block_of(segments, block, stop - 1) + 1):
        for c in range(low, high):
            value, best = partial[2 * other * d + c], partial[at + c]
            better = beats(value, best)
            partial[at + c] = value if better else best
            places[at + c] = places[2 * other * d + c] if better else places[at + c]
    if keep:
        copy(partial, at + low, high - low, top, segment * d + low)
        copy(places, at + low, high - low, argmax, segment * d + low)


@compiled
def _fuse_cut_segments(
    b: int,
    block: int,
    d: int,
    g: Array,
    o: Rows,
    l: Rows,  # noqa: E741
    documents: Runs,
    segments: Runs,
    tokens: Tokens,
    y: Array,
    partial: Array,
    factor: Array,
) -> None:
    begin, end = border(segments, block, b), border(segments, block, b + 1)
    first, last = find(segments, begin), find(segments, end - 1)
    for segment in (first, last):
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        if start < begin or stop > end:
            document, place = find(documents, start), (2 * block_of(segments, block, start) + 1) * d
            start, stop = max(start, begin), min(stop, end)
            _fuse_run(document, start, stop, d, g, o, l, documents, tokens, partial, place, factor, y)
        if first == last:
            break


@compiled
def _fuse_run(
    document: int,
    first: int,
    last: int,
    d: int,
    g: Array,
    o: Rows,
    l: Rows,  # noqa: E741
    documents: Runs,
    tokens: Tokens,
    maxima: Array,
    at: int,
    factor: Array,
    y: Array,
) -> None:
    """`y = (g + maxima) * o + max(l)` for the tokens `first : last` of one segment; `g * o` at special tokens.

    `maxima` are those from `at` on.
    """
    for c in range(d):
        factor[c] = load(g, document * d + c) + maxima[at + c]
    for p in range(first, last):
        token = p if tokens.sorted else tokens.order[p]
        at_o, at_y = token * o.stride, token * d
        if tokens.any_special and tokens.special[token]:
            for c in range(d):
                store(y, at_y + c, load(g, document * d + c) * load(o.data, at_o + c))
        else:
            left, right = _neighbours(token, tokens)
            at_left, at_l, at_right = left * l.stride, token * l.stride, right * l.stride
            for c in range(d):
                best, value = load(l.data, at_left + c), load(l.data, at_l + c)
                best = best if best >= value else value
                value = load(l.data, at_right + c)
                best = best if best >= value else value
                store(y, at_y + c, factor[c] * load(o.data, at_o + c) + best)


@compiled
def _neighbours(token: int, tokens: Tokens) -> tuple[int, int]:
    """The tokens to the left and right within a token's window; where there is none, the token itself."""
    left, right = token, token
    if token > 0 and tokens.joins_next[token - 1] and not (tokens.any_special and tokens.special[token - 1]):
        left = token - 1
    if tokens.joins_next[token] and not (tokens.any_special and tokens.special[token + 1]):
        right = token + 1
    return left, right


@compiled
def _gradients_of_block(
    b: int,
    block: int,
    d: int,
    dy: Rows,
    g: Array,
    o: Rows,
    top: Array,
    argmax: Array,
    documents: Runs,
    segments: Runs,
    tokens: Tokens,
    dg: Array,
    do: Array,
    ds: Array,
    partial: Array,
    document_partial: Array,
    total: Array,
    document_total: Array,
    factor: Array,
    cut: Array,
) -> None:
    """`do`; `ds` and `dg` where the whole segment or document lies in the block, else this block's part of the sums."""
    begin, end = border(segments, block, b), border(segments, block, b + 1)
    segment, document = find(segments, begin), find(documents, begin)
    fill(document_total, 0, d, 0)
    first = begin
    while first < end:
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        last = min(stop, end)
        for c in range(d):
            factor[c] = load(g, document * d + c) + load(top, segment * d + c)
            total[c] = 0
        for p in range(first, last):
            token = p if tokens.sorted else tokens.order[p]
            at_o, at_dy, at_do = token * o.stride, token * dy.stride, token * d
            if tokens.any_special and tokens.special[token]:
                for c in range(d):
                    gradient = load(dy.data, at_dy + c)
                    store(do, at_do + c, gradient * load(g, document * d + c))
                    document_total[c] += gradient * load(o.data, at_o + c)
            else:
                for c in range(d):
                    gradient = load(dy.data, at_dy + c)
                    store(do, at_do + c, gradient * factor[c])
                    total[c] += gradient * load(o.data, at_o + c)
        for c in range(d):
            document_total[c] += total[c]
        if first == start and last == stop:
            _route_run(segment, first, last, d, argmax, tokens, total, 0, ds)
        else:
            cut[0] = 1
            copy(total, 0, d, partial, (2 * b if first > start else 2 * b + 1) * d)
        first = last
        segment += 1
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        if first == end or first == stop:
            if start >= begin and stop <= end:
                copy(document_total, 0, d, dg, document * d)
            else:
                copy(document_total, 0, d, document_partial, (2 * b if start < begin else 2 * b + 1) * d)
            fill(document_total, 0, d, 0)
            document = find(documents, first)


@compiled
def _route_run(
    segment: int, first: int, last: int, d: int, argmax: Array, tokens: Tokens, totals: Array, at: int, ds: Array
) -> None:
    """Gives the tokens of a run the gradient of their segment's maximum, where they hold it, and 0 elsewhere."""
    for p in range(first, last):
        token = p if tokens.sorted else tokens.order[p]
        for c in range(d):
            gradient = totals[at + c]
            store(ds, token * d + c, gradient if argmax[segment * d + c] == np.int32(token) else _NOTHING)


@compiled
def _route_cut_segments(
    b: int, block: int, d: int, argmax: Array, segments: Runs, tokens: Tokens, ds: Array, partial: Array
) -> None:
    begin, end = border(segments, block, b), border(segments, block, b + 1)
    first, last = find(segments, begin), find(segments, end - 1)
    for segment in (first, last):
        start, stop = segments.offsets[segment], segments.offsets[segment + 1]
        if start < begin or stop > end:
            place = (2 * block_of(segments, block, start) + 1) * d
            _route_run(segment, max(start, begin), min(stop, end), d, argmax, tokens, partial, place, ds)
        if first == last:
            break


@compiled
def _local_gradients(
    begin: int,
    end: int,
    d: int,
    dy: Rows,
    l: Rows,  # noqa: E741
    documents: Runs,
    tokens: Tokens,
    dl: Array,
    choices: Array,
) -> None:
    """`dl` of a block: each token takes the gradient of the windows, its own and its neighbours', that chose it."""
    final = documents.offsets[documents.number] - 1
    _choices(begin - 1, final, d, l, tokens, choices, 0)  # three rows in turn: of the tokens t - 1, t, t + 1
    _choices(begin, final, d, l, tokens, choices, d)
    for token in range(begin, end):
        turn = token - begin
        left, own, right = turn % 3 * d, (turn + 1) % 3 * d, (turn + 2) % 3 * d
        _choices(token + 1, final, d, l, tokens, choices, right)
        at_left, at_dy, at_right = max(token - 1, 0) * dy.stride, token * dy.stride, min(token + 1, final) * dy.stride
        for c in range(d):
            of_left, of_own, of_right = (
                load(dy.data, at_left + c),
                load(dy.data, at_dy + c),
                load(dy.data, at_right + c),
            )
            gradient = of_own if choices[own + c] == 1 else _NOTHING
            gradient += of_left if choices[left + c] == 2 else _NOTHING
            gradient += of_right if choices[right + c] == 0 else _NOTHING
            store(dl, token * d + c, gradient)


@compiled
def _choices(
    token: int,
    final: int,
    d: int,
    l: Rows,  # noqa: E741
    tokens: Tokens,
    choices: Array,
    at: int,
) -> None:
    """Which of its window each channel of a token takes: 0 its left neighbour, 1 itself, 2 the right one, 3 none."""
    if token < 0 or token > final or (tokens.any_special and tokens.special[token]):
        fill(choices, at, d, 3)
        return
    left, right = _neighbours(token, tokens)
    at_left, at_l, at_right = left * l.stride, token * l.stride, right * l.stride
    if_left, if_right = np.int32(0 if left < token else 1), np.int32(2 if right > token else 1)
    for c in range(d):
        best, value = load(l.data, at_left + c), load(l.data, at_l + c)
        wins = best >= value
        best, chosen = best if wins else value, if_left if wins else np.int32(1)
        choices[at + c] = chosen if best >= load(l.data, at_right + c) else if_right
