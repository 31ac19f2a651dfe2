"""What stands in the label columns, row by row, before anything is made of it."""

import ast
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from ponet.data.arrow import is_text
from ponet.data.columns import Columns
from ponet.data.tables import DataTable
from ponet.utils.errors import PoNetError

SEPARATORS = ("|", ";", ",")
MISSING = ("", "nan", "na", "n/a", "#n/a", "<na>", "null", "none")
"""What stands for no value in a column of numbers, in any case."""
TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
NOT_SCORED = "-1"
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_WHOLE = re.compile(r"([+-]?)(0|[1-9]\d*)(\.0*)?")


def detect_kind(table: DataTable, columns: Columns, wanted: str, missing: Sequence[str] | None = None) -> str:
    """single_label, multi_label or regression, as wanted or by what the label column holds.

    Raises:
        PoNetError: the wanted kind doesn't go with the column.
    """
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
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type) or is_text(column.type):
        values = [value for value in column.to_pylist() if not _is_missing(value, missing)]
        if values and all(isinstance(value, str) and read_list(value) is not None for value in values):
            return "multi_label"
        found = [_number(value, table.decimal_comma) for value in values]
        if all(number is not None for number in found):
            numbers = np.array(found, dtype=np.float64)
            numbers = numbers[np.isfinite(numbers)]
            return "regression" if np.any(numbers != np.round(numbers)) else "single_label"
    return "single_label"


def single_labels(
    table: DataTable,
    columns: Columns,
    missing: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    notices: list[str] | None = None,
) -> list[list[str | None]]:
    """Each row's label in the ways it can be named, the most readable first, as it stands last; None for no label.

    Args:
        missing: what stands for no label; None for `MISSING`, where all other labels are numbers.
        classes: known classes, which are never missing.
        notices: gets what was taken for no label.

    Raises:
        PoNetError: the column holds something that is no label.
    """
    name = columns.label[0]
    plain = _plain(table, name)
    marks = missing_marks(plain, missing, classes)
    if marks:
        _tell(notices, _said_missing(table, name, Counter(value for value in plain if value in marks)))
        plain = [None if value in marks else value for value in plain]
    elif notices is not None and missing is None:
        odd = sorted({value for value in plain if value is not None and value.casefold() in MISSING})
        if odd:
            _tell(
                notices,
                f"'{odd[0]}' in column '{name}' of '{table.origin}' is read as a class: missing=[{odd[0]}] would leave "
                "its rows out.",
            )
    ways = [plain]
    names = table.class_names.get(name)
    if names:
        ids = {str(index): class_name for index, class_name in enumerate(names)}
        keys = [None if value is None else fold(value) for value in plain]
        if all(key is None or key in ids or key == NOT_SCORED for key in keys):
            keys = [None if key == NOT_SCORED else key for key in keys]  # the hub's mark for a hidden label
            ways = [[None if key is None else ids[key] for key in keys], keys]
    if columns.label_name is not None and columns.label_name in table.columns:
        beside = _plain(table, columns.label_name)
        if _one_to_one(plain, beside):
            ways.insert(0, [None if value is None else text for value, text in zip(plain, beside, strict=True)])
    return ways


