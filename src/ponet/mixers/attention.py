"""Softmax self-attention with BERT's parameter names: the Transformer that PoNet is measured against."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ponet.mixers.base import Mixer, register_mixer
from ponet.mixers.by_document import Rows, document_rows
from ponet.mixers.fused_linear import fused_linear
from ponet.ops.layout import Layout


@register_mixer("attention")
class AttentionMixer(Mixer):
    """Multi-head scaled dot-product attention within each document, through PyTorch's fused kernels.

    These don't support ragged batches on a CPU: rows of unequal length are padded for the kernel alone.
    `config.attention_kernel` "eager" computes and stores the weights of all pairs, as was usual before those kernels.
    """

    title = "Transformer"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        d = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.eager = config.attention_kernel == "eager"
        self.query = nn.Linear(d, d)
        self.key = nn.Linear(d, d)
        self.value = nn.Linear(d, d)

    def forward(
        self, hidden_states: Tensor, layout: Layout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and the weights `[B, h, N, N]` where asked for (in training after dropout)."""
        if not (output_weights or self.eager or torch.is_grad_enabled()):
            return self._by_length(hidden_states, layout), None
        d = hidden_states.shape[1]
        q, k, v = (
            layout.pad(projection(hidden_states)).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )  # [B, h, N, e]
        mask = None
        if not layout.is_rectangular:
            mask = layout.pad(torch.ones_like(layout.document, dtype=torch.bool))[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        weights = None
        if output_weights or self.eager:
            mixed, weights = _attention_with_weights(q, k, v, mask, dropout)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        mixed = mixed.transpose(1, 2).reshape(layout.batch_size, layout.padded_length, d)
        return layout.unpad(mixed), weights if output_weights else None


    def _by_length(self, hidden_states: Tensor, layout: Layout) -> Tensor:
        """Documents of similar length as rows of one batch: little padding where a batch has long and short ones."""
        if not layout.num_tokens:
            return hidden_states

        def attend(projected: Tensor, rows: Rows) -> Tensor:
            q, k, v = projected.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
            mask = None if rows.mask is None else rows.mask[:, None, None, :]
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)

        return document_rows(layout).map(fused_linear(hidden_states, [self.query, self.key, self.value]), attend)


def _attention_with_weights(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    if mask is not None:
        # The lowest number, not -inf: a row of padding alone then has weights too, and never NaN.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = F.dropout(scores.softmax(-1), dropout)
    return weights @ v, weights
