"""FNet's mixer (arXiv 2105.03824): the real part of a Fourier transform over tokens and channels; no parameters."""

import math

import torch
from torch import Tensor

from ponet.mixers.base import Mixer, register_mixer
from ponet.mixers.by_document import mixing_dtype
from ponet.ops.padded import AnyLayout, PaddedLayout


@register_mixer("fourier")
class FourierMixer(Mixer):
    """`Re(FFT over tokens of FFT over channels)`, of real tokens only.

    Rows of equal length are one batched transform, as FNet is run; in a ragged batch each document has its own, since
    padding would change the result. On padded rows, where lengths aren't known as numbers, the transform over tokens is
    a product with each document's own matrix, of quadratic cost.
    """

    title = "FNet"
    takes_padded = True
    has_output_projection = False

    def forward(
        self, hidden_states: Tensor, layout: AnyLayout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`; there are no weights."""
        x = hidden_states.to(mixing_dtype(hidden_states.dtype))  # the transforms don't support half precision
        if isinstance(layout, PaddedLayout):
            return layout.unpad(_transform_rows(layout.rows(x), layout)).to(hidden_states.dtype), None
        if not layout.num_tokens:
            return hidden_states, None  # a transform of nothing is an error
        if layout.is_rectangular:
            mixed = torch.fft.fft2(layout.pad(x)).real.reshape(x.shape)
        else:
            mixed = torch.cat([torch.fft.fft2(tokens).real for tokens in x.split(layout.lengths) if len(tokens)])
        return mixed.to(hidden_states.dtype), None


def _transform_rows(x: Tensor, layout: PaddedLayout) -> Tensor:
    """`[B, N, d]` -> `[B, N, d]`, each row's real tokens by themselves: `C x c - S x s` with cosines and sines."""
    d = x.shape[2]
    channels = torch.arange(d, device=x.device)
    cosines, sines = _waves(channels[:, None] * channels, torch.tensor(d, device=x.device), x.dtype)
    real, place = layout.real, layout.place
    lengths = layout.document_lengths.clamp(min=1)[:, None, None]
    row_cosines, row_sines = _waves(place[:, :, None] * place[:, None], lengths, x.dtype)
    x = x * real[..., None]
    return row_cosines @ (x @ cosines) - row_sines @ (x @ sines)


def _waves(products: Tensor, period: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The cosines and sines of whole `products` in turns of `period`, reduced before they become angles."""
    angles = (products % period).to(dtype) * (2 * math.pi / period.to(dtype))
    return angles.cos(), angles.sin()
