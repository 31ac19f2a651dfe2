"""Pre-training examples -> a packed batch, with the words to predict picked out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ponet.tasks.base import Example
from ponet.tasks.pretraining.masking import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PretrainingCollator:
    """Lays examples end to end.

    Gives `input_ids`, `segment_ids` and, for a model with token types, `token_type_ids` `[1, T]` int64, `cu_seqlens`
    `[B + 1]` int32; `prediction_positions` `[M]` int64, where in `T` a word is to be said, and which, `labels` `[M]`;
    `sentence_labels` `[B]` int64.
    """

    token_types: bool = True

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        batch = {"sentence_labels": torch.tensor([example["sentence_label"] for example in examples])}
        for name in ("input_ids", "segment_ids", *(["token_type_ids"] if self.token_types else [])):
            batch[name] = torch.from_numpy(np.concatenate([example[name] for example in examples])).unsqueeze(0)
        ends = np.cumsum([len(example["input_ids"]) for example in examples])
        batch["cu_seqlens"] = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32))
        labels = np.concatenate([example["labels"] for example in examples])
        positions = np.flatnonzero(labels != IGNORED)
        batch["prediction_positions"] = torch.from_numpy(positions)
        batch["labels"] = torch.from_numpy(labels[positions])
        return batch
