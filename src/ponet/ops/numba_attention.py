"""GA's passes over tokens, forward and backward, in Numba: means and attention-weighted means of documents.

A pass walks the tokens block by block. The part of a document in a block is a run; a document that crosses a border is
combined from its runs. Scores are softmaxed online, run by run, so that no `[T, h]` is kept unless it is asked for.
"""

import numpy as np
from numba import prange

from ponet.ops.numba_rows import Array, as_floats, compiled, find, load, store, store_floats, sum_over_blocks

# Sums may be regrouped, so that they run in vectors; infinities and NaNs keep their meaning.
_REGROUPED = {"reassoc", "contract", "nsz"}


@compiled(parallel=True)
def document_mean(x: Array, cu_seqlens: Array, block: int, mean: Array, partial: Array) -> None:
    """Fills `mean [B, d]` (given as zeros) from `x [T, d]`; `partial [blocks, 2, d]` in the accumulator's type."""
    blocks, _, d = partial.shape
    slices = max(1, d // 64)
    for b in prange(blocks):
        _sum_block(np.int64(b), x, cu_seqlens, block, mean, partial)
    for task in prange(blocks * slices):
        sum_over_blocks(np.int64(task), slices, cu_seqlens, block, partial)
    for b in prange(blocks):
        document = _document_that_goes_on(np.int64(b), cu_seqlens, block)
        if document >= 0:
            _store_mean(document, cu_seqlens, partial[b, 1], mean)


@compiled(parallel=True)
def attention_pool(
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
    """Fills `z [B, h, d]` and `lse [B, h]` (given as zeros), and `weights [T, h]` unless it is empty.

    Args:
        x: `[T, d]`. queries: `[B, h, d]` in the accumulator's type, as all below.
        lse: the logarithm of each softmax's denominator. scores: `[T, h]`, or empty where no weights are asked for.
        partial: `[blocks, 2, h, d]`. tops, totals: `[blocks, 2, h]`.
    """
    blocks, _, h, _ = partial.shape
    for b in prange(blocks):
        _attend_block(np.int64(b), x, queries, cu_seqlens, block, z, lse, scores, partial, tops, totals)
    for task in prange(blocks * h):
        _attention_over_blocks(np.int64(task), cu_seqlens, block, z, lse, partial, tops, totals)
    if weights.shape[0] > 0:
        for b in prange(blocks):
            _weigh_block(np.int64(b), scores, lse, cu_seqlens, block, weights)


@compiled(parallel=True)
def attention_pool_backward(
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
    """Fills `dx [T, d]` and `dqueries [B, h, d]` (given as zeros), recomputing the scores.

    Args:
        dz, queries, lse, delta, partial: `[B, h, d]` twice, `[B, h]` twice and `[blocks, 2, h * d]`, all in the
            accumulator's type; `delta` is each softmax's sum of weights times their gradients.
        dweights: `[T, h]`, or empty.
    """
    blocks, _, width = partial.shape
    slices = max(1, width // 64)
    for b in prange(blocks):
        _attend_block_backward(np.int64(b), dz, dweights, x, queries, lse, delta, cu_seqlens, block, dx, dqueries, partial)
    for task in prange(blocks * slices):
        sum_over_blocks(np.int64(task), slices, cu_seqlens, block, partial)
    for b in prange(blocks):
        document = _document_that_goes_on(np.int64(b), cu_seqlens, block)
        if document >= 0:
            _store_flat(partial[b, 1], document, dqueries)


@compiled()
def _document_that_goes_on(b: int, cu_seqlens: Array, block: int) -> int:
    """The document that begins in a block and goes on after it, or -1."""
    begin, end = b * block, min((b + 1) * block, cu_seqlens[-1])
    document = find(cu_seqlens, end - 1)
    return document if cu_seqlens[document] >= begin and cu_seqlens[document + 1] > end else -1


@compiled()
def _sum_block(b: int, x: Array, cu_seqlens: Array, block: int, mean: Array, partial: Array) -> None:
    d = partial.shape[2]
    begin, end = b * block, min((b + 1) * block, cu_seqlens[-1])
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
            _store_mean(document, cu_seqlens, total, mean)
        else:
            side = 0 if first > start else 1
            for c in range(d):
                partial[b, side, c] = total[c]
        first = last


@compiled()
def _store_mean(document: int, cu_seqlens: Array, total: Array, mean: Array) -> None:
    number = total.dtype.type(cu_seqlens[document + 1] - cu_seqlens[document])
    for c in range(total.shape[0]):
        store(mean, (document, c), total[c] / number)


@compiled()
def _store_flat(values: Array, document: int, out: Array) -> None:
    """`[h * d]` into one document of `out [B, h, d]`."""
    _, h, d = out.shape
    for j in range(h):
        for c in range(d):
            store(out, (document, j, c), values[j * d + c])


@compiled()
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
    _, _, h, d = partial.shape
    begin, end = b * block, min((b + 1) * block, cu_seqlens[-1])
    tile = np.empty((end - begin, d), partial.dtype)
    scored, exponentials = np.empty((end - begin, h), partial.dtype), np.empty((h, end - begin), partial.dtype)
    pooled, top, total = np.empty((h, d), partial.dtype), np.empty(h, partial.dtype), np.empty(h, partial.dtype)
    first = begin
    while first < end:
        document = find(cu_seqlens, first)
        start, stop = cu_seqlens[document], cu_seqlens[document + 1]
        last = min(stop, end)
        n = last - first
        tokens = as_floats(x, first, last, tile, True)
        _dot_products(tokens, queries[document], scored[:n])
        if scores.shape[0] > 0:
            scores[first:last] = scored[:n]
        for j in range(h):
            top[j], total[j] = _exponentials(scored[:n], j, exponentials[j])
        pooled[:] = 0
        _add_products(exponentials, tokens, n, pooled)
        if first == start and last == stop:
            for j in range(h):
                lse[document, j] = top[j] + np.log(total[j])
                for c in range(d):
                    store(z, (document, j, c), pooled[j, c] / total[j])
        else:
            side = 0 if first > start else 1
            partial[b, side] = pooled
            tops[b, side], totals[b, side] = top, total
        first = last


@compiled()
def _exponentials(scored: Array, j: int, out: Array) -> tuple[float, float]:
    """`exp(score - top)` of one head's scores into `out`, their top, and their sum."""
    n = scored.shape[0]
    top = scored[0, j]
    for i in range(1, n):
        top = max(top, scored[i, j])
    # Where a whole run scores -inf, other runs may not: its tokens then weigh nothing, and inf - inf must not be met.
    shift = top if top != -np.inf else scored.dtype.type(0)
    total = scored.dtype.type(0)
    for i in range(n):
        out[i] = np.exp(scored[i, j] - shift)
        total += out[i]
    return top, total


@compiled()
def _attention_over_blocks(
    task: int, cu_seqlens: Array, block: int, z: Array, lse: Array, partial: Array, tops: Array, totals: Array
) -> None:
    """One head of the document that begins in a block and goes on after it, from the softmax of each of its runs."""
    h, d = partial.shape[2:]
    b, j = task // h, task % h
    document = _document_that_goes_on(b, cu_seqlens, block)
    if document < 0:
        return
    final = (cu_seqlens[document + 1] - 1) // block
    top = tops[b, 1, j]
    for other in range(b + 1, final + 1):
        top = max(top, tops[other, 0, j])
    shift = top if top != -np.inf else tops.dtype.type(0)
    factor = np.exp(tops[b, 1, j] - shift)
    total = totals[b, 1, j] * factor
    pooled = partial[b, 1, j]
    for c in range(d):
        pooled[c] *= factor
    for other in range(b + 1, final + 1):
        factor = np.exp(tops[other, 0, j] - shift)
        total += totals[other, 0, j] * factor
        for c in range(d):
            pooled[c] += partial[other, 0, j, c] * factor
    lse[document, j] = top + np.log(total)
    for c in range(d):
        store(z, (document, j, c), pooled[c] / total)


@compiled()
def _weigh_block(b: int, scores: Array, lse: Array, cu_seqlens: Array, block: int, weights: Array) -> None:
    for token in range(b * block, min((b + 1) * block, cu_seqlens[-1])):
        document = find(cu_seqlens, token)
        for j in range(lse.shape[1]):
            store(weights, (token, j), np.exp(scores[token, j] - lse[document, j]))


@compiled()
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
    _, h, d = queries.shape
    begin, end = b * block, min((b + 1) * block, cu_seqlens[-1])
    tile, dtile = np.empty((end - begin, d), partial.dtype), np.empty((end - begin, d), partial.dtype)
    scored, gradients = np.empty((end - begin, h), partial.dtype), np.empty((end - begin, h), partial.dtype)
    weights, score_gradients = np.empty_like(scored), np.empty_like(scored)
    by_head = np.empty((h, end - begin), partial.dtype)
    dquery = np.empty((h, d), partial.dtype)
    first = begin
    while first < end:
        document = find(cu_seqlens, first)
        start, stop = cu_seqlens[document], cu_seqlens[document + 1]
        last = min(stop, end)
        n = last - first
        tokens = as_floats(x, first, last, tile, True)
        _dot_products(tokens, queries[document], scored[:n])
        _dot_products(tokens, dz[document], gradients[:n])
        for i in range(n):
            for j in range(h):
                weights[i, j] = np.exp(scored[i, j] - lse[document, j])
                gradient = gradients[i, j] - delta[document, j]
                if dweights.shape[0] > 0:
                    gradient += load(dweights, (first + i, j))
                score_gradients[i, j] = weights[i, j] * gradient
                by_head[j, i] = score_gradients[i, j]
        dtokens = as_floats(dx, first, last, dtile, False)
        dtokens[:] = 0
        _add_products(weights[:n], dz[document], h, dtokens)
        _add_products(score_gradients[:n], queries[document], h, dtokens)
        store_floats(dtokens, dx, first)
        dquery[:] = 0
        _add_products(by_head, tokens, n, dquery)
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


@compiled(fastmath=_REGROUPED)
def _dot_products(rows: Array, others: Array, out: Array) -> None:
    """`out[i, j] = rows[i] . others[j]`: eight sums at a time, so that numbers loaded once are used often."""
    n, d = rows.shape
    m = others.shape[0]
    even_n, even_m = n - n % 4, m - m % 2
    nothing = out.dtype.type(0)
    for i in range(0, even_n, 4):
        for j in range(0, even_m, 2):
            a0, a1, a2, a3 = nothing, nothing, nothing, nothing
            b0, b1, b2, b3 = nothing, nothing, nothing, nothing
            for c in range(d):
                u, v = others[j, c], others[j + 1, c]
                a0 += rows[i, c] * u
                b0 += rows[i, c] * v
                a1 += rows[i + 1, c] * u
                b1 += rows[i + 1, c] * v
                a2 += rows[i + 2, c] * u
                b2 += rows[i + 2, c] * v
                a3 += rows[i + 3, c] * u
                b3 += rows[i + 3, c] * v
            out[i, j], out[i + 1, j], out[i + 2, j], out[i + 3, j] = a0, a1, a2, a3
            out[i, j + 1], out[i + 1, j + 1], out[i + 2, j + 1], out[i + 3, j + 1] = b0, b1, b2, b3
    for i in range(n):
        for j in range(even_m if i < even_n else 0, m):
            total = nothing
            for c in range(d):
                total += rows[i, c] * others[j, c]
            out[i, j] = total


@compiled(fastmath=_REGROUPED)
def _add_products(factors: Array, rows: Array, n: int, out: Array) -> None:
    """`out[i] += sum of factors[i, j] * rows[j]` over `j < n`: two sums of four rows at a time, by slices of width."""
    m, d = out.shape
    even_m, even_n = m - m % 2, n - n % 4
    for low in range(0, d, 128):
        high = min(low + 128, d)
        for j in range(0, even_n, 4):
            for i in range(0, even_m, 2):
                a0, a1, a2, a3 = factors[i, j], factors[i, j + 1], factors[i, j + 2], factors[i, j + 3]
                b0, b1, b2, b3 = factors[i + 1, j], factors[i + 1, j + 1], factors[i + 1, j + 2], factors[i + 1, j + 3]
                for c in range(low, high):
                    r0, r1, r2, r3 = rows[j, c], rows[j + 1, c], rows[j + 2, c], rows[j + 3, c]
                    out[i, c] += a0 * r0 + a1 * r1 + a2 * r2 + a3 * r3
                    out[i + 1, c] += b0 * r0 + b1 * r1 + b2 * r2 + b3 * r3
        for i in range(m):
            for j in range(even_n if i < even_m else 0, n):
                factor = factors[i, j]
                for c in range(low, high):
                    out[i, c] += factor * rows[j, c]
