"""What stands in the label columns, row by row, before anything is made of it."""

import ast
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
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
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WRAPPED = re.compile(r"(?:array|set|frozenset|tuple|list)\((.*?)(?:, *dtype=\S+)?\)", re.DOTALL)
_ITEM = re.compile(
    r"""\s*(?:np\.\w+\()?(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<bare>[^\s,'"()\[\]{}]+))\)?\s*(?:,|(?=\s|$|['"]))""",
    re.DOTALL,
)


@dataclass
class LabelCells:
    """The label columns of a table."""

    table: DataTable
    columns: Columns
    missing: Sequence[str] | None = None
    """What stands for no label; None: `MISSING`, where all other labels are numbers, and -1 in columns or lists of 0
    and 1."""
    classes: Sequence[str] = ()
    """Known classes, which are never missing; where rows are lists of 0 and 1, by position."""
    notices: list[str] = field(default_factory=list)
    """Gets what was taken for no label, left out or understood."""

    @property
    def name(self) -> str:
        """The label column, or the first of several."""
        return self.columns.label[0]

    @property
    def column(self) -> pa.ChunkedArray:
        """Its values."""
        return self.table.data.column(self.name)

    @property
    def place(self) -> str:
        """For messages."""
        return f"column '{self.name}' of '{self.table.origin}'"

    def kind(self, wanted: str) -> str:
        """single_label, multi_label or regression, as wanted or (auto) by what the label column holds. Raises
        PoNetError: the wanted kind doesn't go with the column."""
        several = len(self.columns.label) > 1
        is_list = any(_is_list(self.table.data.schema.field(name).type) for name in self.columns.label)
        if several and wanted in ("single_label", "regression"):
            raise PoNetError(f"kind={wanted} needs one label column; {len(self.columns.label)} are named.")
        if several and is_list:
            raise PoNetError("Several label columns must hold 0 or 1; a column of lists is named alone.")
        if is_list and wanted in ("single_label", "regression"):
            raise PoNetError(f"Column '{self.name}' holds lists: kind={wanted} needs one value a row.")
        if wanted != "auto":
            return wanted
        if several or is_list:
            return "multi_label"
        kind = self.column.type
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or is_text(kind):
            values = [value for value in self.column.to_pylist() if not self._is_missing(value)]
            if values and all(isinstance(value, str) and read_list(value) is not None for value in values):
                return "multi_label"
            found = [_number(value, self.table.decimal_comma) for value in values]
            if None not in found:
                numbers = np.array(found, dtype=np.float64)
                numbers = numbers[np.isfinite(numbers)]
                return "regression" if np.any(numbers != np.round(numbers)) else "single_label"
        return "single_label"

    def single_labels(self) -> list[list[str | None]]:
        """Each row's label in the ways it can be named, the most readable first, as it stands last; None for no label.
        Raises PoNetError: the column holds something that is no label."""
        plain = self._plain(self.name)
        marks = self._missing_marks(plain)
        if marks:
            self._tell_missing(self.name, Counter(value for value in plain if value in marks))
            plain = [None if value in marks else value for value in plain]
        elif self.missing is None:
            odd = sorted({value for value in plain if value is not None and value.casefold() in MISSING})
            if odd:
                advice = f"missing=[{odd[0]}] would leave its rows out"
                self._tell(f"'{odd[0]}' in {self.place} is read as a class: {advice}.")
        ways = [plain]
        names = self.table.class_names.get(self.name)
        if names:
            ids = {str(index): class_name for index, class_name in enumerate(names)}
            keys = [None if value is None else fold(value) for value in plain]
            if all(key is None or key in ids or key == NOT_SCORED for key in keys):
                keys = [None if key == NOT_SCORED else key for key in keys]  # the hub's mark for a hidden label
                ways = [[None if key is None else ids[key] for key in keys], keys]
        beside = self.columns.label_name
        if beside is not None and beside in self.table.columns:
            texts = self._plain(beside)
            if _one_to_one(plain, texts):
                ways.insert(0, [None if value is None else text for value, text in zip(plain, texts, strict=True)])
        return ways

    def multi_labels(self) -> tuple[list[list[str] | None], list[str] | None]:
        """Each row's labels (None where nothing is said, an empty list where none applies), and the classes where they
        don't follow from the rows: names of columns, or positions in lists of 0 and 1. Raises PoNetError: a cell that
        isn't a list of labels, or isn't 0 or 1 in one of several columns or in such lists."""
        names = list(self.columns.label)
        if len(names) > 1:
            marks = zip(*map(self._marks, names), strict=True)
            return [
                None if None in row else [name for name, mark in zip(names, row, strict=True) if mark] for row in marks
            ], names
        cells = self._cells()
        ids = dict(enumerate(self.table.class_names.get(self.name, ())))
        if self._is_multi_hot(cells, named=bool(ids)):
            return self._from_multi_hot(cells, self.classes or list(ids.values()))
        origin = self.table.origin
        for number, cell in enumerate(cells, 1):
            for item in cell or ():
                if isinstance(item, float) and not math.isnan(item) and not item.is_integer():
                    raise PoNetError(
                        f"Row {number:,} of '{origin}' has {item:g} in a list in column '{self.name}', where labels, "
                        "or 0 and 1 for each class, are needed."
                    )
                if isinstance(item, list | dict | tuple):
                    raise PoNetError(f"Row {number:,} of '{origin}' has a list within a list in column '{self.name}'.")

        def named(item: Any) -> str | None:
            return ids.get(item, label_text(item)) if isinstance(item, int) else label_text(item)

        return [
            None if cell is None else [label for label in dict.fromkeys(map(named, cell)) if label is not None]
            for cell in cells
        ], None

    def numbers(self) -> np.ndarray:
        """Each row's number `[n]` float64; NaN where there is none. Raises PoNetError: naming the first row that holds
        no number."""
        origin, column = self.table.origin, self.column
        values = np.full(len(column), math.nan)
        marks: Counter[str] = Counter()
        commas = 0
        for row, value in enumerate(column.to_pylist()):
            if self._is_missing(value):
                if isinstance(value, str) and value.strip():
                    marks[value.strip()] += 1
                continue
            number = _number(value, decimal_comma=True)
            comma = isinstance(value, str) and "," in value
            wrong = "" if number is not None else "where regression needs a number"
            if comma and not self.table.decimal_comma and _THOUSANDS.fullmatch(value.strip()):
                wrong = "which may be a thousand or a fraction: write it without a comma"
            if wrong:
                raise PoNetError(f"Row {row + 1} of '{origin}' has '{value}' in column '{self.name}', {wrong}.")
            commas += comma
            values[row] = number
        infinite = np.flatnonzero(np.isinf(values))
        if infinite.size:
            raise PoNetError(
                f"Row {infinite[0] + 1} of '{origin}' has an infinite label: remove the row or correct it."
            )
        self._tell_missing(self.name, marks)
        if commas:
            self._tell(f"The comma in {commas:,} numbers of {self.place} is a decimal comma.")
        return values

    def _plain(self, name: str) -> list[str | None]:
        column = self.table.data.column(name)
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            raise PoNetError(
                f"Column '{name}' of '{self.table.origin}' holds {column.type}, which is no label: name another one."
            )
        return [label_text(value) for value in column.to_pylist()]

    def _missing_marks(self, values: list[str | None]) -> set[str]:
        """Which of the labels stand for none."""
        found = {value for value in values if value is not None}
        if self.missing is not None:
            return found & set(self.missing)
        marks = {value for value in found if value.casefold() in MISSING} - set(self.classes)
        return marks if all(NUMBER.fullmatch(value) for value in found - marks) else set()

    def _is_missing(self, value: Any) -> bool:
        if isinstance(value, str):
            return _is_mark(value, self.missing)
        return value is None or (isinstance(value, float) and math.isnan(value))

    def _cells(self) -> list[list[Any] | None]:
        """Each row's labels as they stand, as a list."""
        if _is_list(self.column.type):
            return self.column.to_pylist()
        plain = [None if cell is None else str(cell).strip() for cell in self.column.to_pylist()]
        missing = self.missing
        if missing is None and not any(cell and read_list(cell) is not None for cell in plain):
            missing = ()  # among names, `none` may be one
        separator = next((mark for mark in SEPARATORS if any(cell and mark in cell for cell in plain)), "|")
        cells: list[list[Any] | None] = []
        for number, cell in enumerate(plain, 1):
            if cell is None or (cell and _is_mark(cell, missing)):
                cells.append(None)
                continue
            items = read_list(cell)
            if items is None and cell[:1] == "[" and cell[-1:] == "]":
                raise PoNetError(
                    f"Row {number:,} of '{self.table.origin}' has '{cell[:60]}' in column '{self.name}', which can't "
                    "be read as a list."
                )
            cells.append(cell.split(separator) if items is None else items)
        return cells

    def _is_multi_hot(self, cells: list[list[Any] | None], named: bool) -> bool:
        """Whether lists hold 0 or 1 for each class, and not the labels that apply."""
        full = [cell for cell in cells if cell is not None]
        some = [cell for cell in full if cell]
        if not some or any(_hot(item) is False for cell in some for item in cell):
            return False
        if any(isinstance(item, float) for cell in some for item in cell):
            return True
        if any(len(cell) > len({_hot(item) for item in cell}) for cell in some):
            return True  # the same label twice: these are no labels
        width = len(self.classes) if self.classes else len(some[0])
        return not named and width > 1 and len(some) == len(full) and all(len(cell) == width for cell in some)

    def _from_multi_hot(
        self, cells: list[list[Any] | None], classes: Sequence[str]
    ) -> tuple[list[list[str] | None], list[str]]:
        width = len(classes) or Counter(len(cell) for cell in cells if cell is not None).most_common(1)[0][0]
        positions = [str(index) for index in range(width)]
        names = list(classes) or positions
        rows: list[list[str] | None] = []
        unscored = 0
        for number, cell in enumerate(cells, 1):
            if cell is not None and len(cell) != width:
                raise PoNetError(
                    f"Row {number:,} of '{self.table.origin}' has {len(cell)} values in column '{self.name}', where "
                    f"there is 0 or 1 for each of {width} classes."
                )
            hot = None if cell is None else [_hot(item) for item in cell]
            if hot is not None and None in hot:
                unscored, hot = unscored + 1, None
            rows.append(None if hot is None else [name for name, value in zip(names, hot, strict=True) if value])
        by = (
            ", named by position: class_names=[...] names them."
            if names == positions
            else f": {', '.join(names[:12])}."
        )
        self._tell(f"Lists of 0 and 1 in {self.place} are read as one of them for each of {width} classes{by}")
        if unscored:
            rows_of = f"{unscored:,} rows of '{self.table.origin}'"
            self._tell(f"{rows_of} have a class that isn't scored (-1) in column '{self.name}'.")
        return rows, names

    def _marks(self, name: str) -> list[bool | None]:
        """Of one of several columns: whether its class applies to each row."""
        values = self.table.data.column(name).to_pylist()
        texts = [fold(label_text(value) or "").lower() for value in values]
        blank_is_no = not all(texts) and not any(TRUTH.get(text) is False for text in texts)
        unscored_texts = {NOT_SCORED, *MISSING, *map(str.lower, self.missing or ())}
        marks: list[bool | None] = []
        unscored: Counter[str] = Counter()
        for row, text in enumerate(texts, 1):
            if text in TRUTH:
                marks.append(TRUTH[text])
            elif not text and blank_is_no:
                marks.append(False)
            elif text in unscored_texts:
                unscored[text or "blank"] += 1
                marks.append(None)
            else:
                has = f"Row {row} of '{self.table.origin}' has '{values[row - 1]}' in column '{name}'"
                raise PoNetError(f"{has}, where 0 or 1 is needed.")
        if blank_is_no:
            self._tell(f"Column '{name}' of '{self.table.origin}' has no 0: blanks are read as 0.")
        self._tell_missing(name, unscored)
        return marks

    def _tell(self, notice: str) -> None:
        if notice not in self.notices:
            self.notices.append(notice)

    def _tell_missing(self, name: str, marks: Counter[str]) -> None:
        if marks:
            shown = ", ".join(f"'{mark}' in {count:,} rows" for mark, count in marks.most_common(4))
            self._tell(f"Read as no label in column '{name}' of '{self.table.origin}': {shown}.")


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


def _is_mark(text: str, missing: Sequence[str] | None) -> bool:
    text = text.strip()
    return not text or (text in missing if missing is not None else text.casefold() in MISSING)


def _hot(item: Any) -> Any:
    """1.0 or 0.0, None for what isn't scored, False for anything else."""
    text = fold(label_text(item) or "")
    if text in ("0", "1", "true", "false"):
        return 1.0 if TRUTH[text] else 0.0
    return None if text == NOT_SCORED or not text or text.casefold() in MISSING else False


def _one_to_one(values: list[str | None], names: list[str | None]) -> bool:
    pairs = {(value, name) for value, name in zip(values, names, strict=True) if value is not None}
    by_value, by_name = {value for value, _ in pairs}, {name for _, name in pairs}
    return len(pairs) == len(by_value) == len(by_name) and None not in by_name


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


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


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
