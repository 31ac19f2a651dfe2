"""The label space of a task: class names kept, rows turned into what the loss wants."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.errors import PoNetError, suggest
from ponet.tasks.text.columns import Columns
from ponet.tasks.text.label_values import detect_kind, multi_labels, numbers, single_labels
from ponet.tasks.text.table import Table

if TYPE_CHECKING:
    from transformers import PretrainedConfig

UNLABELLED = -100
"""Class id of a row without a label (the value that torch's losses ignore)."""
SHOWN = 12
"""Class names that a message lists at most."""
_PROBLEM_TYPES = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


@dataclass(frozen=True)
class LabelSpace:
    """What is predicted: one of `names`, any of `names`, or a number."""

    kind: str
    """single_label | multi_label | regression"""
    names: tuple[str, ...] = ()
    """Class names by id; empty for regression."""

    @property
    def num_labels(self) -> int:
        return len(self.names) if self.kind != "regression" else 1

    @property
    def problem_type(self) -> str:
        """The name that Hugging Face configurations give the kind."""
        return _PROBLEM_TYPES[self.kind]

    @property
    def positive(self) -> str | None:
        """The class that binary figures are about: the second of two (`true`, `1`, `pos`)."""
        return self.names[1] if self.kind == "single_label" and len(self.names) == 2 else None

    @classmethod
    def from_config(cls, config: "PretrainedConfig") -> "LabelSpace":
        """The space of a saved model."""
        kinds = {problem: kind for kind, problem in _PROBLEM_TYPES.items()}
        kind = kinds.get(config.problem_type or "", "regression" if config.num_labels == 1 else "single_label")
        id2label: dict[Any, str] = config.id2label or {}
        names = tuple(str(id2label[index]) for index in range(len(id2label)))
        return cls(kind, () if kind == "regression" else names)

    def config_fields(self) -> dict[str, Any]:
        """Keyword arguments of the model's configuration."""
        fields: dict[str, Any] = {"num_labels": self.num_labels, "problem_type": self.problem_type}
        if self.names:
            fields["id2label"] = dict(enumerate(self.names))
            fields["label2id"] = {name: index for index, name in enumerate(self.names)}
        return fields


def fit_labels(table: Table, columns: Columns, wanted: str) -> LabelSpace:
    """The label space of the training rows.

    Raises:
        PoNetError: no labels, one class only, more classes than the rows can teach.
    """
    kind = detect_kind(table, columns, wanted)
    where = f"column '{columns.label[0]}' of '{table.origin}'"
    if kind == "regression":
        values = numbers(table, columns)
        known = values[~np.isnan(values)]
        if not known.size:
            raise PoNetError(f"No row has a label: {where} is empty.")
        if np.all(known == known[0]):
            raise PoNetError(f"Every label in {where} is {known[0]:g}: there is nothing to learn.")
        return LabelSpace("regression")
    if kind == "multi_label":
        rows = [row for row in multi_labels(table, columns) if row is not None]
        names = list(columns.label) if len(columns.label) > 1 else _ordered({name for row in rows for name in row})
        if not any(rows):
            raise PoNetError(f"No row has a label: {where} holds none.")
        if len(set(map(frozenset, rows))) == 1:
            raise PoNetError(f"Every row of '{table.origin}' has the same labels: there is nothing to learn.")
        return LabelSpace("multi_label", tuple(names))
    return LabelSpace("single_label", _class_names(table, columns, where))


def _class_names(table: Table, columns: Columns, where: str) -> tuple[str, ...]:
    ways = single_labels(table, columns)
    labels = [label for label in ways[0] if label is not None]
    counts = Counter(labels)
    if not labels:
        raise PoNetError(f"No row has a label: {where} is empty.")
    if len(counts) == 1:
        raise PoNetError(f"Every row has the label '{labels[0]}' in {where}: a classifier needs at least two classes.")
    if len(counts) > 2 and len(counts) > len(labels) / 2:
        raise PoNetError(
            f"{where[0].upper()}{where[1:]} has {len(counts):,} different labels in {len(labels):,} rows, too many "
            "for classes: name another column (label=NAME), or set kind=regression if they are numbers."
        )
    declared = table.class_names.get(columns.label[0], ())
    if set(counts) <= set(declared):
        return tuple(declared)  # all that the file declares, so that ids stay the file's own
    by_value = {
        value: name for name, value in zip(ways[0], ways[-1], strict=True) if name is not None and value is not None
    }
    return tuple(by_value[value] for value in _ordered(by_value))


def encode_labels(
    space: LabelSpace, table: Table, columns: Columns, split: str, by_id: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The rows' labels in a label space.

    Args:
        split: for messages.
        by_id: whether numbers may be class ids where they are no class names (evaluation on another file).

    Returns:
        Labels (`[n]` int64 class ids, `[n, C]` float32 of 0 and 1, or `[n]` float32), and which rows have one `[n]`.

    Raises:
        PoNetError: a label that the space doesn't have, or none at all in the column's form.
    """
    if space.kind == "regression":
        values = numbers(table, columns)
        return values.astype(np.float32), ~np.isnan(values)
    if space.kind == "multi_label":
        return _encode_multi(space, table, columns, split)
    ways = single_labels(table, columns)
    if split != "train" and "-1" not in space.names and set(ways[-1]) <= {"-1", None}:
        ways = [[None] * len(table)]  # the hub's mark for hidden labels, in a file without class names
    ids = {name: index for index, name in enumerate(space.names)}
    readings = [lambda way: way, _folded(space.names)]
    for reading in readings:
        for way in ways:
            read = reading(way)
            if all(label is None or label in ids for label in read):
                return _ids(read, ids)
    if by_id and all(label is None or (label.isdigit() and int(label) < len(ids)) for label in ways[-1]):
        return _ids(ways[-1], {str(index): index for index in range(len(ids))})
    raise _unseen(ways[0], space, table, split)


def _ids(labels: Sequence[str | None], ids: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    encoded = np.array([UNLABELLED if label is None else ids[label] for label in labels], dtype=np.int64)
    return encoded, encoded != UNLABELLED


def _folded(names: Iterable[str]) -> Any:
    """Reads labels with other case (`True`) or number format (`1.0`) as the class they can only mean."""
    known: dict[str, set[str]] = {}
    for name in names:
        known.setdefault(_fold(name), set()).add(name)

    def read(labels: Sequence[str | None]) -> list[str | None]:
        return [
            next(iter(known[_fold(label)])) if label is not None and len(known.get(_fold(label), ())) == 1 else label
            for label in labels
        ]

    return read


def _fold(label: str) -> str:
    try:
        return repr(float(label))
    except ValueError:
        return label.casefold()


def _encode_multi(space: LabelSpace, table: Table, columns: Columns, split: str) -> tuple[np.ndarray, np.ndarray]:
    ids = {name: index for index, name in enumerate(space.names)}
    rows = multi_labels(table, columns)
    encoded = np.zeros((len(rows), len(ids)), dtype=np.float32)
    for number, row in enumerate(rows):
        for name in row or ():
            if name not in ids:
                raise _unseen([name], space, table, split, number)
            encoded[number, ids[name]] = 1.0
    return encoded, np.array([row is not None for row in rows])


def _unseen(
    labels: Sequence[str | None], space: LabelSpace, table: Table, split: str, number: int | None = None
) -> PoNetError:
    strange = [(row, label) for row, label in enumerate(labels) if label is not None and label not in space.names]
    row, label = strange[0]
    others = len({label for _, label in strange}) - 1
    more = f", like {others} other{'s' if others > 1 else ''}" if others else ""
    return PoNetError(
        f"The {split} label '{label}' (row {(row if number is None else number) + 1} of '{table.origin}') doesn't "
        f"occur in training{more}; training has: {list_names(space.names)}. Correct it, or remove the row."
    )


def list_names(names: Sequence[str]) -> str:
    """The first dozen, and how many more there are."""
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _ordered(values: Iterable[str]) -> list[str]:
    """Numbers by value, anything else by spelling."""
    items = list(values)
    try:
        return sorted(items, key=float)
    except ValueError:
        return sorted(items)


def check_weights(weights: str | dict[str, float], space: LabelSpace) -> None:
    """Raises PoNetError where class weights don't go with the label space."""
    if weights == "none":
        return
    if space.kind == "regression":
        raise PoNetError("class_weights need classes; these labels are numbers (regression).")
    if isinstance(weights, dict):
        for name in weights:
            if name not in space.names:
                raise PoNetError(
                    f"class_weights name a class '{name}' that the data doesn't have.{suggest(name, space.names)}"
                )
