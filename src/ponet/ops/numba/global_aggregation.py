"""GA's passes over tokens forward, in Numba: means and attention-weighted means of documents.

A pass goes through the tokens block by block; the part of a document in a block is a run. A document within a block is
done with at once, one longer than a block is put together from its runs. Each run has a softmax of its own, and no
`[T, h]` is kept unless it is asked for.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ponet.ops.numba.blocks import BLOCK_NUMBERS, PIECE, Runs, block_of, border, find, going_on, slot, sum_parts
from ponet.ops.numba.products import add_products, dot_products, exponentials, greatest, total
from ponet.ops.numba.threads import COUNT, CUT, STEP, TASKS, WORKERS, Call, address, take
from ponet.ops.numba.tools import (
    ZERO,
    Kernel,
    Pointer,
    add,
    address_of,
    at,
    cast,
    compiled,
    fill,
    integers,
    load,
    loop,
    store,
    stored,
    sums,
)
from ponet.ops.reference import accumulator


def document_mean(x: Tensor, cu_seqlens: Tensor) -> Tensor:
    """`library.Kernels.document_mean`."""
    T, d = x.shape
    B = cu_seqlens.shape[0] - 1
    mean = x.new_zeros(B, d)
    if T and d:
        block = max(16, BLOCK_NUMBERS // d)
        blocks, size = (T + block - 1) // block, accumulator(x.dtype).itemsize
        call = Call(
            _document_mean,
            x.dtype,
            *(block, d, T, address(cu_seqlens), B, address(x), address(mean)),
            rooms=(2 * blocks * d * size,),
            scratch=d * size,
        )
        call.run(0, blocks, x.numel())
        if call.cut:
            call.run(1, (d + PIECE - 1) // PIECE, 2 * blocks * d)
    return mean


def attention_block(h: int, d: int) -> int:
    """Tokens in a block: enough that what a block finds, `[h, d]`, is little beside them."""
    return max(16, BLOCK_NUMBERS // d, 8 * h)


def attention_pool(
    x: Tensor, queries: Tensor, cu_seqlens: Tensor, output_weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`library.Kernels.attention_pool`."""
    (T, d), (B, h) = x.shape, queries.shape[:2]
    dtype = accumulator(x.dtype)
    z, lse = torch.zeros_like(queries), queries.new_zeros(B, h, dtype=dtype)
    weights = x.new_empty(T if output_weights else 0, h)
    if T and d and h:
        block = attention_block(h, d)
        blocks, size, wide = (T + block - 1) // block, dtype.itemsize, queries.to(dtype)
        call = Call(
            _attention_pool,
            x.dtype,
            *(block, d, h, address(cu_seqlens), B, address(x), address(wide), address(z)),
            *(address(lse), address(weights), output_weights),
            rooms=(
                *(2 * blocks * h * d * size, 2 * blocks * h * size, 2 * blocks * h * size),
                T * h * size if output_weights else 0,
            ),
            scratch=h * (2 * block + d + 2) * size,
        )
        call.run(0, blocks, 2 * h * x.numel())
        if call.cut:
            call.run(1, blocks * h, 2 * blocks * h * d)
        if output_weights:
            call.run(2, blocks, 8 * weights.numel())
    return z, lse, weights


