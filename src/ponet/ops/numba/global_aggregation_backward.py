"""Attention-weighted means of documents backward, in Numba: one pass over tokens, which computes their scores again."""

from typing import Any

import torch
from torch import Tensor

from ponet.ops.numba.blocks import PIECE, Runs, border, find, slot, sum_parts
from ponet.ops.numba.global_aggregation import attention_block
from ponet.ops.numba.products import add_products, dot_products, exponentials
from ponet.ops.numba.threads import COUNT, CUT, STEP, TASKS, WORKERS, Call, address, take
from ponet.ops.numba.tools import (
    Kernel,
    Pointer,
    address_of,
    at,
    compiled,
    copy,
    fill,
    integers,
    load,
    loop,
    stored,
    sums,
)
from ponet.ops.reference import accumulator

_TOKENS = 16
"""Tokens whose gradients are summed at a time."""


def attention_pool_backward(
    dz: Tensor,
    dweights: Tensor | None,
    x: Tensor,
    queries: Tensor,
    lse: Tensor,
    delta: Tensor,
    cu_seqlens: Tensor,
) -> tuple[Tensor, Tensor]:
    """`library.Kernels.attention_pool_backward`."""
    (T, d), (B, h) = x.shape, queries.shape[:2]
    dtype = accumulator(x.dtype)
    dx, dqueries = torch.empty_like(x), torch.zeros_like(queries)
    if T and d and not h:
        dx.zero_()
    elif T and d:
        block = attention_block(h, d)
        blocks, size = (T + block - 1) // block, dtype.itemsize
        wide_dz, wide_queries = dz.to(dtype), queries.to(dtype)
        call = Call(
            _attention_pool_backward,
            x.dtype,
            *(block, d, h, T, address(cu_seqlens), B, address(wide_dz)),
            *(address(dweights), address(x), address(wide_queries), address(lse), address(delta), address(dx)),
            address(dqueries),
            rooms=(2 * blocks * h * d * size,),
            scratch=(4 * block * h + (_TOKENS + h) * d) * size,
        )
        call.run(0, blocks, 5 * h * x.numel())
        if call.cut:
            call.run(1, (h * d + PIECE - 1) // PIECE, 2 * blocks * h * d)
    return dx, dqueries


@Kernel
def _attention_pool_backward(like: Pointer) -> None:
    """Fills `dx`, and `dqueries`, given as zeros. Steps as in `global_aggregation._document_mean`."""
    numbers = integers(address_of(like))
    block, d, h, T = numbers[5], numbers[6], numbers[7], numbers[8]
    documents = Runs(integers(numbers[9]), numbers[10], block)
    dz, dweights, weighted = sums(numbers[11], like), stored(numbers[12], like), numbers[12] != 0
    x, queries, lse, delta = (
        stored(numbers[13], like),
        sums(numbers[14], like),
        sums(numbers[15], like),
        sums(numbers[16], like),
    )
    dx, dqueries, parts = stored(numbers[17], like), stored(numbers[18], like), sums(numbers[19], like)
    scratch = at(sums(numbers[20], like), take(numbers, WORKERS) * (4 * block * h + (_TOKENS + h) * d))
    tasks, step, width = numbers[TASKS], numbers[STEP], h * d
    task = take(numbers, COUNT)
    while task < tasks:
        if step == 0:
            if _attend_block_backward(
                task, h, d, dz, dweights, weighted, x, queries, lse, delta, documents, dx, dqueries, parts, scratch
            ):
                numbers[CUT] = 1
        else:
            low, high = task * PIECE, min((task + 1) * PIECE, width)
            for b in range((T + block - 1) // block):
                document = sum_parts(b, documents, documents, parts, low, high, width)
                if document >= 0:
                    copy(at(parts, (2 * b + 1) * width + low), high - low, at(dqueries, document * width + low))
        task = take(numbers, COUNT)


@compiled
def _attend_block_backward(
    b: int,
    h: int,
    d: int,
    dz: Pointer,
    dweights: Pointer,
    weighted: bool,
    x: Pointer,
    queries: Pointer,
    lse: Pointer,
    delta: Pointer,
    documents: Runs,
    dx: Pointer,
    dqueries: Pointer,
    parts: Pointer,
    scratch: Pointer,
) -> bool:
    begin, end = border(documents, b), border(documents, b + 1)
    longest = 2 * documents.block
    weights, gradients = scratch, at(scratch, h * longest)  # [h, longest]: of tokens, and of their scores
    rows, own_dqueries = at(scratch, 2 * h * longest), at(scratch, 2 * h * longest + _TOKENS * d)
    first, cut = begin, False
    while first < end:
        document = find(documents, first)
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        last = min(stop, end)
        n, whole, tokens = last - first, first == start and last == stop, at(x, first * d)
        query, dz_here = at(queries, document * h * d), at(dz, document * h * d)
        dot_products(tokens, n, query, h, d, weights, longest)
        dot_products(tokens, n, dz_here, h, d, gradients, longest)
        for j in range(h):
            of_head, gradient, k = at(weights, j * longest), at(gradients, j * longest), document * h + j
            if weighted:
                for i in range(n):
                    gradient[i] += load(dweights, (first + i) * h + j)
            exponentials(of_head, n, lse[k])
            _of_scores(of_head, delta[k], n, gradient)
        for low in range(0, n, _TOKENS):
            m = min(_TOKENS, n - low)
            fill(rows, m * d, 0)
            add_products(at(weights, low), 1, longest, dz_here, h, rows, m, d)
            add_products(at(gradients, low), 1, longest, query, h, rows, m, d)
            copy(rows, m * d, at(dx, (first + low) * d))
        into = own_dqueries if whole else at(parts, slot(documents, document, b, begin) * h * d)
        fill(into, h * d, 0)
        add_products(gradients, longest, 1, tokens, n, into, h, d)
        if whole:
            copy(into, h * d, at(dqueries, document * h * d))
        else:
            cut = True
        first = last
    return cut


@loop
def _of_scores(weights: Pointer, delta: Any, n: int, gradients: Pointer) -> None:
    for i in range(n):
        gradients[i] = weights[i] * (gradients[i] - delta)
