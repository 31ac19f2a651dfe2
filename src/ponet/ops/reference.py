"""PoNet's token mixing in plain PyTorch: the definition that every other backend must agree with.

To be read beside the paper (arXiv 2110.02442, section 3) and `ponet.ops.naive`, which is the same token by token.
Everything works on packed tokens `[T, d]` and a `Layout`; any device and floating dtype, differentiable twice. Where a
maximum is tied, the first position wins and takes the whole gradient. Empty documents give zeros.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ponet.ops.layout import Layout

if TYPE_CHECKING:
    from ponet.ops.padded import AnyLayout


def mean_aggregation(x: Tensor, layout: Layout) -> Tensor:
    """The mean over each document's tokens, GA's stage 1: `[T, d]` -> `[B, d]`."""
    total = x.new_zeros(layout.batch_size, x.shape[1], dtype=accumulator(x.dtype)).index_add(
        0, layout.document, x.to(accumulator(x.dtype))
    )
    return (total / layout.cu_seqlens.diff().clamp(min=1)[:, None]).to(x.dtype)


def softmax_aggregation(
    x: Tensor, queries: Tensor, layout: Layout, output_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """One softmax-weighted mean of each document's tokens per head, GA's stage 2, with one query per document and head.

    `a[t, h] = softmax over the document's t of x[t] . queries[b, h]`; `z[b, h] = sum_t a[t, h] x[t]`.

    Args:
        x: `[T, d]`.
        queries: `[B, h, d]`, scaled.

    Returns:
        `z [B, h, d]`, and `a [T, h]` where `output_weights`, else None.
    """
    if torch.compiler.is_compiling():
        return _softmax_aggregation_vectorised(x, queries, layout, output_weights)
    pooled, weights = [], []
    for tokens, query in zip(x.split(layout.lengths), queries.unbind(), strict=True):
        a = (tokens @ query.T).to(accumulator(x.dtype)).softmax(0).to(x.dtype)  # [n, h]
        pooled.append(a.T @ tokens)
        weights.append(a)
    z = torch.stack(pooled) if pooled else queries.new_zeros(queries.shape)
    return z, torch.cat(weights) if output_weights and weights else None


def _softmax_aggregation_vectorised(
    x: Tensor, queries: Tensor, layout: Layout, output_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """`softmax_aggregation` without a loop over documents, so that a compiled graph doesn't depend on their lengths."""
    document, tokens = layout.document, x.to(accumulator(x.dtype))[:, None, :]
    a = _document_softmax((tokens * queries[document]).sum(-1), layout)  # [T, h]
    z = tokens.new_zeros(queries.shape).index_add(0, document, a[:, :, None] * tokens)
    return z.to(x.dtype), a.to(x.dtype) if output_weights else None


def _document_softmax(scores: Tensor, layout: Layout) -> Tensor:
    """The softmax over each document's tokens, `[T, h]` -> `[T, h]`, without a loop over documents."""
    index = layout.document[:, None].expand_as(scores)
    nothing = scores.new_full((layout.batch_size, scores.shape[1]), -torch.inf)
    top = nothing.scatter_reduce(0, index, scores.detach(), "amax")
    exponentials = (scores - top[layout.document]).exp()
    total = torch.zeros_like(nothing).index_add(0, layout.document, exponentials)
    return exponentials / total[layout.document]


