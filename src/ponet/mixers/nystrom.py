"""Nystromformer (Xiong et al., arXiv 2102.03902): softmax attention by way of landmarks, linear in the tokens."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ponet.mixers.base import register_mixer
from ponet.mixers.by_document import DocumentAttention, DocumentRows, Rows, document_rows, padded_rows
from ponet.ops.layout import Layout

_ITERATIONS = 6  # of the pseudo-inverse, as in the paper and its code


@register_mixer("nystrom")
class NystromMixer(DocumentAttention):
    """`softmax(Q K~') softmax(Q~ K~')^+ softmax(Q~ K') V`, and a convolution over the values: its eq. 13 and figure 2.

    Landmarks `Q~`, `K~` are means over `config.nystrom_landmarks` (the Arena's 64) runs of a document's tokens, whose
    lengths differ by one at most; a document of no more tokens than that has softmax attention itself, as in the
    published code. The pseudo-inverse is six steps of its eq. 11, from a start value for each matrix (eq. 12's norm).
    The convolution, a kernel a head over `config.nystrom_kernel_size` (35) tokens, runs over a document without its
    gaps.

    `mixer_form="published"` is the Arena code that PoNet was measured with: landmarks run over the padded length
    (here made a multiple of their number), and every pseudo-inverse starts from a maximum over the whole batch.

    `transformers` has a Nystromformer; it isn't used, since it includes padding in the landmarks, requires a fixed
    length that they divide, and computes the start value over the batch.
    """

    title = "Nystromformer"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.num_landmarks = config.nystrom_landmarks
        width = config.nystrom_kernel_size
        self.conv = None
        if width:
            h = self.num_heads
            self.conv = nn.Conv2d(h, h, (width, 1), padding=(width // 2, 0), groups=h, bias=False)

    def rows(self, layout: Layout) -> DocumentRows:
        """See `DocumentAttention.rows`."""
        m = self.num_landmarks
        if self.published:
            return padded_rows(layout, multiple=m if layout.padded_length > m else 1)
        return document_rows(layout, split_at=m)

    def attend(self, projected: Tensor, rows: Rows) -> Tensor:
        """See `DocumentAttention.attend`."""
        q, k, v = projected
        mask = None if rows.mask is None else rows.mask[:, None, None, :]
        if rows.length <= self.num_landmarks:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            scale = q.shape[3] ** -0.5
            q_marks, k_marks = self._landmarks(q, rows), self._landmarks(k, rows)  # [b, h, m, e]
            inverse = self._inverse((q_marks @ k_marks.transpose(2, 3) * scale).softmax(3))
            gathered = F.scaled_dot_product_attention(q_marks, k, v, attn_mask=mask)
            # softmax(Q K~') times m small vectors a head
            mixed = F.scaled_dot_product_attention(q, k_marks, inverse @ gathered)
        if self.conv is not None:
            mixed = mixed + self.conv(v.to(self.conv.weight.dtype)).to(v.dtype)
        return mixed

    def _landmarks(self, x: Tensor, rows: Rows) -> Tensor:
        """`[b, h, n, e]` -> `[b, h, m, e]`."""
        m, n = self.num_landmarks, rows.length
        if n % m == 0 and (self.published or rows.mask is None):
            return x.unflatten(2, (m, n // m)).mean(3)
        # Token i of n lies in run i m // n. The means as a matrix product: sums by index aren't deterministic on GPUs.
        lengths = rows.lengths[:, None]
        run = torch.arange(n, device=x.device) * m // lengths  # [b, n]; padding is in none
        members = (run[:, None, :] == torch.arange(m, device=x.device)[:, None]).to(x.dtype)  # [b, m, n]
        return (members / members.sum(2, keepdim=True))[:, None] @ x

    def _inverse(self, matrix: Tensor) -> Tensor:
        """The pseudo-inverse of `[b, h, m, m]`, whose rows sum to 1."""
        sums = matrix.sum(2)  # of columns
        largest = sums.max() if self.published else sums.amax(2)[:, :, None, None]
        inverse = matrix.transpose(2, 3) / largest
        identity = torch.eye(matrix.shape[3], dtype=matrix.dtype, device=matrix.device)
        for _ in range(_ITERATIONS):
            product = matrix @ inverse
            inner = 15 * identity - product @ (7 * identity - product)
            inverse = 0.25 * inverse @ (13 * identity - product @ inner)
        return inverse
