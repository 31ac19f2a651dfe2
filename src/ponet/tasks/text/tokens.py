"""Tokens of documents: of one, of a whole split in flat arrays, and of a packed batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.config.text import TextOptions
from ponet.tasks.base import Example

if TYPE_CHECKING:
    from torch import Tensor

TOKEN_FIELDS = {"input_ids": np.int32, "segment_ids": np.int32, "token_type_ids": np.uint8}


@dataclass
class Tokens:
    """One example as arrays of one length `[n]`."""

    input_ids: np.ndarray
    segment_ids: np.ndarray
    token_type_ids: np.ndarray
    dropped: int = 0
    """Tokens that the cut took away."""
    document_lengths: np.ndarray | None = None
    """`[k]`: where the model reads the example as k documents, end to end, the tokens of each; None for one."""

    def __len__(self) -> int:
        return len(self.input_ids)

    @staticmethod
    def of_documents(documents: "Sequence[Tokens]") -> "Tokens":
        """An example that consists of several documents; segment ids are each document's own."""
        return Tokens(
            **{name: np.concatenate([getattr(each, name) for each in documents]) for name in TOKEN_FIELDS},
            dropped=sum(each.dropped for each in documents),
            document_lengths=np.array([len(each) for each in documents], dtype=np.int32),
        )

    def part(self, places: np.ndarray, dropped: int = 0) -> "Tokens":
        """Some of its tokens. Segments are renumbered, so that ids stay small and without gaps; a sentence that was cut
        in two is one segment still."""
        segments = np.unique(self.segment_ids[places], return_inverse=True)[1].astype(np.int32)
        return Tokens(self.input_ids[places], segments, self.token_type_ids[places], dropped)

    def example(self) -> Example:
        """As a batch is made of."""
        example: Example = {name: getattr(self, name) for name in TOKEN_FIELDS}
        if self.document_lengths is not None:
            example["document_lengths"] = self.document_lengths
        return example


class TokenStore(Sequence[Example]):
    """Examples in flat arrays: 9 bytes a token, whatever the number of examples."""

    def __init__(self, examples: list[Tokens], labels: np.ndarray | None) -> None:
        self.lengths = np.array([len(example) for example in examples], dtype=np.int64)
        """`[n]` tokens of each example."""
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self.input_ids, self.segment_ids, self.token_type_ids = (
            np.concatenate([np.zeros(0, kind), *(getattr(each, name) for each in examples)], dtype=kind)
            for name, kind in TOKEN_FIELDS.items()
        )
        self.document_lengths = [example.document_lengths for example in examples]
        self.labels = labels

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Any) -> Any:
        """`input_ids`, `segment_ids`, `token_type_ids` `[n]` (views) and `labels` of one example, and of one of several
        documents `document_lengths` `[k]`."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        span = slice(self.offsets[index], self.offsets[index + 1])
        example: Example = {name: getattr(self, name)[span] for name in TOKEN_FIELDS}
        if (lengths := self.document_lengths[index]) is not None:
            example["document_lengths"] = lengths
        if self.labels is not None:
            example["labels"] = self.labels[index]
        return example


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


def collator(model: Any, options: TextOptions) -> PackedCollator:
    """Packed batches, with token types where the model has more than one, and of windows where texts are read so."""
    return PackedCollator(model.config.type_vocab_size > 1, options.window is not None)
