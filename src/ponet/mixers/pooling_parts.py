"""PoNet's mixer a part at a time: the same numbers as all at once, in memory that follows the size of a part.

Three walks over a document in place of one pass: its mean (GA, stage 1), then its pooled tokens by an online softmax
(stage 2), then SMP, LMP and PF of each part. A segment that a border cuts has its maximum found before; a part brings
along one token on either side for the windows of its ends.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ponet.ops.dispatch import mean_aggregation, segment_local_fusion
from ponet.ops.layout import Layout
from ponet.ops.reference import accumulator

Read = Callable[[int, int], Tensor]
"""`(begin, end) -> [end - begin, d]`: hidden states, or a projection of them."""


def part_borders(layout: Layout, size: int) -> list[int]:
    """Where parts of about `size` tokens begin, from 0 to `T`.

    A border goes back to the beginning of its segment where that costs less than half a part, so that few are cut.
    """
    T, borders = layout.num_tokens, [0]
    while borders[-1] + size < T:
        border = borders[-1] + size
        if layout.segment_order is None:
            start = int(layout.cu_segments[layout.segment[border]])
            border = start if start >= borders[-1] + (size + 1) // 2 else border
        borders.append(border)
    return [*borders, T] if T else [0]


def document_means(read: Read, layout: Layout, borders: Sequence[int]) -> Tensor:
    """`mean_aggregation` in parts: `[B, d]`; zeros for an empty document."""
    total: Tensor | None = None
    for begin, end in pairwise(borders):
        part = layout.part(begin, end)
        x = read(begin, end)
        if total is None:
            total = x.new_zeros((layout.batch_size, x.shape[1]), dtype=accumulator(x.dtype))
        documents = slice(*_documents(layout, begin, end))
        total[documents] += mean_aggregation(x, part).to(total.dtype) * part.cu_seqlens.diff()[:, None]
    assert total is not None
    return (total / layout.cu_seqlens.diff().clamp(min=1)[:, None]).to(x.dtype)


def attention_pools(read: Read, queries: Tensor, layout: Layout, borders: Sequence[int]) -> Tensor:
    """`softmax_aggregation` in parts, by an online softmax: queries `[B, h, d]` -> `[B, h, d]`."""
    B, h, _ = queries.shape
    q = queries.to(accumulator(queries.dtype))
    z = torch.zeros_like(q)
    denominator = q.new_zeros(B, h)
    top = q.new_full((B, h), -torch.inf)
    for begin, end in pairwise(borders):
        x = read(begin, end).to(q.dtype)
        first, last = _documents(layout, begin, end)
        for b in range(first, last):
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


def pool_parts(
    read: Read, project: Callable[[Tensor], Tensor], g: Tensor, layout: Layout, borders: Sequence[int]
) -> Iterator[Tensor]:
    """`segment_local_fusion` in parts: yields `y [end - begin, d]` of each.

    Args:
        read: hidden states.
        project: `[n, d]` -> `[n, 3 d]`, the projections `o | s | l`.
        g: `[B, d]`, GA's result.
        layout: of all tokens.
        borders: of the parts.
    """
    d = g.shape[1]
    cut = _cut_segments(layout, borders)
    tops = _maxima(read, lambda x: project(x)[:, d : 2 * d], cut, layout, borders) if bool((cut >= 0).any()) else None
    for begin, end in pairwise(borders):
        low, high = max(begin - 1, 0), min(end + 1, layout.num_tokens)  # the neighbours on either side
        projections = project(read(low, high))
        if tops is not None:
            rows = cut[layout.segment[low:high]]
            known = (rows >= 0).nonzero().squeeze(1)
            # of equal numbers the maximum is that number: so a cut segment's tokens get what was found before
            projections[known, d : 2 * d] = tops[rows[known]].to(projections.dtype)
        documents = slice(*_documents(layout, low, high))
        y = segment_local_fusion(g[documents].to(projections.dtype), projections, layout.part(low, high))
        yield y[begin - low : end - low]


def _documents(layout: Layout, begin: int, end: int) -> tuple[int, int]:
    """The documents, first and behind the last, that `Layout.part` keeps of the tokens `begin : end`."""
    return int(layout.document[begin]), int(layout.document[end - 1]) + 1


def _cut_segments(layout: Layout, borders: Sequence[int]) -> Tensor:
    """`[S]`: a number, from 0 on, for each segment with tokens in several parts; -1 for the others."""
    places = torch.arange(layout.num_tokens, device=layout.segment.device)
    inner = torch.tensor(borders[1:-1], device=places.device, dtype=places.dtype)
    part = torch.bucketize(places, inner, right=True)
    if layout.segment_order is not None:
        part = part[layout.segment_order]
    runs = layout.cu_segments
    # in the order of segments, parts rise within each: its first and last token tell
    is_cut = part[runs[:-1]] != part[runs[1:] - 1]
    return torch.where(is_cut, is_cut.long().cumsum(0) - 1, -1)


def _maxima(
    read: Read, project: Callable[[Tensor], Tensor], cut: Tensor, layout: Layout, borders: Sequence[int]
) -> Tensor:
    """The maxima of the segments that `cut` numbers, `[C, d]`."""
    tops: Tensor | None = None
    for begin, end in pairwise(borders):
        rows = cut[layout.segment[begin:end]]
        known = (rows >= 0).nonzero().squeeze(1)
        if not known.numel():
            continue
        s = project(read(begin, end)[known])
        if tops is None:
            tops = s.new_full((int(cut.max()) + 1, s.shape[1]), -torch.inf)
        tops.scatter_reduce_(0, rows[known][:, None].expand_as(s), s, "amax")
    assert tops is not None
    return tops
