"""PoNet's token mixing on padded rows `[B, N]`, in operations on tensors alone.

The packed ops need every document's length as a number; these don't, so that `torch.export`, ONNX and
`torch.compile(fullgraph=True)` see one graph for all batches. Results are those of `ponet.ops.reference` at real
tokens, and finite numbers without meaning at padding. Where a maximum is tied, its gradient is shared.

Tokens are the flattened rows, `[B * N, d]`, so that all that works token by token needs no change.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ponet.ops.layout import Layout
from ponet.ops.reference import Backend, accumulator


@dataclass(frozen=True, eq=False)
class PaddedLayout:
    """Where documents and segments are in padded rows; answers what a `Layout` is asked, with `T = B * N`."""

    real: Tensor
    """`[B, N]` bool: real tokens, wherever padding lies."""
    place: Tensor
    """`[B, N]` int64: the place of each real token in its document, from 0; at padding, anything from 0 to N - 1."""
    segment: Tensor | None
    """`[B, N]` int64: the segment of each token, numbered from 0 in each row; None where a document is one segment."""
    special: Tensor | None
    """`[B, N]` bool: [CLS] and [SEP], to which the special-token rule applies; None where it applies to none."""

    is_rectangular = False
    """Never assumed: it would depend on values."""

    @classmethod
    def from_padded(
        cls, attention_mask: Tensor, segment_ids: Tensor | None = None, special: Tensor | None = None
    ) -> "PaddedLayout":
        """Arguments as those of `Layout.from_padded`."""
        real = attention_mask != 0
        place = (real.long().cumsum(1) - 1).clamp(min=0)
        return cls(real, place, None if segment_ids is None else _number_segments(segment_ids), special)

    @property
    def batch_size(self) -> int:
        """`B`."""
        return self.real.shape[0]

    @property
    def padded_length(self) -> int:
        """`N`."""
        return self.real.shape[1]

    @property
    def num_tokens(self) -> int:
        """`B * N`."""
        return self.batch_size * self.padded_length

    @property
    def document_lengths(self) -> Tensor:
        """`[B]` int64: the real tokens of each document."""
        return self.real.sum(1)

    def real_tokens(self) -> Tensor:
        """`[B, N]` bool."""
        return self.real

    def rows(self, tokens: Tensor) -> Tensor:
        """`[B * N, ...]` -> `[B, N, ...]`, padding as it is."""
        return tokens.reshape(self.batch_size, self.padded_length, *tokens.shape[1:])

    def pad(self, tokens: Tensor) -> Tensor:
        """`[B * N, ...]` -> `[B, N, ...]`, zeros at padding."""
        rows = self.rows(tokens)
        return rows * self.real.reshape(*self.real.shape, *[1] * (rows.dim() - 2)).to(rows.dtype)

    def unpad(self, padded: Tensor) -> Tensor:
        """`[B, N, ...]` -> `[B * N, ...]`."""
        return padded.reshape(-1, *padded.shape[2:])

    def first_tokens(self, tokens: Tensor) -> Tensor:
        """`[B * N, d]` -> `[B, d]`: each document's first real token; zeros for an empty document."""
        first = self.real & (self.place == 0)
        return (first[:, None].to(tokens.dtype) @ self.rows(tokens))[:, 0]


AnyLayout = Layout | PaddedLayout
"""What mixers take that have a padded form."""


def _number_segments(segment_ids: Tensor) -> Tensor:
    """Any integers -> the rank of each among those of its row, so that they are places in a row: `[B, N]`."""
    ordered, order = segment_ids.long().sort(1)
    changes = (ordered != shifted(ordered, 0)).long()
    return torch.zeros_like(order).scatter(1, order, changes.cumsum(1) - changes[:, :1])


def shifted(rows: Tensor, fill: float) -> Tensor:
    """Each place's left-hand neighbour, `fill` at the first: `[B, N, ...]` -> `[B, N, ...]`.

    Padded first and then cut: a cut of one place alone would have a traced graph demand a row of several.
    """
    return F.pad(rows, (*[0, 0] * (rows.dim() - 2), 1, 0), value=fill)[:, :-1]


def mean_aggregation(x: Tensor, layout: PaddedLayout) -> Tensor:
    """As the reference's: `[B * N, d]` -> `[B, d]`."""
    rows = layout.rows(x).to(accumulator(x.dtype))
    total = (layout.real[:, None].to(rows.dtype) @ rows)[:, 0]
    return (total / layout.document_lengths.clamp(min=1)[:, None].to(rows.dtype)).to(x.dtype)


