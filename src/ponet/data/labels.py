"""The label space of a task: class names kept, rows turned into what the loss wants."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.data.cells import SEPARATORS, TRUTH, LabelCells, fold
from ponet.data.columns import Columns
from ponet.data.tables import DataTable
from ponet.utils.errors import PoNetError, suggest

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


def fit_labels(
    table: DataTable,
    columns: Columns,
    wanted: str = "auto",
    missing: Sequence[str] | None = None,
    names: Sequence[str] = (),
    notices: list[str] | None = None,
) -> LabelSpace:
    """The label space of the training rows. Raises PoNetError: no labels, one class only, more classes than the rows
    can teach.

    Args:
        wanted: the kind, or `auto`.
        missing: what stands for no label, as `LabelCells` has it.
        names: of the classes, by id or position, where the rows hold ids or lists of 0 and 1.
        notices: gets what the user should know about how labels are read.
    """
    notices = [] if notices is None else notices
    cells = LabelCells(named(table, columns, names), columns, missing, names)
    kind = cells.kind(wanted)
    if kind == "regression":
        values = cells.numbers()
        known = values[~np.isnan(values)]
        if not known.size:
            raise PoNetError(f"No row has a label: {cells.place} is empty.")
        if np.all(known == known[0]):
            raise PoNetError(f"Every label in {cells.place} is {known[0]:g}: there is nothing to learn.")
        return LabelSpace("regression")
    if kind == "single_label":
        return LabelSpace("single_label", _class_names(cells, notices))
    read, fixed = cells.multi_labels()
    rows = [row for row in read if row is not None]
    if wanted == "auto" and len(columns.label) == 1:
        notices.append(f"C{cells.place[1:]} holds lists: any of the classes may apply (multi_label).")
    if not any(rows):
        raise PoNetError(f"No row has a label: {cells.place} holds none.")
    if len(set(map(frozenset, rows))) == 1:
        raise PoNetError(f"Every row of '{table.origin}' has the same labels: there is nothing to learn.")
    counts = Counter(name for row in rows for name in row)
    return LabelSpace("multi_label", tuple(_ordered(_one_spelling(counts)) if fixed is None else fixed))


def named(table: DataTable, columns: Columns, names: Sequence[str]) -> DataTable:
    """The table, with names of classes behind the ids in its label column."""
    if not names or len(columns.label) != 1:
        return table
    return replace(table, class_names=table.class_names | {columns.label[0]: list(names)})


def _class_names(cells: LabelCells, notices: list[str]) -> tuple[str, ...]:
    cells = replace(cells, classes=())
    ways = cells.single_labels()
    labels = [label for label in ways[0] if label is not None]
    spellings = Counter(labels)
    if not labels:
        raise PoNetError(f"No row has a label: {cells.place} is empty.")
    declared = cells.table.class_names.get(cells.name, ())
    names = dict.fromkeys(spellings if set(spellings) <= set(declared) else _one_spelling(spellings))
    if len(names) == 1:
        raise PoNetError(
            f"Every row has the label '{labels[0]}' in {cells.place}: a classifier needs at least two classes."
        )
    if len(names) > 2 and len(names) > len(labels) / 2:
        raise PoNetError(
            f"C{cells.place[1:]} has {len(names):,} different labels in {len(labels):,} rows, too many "
            "for classes: name another column (label=NAME), or set kind=regression if they are numbers."
        )
    if set(names) <= set(declared):
        return tuple(declared)  # all that the file declares, so that ids stay the file's own
    _tell_alike(list(names), cells.place, notices)
    by_value = {
        value: name for name, value in zip(ways[0], ways[-1], strict=True) if name in names and value is not None
    }
    return tuple(_ordered(names) if len(ways) == 1 else (by_value[value] for value in _ordered(by_value)))


def _one_spelling(spellings: "Counter[str]") -> list[str]:
    """One name for all spellings of a label: of a number the shortest, of a word the most frequent."""
    truths = {spelling.lower() for spelling in spellings}
    mixed = {fold(truth) for truth in truths} <= {"0", "1", "true", "false"} and {"true", "false"} & truths
    if mixed and any(fold(truth) in ("0", "1") for truth in truths):
        return sorted({"1" if TRUTH[fold(truth)] else "0" for truth in truths})
    groups: dict[str, list[str]] = {}
    for spelling in spellings:
        groups.setdefault(fold(spelling), []).append(spelling)
    return [
        key if len(group) > 1 and key.lstrip("-").isdigit() else max(group, key=lambda spelling: spellings[spelling])
        for key, group in groups.items()
    ]


def _tell_alike(names: list[str], where: str, notices: list[str]) -> None:
    """Says of classes that may be one, or several at once."""
    by_case: dict[str, str] = {}
    for name in names:
        other = by_case.setdefault(name.casefold(), name)
        if other != name:
            notices.append(f"The classes '{other}' and '{name}' in {where} differ in case alone: they stay two.")
            break
    for mark in SEPARATORS:
        joined = [name for name in names if mark in name]
        parts = Counter(part.strip() for name in names for part in name.split(mark))
        if joined and all(parts[part.strip()] > 1 for name in joined for part in name.split(mark)):
            notices.append(
                f"Labels in {where} look like several in one ('{joined[0]}'): kind=multi_label would read them so."
            )
            break


def encode_labels(
    space: LabelSpace,
    table: DataTable,
    columns: Columns,
    split: str,
    by_id: bool = False,
    missing: Sequence[str] | None = None,
    notices: list[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The rows' labels in a label space. Raises PoNetError: a label that the space doesn't have, or none at all in the
    column's form.

    Args:
        split: for messages.
        by_id: whether numbers may be class ids where they are no class names (evaluation on another file).
        missing: what stands for no label, as `LabelCells` has it.
        notices: gets what was folded, and what was taken for no label.

    Returns:
        Labels (`[n]` int64 class ids, `[n, C]` float32 of 0 and 1, or `[n]` float32), and which rows have one `[n]`.
    """
    cells = LabelCells(table, columns, missing, space.names, [] if notices is None else notices)
    if space.kind == "regression":
        values = cells.numbers()
        return values.astype(np.float32), ~np.isnan(values)
    if space.kind == "multi_label":
        return _encode_multi(space, cells, split)
    ways = cells.single_labels()
    if split != "train" and "-1" not in space.names and set(ways[-1]) <= {"-1", None}:
        ways = [[None] * len(table)]  # the hub's mark for hidden labels, in a file without class names
    ids = {name: index for index, name in enumerate(space.names)}

    def encoded(names: list[int | None]) -> tuple[np.ndarray, np.ndarray]:
        found = np.array([UNLABELLED if name is None else name for name in names], dtype=np.int64)
        return found, found != UNLABELLED

    for key in (str, fold, lambda label: fold(label).casefold(), _truth):
        known = _known(space.names, key)
        for way in ways:
            read = [label if label is None or label in ids else known.get(key(label)) for label in way]
            if all((label is None) == (name is None) for label, name in zip(way, read, strict=True)):
                _tell_folded(way, read, cells)
                return encoded([None if name is None else ids[name] for name in read])
    folded = [None if label is None else fold(label) for label in ways[-1]]
    if by_id and all(label is None or (label.isdigit() and int(label) < len(ids)) for label in folded):
        return encoded([None if label is None else int(label) for label in folded])
    raise _unseen(ways[0], space, table, split)


