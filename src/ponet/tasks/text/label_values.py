"""What stands in the label columns, row by row, before anything is made of it."""

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.errors import PoNetError
from ponet.tasks.text.columns import Columns
from ponet.tasks.text.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS = ("|", ";", ",")
_TRUE = {"1", "true", "yes"}
_FALSE = {"0", "false", "no", ""}


def detect_kind(table: Table, columns: Columns, wanted: str) -> str:
    """single_label, multi_label or regression, as wanted or by what the label column holds.

    Raises:
        PoNetError: the wanted kind doesn't go with the column.
    """
    import pyarrow as pa

    several = len(columns.label) > 1
    is_list = any(_is_list(table.data.schema.field(name).type) for name in columns.label)
    if several and wanted in ("single_label", "regression"):
        raise PoNetError(f"kind={wanted} needs one label column; {len(columns.label)} are named.")
    if several and is_list:
        raise PoNetError("Several label columns must hold 0 or 1; a column of lists is named alone.")
    if is_list and wanted in ("single_label", "regression"):
        raise PoNetError(f"Column '{columns.label[0]}' holds lists: kind={wanted} needs one value a row.")
    if wanted != "auto":
        return wanted
    if several or is_list:
        return "multi_label"
    column = table.data.column(columns.label[0])
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type) or _is_string(column.type):
        try:
            numbers = _floats(column)
        except ValueError:
            return "single_label"
        numbers = numbers[np.isfinite(numbers)]
        return "regression" if np.any(numbers != np.round(numbers)) else "single_label"
    return "single_label"


def single_labels(table: Table, columns: Columns) -> list[list[str | None]]:
    """Each row's label in the ways it can be named, the most readable first, as it stands last; None for no label.

    Raises:
        PoNetError: the column holds something that is no label.
    """
    name = columns.label[0]
    plain = _plain(table, name)
    ways = [plain]
    names = table.class_names.get(name)
    if names:
        ids = {str(index): class_name for index, class_name in enumerate(names)}
        if all(value is None or value in ids or value == "-1" for value in plain):
            plain = [None if value == "-1" else value for value in plain]  # the hub's mark for a hidden label
            ways = [[None if value is None else ids[value] for value in plain], plain]
    if columns.label_name is not None and columns.label_name in table.columns:
        beside = _plain(table, columns.label_name)
        if _one_to_one(plain, beside):
            ways.insert(0, [None if value is None else text for value, text in zip(plain, beside, strict=True)])
    return ways


def multi_labels(table: Table, columns: Columns) -> list[list[str] | None]:
    """Each row's labels; None where nothing is said, an empty list where none applies.

    Raises:
        PoNetError: a cell that isn't a list of labels, or isn't 0 or 1 in one of several columns.
    """
    if len(columns.label) > 1:
        marks = {name: _marks(table, name) for name in columns.label}
        return [[name for name in columns.label if marks[name][row]] for row in range(len(table))]
    name = columns.label[0]
    column = table.data.column(name)
    if _is_list(column.type):
        ids = dict(enumerate(table.class_names.get(name, ())))
        return [None if cell is None else _distinct(_named(item, ids) for item in cell) for cell in column.to_pylist()]
    plain = [None if cell is None else str(cell) for cell in column.to_pylist()]
    separator = next((mark for mark in SEPARATORS if any(cell and mark in cell for cell in plain)), "|")
    return [None if cell is None else _split(cell, separator) for cell in plain]


def numbers(table: Table, columns: Columns) -> np.ndarray:
    """Each row's number `[n]` float64; NaN where there is none.

    Raises:
        PoNetError: naming the first row that holds no number.
    """
    column = table.data.column(columns.label[0])
    try:
        values = _floats(column)
    except ValueError:
        for row, value in enumerate(column.to_pylist(), 1):
            if not _is_number(value):
                raise PoNetError(
                    f"Row {row} of '{table.origin}' has '{value}' in column '{columns.label[0]}', "
                    "where regression needs a number."
                ) from None
        raise
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise PoNetError(
            f"Row {infinite[0] + 1} of '{table.origin}' has an infinite label: remove the row or correct it."
        )
    return values


def label_text(value: Any) -> str | None:
    """A label as the text it is known by: 1 and 1.0 are '1', True is 'true'; None for None, NaN and blank."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal):
        value = float(value)
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    text = "" if value is None else str(value).strip()
    return text or None


def _plain(table: Table, name: str) -> list[str | None]:
    import pyarrow as pa

    column = table.data.column(name)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        raise PoNetError(
            f"Column '{name}' of '{table.origin}' holds {column.type}, which is no label: name another one."
        )
    return [label_text(value) for value in column.to_pylist()]


def _one_to_one(values: list[str | None], names: list[str | None]) -> bool:
    pairs = {(value, name) for value, name in zip(values, names, strict=True) if value is not None}
    by_value, by_name = {value for value, _ in pairs}, {name for _, name in pairs}
    return len(pairs) == len(by_value) == len(by_name) and None not in by_name


def _marks(table: Table, name: str) -> list[bool]:
    marks = []
    for row, value in enumerate(table.data.column(name).to_pylist(), 1):
        text = (label_text(value) or "").lower()
        if text not in _TRUE | _FALSE:
            raise PoNetError(f"Row {row} of '{table.origin}' has '{value}' in column '{name}', where 0 or 1 is needed.")
        marks.append(text in _TRUE)
    return marks


def _split(cell: str, separator: str) -> list[str]:
    if cell.lstrip().startswith("["):
        try:
            return _distinct(label_text(item) for item in json.loads(cell.replace("'", '"')))
        except (ValueError, TypeError):
            pass
    return _distinct(label_text(part) for part in cell.split(separator))


def _distinct(items: Any) -> list[str]:
    return list(dict.fromkeys(item for item in items if item is not None))


def _named(item: Any, ids: dict[int, str]) -> str | None:
    return ids.get(item, label_text(item)) if isinstance(item, int) else label_text(item)


def _floats(column: "pa.ChunkedArray") -> np.ndarray:
    cells = [None if isinstance(cell, str) and not cell.strip() else cell for cell in column.to_pylist()]
    try:
        return np.array([math.nan if cell is None else float(cell) for cell in cells], dtype=np.float64)
    except TypeError as error:  # dates and the like
        raise ValueError("no numbers") from error


def _is_number(value: Any) -> bool:
    try:
        float(value or 0)
    except (TypeError, ValueError):
        return isinstance(value, str) and not value.strip()
    return True


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_string(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
