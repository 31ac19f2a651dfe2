"""Token ids on disk: examples end to end in memory-mapped arrays, indexed like a list."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint8]


@dataclass
class Examples:
    """`n` examples in memory, as a builder makes them."""

    tokens: list[Tokens]
    """One array, or two where an example is a pair: what is stored of all examples, end to end."""
    lengths: list[NDArray[np.int64]]
    """`[n]` for each of `tokens`."""
    labels: NDArray[np.uint8]
    """`[n]`"""
    notes: dict[str, int] = field(default_factory=dict)
    """Counts of what was cut or left out (`cut`, `empty`, ...), summed over a data set."""

    def __len__(self) -> int:
        return len(self.labels)

    def contents(self) -> list[bytes]:
        """What makes each example the same as another one: its tokens, without its label."""
        columns = []
        for tokens, lengths in zip(self.tokens, self.lengths, strict=True):
            ends = np.cumsum(lengths)
            columns.append([tokens[end - length : end].tobytes() for length, end in zip(lengths, ends, strict=True)])
        return [b"".join(row) for row in zip(*columns, strict=True)]

    def select(self, rows: NDArray[np.int64]) -> "Examples":
        """The examples of these row numbers, in this order, without the notes."""
        lengths = [size[rows] for size in self.lengths]
        tokens = []
        for column, size, kept in zip(self.tokens, self.lengths, lengths, strict=True):
            starts = np.cumsum(size) - size
            within = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
            tokens.append(column[np.repeat(starts[rows], kept) + within])
        return Examples(tokens, lengths, self.labels[rows])

    def split(self, count: int) -> "tuple[Examples, Examples]":
        """The first `count` examples, or all where there are fewer, and the rest."""
        if count >= len(self):
            return self, self.select(np.empty(0, np.int64))
        return self.select(np.arange(count)), self.select(np.arange(count, len(self)))

    def new(self, seen: set[bytes]) -> "Examples":
        """The examples whose digests are not in `seen`, which they join."""
        rows = []
        for row, key in enumerate(map(digest, self.contents())):
            if key not in seen:
                seen.add(key)
                rows.append(row)
        return self if len(rows) == len(self) else replace(self.select(np.array(rows, np.int64)), notes=self.notes)


class TokenStore(Sequence[dict[str, Any]]):
    """The examples of one split, memory-mapped: cheap to open, to index and to send to another process.

    `store[i]` is `{"input_ids": [n] int64, "label": int}`, and for pairs `input_ids_2` too. Ids are the published ones,
    without padding after them; within an image a 0 is a black pixel, which counts as padding all the same
    (`attention_mask = input_ids != 0`).

    Args:
        files: the file of tokens, one byte each, or two for pairs.
        starts: `[n]` for each file, where an example begins in it.
        lengths: `[n]` for each file.
        labels: `[n]`.
        shift: added to what is stored to make ids: 1 for bytes, 0 for all else.
    """

    def __init__(
        self,
        files: Sequence[Path],
        starts: Sequence[NDArray[np.int64]],
        lengths: Sequence[NDArray[np.int64]],
        labels: NDArray[np.int64],
        shift: int = 0,
    ) -> None:
        self._files, self._starts, self._lengths, self._shift = list(files), list(starts), list(lengths), shift
        self.labels = labels
        """`[n]` int64."""
        self._tokens = _map(self._files)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """`[n]` tokens stored of each example, both texts of a pair together."""
        return np.sum(self._lengths, axis=0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> "TokenStore": ...
    def __getitem__(self, index: int | slice) -> "dict[str, Any] | TokenStore":
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        texts = (text.astype(np.int64) + self._shift for text in self._texts(index))
        return dict(zip(("input_ids", "input_ids_2"), texts, strict=False)) | {"label": int(self.labels[index])}

    def _texts(self, index: int) -> list[Tokens]:
        """What is stored of an example."""
        spans = zip(self._tokens, self._starts, self._lengths, strict=True)
        return [tokens[starts[index] : starts[index] + lengths[index]] for tokens, starts, lengths in spans]

    def select(self, rows: NDArray[np.int64]) -> "TokenStore":
        """The examples of these row numbers, in this order; nothing is copied on disk."""
        return TokenStore(
            self._files,
            [starts[rows] for starts in self._starts],
            [lengths[rows] for lengths in self._lengths],
            self.labels[rows],
            self._shift,
        )

    def spread(self, count: int | None) -> "TokenStore":
        """`count` examples at even distances (files are often sorted by label), or all of them."""
        if count is None or count >= len(self):
            return self
        return self.select(np.arange(count, dtype=np.int64) * len(self) // count)

    def contents(self) -> set[bytes]:
        """The examples as stored, for telling whether another set has one of them."""
        return {b"".join(text.tobytes() for text in self._texts(index)) for index in range(len(self))}

    def digests(self) -> set[bytes]:
        """The digests of `contents`."""
        return set(map(digest, self.contents()))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tokens"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tokens = _map(self._files)  # numpy would pickle the contents of a memory map


def _map(files: Sequence[Path]) -> list[Tokens]:
    empty = np.empty(0, np.uint8)  # a file without a byte can't be mapped
    return [np.asarray(np.memmap(file, np.uint8, "r")) if file.stat().st_size else empty for file in files]


def digest(content: bytes) -> bytes:
    """16 bytes that stand for a text or an example."""
    return hashlib.blake2b(content, digest_size=16).digest()
