"""JSON and JSON lines: records, or one record of columns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ponet.errors import PoNetError
from ponet.tasks.text.table import Table, brief


def read_json(path: Path) -> Table:
    """A list of records, a record of columns (also under "data"), or JSON lines under this name."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return read_json_lines(path)
        raise PoNetError(f"'{path}' isn't valid JSON (line {error.lineno}: {error.msg}).") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise PoNetError(f"'{path}' can't be read as JSON: {brief(error)}.") from error
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        if len({len(column) for column in value.values()}) > 1:
            raise PoNetError(f"The columns of '{path}' have different lengths.")
        return _from_columns(value, path)
    records = value if isinstance(value, list) else [value]
    return _from_records(enumerate(records, 1), path, "record")


def read_json_lines(path: Path) -> Table:
    """One record a line."""

    def records() -> Iterator[tuple[int, Any]]:
        with path.open(encoding="utf-8-sig", newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except json.JSONDecodeError as error:
                        raise PoNetError(
                            f"Line {number} of '{path}' isn't valid JSON ({error.msg}): "
                            'each line should be one record such as {"text": ..., "label": ...}.'
                        ) from error
                    except (ValueError, RecursionError) as error:
                        raise PoNetError(f"Line {number} of '{path}' can't be read as JSON: {brief(error)}.") from error

    return _from_records(records(), path, "line")


def _from_records(records: Any, path: Path, unit: str) -> Table:
    columns: dict[str, list[Any]] = {}
    count = 0
    for number, record in records:
        if not isinstance(record, dict):
            raise PoNetError(
                f'{unit.capitalize()} {number} of \'{path}\' isn\'t a record such as {{"text": ..., "label": ...}}.'
            )
        for name, value in record.items():
            column = columns.setdefault(name, [])
            column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    for column in columns.values():
        column.extend([None] * (count - len(column)))
    if not count:
        raise PoNetError(f"'{path}' has no rows.")
    return _from_columns(columns, path)


def _from_columns(columns: dict[str, list[Any]], path: Path) -> Table:
    import pyarrow as pa

    return Table(pa.table({name: _array(values) for name, values in columns.items()}), str(path))


def _array(values: list[Any]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values)
    except UnicodeEncodeError:  # half a surrogate pair ("\ud83d"), which is no text
        return _array([_whole_characters(value) for value in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # 1 and "1" in one column
        return _array([v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values])


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return value
