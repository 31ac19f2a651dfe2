"""Examples of Long Range Arena -> a batch for the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ponet.tasks.base import Example
from ponet.tasks.lra.segments import Segments

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SequenceCollator:
    """Lays documents end to end, without a token of padding; of pairs first and second in turn.

    Gives `labels [B]`, `input_ids` and `segment_ids` `[1, T]` int64, and `cu_seqlens [B + 1]` int32 (`[2 B + 1]` for
    pairs).
    """

    segments: Segments

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        names = [name for name in ("input_ids", "input_ids_2") if name in examples[0]]
        documents = [example[name] for example in examples for name in names]
        ids = np.concatenate(documents)
        lengths = np.array([len(document) for document in documents])
        ends = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(len(ids)) - np.repeat(ends[:-1], lengths)
        return {
            "labels": _labels(examples),  # first: Hugging Face takes the first tensor for the batch size
            "input_ids": torch.from_numpy(ids)[None],
            "segment_ids": torch.from_numpy(self.segments(ids, positions))[None],
            "cu_seqlens": torch.from_numpy(ends.astype(np.int32)),
        }


@dataclass(frozen=True)
class ImageCollator:
    """Rows of pixels with a mask: black ones, id 0, are padding, and neighbours across them aren't neighbours.

    Gives `labels [B]`, `input_ids`, `segment_ids` and `attention_mask` `[B, N]`, `position_ids` `[1, N]`, all int64.
    The model packs the pixels that count, which a packed call couldn't say the places of.
    """

    segments: Segments

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        ids = np.stack([example["input_ids"] for example in examples])
        input_ids = torch.from_numpy(ids)
        positions = np.arange(ids.shape[1])
        return {
            "labels": _labels(examples),
            "input_ids": input_ids,
            "attention_mask": (input_ids != 0).long(),
            "segment_ids": torch.from_numpy(self.segments(ids[0], positions)).expand(ids.shape),
            "position_ids": torch.from_numpy(positions)[None],
        }


def _labels(examples: Sequence[Example]) -> "Tensor":
    import torch

    return torch.tensor([example["labels"] for example in examples])
