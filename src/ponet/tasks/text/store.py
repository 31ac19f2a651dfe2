"""Tokens of documents: of one, and of a whole split in flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ponet.tasks.base import Example

TOKEN_FIELDS = ("input_ids", "segment_ids", "token_type_ids")


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

    @staticmethod
    def of_documents(documents: "Sequence[Tokens]") -> "Tokens":
        """An example that consists of several documents; segment ids are each document's own."""
        return Tokens(
            np.concatenate([each.input_ids for each in documents]),
            np.concatenate([each.segment_ids for each in documents]),
            np.concatenate([each.token_type_ids for each in documents]),
            sum(each.dropped for each in documents),
            np.array([len(each.input_ids) for each in documents], dtype=np.int32),
        )

    def example(self) -> Example:
        """As a batch is made of."""
        example: Example = {name: getattr(self, name) for name in TOKEN_FIELDS}
        if self.document_lengths is not None:
            example["document_lengths"] = self.document_lengths
        return example


class TokenStore(Sequence[Example]):
    """Examples in flat int32 arrays: 9 bytes a token, whatever the number of examples."""

    def __init__(self, examples: list[Tokens], labels: np.ndarray | None) -> None:
        lengths = np.array([len(example.input_ids) for example in examples], dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.input_ids = _flat([example.input_ids for example in examples], np.int32)
        self.segment_ids = _flat([example.segment_ids for example in examples], np.int32)
        self.token_type_ids = _flat([example.token_type_ids for example in examples], np.uint8)
        self.document_lengths = [example.document_lengths for example in examples]
        self.labels = labels

    @property
    def lengths(self) -> np.ndarray:
        """`[n]` tokens of each example."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        """`input_ids`, `segment_ids`, `token_type_ids` `[n]` (views) and `labels` of one example, and of one of several
        documents `document_lengths` `[k]`."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = int(index)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        span = slice(self.offsets[index], self.offsets[index + 1])
        example: Example = {name: getattr(self, name)[span] for name in TOKEN_FIELDS}
        if (lengths := self.document_lengths[index]) is not None:
            example["document_lengths"] = lengths
        if self.labels is not None:
            example["labels"] = self.labels[index]
        return example


def _flat(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate([part.astype(dtype, copy=False) for part in parts]) if parts else np.zeros(0, dtype)
