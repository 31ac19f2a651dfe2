"""Text: IMDb's film reviews as bytes, negative 0 and positive 1. The published validation split is the test split."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.config.lra import DataOptions
from ponet.tasks.lra.published import identity, left_out, source_sizes
from ponet.tasks.lra.spec import DatasetSpec, ExampleSource
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.data.tables import DataTable

VERSION = 1
LIMIT = 4_000
"""Bytes kept of a text. The id of a byte is its value plus 1, which `DatasetSpec.shift` adds."""
DEFAULT = "imdb"
_ROWS = 2_500
_LABELS = {"neg": 0, "pos": 1, "negative": 0, "positive": 1, "0": 0, "1": 1}
_UNLABELLED = ("unsup", "-1")

Job = tuple[str, str, int]
"""Source, split, first row."""


def spec(options: DataOptions) -> DatasetSpec:
    """The whole data set."""
    source = options.source or DEFAULT

    def sources() -> list[ExampleSource]:
        found = []
        for split in ("train", "test"):
            rows = len(_table(source, split))
            jobs = [(source, split, start) for start in range(0, rows, _ROWS)]
            found.append(ExampleSource(_read, jobs, {split: None}, per_job=_ROWS, unit="reviews", parallel=False))
        return found

    return DatasetSpec(
        task="text",
        version=VERSION,
        parameters={"source": DEFAULT if options.source is None else identity(source)},
        source=f"IMDb from '{source}'",
        sources=sources,
        inputs=lambda: source_sizes(source),
        shift=1,
        aliases={"validation": "test"},
        shown=options.chosen,
        remarks=lambda notes: left_out(notes, "empty reviews"),
    )


@lru_cache(maxsize=2)
def _table(source: str, split: str) -> "DataTable":
    from ponet.data.sources import open_source

    tables = open_source(source).splits
    if split not in tables:
        raise PoNetError(f"'{source}' has no {split} split: it needs train and test, as IMDb has.")
    table = tables[split]
    missing = [name for name in ("text", "label") if name not in table.columns]
    if missing:
        raise PoNetError(f"'{table.origin}' has no column '{missing[0]}': IMDb's are text and label.")
    return table


def _read(job: Job) -> Examples:
    source, split, start = job
    table = _table(source, split)
    rows = table.data.slice(start, _ROWS)
    texts: list[bytes] = []
    labels: list[int] = []
    for place, (text, label) in enumerate(zip(rows["text"].to_pylist(), rows["label"].to_pylist(), strict=True)):
        if str(label) in _UNLABELLED:
            continue
        texts.append((text or "").encode())
        labels.append(_label(label, table.origin, start + place))
    return from_texts([texts], labels)


def _label(value: Any, origin: str, row: int) -> int:
    if str(value) not in _LABELS:
        raise PoNetError(f"'{origin}', row {row:,}, has the label {value!r}: IMDb's are 0 (negative) and 1 (positive).")
    return _LABELS[str(value)]


def from_texts(columns: Sequence[Sequence[bytes]], labels: Sequence[int]) -> Examples:
    """Examples of one or two texts each, cut at `LIMIT` bytes.

    An example with an empty text is left out, since no model can take it. Notes count both: `cut` texts and `empty`.
    """
    rows = [row for row in range(len(labels)) if all(texts[row] for texts in columns)]
    tokens, lengths = [], []
    cut = 0
    for texts in columns:
        kept = [texts[row][:LIMIT] for row in rows]
        cut += sum(len(texts[row]) > LIMIT for row in rows)
        tokens.append(np.frombuffer(b"".join(kept), np.uint8))
        lengths.append(np.array([len(text) for text in kept], np.int64))
    notes = {"cut": cut, "empty": len(labels) - len(rows)}
    return Examples(tokens, lengths, np.array([labels[row] for row in rows], np.uint8), notes)
