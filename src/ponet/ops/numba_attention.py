"""GA's passes over tokens, forward and backward, in Numba: means and attention-weighted means of documents.

A pass walks the tokens block by block; the part of a document in a block is a run. A document within a block is done
with at once, one longer than a block is combined from its runs. Each run has a softmax of its own, and no `[T, h]` is
kept unless it is asked for.
"""

import numpy as np

from ponet.ops.numba_rows import (
    Array,
    Runs,
    block_of,
    border,
    compiled,
    copy,
    fill,
    find,
    kernel,
    load,
    pointer,
    regrouped,
    runs_at,
    store,
    sum_over_blocks,
    take,
)

_NOTHING = np.float32(0)  # of the narrowest type, so that it widens no other


@kernel
def document_mean(
    counter: Array,
    tasks: int,
    step: int,
    block: int,
    d: int,
    pieces: int,
    x: Array,
    documents: Runs,
    mean: Array,
    partial: Array,
    numbers: Array,
) -> None:
    """Fills `mean [B * d]` (given as zeros) from `x [T * d]`, in two steps.

    A task is a block; in step 1, where sums over blocks are made, a block and one of the `pieces` of the width.

    Args:
        partial: `[blocks * 2 * d]` in the accumulator's type.
        numbers: scratch, `[threads * d]` in the accumulator's type.
    """
    tasks_taken, worker = pointer(counter), take(pointer(counter[1:]))
    docs, mean_, partial_ = runs_at(documents), pointer(mean), pointer(partial)
    task = take(tasks_taken)
    while task < tasks:
        if step == 0:
            _sum_block(task, block, d, pointer(x), docs, mean_, partial_, pointer(numbers[worker * d :]))
        else:
            b, low, high = task // pieces, d * (task % pieces) // pieces, d * (task % pieces + 1) // pieces
            document = sum_over_blocks(b, low, high, d, partial_, docs, docs, block)
            if document >= 0:
                _store_mean(document, low, high, d, docs, partial_, (2 * b + 1) * d, mean_)
        task = take(tasks_taken)


