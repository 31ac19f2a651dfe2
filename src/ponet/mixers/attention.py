"""Softmax self-attention with BERT's parameter names: the Transformer that PoNet is measured against."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ponet.mixers.base import Mixer, register_mixer
from ponet.mixers.by_document import Rows, derived, document_rows
from ponet.mixers.fused_linear import fused_linear
from ponet.ops.layout import Layout
from ponet.ops.padded import AnyLayout, PaddedLayout


@register_mixer("attention")
class AttentionMixer(Mixer):
    """Multi-head scaled dot-product attention within each document, through PyTorch's fused kernels.

    These don't support ragged batches on a CPU: rows of unequal length are padded for the kernel alone; without
    gradients, documents of like length are rows together, so that a batch of long and short ones costs little padding.
    `config.attention_kernel` "eager" computes and stores the weights of all pairs, as was usual before those kernels.
    With `config.attention_window`, a longer document is cut evenly into windows of at most so many packed tokens, and
    tokens attend within their own: windows of like length are rows together, and nothing is padded to the longest
    document. On padded rows a mask has the same effect, at the cost of all pairs.
    """

    title = "Transformer"
    takes_padded = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        d = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.eager = config.attention_kernel == "eager"
        self.window: int | None = config.attention_window
        self.query = nn.Linear(d, d)
        self.key = nn.Linear(d, d)
        self.value = nn.Linear(d, d)

    def forward(
        self, hidden_states: Tensor, layout: AnyLayout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and the weights `[B, h, N, N]` where asked for (in training after dropout)."""
        d = hidden_states.shape[1]
        windows = None
        if isinstance(layout, Layout) and self.window is not None and max(layout.lengths, default=0) > self.window:
            windows = window_layout(layout, self.window)
        if isinstance(layout, Layout) and not output_weights and layout.num_tokens:
            if windows is not None:
                return self._within(hidden_states, windows), None
            if not (self.eager or torch.is_grad_enabled()):
                return self._within(hidden_states, layout), None
        q, k, v = (
            layout.pad(projection(hidden_states)).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )  # [B, h, N, e]
        mask = None
        if not layout.is_rectangular:
            real = layout.real_tokens()
            mask = (real | ~real.any(1, keepdim=True))[:, None, None, :]  # numbers, not NaN, in a row of padding alone
        if windows is not None:
            places = layout.pad(windows.document + 1)  # 0 at padding
            mask = (places[:, None, :, None] == places[:, None, None, :]) & (places != 0)[:, None, None, :]
        elif isinstance(layout, PaddedLayout) and self.window is not None and mask is not None:
            places = window_rows(layout, self.window)
            mask = mask & (places[:, None, :, None] == places[:, None, None, :])
        mixed, weights = self._attend(q, k, v, mask, output_weights)
        mixed = mixed.transpose(1, 2).reshape(layout.batch_size, layout.padded_length, d)
        return layout.unpad(mixed), weights if output_weights else None

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[b, h, n, e]` each; the weights `[b, h, n, n]` where they are asked for or the kernel is eager."""
        dropout = self.dropout if self.training else 0.0
        if not (output_weights or self.eager):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout), None
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        if mask is not None:
            # The lowest number, not -inf: a row of padding alone then has weights too, and never NaN.
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = F.dropout(scores.softmax(-1), dropout)
        return weights @ v, weights

    def _within(self, hidden_states: Tensor, windows: Layout) -> Tensor:
        """Attention within each document, or each of its windows, `[T, d]` -> `[T, d]`."""
        projected = fused_linear(hidden_states, (self.query, self.key, self.value))

        def attend(padded: Tensor, rows: Rows) -> Tensor:
            q, k, v = padded.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # [b, h, n, e]
            mask = None if rows.mask is None else rows.mask[:, None, None, :]
            mixed, _ = self._attend(q, k, v, mask)
            return mixed.transpose(1, 2).flatten(2)

        return document_rows(windows).map(projected, attend)


def window_layout(layout: Layout, size: int) -> Layout:
    """The layout in which each document of more than `size` tokens is several, as equal as can be, of at most so many.

    A document's windows depend on its length alone. Computed once for each batch.
    """

    def make() -> Layout:
        ends, start = [0], 0
        for n in layout.lengths:
            count = -(-n // size)
            ends += [start + n * part // count for part in range(1, count + 1)]
            start += n
        return Layout.from_packed(torch.tensor(ends, dtype=torch.int32, device=layout.cu_seqlens.device))

    return derived(layout, f"windows:{size}", make)


def window_rows(layout: PaddedLayout, size: int) -> Tensor:
    """The window of each token in its document, cut as `window_layout` cuts it: `[B, N]`."""
    lengths = layout.document_lengths.clamp(min=1)[:, None]
    counts = (lengths + size - 1) // size
    return ((layout.place + 1) * counts - 1) // lengths