def multi_labels(
    table: DataTable,
    columns: Columns,
    missing: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    notices: list[str] | None = None,
) -> tuple[list[list[str] | None], list[str] | None]:
    """Each row's labels; None where nothing is said, an empty list where none applies.

    Args:
        missing: what stands for nothing said; None for `MISSING`, and -1 in columns or lists of 0 and 1.
        classes: known classes, by position.
        notices: gets what was left out or understood.

    Returns:
        The rows, and the classes where they don't follow from the rows: names of columns, or positions in lists of 0
        and 1.

    Raises:
        PoNetError: a cell that isn't a list of labels, or isn't 0 or 1 in one of several columns or in such lists.
    """
    if len(columns.label) > 1:
        marks = {name: _marks(table, name, missing, notices) for name in columns.label}
        rows: list[list[str] | None] = []
        for row in range(len(table)):
            said = {name: marks[name][row] for name in columns.label}
            rows.append(None if None in said.values() else [name for name in columns.label if said[name]])
        return rows, list(columns.label)
    name = columns.label[0]
    cells = _cells(table, name, missing)
    ids = dict(enumerate(table.class_names.get(name, ())))
    if _is_multi_hot(cells, classes, bool(ids)):
        return _from_multi_hot(table, name, cells, classes or list(ids.values()), notices)
    rows = []
    for number, cell in enumerate(cells, 1):
        for item in cell or ():
            if isinstance(item, float) and not math.isnan(item) and not item.is_integer():
                raise PoNetError(
                    f"Row {number:,} of '{table.origin}' has {item:g} in a list in column '{name}', where labels, or 0 "
                    "and 1 for each class, are needed."
                )
            if isinstance(item, list | dict | tuple):
                raise PoNetError(f"Row {number:,} of '{table.origin}' has a list within a list in column '{name}'.")
        rows.append(None if cell is None else _distinct(_named(item, ids) for item in cell))
    return rows, None


def numbers(
    table: DataTable, columns: Columns, missing: Sequence[str] | None = None, notices: list[str] | None = None
) -> np.ndarray:
    """Each row's number `[n]` float64; NaN where there is none.

    Raises:
        PoNetError: naming the first row that holds no number.
    """
    name = columns.label[0]
    column = table.data.column(name)
    values = np.full(len(column), math.nan)
    marks: Counter[str] = Counter()
    commas = 0
    for row, value in enumerate(column.to_pylist()):
        if _is_missing(value, missing):
            if isinstance(value, str) and value.strip():
                marks[value.strip()] += 1
            continue
        number = _number(value, decimal_comma=True)
        comma = isinstance(value, str) and "," in value
        if number is None:
            raise PoNetError(
                f"Row {row + 1} of '{table.origin}' has '{value}' in column '{name}', where regression needs a number."
            )
        if comma and not table.decimal_comma and _THOUSANDS.fullmatch(value.strip()):
            raise PoNetError(
                f"Row {row + 1} of '{table.origin}' has '{value}' in column '{name}', which may be a thousand or a "
                "fraction: write it without a comma."
            )
        commas += comma
        values[row] = number
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise PoNetError(
            f"Row {infinite[0] + 1} of '{table.origin}' has an infinite label: remove the row or correct it."
        )
    if marks:
        _tell(notices, _said_missing(table, name, marks))
    if commas:
        _tell(notices, f"The comma in {commas:,} numbers of column '{name}' of '{table.origin}' is a decimal comma.")
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


