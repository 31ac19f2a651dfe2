"""Which columns hold the texts and the label: as named, else by usual names, else where only one fits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as compute

from ponet.data.arrow import is_text
from ponet.data.tables import DataTable
from ponet.utils.errors import PoNetError, suggest

TEXTS = ("text", "document", "content", "article", "review", "body", "sentence", "comment", "message", "abstract")
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "document"),
    ("query", "passage"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("document1", "document2"),
)
LABELS = (
    "label",
    "labels",
    "target",
    "class",
    "category",
    "sentiment",
    "topic",
    "rating",
    "stars",
    "score",
    "genre",
    "y",
)
ROW_NAMES = {"id", "idx", "index", "guid", "uid", "uuid", "url", ""}
"""Columns that number or name the rows; never a label."""
SAMPLE = 1000
WORDY = 20
"""Characters a text has at least, on average, to be taken for a text and not a label."""


@dataclass(frozen=True)
class Columns:
    """The chosen columns."""

    text: str
    pair: str | None = None
    label: tuple[str, ...] = ()
    """Several: 0/1 columns of a multi-label task."""
    label_name: str | None = None
    """A column with readable names beside an integer label (`label_name`, `label_text`)."""

    def describe(self) -> str:
        """`text from 'review', label from 'sentiment'`"""
        parts = [f"text from '{self.text}'"]
        if self.pair:
            parts.append(f"second text from '{self.pair}'")
        if self.label:
            parts.append("label from " + ", ".join(f"'{name}'" for name in self.label))
        if self.label_name:
            parts.append(f"its names from '{self.label_name}'")
        return ", ".join(parts)


def choose_columns(
    table: DataTable,
    text: str | None = None,
    pair: str | None = None,
    label: str | Sequence[str] = (),
    labelled: bool = True,
) -> Columns:
    """The columns of a table that are named, or that can only be meant. Raises PoNetError: a named column isn't there,
    or no column or more than one could be meant.

    Args:
        text, pair: columns of the text and of a second one, where they are named.
        label: those of the label; one name may hold several, separated by commas.
        labelled: whether a label is wanted; to predict, none is.
    """
    label = _given_labels(table, label) if labelled else ()
    _check_there(table, text, "text")
    _check_there(table, pair, "pair")
    if labelled and not label:
        label = _find_label(table, {text, pair})
    if text is None:
        text, pair = _find_text(table, set(label), pair)
    if labelled and not label:
        label = tuple(name for name in table.columns if name not in (text, pair) and not _names_rows(name))
        if len(label) != 1:
            raise _unclear(table, "label", "label=NAME, or label=a,b,c for several 0/1 columns")
    if text in label or pair in label or text == pair:
        raise PoNetError(
            f"A column can't serve twice ({text}, {pair or '-'}, {', '.join(label)}): give text=, pair= and label=."
        )
    companion = None
    if len(label) == 1:
        names = (f"{label[0]}_name", f"{label[0]}_text", f"{label[0]}_names")
        companion = next((name for name in names if name in table.columns and name not in (text, pair)), None)
    return Columns(text, pair, tuple(label), companion)


def text_column(table: DataTable, name: str) -> pa.ChunkedArray:
    """A column as text: what is missing becomes an empty text. Raises PoNetError: the column holds something else, such
    as lists or images."""
    column = table.data.column(name)
    kind = column.type
    if not (is_text(kind) or pa.types.is_null(kind) or pa.types.is_primitive(kind)):
        raise PoNetError(f"Column '{name}' of '{table.origin}' holds no text but {kind}: name another column.")
    return compute.fill_null(column.cast(pa.large_string()), "")


def _check_there(table: DataTable, name: str | None, option: str) -> None:
    if name is not None and name not in table.columns:
        near = suggest(name, table.columns)
        raise PoNetError(
            f"'{table.origin}' has no column '{name}' ({option}={name})"
            f"; it has: {', '.join(table.columns)}.{near if 'Did you mean' in near else ''}"
        )


def _given_labels(table: DataTable, label: str | Sequence[str]) -> tuple[str, ...]:
    names = [label] if isinstance(label, str) else list(label)
    if len(names) == 1 and names[0] not in table.columns and "," in names[0]:
        names = [part.strip() for part in names[0].split(",")]
    for name in names:
        _check_there(table, name, "label")
    if len(set(names)) < len(names):
        raise PoNetError(f"label names a column twice: {', '.join(names)}.")
    return tuple(names)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", name.lower()) if word]


def _names_rows(name: str) -> bool:
    return (_words(name) or [""])[-1] in ROW_NAMES


def _by_name(names: list[str], usual: tuple[str, ...]) -> str | None:
    """The column with a usual name, else the only one with such a word in its name (`review_body`)."""
    lower = {name.lower().strip(): name for name in names}
    for wanted in usual:
        if wanted in lower:
            return lower[wanted]
    near = [name for name in names if set(_words(name)) & set(usual) and not _names_rows(name)]
    return near[0] if len(near) == 1 else None


def _find_label(table: DataTable, taken: set[str | None]) -> tuple[str, ...]:
    names = [name for name in table.columns if name not in taken]
    found = _by_name(names, LABELS)
    if found is None or _mean_length(table, found) > 10 * WORDY:
        return ()  # or an essay called `topic`
    return (found,)


def _find_text(table: DataTable, labels: set[str], pair: str | None) -> tuple[str, str | None]:
    names = [name for name in table.columns if name not in labels and name != pair]
    lower = {name.lower().strip(): name for name in names}
    if pair is None and "text" not in lower:
        for first, second in PAIRS:
            if first in lower and second in lower:
                return lower[first], lower[second]
    found = _by_name(names, TEXTS)
    if found is not None:
        return found, pair
    texts = [name for name in names if _is_text(table, name)]
    wordy = [name for name in texts if _mean_length(table, name) >= WORDY]
    if len(wordy) == 1 or len(texts) == len(names) == 1:
        return (wordy or texts)[0], pair
    raise _unclear(table, "text", "text=NAME")


def _unclear(table: DataTable, what: str, advice: str) -> PoNetError:
    is_csv = table.origin.lower().endswith((".csv", ".tsv"))
    looks_like_data = any(len(name) > 40 or name.replace(".", "", 1).isdigit() for name in table.columns)
    hint = " (the first line must be a header)" if is_csv and looks_like_data else ""
    there = ", ".join(table.columns)
    return PoNetError(f"Which column of '{table.origin}' is the {what}? Give {advice}; it has: {there}{hint}.")


def _is_text(table: DataTable, name: str) -> bool:
    return is_text(table.data.schema.field(name).type)


def _mean_length(table: DataTable, name: str) -> float:
    """Characters of a text; 0 for a column of something else."""
    if not _is_text(table, name):
        return 0.0
    column = table.data.column(name).slice(0, SAMPLE)
    return float(compute.mean(compute.utf8_length(column)).as_py() or 0.0)
