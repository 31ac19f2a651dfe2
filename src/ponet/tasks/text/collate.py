"""Examples -> a packed batch."""

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
    `segment_ids` and, for a model with token types, `token_type_ids` `[1, T]` int64, `cu_seqlens` `[D+1]` int32: D is
    the number of documents, B where each example is one; and with `windows` `window_counts` `[B]` int64, the documents
    of each example.
    """

    token_types: bool = True
    windows: bool = False

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        batch: dict[str, Tensor] = {}
        if "labels" in examples[0]:  # first: Hugging Face takes the first tensor's first dimension for the batch size
            batch["labels"] = torch.from_numpy(np.stack([np.asarray(example["labels"]) for example in examples]))
        for name in ("input_ids", "segment_ids", *(("token_type_ids",) if self.token_types else ())):
            flat = np.concatenate([example[name] for example in examples]).astype(np.int64)
            batch[name] = torch.from_numpy(flat).unsqueeze(0)
        lengths = [example.get("document_lengths", [len(example["input_ids"])]) for example in examples]
        ends = np.cumsum(np.concatenate(lengths))
        batch["cu_seqlens"] = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32))
        if self.windows:
            batch["window_counts"] = torch.tensor([len(each) for each in lengths])
        return batch