def fold(label: str) -> str:
    """What all spellings of a label have in common: 1, 1.0 and +1 are one number; what can't be seen doesn't count.

    A number with leading zeros is a name, and `1.10` may be a version.
    """
    whole = _WHOLE.fullmatch(label)
    if whole is not None:
        return ("-" if whole[1] == "-" and whole[2] != "0" else "") + whole[2]
    if label.isascii():
        return " ".join(label.split())
    visible = "".join(character for character in label if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFC", visible).split()) or label


def missing_marks(values: Iterable[str | None], missing: Sequence[str] | None, classes: Sequence[str]) -> set[str]:
    """Which of the labels stand for none."""
    found = {value for value in values if value is not None}
    if missing is not None:
        return found & set(missing)
    marks = {value for value in found if value.casefold() in MISSING} - set(classes)
    others = found - marks
    return marks if all(NUMBER.fullmatch(value) for value in others) else set()


def _cells(table: DataTable, name: str, missing: Sequence[str] | None) -> list[list[Any] | None]:
    """Each row's labels as they stand, as a list."""
    column = table.data.column(name)
    if _is_list(column.type):
        return column.to_pylist()
    plain = [None if cell is None else str(cell).strip() for cell in column.to_pylist()]
    if missing is None and not any(cell and read_list(cell) is not None for cell in plain):
        missing = ()  # among names, `none` may be one
    separator = next((mark for mark in SEPARATORS if any(cell and mark in cell for cell in plain)), "|")
    cells: list[list[Any] | None] = []
    for number, cell in enumerate(plain, 1):
        if cell is None or (cell and _is_missing(cell, missing)):
            cells.append(None)
            continue
        items = read_list(cell)
        if items is None and cell[:1] == "[" and cell[-1:] == "]":
            raise PoNetError(
                f"Row {number:,} of '{table.origin}' has '{cell[:60]}' in column '{name}', which can't be read as a "
                "list."
            )
        cells.append(cell.split(separator) if items is None else items)
    return cells


def _is_multi_hot(cells: list[list[Any] | None], classes: Sequence[str], named: bool) -> bool:
    """Whether lists hold 0 or 1 for each class, and not the labels that apply."""
    full = [cell for cell in cells if cell is not None]
    some = [cell for cell in full if cell]
    if not some or any(_hot(item) is False for cell in some for item in cell):
        return False
    if any(isinstance(item, float) for cell in some for item in cell):
        return True
    if any(len(cell) > len({_hot(item) for item in cell}) for cell in some):
        return True  # the same label twice: these are no labels
    width = len(classes) if classes else len(some[0])
    return not named and width > 1 and len(some) == len(full) and all(len(cell) == width for cell in some)


def _hot(item: Any) -> Any:
    """1.0 or 0.0, None for what isn't scored, False for anything else."""
    text = fold(label_text(item) or "")
    if text in ("0", "1", "true", "false"):
        return 1.0 if TRUTH[text] else 0.0
    return None if text == NOT_SCORED or not text or text.casefold() in MISSING else False


def _from_multi_hot(
    table: DataTable, name: str, cells: list[list[Any] | None], classes: Sequence[str], notices: list[str] | None
) -> tuple[list[list[str] | None], list[str]]:
    widths = Counter(len(cell) for cell in cells if cell is not None)
    width = len(classes) or widths.most_common(1)[0][0]
    names = list(classes) or [str(index) for index in range(width)]
    rows: list[list[str] | None] = []
    unscored = 0
    for number, cell in enumerate(cells, 1):
        if cell is not None and len(cell) != width:
            raise PoNetError(
                f"Row {number:,} of '{table.origin}' has {len(cell)} values in column '{name}', where there is 0 or 1 "
                f"for each of {width} classes."
            )
        hot = None if cell is None else [_hot(item) for item in cell]
        if hot is not None and None in hot:
            unscored, hot = unscored + 1, None
        rows.append(None if hot is None else [name for name, value in zip(names, hot, strict=True) if value])
    by_position = names == [str(index) for index in range(width)]
    _tell(
        notices,
        f"Lists of 0 and 1 in column '{name}' of '{table.origin}' are read as one of them for each of {width} classes"
        + (", named by position: class_names=[...] names them." if by_position else f": {', '.join(names[:12])}."),
    )
    if unscored:
        _tell(notices, f"{unscored:,} rows of '{table.origin}' have a class that isn't scored (-1) in column '{name}'.")
    return rows, names


def _marks(table: DataTable, name: str, missing: Sequence[str] | None, notices: list[str] | None) -> list[bool | None]:
    values = table.data.column(name).to_pylist()
    texts = [fold(label_text(value) or "").lower() for value in values]
    blank_is_no = any(not text for text in texts) and not any(TRUTH.get(text) is False for text in texts)
    marks: list[bool | None] = []
    unscored: Counter[str] = Counter()
    for row, text in enumerate(texts, 1):
        if text in TRUTH:
            marks.append(TRUTH[text])
        elif not text and blank_is_no:
            marks.append(False)
        elif text == NOT_SCORED or text in MISSING or (missing is not None and text in map(str.lower, missing)):
            unscored[text or "blank"] += 1
            marks.append(None)
        else:
            raise PoNetError(
                f"Row {row} of '{table.origin}' has '{values[row - 1]}' in column '{name}', where 0 or 1 is needed."
            )
    if blank_is_no:
        _tell(notices, f"Column '{name}' of '{table.origin}' has no 0: blanks are read as 0.")
    if unscored:
        _tell(notices, _said_missing(table, name, unscored))
    return marks


def _plain(table: DataTable, name: str) -> list[str | None]:
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


def _said_missing(table: DataTable, name: str, marks: Counter[str]) -> str:
    shown = ", ".join(f"'{mark}' in {count:,} rows" for mark, count in marks.most_common(4))
    return f"Read as no label in column '{name}' of '{table.origin}': {shown}."


def _tell(notices: list[str] | None, notice: str) -> None:
    if notices is not None and notice not in notices:
        notices.append(notice)


def _is_missing(value: Any, missing: Sequence[str] | None) -> bool:
    if isinstance(value, str):
        text = value.strip()
        return not text or (text in missing if missing is not None else text.casefold() in MISSING)
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: Any, decimal_comma: bool) -> float | None:
    """A number in any of the usual spellings; None where it is none."""
    if isinstance(value, str):
        text = value.strip()
        if decimal_comma and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
        elif not NUMBER.fullmatch(text) and text.lower().lstrip("+-") not in ("inf", "infinity"):
            return None
        return float(text)
    try:
        return float(value)
    except (TypeError, ValueError):  # dates and the like
        return None


