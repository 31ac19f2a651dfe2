"""Made-up documents of a given length: what the benchmarks feed to models and ops."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SENTENCE = 25
"""Mean tokens of a text-like segment; they are uniform from 5 to 45, as sentences are long and short."""


def sentence_ids(length: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Segment ids `[length]` of a text-like document: runs of 5 to 45 tokens."""
    ends = np.cumsum(random.integers(5, 2 * SENTENCE - 4, size=length // 5 + 1))
    return np.searchsorted(ends, np.arange(length), side="right")


def fixed_ids(length: int, segment_length: int) -> NDArray[np.int64]:
    """Segment ids `[length]`: runs of `segment_length` tokens."""
    return np.arange(length) // segment_length


def pack(documents: list[NDArray[np.int64]], segments: list[NDArray[np.int64]]) -> dict[str, Tensor]:
    """Documents of token ids `[n]`, end to end: `input_ids` and `segment_ids` `[1, T]`, `cu_seqlens` `[B + 1]`."""
    return {
        "input_ids": torch.from_numpy(np.concatenate(documents))[None],
        "segment_ids": torch.from_numpy(np.concatenate(segments))[None],
        "cu_seqlens": torch.tensor(np.cumsum([0, *map(len, documents)]), dtype=torch.int32),
    }
