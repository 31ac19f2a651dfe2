"""What the tests of mixers that work document by document share."""

import torch
from hypothesis import strategies as st
from torch import nn

from ponet import PoNetConfig
from ponet.mixers import Mixer, build_mixer
from ponet.ops import Layout

D, HEADS = 6, 2
SMALL = {"linformer_features": 3, "linformer_length": 9, "performer_features": 5}
SMALL |= {"nystrom_landmarks": 4, "nystrom_kernel_size": 5, "lsh_chunk_length": 3, "external_memory": 4}
SMALL |= {"attention_probs_dropout_prob": 0.0}
"""Sizes at which documents of 1 to 25 tokens show every case."""


def build(name: str, dtype: torch.dtype = torch.float64, std: float = 0.6, **changes) -> Mixer:
    """A mixer of 6 channels and 2 heads, with larger weights than a new one has."""
    settings = {"vocab_size": 30, "hidden_size": D, "num_attention_heads": HEADS, "num_hidden_layers": 1}
    torch.manual_seed(1)
    mixer = build_mixer(name, PoNetConfig(**settings | SMALL | changes)).to(dtype).eval()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=std)
    return mixer


def heads(x: torch.Tensor) -> torch.Tensor:
    """`[n, d]` -> `[h, n, e]`."""
    return x.unflatten(1, (HEADS, -1)).transpose(0, 1)


def packed(lengths: list[int]) -> Layout:
    """The layout of packed documents of these lengths."""
    return Layout.from_packed(torch.tensor([0, *lengths]).cumsum(0))


@st.composite
def batches(draw, longest: int = 25) -> tuple[list[int], torch.Tensor]:
    """Lengths, and a mask `[B, N]` with padding and gaps anywhere."""
    lengths = draw(st.lists(st.integers(0, longest), min_size=1, max_size=6))
    width = max(*lengths, 1) + draw(st.integers(0, 4))
    mask = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, n in zip(mask, lengths, strict=True):
        places = draw(st.permutations(range(width)))[:n] if draw(st.booleans()) else range(n)
        row[sorted(places)] = 1
    return lengths, mask