def softmax_aggregation(
    x: Tensor, queries: Tensor, layout: PaddedLayout, output_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """As the reference's: `x [B * N, d]`, `queries [B, h, d]` -> `[B, h, d]`, and `[B * N, h]` where asked for."""
    rows = layout.rows(x).to(accumulator(x.dtype))
    scores = queries.to(rows.dtype) @ rows.transpose(1, 2)  # [B, h, N]
    weights = _softmax(scores, layout)
    pooled = (weights @ rows).to(x.dtype)
    return pooled, layout.unpad(weights.transpose(1, 2)).to(x.dtype) if output_weights else None


def global_aggregation_published(
    q: Tensor, k: Tensor, layout: PaddedLayout, num_heads: int, output_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """As the reference's: queries and keys `[B * N, d]` of every token -> `[B, d]`, and `[B * N, h]`."""
    d = q.shape[1]
    keys = layout.rows(k).to(accumulator(k.dtype)).unflatten(2, (num_heads, d // num_heads)).transpose(1, 2)
    g = mean_aggregation(q, layout).to(keys.dtype).unflatten(1, (num_heads, d // num_heads))
    scores = (keys @ g[..., None])[..., 0] * (d // num_heads) ** -0.5  # [B, h, N]
    weights = _softmax(scores, layout)
    pooled = (weights[:, :, None] @ keys)[:, :, 0].flatten(1)
    pooled = pooled.masked_fill((layout.document_lengths == 0)[:, None], 0).to(k.dtype)
    return pooled, layout.unpad(weights.transpose(1, 2)).to(k.dtype) if output_weights else None


def segment_local_fusion(g: Tensor, projections: Tensor, layout: PaddedLayout) -> Tensor:
    """As the reference's: `g [B, d]`, `projections [B * N, 3 d]` -> `[B * N, d]`."""
    o, s, l = layout.rows(projections).chunk(3, 2)  # noqa: E741
    shown = layout.real if layout.special is None else layout.real & ~layout.special
    lowest = torch.finfo(s.dtype).min  # in the place of the -inf of a segment of padding, which has no product with 0
    s_pooled = segment_max(s, layout).clamp(min=lowest) * shown[..., None].to(s.dtype)
    l_pooled = local_max(l, shown) * shown[..., None].to(l.dtype)
    return layout.unpad((g[:, None] + s_pooled) * o + l_pooled)


def segment_max(s: Tensor, layout: PaddedLayout) -> Tensor:
    """The maximum over the real tokens of each token's segment, by channel (SMP): `[B, N, d]` -> `[B, N, d]`."""
    s = s + _penalty(layout.real, s.dtype)[..., None]
    if layout.segment is None:
        return s.amax(1, keepdim=True).expand_as(s)
    index = layout.segment[..., None].expand_as(s)
    return torch.full_like(s, -torch.inf).scatter_reduce(1, index, s, "amax").gather(1, index)


def local_max(x: Tensor, shown: Tensor) -> Tensor:
    """The maximum of each token and its neighbours in the row that are `shown` (LMP): `[B, N, d]`."""
    seen = x + _penalty(shown, x.dtype)[..., None]
    right = F.pad(seen, (0, 0, 0, 1), value=-torch.inf)[:, 1:]
    return torch.maximum(torch.maximum(shifted(seen, -torch.inf), x), right)


def _softmax(scores: Tensor, layout: PaddedLayout) -> Tensor:
    """Weights of the real tokens: `[B, h, N]` -> `[B, h, N]`."""
    # the lowest number and not -inf: a row of padding alone then has weights, and never NaN
    penalty = _penalty(layout.real, scores.dtype).clamp(min=torch.finfo(scores.dtype).min)
    return (scores + penalty[:, None]).softmax(-1)


def _penalty(kept: Tensor, dtype: torch.dtype) -> Tensor:
    """0 for tokens that are kept and -inf for others, to be added before a maximum or a softmax: `[B, N]`.

    A sum and not a filled mask: ONNX Runtime takes longer for `Where` with a mask that is broadcast over channels than
    for all matrix products.
    """
    return kept.to(dtype).log()


BACKEND = Backend(mean_aggregation, softmax_aggregation, segment_local_fusion)