def _distinct(items: Any) -> list[str]:
    return list(dict.fromkeys(item for item in items if item is not None))


def _named(item: Any, ids: dict[int, str]) -> str | None:
    return ids.get(item, label_text(item)) if isinstance(item, int) else label_text(item)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WRAPPED = re.compile(r"(?:array|set|frozenset|tuple|list)\((.*?)(?:, *dtype=\S+)?\)", re.DOTALL)
_ITEM = re.compile(
    r"""\s*(?:np\.\w+\()?(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<bare>[^\s,'"()\[\]{}]+))\)?\s*(?:,|(?=\s|$|['"]))""",
    re.DOTALL,
)


def read_list(cell: str) -> list[Any] | None:
    """The items of a list, tuple or array as JSON, Python or NumPy write it; None where a text is none of these."""
    text = cell.strip()
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped is not None:
        text = wrapped[1].strip()
    if text[:1] + text[-1:] not in ("[]", "()", "{}"):
        return None
    if text[0] == "[":
        try:
            value = json.loads(text)
            return value if isinstance(value, list) else None
        except (ValueError, RecursionError):
            pass
    inner = text[1:-1].strip()
    quoted = re.search(r"['\"(]", inner)
    if text[0] != "[" and inner and not quoted and (text[0] == "{" or "," not in inner):
        return None  # (a) is a name
    items: list[Any] = []
    at = 0
    if "," in inner and not quoted:  # [drama, science fiction]
        items = [_bare(part.strip()) for part in inner.split(",") if part.strip()]
        at = len(inner)
    while at < len(inner):
        item = _ITEM.match(inner, at)
        if item is None:
            return None
        items.append(_unquoted(item["quoted"]) if item["quoted"] else _bare(item["bare"]))
        at = item.end()
    return None if "..." in items else items  # NumPy leaves out what is long


def _bare(text: str) -> Any:
    if NUMBER.fullmatch(text):
        return float(text) if "." in text or "e" in text.lower() else int(text)
    return {"True": True, "False": False, "true": True, "false": False, "None": None, "nan": math.nan}.get(text, text)


def _unquoted(text: str) -> str:
    try:
        return str(ast.literal_eval(text.replace("\n", "\\n")))
    except (ValueError, SyntaxError):
        return text[1:-1]
