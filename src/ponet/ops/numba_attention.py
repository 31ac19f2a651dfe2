"""GA's passes over tokens, forward and backward, in Numba: means and attention-weighted means of documents.

A pass walks the tokens block by block; the part of a document in a block is a run. A document within a block is done
with at once, one longer than a block is combined from its runs. Each run has a softmax of its own, and no `[T, h]` is
kept unless it is asked for.
"""

import numpy as np

from ponet.ops.numba_rows import (
    Array,
    block_of,
    border,
    compiled,
    find,
    kernel,
    load,
    piece_of,
    regrouped,
    store,
    sum_over_blocks,
    take,
)


@kernel
def document_mean(
    counter: Array, tasks: int, step: int, x: Array, cu_seqlens: Array, block: int, mean: Array, partial: Array
) -> None:
    """Fills `mean [B, d]` (given as zeros) from `x [T, d]`, in two steps.

    A task is a block; in step 1, where sums over blocks are made, a block and one of so many equal pieces of the width.

    Args:
        partial: `[blocks, 2, d]` in the accumulator's type.
    """
    d = np.uint64(partial.shape[2])
    pieces = tasks // partial.shape[0]
    task = take(counter)
    while task < tasks:
        if step == 0:
            _sum_block(task, x, cu_seqlens, block, mean, partial)
        else:
            b, piece = task // pieces, task % pieces
            document = sum_over_blocks(b, piece, pieces, cu_seqlens, cu_seqlens, block, partial)
            if document >= 0:
                low, high = piece_of(d, piece, pieces)
                _store_mean(document, low, high, cu_seqlens, partial[b, 1], mean)
        task = take(counter)


