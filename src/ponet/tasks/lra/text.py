"""Text: IMDb's film reviews as bytes, negative 0 and positive 1. The published validation split is the test split."""

from collections.abc import Sequence

import numpy as np

from ponet.config.lra import DataOptions
from ponet.tasks.lra.published import Rows, identity, left_out, open_tables, source_sizes, table_source
from ponet.tasks.lra.spec import DatasetSpec, ExampleSource
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError

VERSION = 1
LIMIT = 4_000
"""Bytes kept of a text. The id of a byte is its value plus 1, which `DatasetSpec.shift` adds."""
DEFAULT = "imdb"
_LABELS = {"neg": 0, "pos": 1, "negative": 0, "positive": 1, "0": 0, "1": 1}
_UNLABELLED = ("unsup", "-1")


def spec(options: DataOptions) -> DatasetSpec:
    """The whole data set."""
    source = options.source or DEFAULT

    def sources() -> list[ExampleSource]:
        tables = open_tables(source, "IMDb")
        for table in tables.values():
            for name in ("text", "label"):
                if name not in table.columns:
                    raise PoNetError(f"'{table.origin}' has no column '{name}': IMDb's are text and label.")
        return [table_source(split, Rows(table, 0, len(table)), _read, "reviews") for split, table in tables.items()]

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


def _read(rows: Rows) -> Examples:
    texts: list[bytes] = []
    labels: list[int] = []
    for where, text, label in rows.read("text"):
        if str(label) in _UNLABELLED:
            continue
        if str(label) not in _LABELS:
            raise PoNetError(f"{where} has the label {label!r}: IMDb's are 0 (negative) and 1 (positive).")
        texts.append((text or "").encode())
        labels.append(_LABELS[str(label)])
    return from_texts([texts], labels)


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
