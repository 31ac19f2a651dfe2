"""FNet's mixer (arXiv 2105.03824): the real part of a Fourier transform over tokens and channels; no parameters."""

import torch
from torch import Tensor

from ponet.mixers.base import Mixer, register_mixer
from ponet.ops.layout import Layout


@register_mixer("fourier")
class FourierMixer(Mixer):
    """`Re(FFT over tokens of FFT over channels)`, of real tokens only.

    Rows of equal length are one batched transform, as FNet is run; in a ragged batch each document has its own, since
    padding would change the result.
    """

    title = "FNet"
    has_output_projection = False

    def forward(
        self, hidden_states: Tensor, layout: Layout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`; there are no weights."""
        if not layout.num_tokens:
            return hidden_states, None  # a transform of nothing is an error
        x = hidden_states
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()  # the transforms don't support half precision
        if layout.is_rectangular:
            mixed = _transform(layout.pad(x)).reshape(x.shape)
        else:
            mixed = torch.cat([_transform(tokens) for tokens in x.split(layout.lengths) if len(tokens)])
        return mixed.to(hidden_states.dtype), None


def _transform(x: Tensor) -> Tensor:
    """`[..., n, d]` -> `[..., n, d]`."""
    return torch.fft.fft2(x).real
