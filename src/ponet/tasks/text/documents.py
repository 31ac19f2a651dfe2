"""Documents of one split: texts and labels, not yet tokens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Documents:
    """One split: texts and labels, not yet tokens."""

    texts: "pa.ChunkedArray"
    pairs: "pa.ChunkedArray | None"
    labels: np.ndarray
    """`[n]` int64 class ids, `[n, C]` float32 of 0 and 1, or `[n]` float32."""
    origin: str
    """Where the rows come from, in words."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray, origin: str) -> "Documents":
        """The given rows."""
        import pyarrow as pa

        index = pa.array(rows)
        pairs = None if self.pairs is None else self.pairs.take(index)
        return Documents(self.texts.take(index), pairs, self.labels[rows], origin)

    @staticmethod
    def joined(parts: "list[Documents]", origin: str) -> "Documents":
        """The documents of several splits of one data set, one after the other."""
        import pyarrow as pa

        def join(columns: "list[pa.ChunkedArray]") -> "pa.ChunkedArray":
            return pa.chunked_array([chunk for column in columns for chunk in column.chunks])

        texts = join([part.texts for part in parts])
        second = [part.pairs for part in parts if part.pairs is not None]
        labels = np.concatenate([part.labels for part in parts])
        return Documents(texts, join(second) if second else None, labels, origin)

    def empty(self) -> int:
        """Number of documents whose (first) text is empty or blank."""
        import pyarrow.compute as compute

        return int(compute.sum(compute.equal(compute.utf8_trim_whitespace(self.texts), "")).as_py() or 0)

    def identities(self) -> list[int]:
        """A hash a document, to find the same one in two splits."""
        texts = (text.as_py() for text in self.texts)
        if self.pairs is None:
            return [hash(text) for text in texts]
        return [hash((text, pair.as_py())) for text, pair in zip(texts, self.pairs, strict=True)]


def count_of(part: int, whole: int, split: str) -> str:
    """`12 of 345 train rows (3.5%)`"""
    return f"{part:,} of {whole:,} {split} rows ({part / whole:.1%})"