@kernel
def attention_pool(
    counter: Array,
    tasks: int,
    step: int,
    x: Array,
    queries: Array,
    cu_seqlens: Array,
    block: int,
    z: Array,
    lse: Array,
    weights: Array,
    scores: Array,
    partial: Array,
    tops: Array,
    totals: Array,
) -> None:
    """Fills `z [B, h, d]` and `lse [B, h]` (given as zeros), and in step 2, if it is made, `weights [T, h]`.

    A task is a block; in step 1, where softmaxes of blocks are combined, a block and a head.

    Args:
        x: `[T, d]`. queries: `[B, h, d]` in the accumulator's type, as all below.
        lse: the logarithm of each softmax's denominator. scores: `[T, h]`, or empty where no weights are asked for.
        partial: `[blocks, 2, h, d]`. tops, totals: `[blocks, 2, h]`.
    """
    h = lse.shape[1]
    task = take(counter)
    while task < tasks:
        if step == 0:
            _attend_block(task, x, queries, cu_seqlens, block, z, lse, scores, partial, tops, totals)
        elif step == 1:
            _attention_over_blocks(task // h, task % h, cu_seqlens, block, z, lse, partial, tops, totals)
        else:
            _weigh_block(task, scores, lse, cu_seqlens, block, weights)
        task = take(counter)


@kernel
def attention_pool_backward(
    counter: Array,
    tasks: int,
    step: int,
    dz: Array,
    dweights: Array,
    x: Array,
    queries: Array,
    lse: Array,
    delta: Array,
    cu_seqlens: Array,
    block: int,
    dx: Array,
    dqueries: Array,
    partial: Array,
) -> None:
    """Fills `dx [T, d]` and `dqueries [B, h, d]` (given as zeros), recomputing the scores. Steps as `document_mean`'s.

    Args:
        dz, queries, lse, delta, partial: `[B, h, d]` twice, `[B, h]` twice and `[blocks, 2, h * d]`, all in the
            accumulator's type; `delta` is each softmax's sum of weights times their gradients.
        dweights: `[T, h]`, or empty.
    """
    width, d = np.uint64(partial.shape[2]), np.uint64(x.shape[1])
    pieces = tasks // partial.shape[0]
    task = take(counter)
    while task < tasks:
        if step == 0:
            _attend_block_backward(task, dz, dweights, x, queries, lse, delta, cu_seqlens, block, dx, dqueries, partial)
        else:
            b, piece = task // pieces, task % pieces
            document = sum_over_blocks(b, piece, pieces, cu_seqlens, cu_seqlens, block, partial)
            if document >= 0:
                low, high = piece_of(width, piece, pieces)
                for c in range(low, high):
                    store(dqueries, (document, c // d, c % d), partial[b, 1, c])
        task = take(counter)


@compiled
def _sum_block(b: int, x: Array, cu_seqlens: Array, block: int, mean: Array, partial: Array) -> None:
    d = np.uint64(partial.shape[2])
    begin, end = border(cu_seqlens, block, b), border(cu_seqlens, block, b + 1)
    total = np.empty(d, partial.dtype)
    first = begin
    while first < end:
        document = find(cu_seqlens, first)
        start, stop = cu_seqlens[document], cu_seqlens[document + 1]
        last = min(stop, end)
        for c in range(d):
            total[c] = 0
        for token in range(first, last):
            for c in range(d):
                total[c] += load(x, (token, c))
        if first == start and last == stop:
            _store_mean(document, 0, d, cu_seqlens, total, mean)
        else:
            side = 0 if first > start else 1
            for c in range(d):
                partial[b, side, c] = total[c]
        first = last


@compiled
def _store_mean(document: int, low: int, high: int, cu_seqlens: Array, total: Array, mean: Array) -> None:
    number = total.dtype.type(cu_seqlens[document + 1] - cu_seqlens[document])
    for c in range(low, high):
        store(mean, (document, c), total[c] / number)


@compiled
def _attend_block(
    b: int,
    x: Array,
    queries: Array,
    cu_seqlens: Array,
    block: int,
    z: Array,
    lse: Array,
    scores: Array,
    partial: Array,
    tops: Array,
    totals: Array,
) -> None:
    """The documents that lie within a block; of others, the softmax over the block's tokens, not yet divided."""
    h, d = partial.shape[2], np.uint64(partial.shape[3])
    begin, end = border(cu_seqlens, block, b), border(cu_seqlens, block, b + 1)
    scored, exponentials = np.empty((end - begin, h), partial.dtype), np.empty((h, end - begin), partial.dtype)
    pooled, top, total = np.empty((h, d), partial.dtype), np.empty(h, partial.dtype), np.empty(h, partial.dtype)
    first = begin
    while first < end:
        document = find(cu_seqlens, first)
        start, stop = cu_seqlens[document], cu_seqlens[document + 1]
        last = min(stop, end)
        n = last - first
        _dot_products(x, first, n, queries[document], scored)
        if scores.shape[0] > 0:
            for i in range(n):
                for j in range(h):
                    scores[first + i, j] = scored[i, j]
        for j in range(h):
            top[j], total[j] = _exponentials(scored, n, j, exponentials)
            for c in range(d):
                pooled[j, c] = 0
        _add_products(exponentials, x, first, n, pooled, h)
        if first == start and last == stop:
            for j in range(h):
                lse[document, j] = top[j] + np.log(total[j])
                for c in range(d):
                    store(z, (document, j, c), pooled[j, c] / total[j])
        else:
            side = 0 if first > start else 1
            for j in range(h):
                tops[b, side, j], totals[b, side, j] = top[j], total[j]
                for c in range(d):
                    partial[b, side, j, c] = pooled[j, c]
        first = last


@compiled
def _exponentials(scored: Array, n: int, j: int, out: Array) -> tuple[float, float]:
    """`exp(score - top)` of one head's `n` scores into `out[j]`, their top, and their sum."""
    top = scored[0, j]
    for i in range(1, n):
        top = max(top, scored[i, j])
    # Where a whole run scores -inf, other runs may not: its tokens then weigh nothing, and inf - inf must not be met.
    shift = top if top != -np.inf else scored.dtype.type(0)
    total = scored.dtype.type(0)
    for i in range(n):
        out[j, i] = np.exp(scored[i, j] - shift)
        total += out[j, i]
    return top, total


@compiled
def _attention_over_blocks(
    b: int, j: int, cu_seqlens: Array, block: int, z: Array, lse: Array, partial: Array, tops: Array, totals: Array
) -> None:
    """One head of the document that begins in a block and goes on after it, from the softmax of each of its runs."""
    d = np.uint64(partial.shape[3])
    begin, end = border(cu_seqlens, block, b), border(cu_seqlens, block, b + 1)
    document = find(cu_seqlens, end - 1)
    if cu_seqlens[document] < begin or cu_seqlens[document + 1] <= end:
        return
    final = block_of(cu_seqlens, block, cu_seqlens[document + 1] - 1)
    top = tops[b, 1, j]
    for other in range(b + 1, final + 1):
        top = max(top, tops[other, 0, j])
    shift = top if top != -np.inf else tops.dtype.type(0)
    factor = np.exp(tops[b, 1, j] - shift)
    total = totals[b, 1, j] * factor
    for c in range(d):
        partial[b, 1, j, c] *= factor
    for other in range(b + 1, final + 1):
        factor = np.exp(tops[other, 0, j] - shift)
        total += totals[other, 0, j] * factor
        for c in range(d):
            partial[b, 1, j, c] += partial[other, 0, j, c] * factor
    lse[document, j] = top + np.log(total)
    for c in range(d):
        store(z, (document, j, c), partial[b, 1, j, c] / total)


@compiled
def _weigh_block(b: int, scores: Array, lse: Array, cu_seqlens: Array, block: int, weights: Array) -> None:
    for token in range(border(cu_seqlens, block, b), border(cu_seqlens, block, b + 1)):
        document = find(cu_seqlens, token)
        for j in range(lse.shape[1]):
            store(weights, (token, j), np.exp(scores[token, j] - lse[document, j]))


@compiled
def _attend_block_backward(
    b: int,
    dz: Array,
    dweights: Array,
    x: Array,
    queries: Array,
    lse: Array,
    delta: Array,
    cu_seqlens: Array,
    block: int,
    dx: Array,
    dqueries: Array,
    partial: Array,
) -> None:
    h, d = queries.shape[1], np.uint64(queries.shape[2])
    begin, end = border(cu_seqlens, block, b), border(cu_seqlens, block, b + 1)
    scored, gradients = np.empty((end - begin, h), partial.dtype), np.empty((end - begin, h), partial.dtype)
    by_head = np.empty((h, end - begin), partial.dtype)
    dquery, dtokens = np.empty((h, d), partial.dtype), np.empty((16, d), partial.dtype)
    first = begin
    while first < end:
        document = find(cu_seqlens, first)
        start, stop = cu_seqlens[document], cu_seqlens[document + 1]
        last = min(stop, end)
        n = last - first
        _dot_products(x, first, n, queries[document], scored)
        _dot_products(x, first, n, dz[document], gradients)
        for i in range(n):
            for j in range(h):
                weight = np.exp(scored[i, j] - lse[document, j])
                gradient = gradients[i, j] - delta[document, j]
                if dweights.shape[0] > 0:
                    gradient += load(dweights, (first + i, j))
                scored[i, j], gradients[i, j], by_head[j, i] = weight, weight * gradient, weight * gradient
        for low in range(0, n, 16):
            m = min(16, n - low)
            for i in range(m):
                for c in range(d):
                    dtokens[i, c] = 0
            _add_products(scored[low:], dz[document], 0, h, dtokens, m)
            _add_products(gradients[low:], queries[document], 0, h, dtokens, m)
            for i in range(m):
                for c in range(d):
                    store(dx, (first + low + i, c), dtokens[i, c])
        for j in range(h):
            for c in range(d):
                dquery[j, c] = 0
        _add_products(by_head, x, first, n, dquery, h)
        if first == start and last == stop:
            for j in range(h):
                for c in range(d):
                    store(dqueries, (document, j, c), dquery[j, c])
        else:
            side = 0 if first > start else 1
            for j in range(h):
                for c in range(d):
                    partial[b, side, j * d + c] = dquery[j, c]
        first = last


@regrouped
def _dot_products(rows: Array, first: int, n: int, others: Array, out: Array) -> None:
    """`out[i, j] = rows[first + i] . others[j]`, `i < n`: eight sums at a time, to use what is loaded often."""
    m, d = others.shape[0], np.uint64(others.shape[1])
    even_n, even_m = n - n % 4, m - m % 2
    nothing = out.dtype.type(0)
    for i in range(0, even_n, 4):
        for j in range(0, even_m, 2):
            a0, a1, a2, a3 = nothing, nothing, nothing, nothing
            b0, b1, b2, b3 = nothing, nothing, nothing, nothing
            for c in range(d):
                u, v = others[j, c], others[j + 1, c]
                r0, r1 = load(rows, (first + i, c)), load(rows, (first + i + 1, c))
                r2, r3 = load(rows, (first + i + 2, c)), load(rows, (first + i + 3, c))
                a0 += r0 * u
                b0 += r0 * v
                a1 += r1 * u
                b1 += r1 * v
                a2 += r2 * u
                b2 += r2 * v
                a3 += r3 * u
                b3 += r3 * v
            out[i, j], out[i + 1, j], out[i + 2, j], out[i + 3, j] = a0, a1, a2, a3
            out[i, j + 1], out[i + 1, j + 1], out[i + 2, j + 1], out[i + 3, j + 1] = b0, b1, b2, b3
    for i in range(n):
        for j in range(even_m if i < even_n else 0, m):
            total = nothing
            for c in range(d):
                total += load(rows, (first + i, c)) * others[j, c]
            out[i, j] = total


@regrouped
def _add_products(factors: Array, rows: Array, first: int, n: int, out: Array, m: int) -> None:
    """`out[i] += sum over j < n of factors[i, j] * rows[first + j]`, `i < m`: two sums of four rows at a time."""
    d = np.uint64(out.shape[1])
    even_m, even_n = m - m % 2, n - n % 4
    for low in range(np.uint64(0), d, np.uint64(128)):  # a slice of the width at a time stays in the first cache
        high = min(low + np.uint64(128), d)
        for j in range(0, even_n, 4):
            for i in range(0, even_m, 2):
                a0, a1, a2, a3 = factors[i, j], factors[i, j + 1], factors[i, j + 2], factors[i, j + 3]
                b0, b1, b2, b3 = factors[i + 1, j], factors[i + 1, j + 1], factors[i + 1, j + 2], factors[i + 1, j + 3]
                for c in range(low, high):
                    r0, r1 = load(rows, (first + j, c)), load(rows, (first + j + 1, c))
                    r2, r3 = load(rows, (first + j + 2, c)), load(rows, (first + j + 3, c))
                    out[i, c] += a0 * r0 + a1 * r1 + a2 * r2 + a3 * r3
                    out[i + 1, c] += b0 * r0 + b1 * r1 + b2 * r2 + b3 * r3
        for i in range(m):
            for j in range(even_n if i < even_m else 0, n):
                factor = factors[i, j]
                for c in range(low, high):
                    out[i, c] += factor * load(rows, (first + j, c))
