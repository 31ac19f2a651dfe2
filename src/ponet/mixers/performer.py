"""Performer (Choromanski et al., arXiv 2009.14794): FAVOR+, softmax by positive orthogonal random features."""

from typing import Any

import torch
from torch import Tensor
from transformers import initialization as init

from ponet.mixers.base import register_mixer
from ponet.mixers.by_document import DocumentAttention, Rows

# Of the authors' codes (TensorFlow, JAX): makes every feature, and so the denominator, positive.
_EPS, _PUBLISHED_EPS = 1e-6, 1e-4


@register_mixer("performer")
class PerformerMixer(DocumentAttention):
    """`f(Q) (f(K)' V) / f(Q) f(K)' 1` with `f(x) = exp(W x - |x|^2 / 2)`: its section 2.3 and 2.4, bidirectional.

    `W` (`projection_matrix`, `[config.performer_features, e]`, the Arena's 256) is drawn once, when the mixer is made,
    in orthogonal blocks, and saved with the model. Features are taken relative to the greatest:
    of each query, and of each document's keys, which no result depends on.

    `mixer_form="published"` is the Arena code that PoNet was measured with: queries and keys divided twice by
    `e^(1/4)`, padding among the keys (its zeros count in denominator and maximum), features relative to the greatest
    `W x`, so that the 1e-4 added to each outweighs those of long vectors. That code's "relu" has no effect.

    `performer-pytorch`, which that code calls, isn't used: its attention supports only padded batches, and includes
    padding in the denominator.
    """

    title = "Performer"
    projection_matrix: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        e = config.hidden_size // config.num_attention_heads
        self.register_buffer("projection_matrix", torch.empty(config.performer_features, e))
        self.init_buffers()

    def init_buffers(self) -> None:
        """Draws `projection_matrix` from PyTorch's default generator, as weights are, unless a checkpoint has it."""
        if not self.projection_matrix.is_meta:
            init.copy_(self.projection_matrix, orthogonal_features(*self.projection_matrix.shape))

    def attend(self, projected: Tensor, rows: Rows) -> Tensor:
        """See `DocumentAttention.attend`."""
        q, k, v = projected
        mask = None if rows.mask is None or self.published else rows.mask[:, None, :, None]
        q = self._features(q, (3,), None)
        k = self._features(k, (2, 3), mask)
        return q @ (k.transpose(2, 3) @ v) / (q @ k.sum(2)[..., None])

    def _features(self, x: Tensor, over: tuple[int, ...], mask: Tensor | None) -> Tensor:
        """`x [b, h, n, e]` -> `f(x) [b, h, n, m]`, relative to the greatest along the dimensions `over`."""
        x = x * x.shape[3] ** (-0.5 if self.published else -0.25)
        products = x @ self.projection_matrix.to(x.dtype).T
        exponents = products - x.square().sum(3, keepdim=True) / 2
        # A common factor of features cancels out, so the greatest needs no gradient.
        top = (products if self.published else exponents).detach()
        if mask is not None:
            top = top.masked_fill(~mask, -torch.inf)
        features = (exponents - top.amax(over, keepdim=True)).exp() + (_PUBLISHED_EPS if self.published else _EPS)
        return features if mask is None else features * mask


def orthogonal_features(m: int, e: int) -> Tensor:
    """`[m, e]`: blocks of up to e orthogonal rows, each row as long as a Gaussian vector; on the CPU, in float32."""
    q, r = torch.linalg.qr(torch.randn(-(-m // e), e, e, device="cpu"))
    # LAPACK's signs would leave whole directions out, and the approximation biased (as in the published code).
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None, :]
    lengths = torch.randn(m, e, device="cpu").norm(dim=1, keepdim=True)
    return q.transpose(1, 2).reshape(-1, e)[:m] * lengths