@kernel
def attention_pool(
    counter: Array,
    tasks: int,
    step: int,
    block: int,
    h: int,
    d: int,
    x: Array,
    queries: Array,
    documents: Runs,
    z: Array,
    lse: Array,
    weights: Array,
    keep: bool,
    scores: Array,
    partial: Array,
    tops: Array,
    totals: Array,
    numbers: Array,
) -> None:
    """Fills `z [B * h * d]` and `lse [B * h]` (given as zeros), and in step 2, if it is made, `weights [T * h]`.

    A task is a block; in step 1, where softmaxes of blocks are combined, a block and a head.

    Args:
        x: `[T * d]`. queries: `[B * h * d]` in the accumulator's type, as all below.
        lse: the logarithm of each softmax's denominator. scores: `[T * h]`, filled if `keep`, and read by step 2.
        partial: `[blocks * 2 * h * d]`. tops, totals: `[blocks * 2 * h]`.
        numbers: scratch, `[threads * h * (4 * block + d + 2)]`.
    """
    tasks_taken, worker = pointer(counter), take(pointer(counter[1:]))
    docs, z_, lse_, scores_ = runs_at(documents), pointer(z), pointer(lse), pointer(scores)
    partial_, tops_, totals_ = pointer(partial), pointer(tops), pointer(totals)
    task = take(tasks_taken)
    while task < tasks:
        if step == 0:
            _attend_block(
                task, block, h, d, pointer(x), pointer(queries), docs, z_, lse_, keep, scores_, partial_, tops_,
                totals_, pointer(numbers[worker * h * (4 * block + d + 2) :]),
            )  # fmt: skip
        elif step == 1:
            _attention_over_blocks(task // h, task % h, block, h, d, docs, z_, lse_, partial_, tops_, totals_)
        else:
            for token in range(border(docs, block, task), border(docs, block, task + 1)):
                document = find(docs, token)
                for j in range(h):
                    store(pointer(weights), token * h + j, np.exp(scores_[token * h + j] - lse_[document * h + j]))
        task = take(tasks_taken)


@kernel
def attention_pool_backward(
    counter: Array,
    tasks: int,
    step: int,
    block: int,
    h: int,
    d: int,
    pieces: int,
    dz: Array,
    dweights: Array,
    weighted: bool,
    x: Array,
    queries: Array,
    lse: Array,
    delta: Array,
    documents: Runs,
    dx: Array,
    dqueries: Array,
    partial: Array,
    numbers: Array,
) -> None:
    """Fills `dx [T * d]` and `dqueries [B * h * d]` (given as zeros), recomputing the scores.

    Steps as `document_mean`'s.

    Args:
        dz, queries, lse, delta, partial: `[B * h * d]` twice, `[B * h]` twice and `[blocks * 2 * h * d]`, all in the
            accumulator's type; `delta` is each softmax's sum of weights times their gradients.
        dweights: `[T * h]`, read if `weighted`.
        numbers: scratch, `[threads * (6 * block * h + (16 + h) * d)]` in the accumulator's type.
    """
    tasks_taken, worker = pointer(counter), take(pointer(counter[1:]))
    docs, dqueries_, partial_, width = runs_at(documents), pointer(dqueries), pointer(partial), h * d
    task = take(tasks_taken)
    while task < tasks:
        if step == 0:
            _attend_block_backward(
                task, block, h, d, pointer(dz), pointer(dweights), weighted, pointer(x), pointer(queries), pointer(lse),
                pointer(delta), docs, pointer(dx), dqueries_, partial_,
                pointer(numbers[worker * (6 * block * h + (16 + h) * d) :]),
                pointer(numbers[worker * (6 * block * h + (16 + h) * d) + 6 * block * h :]),
            )  # fmt: skip
        else:
            b, low, high = task // pieces, width * (task % pieces) // pieces, width * (task % pieces + 1) // pieces
            document = sum_over_blocks(b, low, high, width, partial_, docs, docs, block)
            if document >= 0:
                copy(partial_, (2 * b + 1) * width + low, high - low, dqueries_, document * width + low)
        task = take(tasks_taken)


@compiled
def _sum_block(
    b: int, block: int, d: int, x: Array, documents: Runs, mean: Array, partial: Array, total: Array
) -> None:
    begin, end = border(documents, block, b), border(documents, block, b + 1)
    first = begin
    while first < end:
        document = find(documents, first)
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        last = min(stop, end)
        fill(total, 0, d, 0)
        for token in range(first, last):
            for c in range(d):
                total[c] += load(x, token * d + c)
        if first == start and last == stop:
            _store_mean(document, 0, d, d, documents, total, 0, mean)
        else:
            copy(total, 0, d, partial, (2 * b if first > start else 2 * b + 1) * d)
        first = last


@compiled
def _store_mean(
    document: int, low: int, high: int, d: int, documents: Runs, total: Array, at: int, mean: Array
) -> None:
    number = np.float64(documents.offsets[document + 1] - documents.offsets[document])
    for c in range(low, high):
        store(mean, document * d + c, total[at + c] / number)


@compiled
def _attend_block(
    b: int,
    block: int,
    h: int,
    d: int,
    x: Array,
    queries: Array,
    documents: Runs,
    z: Array,
    lse: Array,
    keep: bool,
    scores: Array,
    partial: Array,
    tops: Array,
    totals: Array,
    scratch: Array,
) -> None:
    """The documents that lie within a block; of others, the softmax over the block's tokens, not yet divided."""
    begin, end = border(documents, block, b), border(documents, block, b + 1)
    longest = 2 * block
    # in `scratch`: scores [longest, h], their exponentials [h, longest], pooled tokens [h, d], tops and totals [h]
    exponentials, pooled = longest * h, 2 * longest * h
    top, total = pooled + h * d, pooled + h * d + h
    first = begin
    while first < end:
        document = find(documents, first)
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        last = min(stop, end)
        n = last - first
        _dot_products(x, first * d, n, queries, document * h * d, h, d, scratch, 0)
        if keep:
            copy(scratch, 0, n * h, scores, first * h)
        for j in range(h):
            _exponentials(scratch, j, n, h, exponentials + j * longest, top + j, total + j)
        fill(scratch, pooled, h * d, 0)
        _add_products(scratch, exponentials, longest, x, first * d, n, scratch, pooled, h, d)
        if first == start and last == stop:
            for j in range(h):
                lse[document * h + j] = scratch[top + j] + np.log(scratch[total + j])
                for c in range(d):
                    store(z, (document * h + j) * d + c, scratch[pooled + j * d + c] / scratch[total + j])
        else:
            place = (2 * b if first > start else 2 * b + 1) * h
            copy(scratch, pooled, h * d, partial, place * d)
            copy(scratch, top, h, tops, place)
            copy(scratch, total, h, totals, place)
        first = last


@compiled
def _exponentials(scratch: Array, j: int, n: int, h: int, out: int, at_top: int, at_total: int) -> None:
    """`exp(score - top)` of one head's `n` scores, from `[n, h]` at 0 to the place `out`; their top, and their sum."""
    top = scratch[j]
    for i in range(1, n):
        top = max(top, scratch[i * h + j])
    # Where a whole run scores -inf, other runs may not: its tokens then weigh nothing, and inf - inf must not be met.
    shift = top if top != -np.inf else _NOTHING
    total = _NOTHING
    for i in range(n):
        exponential = np.exp(scratch[i * h + j] - shift)
        scratch[out + i] = exponential
        total += exponential
    scratch[at_top], scratch[at_total] = top, total


@compiled
def _attention_over_blocks(
    b: int,
    j: int,
    block: int,
    h: int,
    d: int,
    documents: Runs,
    z: Array,
    lse: Array,
    partial: Array,
    tops: Array,
    totals: Array,
) -> None:
    """One head of the document that begins in a block and goes on after it, from the softmax of each of its runs."""
    begin, end = border(documents, block, b), border(documents, block, b + 1)
    document = find(documents, end - 1)
    start, stop = documents.offsets[document], documents.offsets[document + 1]
    if start < begin or stop <= end:
        return
    own, final = (2 * b + 1) * h + j, block_of(documents, block, stop - 1)
    top = tops[own]
    for other in range(b + 1, final + 1):
        top = max(top, tops[2 * other * h + j])
    shift = top if top != -np.inf else _NOTHING
    factor = np.exp(tops[own] - shift)
    total = totals[own] * factor
    for c in range(d):
        partial[own * d + c] *= factor
    for other in range(b + 1, final + 1):
        place = 2 * other * h + j
        factor = np.exp(tops[place] - shift)
        total += totals[place] * factor
        for c in range(d):
            partial[own * d + c] += partial[place * d + c] * factor
    lse[document * h + j] = top + np.log(total)
    for c in range(d):
        store(z, (document * h + j) * d + c, partial[own * d + c] / total)


@compiled
def _attend_block_backward(
    b: int,
    block: int,
    h: int,
    d: int,
    dz: Array,
    dweights: Array,
    weighted: bool,
    x: Array,
    queries: Array,
    lse: Array,
    delta: Array,
    documents: Runs,
    dx: Array,
    dqueries: Array,
    partial: Array,
    scores: Array,
    rows: Array,
) -> None:
    begin, end = border(documents, block, b), border(documents, block, b + 1)
    longest = 2 * block
    # in `scores`: weights and score gradients [longest, h], the latter [h, longest]; in `rows`: some dx, then dqueries
    gradients, by_head, dquery = longest * h, 2 * longest * h, 16 * d
    first = begin
    while first < end:
        document = find(documents, first)
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        last = min(stop, end)
        n, place = last - first, document * h * d
        _dot_products(x, first * d, n, queries, place, h, d, scores, 0)
        _dot_products(x, first * d, n, dz, place, h, d, scores, gradients)
        for i in range(n):
            for j in range(h):
                weight = np.exp(scores[i * h + j] - lse[document * h + j])
                gradient = scores[gradients + i * h + j] - delta[document * h + j]
                if weighted:
                    gradient += load(dweights, (first + i) * h + j)
                scores[i * h + j] = weight
                scores[gradients + i * h + j] = weight * gradient
                scores[by_head + j * longest + i] = weight * gradient
        for low in range(0, n, 16):
            m = min(16, n - low)
            fill(rows, 0, m * d, 0)
            _add_products(scores, low * h, h, dz, place, h, rows, 0, m, d)
            _add_products(scores, gradients + low * h, h, queries, place, h, rows, 0, m, d)
            copy(rows, 0, m * d, dx, (first + low) * d)
        fill(rows, dquery, h * d, 0)
        _add_products(scores, by_head, longest, x, first * d, n, rows, dquery, h, d)
        if first == start and last == stop:
            copy(rows, dquery, h * d, dqueries, place)
        else:
            copy(rows, dquery, h * d, partial, (2 * b if first > start else 2 * b + 1) * h * d)
        first = last


@regrouped
def _dot_products(
    rows: Array, at: int, n: int, others: Array, at_others: int, m: int, d: int, out: Array, at_out: int
) -> None:
    """`out[i, j] = rows[i] . others[j]`, `[n, m]` from `[n, d]` and `[m, d]`: eight sums at a time, to use what is
    loaded often. Each matrix is contiguous, from its place `at` on.
    """
    even_n, even_m = n - n % 4, m - m % 2
    for i in range(0, even_n, 4):
        r0, r1, r2, r3 = at + i * d, at + (i + 1) * d, at + (i + 2) * d, at + (i + 3) * d
        for j in range(0, even_m, 2):
            u, v = at_others + j * d, at_others + (j + 1) * d
            a0, a1, a2, a3 = _NOTHING, _NOTHING, _NOTHING, _NOTHING
            b0, b1, b2, b3 = _NOTHING, _NOTHING, _NOTHING, _NOTHING
            for c in range(d):
                a0 += load(rows, r0 + c) * others[u + c]
                b0 += load(rows, r0 + c) * others[v + c]
                a1 += load(rows, r1 + c) * others[u + c]
                b1 += load(rows, r1 + c) * others[v + c]
                a2 += load(rows, r2 + c) * others[u + c]
                b2 += load(rows, r2 + c) * others[v + c]
                a3 += load(rows, r3 + c) * others[u + c]
                b3 += load(rows, r3 + c) * others[v + c]
            place = at_out + i * m + j
            out[place], out[place + m], out[place + 2 * m], out[place + 3 * m] = a0, a1, a2, a3
            place += 1
            out[place], out[place + m], out[place + 2 * m], out[place + 3 * m] = b0, b1, b2, b3
    for i in range(n):
        for j in range(even_m if i < even_n else 0, m):
            total = _NOTHING
            for c in range(d):
                total += load(rows, at + i * d + c) * others[at_others + j * d + c]
            out[at_out + i * m + j] = total


@regrouped
def _add_products(
    factors: Array, at_factors: int, stride: int, rows: Array, at: int, n: int, out: Array, at_out: int, m: int, d: int
) -> None:
    """`out[i] += sum over j < n of factors[i, j] * rows[j]`, `[m, d]` from `[m, n]` (rows `stride` apart) and `[n, d]`:
    two sums of four rows at a time. Each matrix from its place `at` on.
    """
    even_m, even_n = m - m % 2, n - n % 4
    for low in range(0, d, 128):  # a slice of the width at a time stays in the first cache
        high = min(low + 128, d)
        for j in range(0, even_n, 4):
            r0, r1, r2, r3 = at + j * d, at + (j + 1) * d, at + (j + 2) * d, at + (j + 3) * d
            for i in range(0, even_m, 2):
                f, u, v = at_factors + i * stride + j, at_out + i * d, at_out + (i + 1) * d
                a0, a1, a2, a3 = factors[f], factors[f + 1], factors[f + 2], factors[f + 3]
                f += stride
                b0, b1, b2, b3 = factors[f], factors[f + 1], factors[f + 2], factors[f + 3]
                for c in range(low, high):
                    x0, x1, x2, x3 = load(rows, r0 + c), load(rows, r1 + c), load(rows, r2 + c), load(rows, r3 + c)
                    out[u + c] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                    out[v + c] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
        for i in range(m):
            for j in range(even_n if i < even_m else 0, n):
                factor = factors[at_factors + i * stride + j]
                for c in range(low, high):
                    out[at_out + i * d + c] += factor * load(rows, at + j * d + c)