def global_aggregation(
    x: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    layout: Layout,
    num_heads: int,
    output_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """GA, both stages, absorbed: neither `q` nor `k` is ever made for a token (paper, equations 2 to 5).

    The mean of the queries is the query of the mean; a score `g . (Wk x + b)` is `(Wk' g) . x` and a constant that the
    softmax drops; the weights sum to 1, so the pooled key is the key of the pooled token.

    Args:
        x: `[T, d]`.
        query_weight, key_weight: `[d, d]` as in `torch.nn.Linear`; the biases `[d]`.

    Returns:
        `g' [B, d]`, and stage 2's weights `[T, h]` where asked for.
    """
    mean = mean_aggregation(x, layout)
    queries = absorbed_queries(torch.nn.functional.linear(mean, query_weight, query_bias), key_weight, num_heads)
    pooled, weights = softmax_aggregation(x, queries.to(x.dtype), layout, output_weights)
    return absorbed_values(pooled, key_weight, key_bias, layout), weights


def absorbed_queries(g: Tensor, key_weight: Tensor, num_heads: int) -> Tensor:
    """Stage 1's `g [B, d]` -> the queries `[B, h, d]` that score unprojected tokens, with the `1 / sqrt(e)` in them."""
    width = g.shape[1] // num_heads
    heads = g.reshape(-1, num_heads, width)
    return torch.einsum("bhe,hed->bhd", heads, key_weight.reshape(num_heads, width, -1)) * width**-0.5


def absorbed_values(pooled: Tensor, key_weight: Tensor, key_bias: Tensor, layout: "AnyLayout") -> Tensor:
    """The pooled tokens `[B, h, d]` -> `g' [B, d]`: each head's own rows of the key projection."""
    _, num_heads, d = pooled.shape
    heads = torch.einsum("bhd,hed->bhe", pooled, key_weight.reshape(num_heads, -1, d))
    values = heads.flatten(1) + key_bias
    return values.masked_fill((layout.document_lengths == 0)[:, None], 0)


def global_aggregation_published(
    q: Tensor, k: Tensor, layout: Layout, num_heads: int, output_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """GA as published, from the queries and keys `[T, d]` of every token; results as `global_aggregation`'s."""
    width = q.shape[1] // num_heads
    g = mean_aggregation(q, layout).reshape(-1, num_heads, width)  # stage 1
    if torch.compiler.is_compiling():
        all_heads = k.to(accumulator(k.dtype)).reshape(-1, num_heads, width)
        a = _document_softmax((all_heads * g[layout.document]).sum(-1) * width**-0.5, layout)
        z = all_heads.new_zeros(g.shape).index_add(0, layout.document, a[:, :, None] * all_heads)
        return z.flatten(1).to(k.dtype), a.to(k.dtype) if output_weights else None
    pooled, weights = [], []
    for keys, query in zip(k.split(layout.lengths), g, strict=True):
        heads = keys.reshape(-1, num_heads, width)
        scores = torch.einsum("he,nhe->nh", query, heads) * width**-0.5
        a = scores.to(accumulator(k.dtype)).softmax(0).to(k.dtype)
        pooled.append(torch.einsum("nh,nhe->he", a, heads).reshape(-1))  # stage 2, the value is the key
        weights.append(a)
    g_prime = torch.stack(pooled) if pooled else q.new_zeros(0, q.shape[1])
    return g_prime, torch.cat(weights) if output_weights and weights else None


def segment_max(s: Tensor, layout: Layout) -> Tensor:
    """The maximum over each segment's tokens, by channel: `[T, d]` -> `[S, d]` (SMP, one row a segment)."""
    return s.gather(0, segment_argmax(s, layout))


def segment_argmax(s: Tensor, layout: Layout) -> Tensor:
    """The token that holds each segment's maximum, the first where tied: `[T, d]` -> `[S, d]` int64 into `T`."""
    s = s.detach()
    index = layout.segment[:, None].expand_as(s)
    top = s.new_full((layout.num_segments, s.shape[1]), -torch.inf).scatter_reduce(0, index, s, "amax")
    # `!=` so that a NaN, which equals nothing, shows in the result instead of pointing nowhere.
    beaten = (s != top.index_select(0, layout.segment)) & (s == s)
    places = torch.arange(layout.num_tokens, device=s.device)[:, None].expand_as(s)
    last = max(layout.num_tokens - 1, 0)
    first = places.new_full(top.shape, last)
    return first.scatter_reduce(0, index, places.masked_fill(beaten, last), "amin")


def local_max(x: Tensor, layout: Layout) -> Tensor:
    """The maximum of each token and its neighbours in the padded row, by channel: `[T, d]` -> `[T, d]` (LMP).

    Special tokens are not in their neighbours' windows, and a window ends at a gap in the row. The result at a special
    token has no meaning; PF drops it.
    """
    joins = layout.joins_next[:-1]
    from_left, from_right = joins, joins
    if layout.special is not None:
        from_left, from_right = joins & ~layout.special[:-1], joins & ~layout.special[1:]
    nothing = x.new_full((1, x.shape[1]), -torch.inf)[: x.shape[0]]
    left = torch.cat([nothing, x[:-1].masked_fill(~from_left[:, None], -torch.inf)])
    right = torch.cat([x[1:].masked_fill(~from_right[:, None], -torch.inf), nothing])
    best = torch.where(left >= x, left, x)  # the first of the tied takes the gradient
    return torch.where(best >= right, best, right)


def segment_local_fusion(g: Tensor, projections: Tensor, layout: Layout) -> Tensor:
    """SMP, LMP and PF: `y = (g' + s') * o + l'`, `s' = l' = 0` at special tokens (paper, equations 6 to 9).

    Args:
        g: `[B, d]`, GA's result.
        projections: `[T, 3 d]`: the output, segment and local projections `o | s | l`, as one product makes them.

    Returns:
        `y [T, d]`.
    """
    o, s, l = projections.chunk(3, 1)  # noqa: E741
    s_pooled = segment_max(s, layout).index_select(0, layout.segment)
    l_pooled = local_max(l, layout)
    if layout.special is not None:
        s_pooled = s_pooled.masked_fill(layout.special[:, None], 0)
        l_pooled = l_pooled.masked_fill(layout.special[:, None], 0)
    return (g.index_select(0, layout.document) + s_pooled) * o + l_pooled


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums and softmaxes of numbers of `dtype` run: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Backend(NamedTuple):
    """The ops that a backend implements, with the signatures of this module, and the layout that it takes."""

    mean_aggregation: Callable[[Tensor, Any], Tensor]
    softmax_aggregation: Callable[[Tensor, Tensor, Any, bool], tuple[Tensor, Tensor | None]]
    segment_local_fusion: Callable[[Tensor, Tensor, Any], Tensor]


BACKEND = Backend(mean_aggregation, softmax_aggregation, segment_local_fusion)
