"""JSON and JSON lines: records, or one record of columns."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from ponet.data.streams import ByteStream
from ponet.utils.errors import PoNetError, brief

Columns = dict[str, list[Any]]


def json_columns(stream: ByteStream) -> Columns:
    """A list of records, a record of columns (also under "data"), or JSON lines under this name. Raises PoNetError: not
    JSON, or no records."""
    text = "".join(stream.blocks())
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return from_records(_records(enumerate(text.split("\n"), 1), stream), stream, "line")
        raise PoNetError(f"'{stream.path}' isn't valid JSON (line {error.lineno}: {error.msg}).") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise PoNetError(f"'{stream.path}' can't be read as JSON: {brief(error)}.") from error
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        if len({len(column) for column in value.values()}) > 1:
            raise PoNetError(f"The columns of '{stream.path}' have different lengths.")
        return value
    return from_records(enumerate(value if isinstance(value, list) else [value], 1), stream, "record")


def json_lines(stream: ByteStream) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line and its record. Raises PoNetError: naming the line that isn't one."""
    for number, record in _records(enumerate(stream.lines(), 1), stream):
        yield number, _checked(record, number, stream, "line")


def from_records(records: Iterable[tuple[int, Any]], stream: ByteStream, unit: str) -> Columns:
    """Columns from records, None where a record lacks a key. Raises PoNetError: none, or one that is no record."""
    columns: Columns = {}
    count = 0
    for number, record in records:
        for name, value in _checked(record, number, stream, unit).items():
            column = columns.setdefault(name, [])
            column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    for column in columns.values():
        column.extend([None] * (count - len(column)))
    if not count:
        raise PoNetError(f"'{stream.path}' has no rows.")
    return columns


def array(values: list[Any]) -> Any:
    """An Arrow array; values of several types become text, each as JSON writes it."""
    try:
        # Arrow makes 1.0 of True beside 0.5
        if len({bool} & set(map(type, values))) and not set(map(type, values)) <= {bool, type(None)}:
            raise pa.ArrowTypeError("truth values among others")
        return pa.array(values)
    except UnicodeEncodeError:  # half a surrogate pair ("\ud83d"), which is no text
        return array([_whole_characters(value) for value in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # 1 and "1" in one column
        return array([as_text(value) for value in values])


def as_text(value: Any) -> str | None:
    """A value of a column of several types: text as it is, all else as JSON writes it."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _records(lines: Iterable[tuple[int, str]], stream: ByteStream) -> Iterator[tuple[int, Any]]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise PoNetError(
                f"Line {number:,} of '{stream.path}' isn't valid JSON ({error.msg}): "
                'each line should be one record such as {"text": ..., "label": ...}.'
            ) from error
        except (ValueError, RecursionError) as error:
            raise PoNetError(f"Line {number:,} of '{stream.path}' can't be read as JSON: {brief(error)}.") from error


def _checked(record: Any, number: int, stream: ByteStream, unit: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise PoNetError(
            f"{unit.capitalize()} {number:,} of '{stream.path}' isn't a record such as "
            '{"text": ..., "label": ...}.'
        )
    return record


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return value
