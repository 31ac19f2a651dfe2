"""Linear attention (Katharopoulos et al., "Transformers are RNNs", arXiv 2006.16236): `elu + 1` in place of softmax."""

from torch import Tensor
from torch.nn import functional as F

from ponet.mixers.base import register_mixer
from ponet.mixers.by_document import DocumentAttention, Rows

_EPS = 1e-6  # of the authors' code (fast-transformers): features underflow to 0 for strongly negative queries


@register_mixer("linear")
class LinearMixer(DocumentAttention):
    """`f(Q) (f(K)' V) / f(Q) f(K)' 1` with `f = elu + 1`, within each document: its eq. 5 and 7.

    Time and memory follow the number of tokens. `mixer_form="published"` is the Arena code that PoNet was measured
    with: no denominator, queries and keys each divided by the fourth root of the padded length instead.

    The authors' `fast-transformers` isn't used: it has had no release for current PyTorch, and this is four products.
    """

    title = "Linear Transformer"

    def attend(self, projected: Tensor, rows: Rows) -> Tensor:
        """See `DocumentAttention.attend`."""
        q, k, v = projected
        q, k = F.elu(q) + 1, F.elu(k) + 1
        if rows.mask is not None:
            k = k * rows.mask[:, None, :, None]
        if self.published:
            return (q * rows.length**-0.25) @ ((k * rows.length**-0.25).transpose(2, 3) @ v)
        numerator = q @ (k.transpose(2, 3) @ v)
        return numerator / (q @ k.sum(2)[..., None] + _EPS)
