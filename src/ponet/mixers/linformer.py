"""Linformer (Wang et al., arXiv 2006.04768): attention to a fixed number of projected keys and values."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ponet.mixers.base import register_mixer
from ponet.mixers.by_document import DocumentAttention, Rows


@register_mixer("linformer")
class LinformerMixer(DocumentAttention):
    """`softmax(Q (E K)' / sqrt(e)) (E V)`, where `E [k, n]` projects along the tokens: its eq. 7.

    `E` (stored with a row for each of its columns, as embeddings are) is learned for `config.linformer_length`
    positions and `config.linformer_features` (the Arena's 256) features a head, shared by keys and values. A document
    of n tokens uses its first n columns, as with right padding by zeros in the published code; a longer one uses them
    again from the first, as with repeated position embeddings. So the "exact" and the "published" form differ where
    padding isn't on the right: published columns follow places in the padded row.

    Each layer has its own `E`. The published code has one for all layers (and all models of a process); the paper
    counts both among its variants (section 4, "Additional Efficiency Techniques").
    """

    title = "Linformer"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        length = config.linformer_length or config.max_position_embeddings
        # By position an embedding and no bare parameter: models initialise those, with the published 0.02.
        self.E = nn.Embedding(length, self.num_heads * config.linformer_features)

    def attend(self, projected: Tensor, rows: Rows) -> Tensor:
        """See `DocumentAttention.attend`."""
        q, k, v = projected
        columns = torch.arange(rows.length, device=k.device) % self.E.num_embeddings
        E = self.E(columns).to(k.dtype).unflatten(1, (self.num_heads, -1)).permute(1, 2, 0)  # [h, k, n]
        return F.scaled_dot_product_attention(q, E @ k, E @ v)