def _encode_multi(space: LabelSpace, cells: LabelCells, split: str) -> tuple[np.ndarray, np.ndarray]:
    ids = {name: index for index, name in enumerate(space.names)}
    known = _known(space.names, fold)
    rows, _ = cells.multi_labels()
    encoded = np.zeros((len(rows), len(ids)), dtype=np.float32)
    labels: list[str] = []
    read: list[str] = []
    for number, row in enumerate(rows):
        for label in row or ():
            name = label if label in ids else known.get(fold(label))
            if name is None:
                raise _unseen([label], space, cells.table, split, number)
            labels.append(label)
            read.append(name)
            encoded[number, ids[name]] = 1.0
    _tell_folded(labels, read, cells)
    return encoded, np.array([row is not None for row in rows])


def _truth(label: str) -> str:
    return str(TRUTH.get(fold(label).lower(), label))


def _known(names: Sequence[str], key: Callable[[str], str]) -> dict[str, str]:
    """The class that each key can only mean."""
    counts = Counter(key(name) for name in names)
    return {key(name): name for name in names if counts[key(name)] == 1}


def _tell_folded(labels: Sequence[str | None], names: Sequence[str | None], cells: LabelCells) -> None:
    counts = Counter((label, name) for label, name in zip(labels, names, strict=True) if label != name)
    if counts:
        shown = [f"{label!r} in {count:,} rows as {name!r}" for (label, name), count in counts.items()]
        cells.notices.append(f"Spellings of a class in {cells.place} are folded: {list_names(shown)}.")


def _unseen(
    labels: Sequence[str | None], space: LabelSpace, table: DataTable, split: str, number: int | None = None
) -> PoNetError:
    known = {fold(name) for name in space.names}
    given = [(row, label) for row, label in enumerate(labels) if label is not None]
    strange = [(row, label) for row, label in given if fold(label) not in known] or given
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
