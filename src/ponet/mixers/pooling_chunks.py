"""PoNet's mixer a chunk at a time: the same result as all at once, in memory that follows the size of a chunk.

Three passes over the tokens in place of one: each document's mean (stage 1 of global aggregation), its pooled tokens by
an online softmax (stage 2), then segment and local max-pooling and the fusion of each chunk. The maximum of a segment
that lies in several chunks is found beforehand; a chunk includes one token on either side for the windows at its ends.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ponet.ops.dispatch import mean_aggregation, segment_local_fusion
from ponet.ops.layout import Layout
from ponet.ops.reference import accumulator

Read = Callable[[int, int], Tensor]
"""`(begin, end) -> [end - begin, d]`: hidden states."""


def chunk_bounds(layout: Layout, size: int) -> list[int]:
    """Where chunks of about `size` tokens begin, from 0 to `T`.

    A chunk ends at the beginning of a segment where that costs less than half of it, so that few segments are split.
    """
    T, bounds = layout.num_tokens, [0]
    while bounds[-1] + size < T:
        bound = bounds[-1] + size
        if layout.segment_order is None:
            start = int(layout.cu_segments[layout.segment[bound]])
            bound = start if start >= bounds[-1] + (size + 1) // 2 else bound
        bounds.append(bound)
    return [*bounds, T] if T else [0]


def document_means(read: Read, layout: Layout, bounds: Sequence[int]) -> Tensor:
    """`mean_aggregation` in chunks: `[B, d]`; zeros for an empty document."""
    total: Tensor | None = None
    for begin, end in pairwise(bounds):
        chunk = layout.part(begin, end)
        x = read(begin, end)
        if total is None:
            total = x.new_zeros((layout.batch_size, x.shape[1]), dtype=accumulator(x.dtype))
        total[_documents(layout, begin, end)] += mean_aggregation(x, chunk).to(total.dtype) * _lengths(chunk)
    assert total is not None
    return (total / _lengths(layout).clamp(min=1)).to(x.dtype)


def attention_pools(read: Read, queries: Tensor, layout: Layout, bounds: Sequence[int]) -> Tensor:
    """`softmax_aggregation` in chunks, by an online softmax: queries `[B, h, d]` -> `[B, h, d]`."""
    B, h, _ = queries.shape
    q = queries.to(accumulator(queries.dtype))
    z = torch.zeros_like(q)
    denominator = q.new_zeros(B, h)
    top = q.new_full((B, h), -torch.inf)
    for begin, end in pairwise(bounds):
        x = read(begin, end).to(q.dtype)
        documents = _documents(layout, begin, end)
        for b in range(documents.start, documents.stop):
            start, stop = (int(layout.cu_seqlens[i].clamp(begin, end)) - begin for i in (b, b + 1))
            if start == stop:
                continue
            tokens = x[start:stop]
            scores = q[b] @ tokens.T  # [h, n]
            higher = torch.maximum(top[b], scores.amax(1))
            shrink = (top[b] - higher).exp()
            weights = (scores - higher[:, None]).exp()
            z[b] = z[b] * shrink[:, None] + weights @ tokens
            denominator[b] = denominator[b] * shrink + weights.sum(1)
            top[b] = higher
    return (z / denominator.clamp(min=torch.finfo(q.dtype).tiny)[:, :, None]).to(queries.dtype)


def pool_chunks(
    read: Read, project: Callable[[Tensor], Tensor], g: Tensor, layout: Layout, bounds: Sequence[int]
) -> Iterator[Tensor]:
    """`segment_local_fusion` in chunks: yields `y [end - begin, d]` of each.

    Args:
        project: `[n, d]` -> `[n, 3 d]`, the projections `o | s | l`.
        g: `[B, d]`, the result of global aggregation.
    """
    d = g.shape[1]
    split = _split_segments(layout, bounds)
    maxima = None
    if bool((split >= 0).any()):
        maxima = _maxima(read, lambda x: project(x)[:, d : 2 * d], split, layout, bounds)
    for begin, end in pairwise(bounds):
        low, high = max(begin - 1, 0), min(end + 1, layout.num_tokens)  # with a neighbour on either side
        projections = project(read(low, high))
        if maxima is not None:
            rows = split[layout.segment[low:high]]
            found = (rows >= 0).nonzero().squeeze(1)
            # the maximum of equal numbers is that number: each token of a split segment gets the segment's maximum
            projections[found, d : 2 * d] = maxima[rows[found]].to(projections.dtype)
        documents = _documents(layout, low, high)
        y = segment_local_fusion(g[documents].to(projections.dtype), projections, layout.part(low, high))
        yield y[begin - low : end - low]


def _lengths(layout: Layout) -> Tensor:
    return layout.cu_seqlens.diff()[:, None]


def _documents(layout: Layout, begin: int, end: int) -> slice:
    """The documents that `Layout.part` keeps of the tokens `begin : end`."""
    return slice(int(layout.document[begin]), int(layout.document[end - 1]) + 1)


def _split_segments(layout: Layout, bounds: Sequence[int]) -> Tensor:
    """`[S]`: a number, from 0 on, for each segment with tokens in several chunks; -1 for the others."""
    places = torch.arange(layout.num_tokens, device=layout.segment.device)
    inner = torch.tensor(bounds[1:-1], device=places.device, dtype=places.dtype)
    chunk = torch.bucketize(places, inner, right=True)
    if layout.segment_order is not None:
        chunk = chunk[layout.segment_order]
    runs = layout.cu_segments
    # in the order of segments, chunks rise within each of them: compare its first and last token
    is_split = chunk[runs[:-1]] != chunk[runs[1:] - 1]
    return torch.where(is_split, is_split.long().cumsum(0) - 1, -1)


def _maxima(
    read: Read, project: Callable[[Tensor], Tensor], split: Tensor, layout: Layout, bounds: Sequence[int]
) -> Tensor:
    """The maxima of the segments that `split` numbers, `[C, d]`."""
    maxima: Tensor | None = None
    for begin, end in pairwise(bounds):
        rows = split[layout.segment[begin:end]]
        found = (rows >= 0).nonzero().squeeze(1)
        if not found.numel():
            continue
        s = project(read(begin, end)[found])
        if maxima is None:
            maxima = s.new_full((int(split.max()) + 1, s.shape[1]), -torch.inf)
        maxima.scatter_reduce_(0, rows[found][:, None].expand_as(s), s, "amax")
    assert maxima is not None
    return maxima
