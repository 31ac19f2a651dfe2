"""External Attention (Guo et al., arXiv 2105.02358): attention to a learned memory, and the softmax-MLP seen in it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ponet.mixers.base import Mixer, register_mixer
from ponet.mixers.by_document import Rows, document_rows, mixing_dtype
from ponet.ops.layout import Layout

_EPS = 1e-9  # of the authors' code


@register_mixer("external")
class ExternalMixer(Mixer):
    """Tokens attend to `config.external_memory` (64) learned keys and values in place of each other: its section 3.

    `config.external_form`:

    - "external": `Norm(q M_k) M_v` with a memory that all heads share, its multi-head form (section 3.3; the authors'
      code makes queries four times as wide besides, which no other mixer here has). `Norm` is the double
      normalisation: a softmax over the document's tokens, then each token's weights to a sum of 1.
    - "softmax_mlp": the view that PoNet started from. Without queries, heads and the second normalisation this is a
      multi-layer perceptron with a softmax over the tokens between its maps, `softmax(x W_1) W_2`: tokens influence
      each other by the softmax's denominator alone. No code of it has been published.

    Linear in the tokens. `mixer_form` has no effect: the published code doesn't support padding. Weights drop out as in
    the authors' code, by `config.attention_probs_dropout_prob`. No library has it.
    """

    title = "External Attention"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        d = config.hidden_size
        self.with_queries = config.external_form == "external"
        self.num_heads = config.num_attention_heads if self.with_queries else 1
        self.query = nn.Linear(d, d) if self.with_queries else nn.Identity()
        self.memory_key = nn.Linear(d // self.num_heads, config.external_memory, bias=False)
        self.memory_value = nn.Linear(config.external_memory, d // self.num_heads, bias=False)
        self.dropout = config.attention_probs_dropout_prob

    def forward(
        self, hidden_states: Tensor, layout: Layout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`; weights are of the memory's units, not of tokens, and aren't given."""
        scores = self.memory_key(self.query(hidden_states).unflatten(1, (self.num_heads, -1)))  # [T, h, m]
        weights = _softmax_over_tokens(scores.to(mixing_dtype(scores.dtype)), layout)
        if self.with_queries:
            weights = weights / (weights.sum(2, keepdim=True) + _EPS)
        weights = F.dropout(weights, self.dropout, self.training)
        return self.memory_value(weights.to(scores.dtype)).flatten(1), None


def _softmax_over_tokens(scores: Tensor, layout: Layout) -> Tensor:
    """`[T, ...]` -> `[T, ...]`, each document's tokens to a sum of 1."""

    def softmax(padded: Tensor, rows: Rows) -> Tensor:  # [b, n, ...]
        if rows.mask is not None:
            padded = padded.masked_fill(~rows.mask[:, :, None, None], -torch.inf)
        return padded.softmax(1)

    return document_rows(layout).map(scores, softmax) if layout.num_tokens else scores
