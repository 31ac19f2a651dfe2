"""Documents through a model, in order: read in blocks, tokenized here or in worker processes, computed in batches."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ponet.artifacts import parallel_map
from ponet.data.inputs import Input, Inputs
from ponet.data.records import array
from ponet.utils.batching import bounded, cut

BLOCK_TEXTS, BLOCK_CHARACTERS = 1024, 4_000_000
"""The most texts, and characters of them, that are tokenized at once and share batches."""
INDEX, FILE, TRUNCATED = "index", "file", "truncated"
OPTIONAL = (FILE, TRUNCATED)
"""Columns that a record only has where they say something."""

Texts = list[tuple[str, str | None]]
"""Texts, or pairs of texts."""


class Encoded(Protocol):
    """One document as tokens."""

    dropped: int
    """Tokens that were cut away."""


class Annotator(Protocol):
    """A model that finds something for each document: a class, a vector."""

    @property
    def columns(self) -> pa.Schema:
        """What it finds."""

    @property
    def max_length(self) -> int | None:
        """Tokens of a document that it reads, at most."""

    @property
    def encode(self) -> Callable[[Texts], Sequence[Any]]:
        """Texts to `Encoded`; can be pickled for a worker process."""

    def annotate(self, documents: Sequence[Any]) -> pa.Table:
        """`columns` of documents in any number, a row each, in order."""

    def identity(self) -> dict[str, Any]:
        """What results depend on: the files of the model and its settings."""


@dataclass
class Result:
    """Some consecutive documents, done."""

    table: pa.Table
    """`index`, perhaps `file`, the columns carried along, what was found, and `truncated`."""
    position: int
    """Bytes of the source that were read for these and all before, about."""


def annotated(annotator: Annotator, inputs: Inputs, workers: int = 1, start: int = 0) -> Generator[Result, None, None]:
    """The results of all documents, in order, the first with the index `start`; `workers` processes tokenize (1: this
    one). Raises PoNetError: as reading or computing does."""
    waiting: deque[tuple[list[Input], int]] = deque()

    def jobs() -> Iterator[Texts]:
        for block in blocks(inputs):
            waiting.append((block, inputs.position))
            yield [(item.text, item.pair) for item in block]

    with closing(parallel_map(annotator.encode, jobs(), workers)) as encoded:
        for documents in encoded:
            block, position = waiting.popleft()
            yield Result(_table(start, block, inputs, answers(annotator, documents)), position)
            start += len(block)


def records(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as dictionaries, without what is optional and says nothing."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_fixed_size_list(column.type) and not column.null_count:  # vectors, which are many numbers
            width = column.type.list_size
            flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
            columns[name] = flat.reshape(len(column), width).tolist()
        else:
            columns[name] = column.to_pylist()
    names = list(columns)
    rows = (dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [{k: v for k, v in row.items() if v is not None or k not in OPTIONAL} for row in rows]


def kept_name(name: str, found: Sequence[str]) -> str:
    """The name under which an input column is carried along: another than its own where the results (`found`) have
    it."""
    while name in (INDEX, FILE, TRUNCATED, *found):
        name = f"input_{name}"
    return name


def blocks(inputs: Iterable[Input | None]) -> Iterator[list[Input]]:
    """Consecutive documents, a bounded number of them and of their characters at a time."""
    return bounded(inputs, lambda item: len(item.text) + len(item.pair or ""), BLOCK_TEXTS, BLOCK_CHARACTERS)


def encoded_blocks(
    annotator: Annotator, texts: Iterable[str], pairs: Iterable[str | None] = repeat(None)
) -> Iterator[Sequence[Any]]:
    """Texts, or pairs of them, as documents of the annotator, block by block."""
    for block in blocks(map(Input, texts, pairs)):
        yield annotator.encode([(item.text, item.pair) for item in block])


def answers(annotator: Annotator, documents: Sequence[Encoded]) -> pa.Table:
    """What the model finds for documents, and `truncated`."""
    cut = pa.array([True if each.dropped else None for each in documents], pa.bool_())
    return annotator.annotate(documents).append_column(TRUNCATED, cut)


def _table(start: int, items: list[Input], inputs: Inputs, found: pa.Table) -> pa.Table:
    columns: dict[str, Any] = {INDEX: pa.array(range(start, start + len(items)), pa.int64())}
    if inputs.named:
        columns[FILE] = pa.array([item.name for item in items], pa.string())
    for name in dict.fromkeys(name for item in items for name in item.row or ()):
        values = [(item.row or {}).get(name) for item in items]
        kind = inputs.types.get(name)
        columns[kept_name(name, found.column_names)] = array(values) if kind is None else pa.array(values, kind)
    return pa.table(columns | dict(zip(found.column_names, found.columns, strict=True)))


def token_batches(lengths: Sequence[int], batch_tokens: int) -> list[np.ndarray]:
    """Indices of documents in batches under the token budget, similar lengths together; a longer one is alone."""
    sizes = np.asarray(lengths, dtype=np.int64)
    return cut(np.argsort(sizes, kind="stable"), sizes, batch_tokens, None)