@Kernel
def _document_mean(like: Pointer) -> None:
    """Fills `mean`, given as zeros. Step 0, a task a block, does the documents that lie in one, and makes `CUT` 1
    where a document is cut; step 1, a task a piece of the width, does the others."""
    numbers = integers(address_of(like))
    block, d, T = numbers[5], numbers[6], numbers[7]
    documents = Runs(integers(numbers[8]), numbers[9], block)
    x, mean, parts = stored(numbers[10], like), stored(numbers[11], like), sums(numbers[12], like)
    scratch = at(sums(numbers[13], like), take(numbers, WORKERS) * d)
    tasks, step = numbers[TASKS], numbers[STEP]
    task = take(numbers, COUNT)
    while task < tasks:
        if step == 0:
            if _sum_block(task, d, x, documents, mean, parts, scratch):
                numbers[CUT] = 1
        else:
            low, high = task * PIECE, min((task + 1) * PIECE, d)
            for b in range((T + block - 1) // block):
                document = sum_parts(b, documents, documents, parts, low, high, d)
                if document >= 0:
                    length = documents.offsets[document + 1] - documents.offsets[document]
                    divide(at(parts, (2 * b + 1) * d + low), length, high - low, at(mean, document * d + low))
        task = take(numbers, COUNT)


@compiled
def _sum_block(b: int, d: int, x: Pointer, documents: Runs, mean: Pointer, parts: Pointer, scratch: Pointer) -> bool:
    begin, end = border(documents, b), border(documents, b + 1)
    first, cut = begin, False
    while first < end:
        document = find(documents, first)
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        last = min(stop, end)
        whole = first == start and last == stop
        into = scratch if whole else at(parts, slot(documents, document, b, begin) * d)
        fill(into, d, 0)
        four = last - (last - first) % 4
        for token in range(first, four, 4):
            row = at(x, token * d)
            _add_four(row, at(row, d), at(row, 2 * d), at(row, 3 * d), d, into)
        for token in range(four, last):
            add(at(x, token * d), d, into)
        if whole:
            divide(into, stop - start, d, at(mean, document * d))
        else:
            cut = True
        first = last
    return cut


@loop
def _add_four(x0: Pointer, x1: Pointer, x2: Pointer, x3: Pointer, d: int, to: Pointer) -> None:
    for c in range(d):
        to[c] += (load(x0, c) + load(x1, c)) + (load(x2, c) + load(x3, c))


@loop
def divide(data: Pointer, by: Any, d: int, to: Pointer) -> None:
    """`to[:d] = data[:d] / by`."""
    divisor = cast(by, data)
    for c in range(d):
        store(to, c, data[c] / divisor)


@Kernel
def _attention_pool(like: Pointer) -> None:
    """Fills `z` and `lse`, given as zeros, and `weights`.

    Step 0, a task a block, does the documents that lie in one, and makes `CUT` 1 where a document is cut;
    step 1, a task a block and head, does the others; step 2, a task a block, makes the weights of the scores.
    """
    numbers = integers(address_of(like))
    block, d, h = numbers[5], numbers[6], numbers[7]
    documents = Runs(integers(numbers[8]), numbers[9], block)
    x, queries, z, lse = (
        stored(numbers[10], like),
        sums(numbers[11], like),
        stored(numbers[12], like),
        sums(numbers[13], like),
    )
    weights, keep = stored(numbers[14], like), numbers[15] != 0
    parts, tops, totals = sums(numbers[16], like), sums(numbers[17], like), sums(numbers[18], like)
    scratch = at(sums(numbers[20], like), take(numbers, WORKERS) * h * (2 * block + d + 2))
    scores = sums(numbers[19], like)
    tasks, step = numbers[TASKS], numbers[STEP]
    task = take(numbers, COUNT)
    while task < tasks:
        if step == 0:
            if _attend_block(task, h, d, x, queries, documents, z, lse, keep, scores, parts, tops, totals, scratch):
                numbers[CUT] = 1
        elif step == 1:
            _put_together(task // h, task % h, h, d, documents, z, lse, parts, tops, totals)
        else:
            for token in range(border(documents, task), border(documents, task + 1)):
                document = find(documents, token)
                for j in range(h):
                    store(weights, token * h + j, np.exp(scores[token * h + j] - lse[document * h + j]))
        task = take(numbers, COUNT)


@compiled
def _attend_block(
    b: int,
    h: int,
    d: int,
    x: Pointer,
    queries: Pointer,
    documents: Runs,
    z: Pointer,
    lse: Pointer,
    keep: bool,
    scores: Pointer,
    parts: Pointer,
    tops: Pointer,
    totals: Pointer,
    scratch: Pointer,
) -> bool:
    """Step 0 of a block: of cut documents, the softmax over the block's tokens, not yet divided."""
    begin, end = border(documents, b), border(documents, b + 1)
    longest = 2 * documents.block
    own_parts, own_tops, own_totals = (
        at(scratch, h * longest),
        at(scratch, h * (longest + d)),
        at(scratch, h * (longest + d + 1)),
    )
    first, cut = begin, False
    while first < end:
        document = find(documents, first)
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        last = min(stop, end)
        n, whole = last - first, first == start and last == stop
        row = slot(documents, document, b, begin) * h
        pooled = own_parts if whole else at(parts, row * d)
        top, weight = (own_tops, own_totals) if whole else (at(tops, row), at(totals, row))
        rows = at(x, first * d)
        dot_products(rows, n, at(queries, document * h * d), h, d, scratch, longest)
        for j in range(h):
            of_head = at(scratch, j * longest)
            if keep:
                for i in range(n):
                    scores[(first + i) * h + j] = of_head[i]
            top[j] = greatest(of_head, n)
            # Where a whole run scores -inf, other runs may not: its tokens weigh nothing, and inf - inf must not be.
            exponentials(of_head, n, top[j] if top[j] != -np.inf else ZERO)
            weight[j] = total(of_head, n)
        fill(pooled, h * d, 0)
        add_products(scratch, longest, 1, rows, n, pooled, h, d)
        if whole:
            for j in range(h):
                lse[document * h + j] = top[j] + np.log(weight[j])
                divide(at(pooled, j * d), weight[j], d, at(z, (document * h + j) * d))
        else:
            cut = True
        first = last
    return cut


@compiled
def _put_together(
    b: int,
    j: int,
    h: int,
    d: int,
    documents: Runs,
    z: Pointer,
    lse: Pointer,
    parts: Pointer,
    tops: Pointer,
    totals: Pointer,
) -> None:
    """One head of the document that begins in a block and goes on after it, from the softmax of each of its runs."""
    document = going_on(documents, border(documents, b), border(documents, b + 1))
    if document < 0:
        return
    own, final = (2 * b + 1) * h + j, block_of(documents, documents.offsets[document + 1] - 1)
    top = tops[own]
    for other in range(b + 1, final + 1):
        top = max(top, tops[2 * other * h + j])
    shift = top if top != -np.inf else ZERO
    weight, pooled = ZERO, at(parts, own * d)
    for other in range(b, final + 1):
        row = own if other == b else 2 * other * h + j
        factor = np.exp(tops[row] - shift)
        weight += totals[row] * factor
        _add_scaled(at(parts, row * d), factor, d, pooled, other == b)
    lse[document * h + j] = top + np.log(weight)
    divide(pooled, weight, d, at(z, (document * h + j) * d))


@compiled
def _add_scaled(data: Pointer, factor: Any, d: int, to: Pointer, first: bool) -> None:
    for c in range(d):
        to[c] = data[c] * factor if first else to[c] + data[c] * factor
