"""Examples -> a batch: packed for PoNet, padded for models that know nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ponet.tasks.base import Example

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PackedCollator:
    """Lays documents end to end: the model's packed call, without a token of padding.

    Gives `labels` `[B]` int64 or float32 (or `[B, C]` float32) where the examples have them, `input_ids`,
    `segment_ids` and, for a model with token types, `token_type_ids` `[1, T]` int64, `cu_seqlens` `[B+1]` int32.
    """

    token_types: bool = True

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        batch = _labels(examples)  # first: Hugging Face takes the first tensor's first dimension for the batch size
        for name in _names(self.token_types):
            flat = np.concatenate([example[name] for example in examples]).astype(np.int64)
            batch[name] = torch.from_numpy(flat).unsqueeze(0)
        ends = np.cumsum([len(example["input_ids"]) for example in examples])
        batch["cu_seqlens"] = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32))
        return batch


@dataclass(frozen=True)
class PaddedCollator:
    """Pads documents on the right to the longest: `[B, N]` int64 with an `attention_mask`, for any other model.

    Padding has segment id last + 1, the tokenizer's padding id and token type 0.
    """

    pad_token_id: int
    token_types: bool = True
    segments: bool = True

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        batch = _labels(examples)
        lengths = [len(example["input_ids"]) for example in examples]
        longest = max(lengths)
        for name in _names(self.token_types, self.segments):
            padded = np.full((len(examples), longest), self.pad_token_id if name == "input_ids" else 0, dtype=np.int64)
            for row, example in zip(padded, examples, strict=True):
                values = example[name]
                row[: len(values)] = values
                if name == "segment_ids":
                    row[len(values) :] = (values[-1] if len(values) else -1) + 1
            batch[name] = torch.from_numpy(padded)
        mask = np.arange(longest) < np.asarray(lengths)[:, None]
        batch["attention_mask"] = torch.from_numpy(mask.astype(np.int64))
        return batch


def _names(token_types: bool, segments: bool = True) -> list[str]:
    return ["input_ids", *(["segment_ids"] if segments else []), *(["token_type_ids"] if token_types else [])]


def _labels(examples: Sequence[Example]) -> "dict[str, Tensor]":
    import torch

    if "labels" not in examples[0]:
        return {}
    return {"labels": torch.from_numpy(np.stack([np.asarray(example["labels"]) for example in examples]))}
