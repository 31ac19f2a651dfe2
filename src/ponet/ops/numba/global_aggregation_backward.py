"""The softmax-weighted mean of global aggregation backward, in Numba: one pass over tokens, scores recomputed."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ponet.ops.autograd import LayoutTensors
from ponet.ops.numba.blocks import PIECE, Runs, block_start, find, partial_row, sum_partials
from ponet.ops.numba.global_aggregation import add_products, dot_products, exponentials, softmax_block
from ponet.ops.numba.kernel import (
    Accumulator,
    Kernel,
    Launch,
    PerThread,
    Pointer,
    Scratch,
    Storage,
    arguments,
    at,
    compiled,
    copy,
    fill,
    load,
    loop,
    per_thread,
    run_tasks,
)
from ponet.ops.reference import accumulator

_TOKENS = 16
"""Tokens whose gradients are summed at a time."""


class _SoftmaxBackward(NamedTuple):
    documents: Runs
    blocks: int
    d: int
    h: int
    dz: Accumulator
    dweights: Storage
    has_dweights: bool
    x: Storage
    queries: Accumulator
    lse: Accumulator
    delta: Accumulator
    dx: Storage
    dqueries: Storage
    partials: Accumulator
    scratch: PerThread


def softmax_aggregation_backward(
    dz: Tensor,
    dweights: Tensor | None,
    x: Tensor,
    queries: Tensor,
    lse: Tensor,
    delta: Tensor,
    layout: LayoutTensors,
) -> tuple[Tensor, Tensor]:
    """See `ponet.ops.autograd.Kernels`."""
    (T, d), (B, h) = x.shape, queries.shape[:2]
    dtype = accumulator(x.dtype)
    dx, dqueries = torch.empty_like(x), torch.zeros_like(queries)
    if T and d and not h:
        dx.zero_()
    elif T and d:
        block = softmax_block(h, d)
        blocks, size = (T + block - 1) // block, dtype.itemsize
        fields = _SoftmaxBackward(
            Runs(layout.cu_seqlens, B, block),
            *(blocks, d, h, dz.to(dtype), dweights, dweights is not None),
            *(x, queries.to(dtype), lse, delta, dx, dqueries),
            partials=Scratch(2 * blocks * h * d * size),
            scratch=per_thread(4 * block * h + (_TOKENS + h) * d, size),
        )
        launch = Launch(_softmax_backward, x.dtype, fields)
        launch.run(0, blocks, 5 * h * x.numel())
        if launch.cut:
            launch.run(1, (h * d + PIECE - 1) // PIECE, 2 * blocks * h * d)
    return dx, dqueries


@Kernel
def _softmax_backward(like: Pointer) -> None:
    run_tasks(_step, arguments(_SoftmaxBackward, like), like)


@compiled
def _step(step: int, task: int, a: _SoftmaxBackward, scratch: Pointer) -> bool:
    """Fills `dx`, and `dqueries`, given as zeros. Step 0, a task a block: all but the queries of documents that are
    cut; step 1, a task a piece of the width: these."""
    if step == 0:
        return _gradients_of_block(task, a, scratch)
    width = a.h * a.d
    low, high = task * PIECE, min((task + 1) * PIECE, width)
    for b in range(a.blocks):
        document = sum_partials(b, a.documents, a.documents, a.partials, low, high, width)
        if document >= 0:
            copy(at(a.partials, (2 * b + 1) * width + low), high - low, at(a.dqueries, document * width + low))
    return False


@compiled
def _gradients_of_block(b: int, a: _SoftmaxBackward, scratch: Pointer) -> bool:
    documents, d, h = a.documents, a.d, a.h
    begin, end = block_start(documents, b), block_start(documents, b + 1)
    longest = 2 * documents.block
    weights, gradients = scratch, at(scratch, h * longest)  # [h, longest]: of tokens, and of their scores
    rows, own_dqueries = at(scratch, 2 * h * longest), at(scratch, 2 * h * longest + _TOKENS * d)
    first, cut = begin, False
    while first < end:
        document = find(documents, first)
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        last = min(stop, end)
        n, whole, tokens = last - first, first == start and last == stop, at(a.x, first * d)
        query, dz = at(a.queries, document * h * d), at(a.dz, document * h * d)
        dot_products(tokens, n, query, h, d, weights, longest)
        dot_products(tokens, n, dz, h, d, gradients, longest)
        for j in range(h):
            of_head, gradient, k = at(weights, j * longest), at(gradients, j * longest), document * h + j
            if a.has_dweights:
                for i in range(n):
                    gradient[i] += load(a.dweights, (first + i) * h + j)
            exponentials(of_head, n, a.lse[k])
            _gradients_of_scores(of_head, a.delta[k], n, gradient)
        for low in range(0, n, _TOKENS):
            m = min(_TOKENS, n - low)
            fill(rows, m * d, 0)
            add_products(at(weights, low), 1, longest, dz, h, rows, m, d)
            add_products(at(gradients, low), 1, longest, query, h, rows, m, d)
            copy(rows, m * d, at(a.dx, (first + low) * d))
        into = own_dqueries if whole else at(a.partials, partial_row(documents, document, b, begin) * h * d)
        fill(into, h * d, 0)
        add_products(gradients, longest, 1, tokens, n, into, h, d)
        if whole:
            copy(into, h * d, at(a.dqueries, document * h * d))
        else:
            cut = True
        first = last
    return cut


@loop
def _gradients_of_scores(weights: Pointer, delta: Any, n: int, gradients: Pointer) -> None:
    for i in range(n):
        gradients[i] = weights[i] * (gradients[i] - delta)
