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
            return from_records((record for _, record in _parsed(text.split("\n"), stream)), stream)
        raise PoNetError(f"'{stream.path}' isn't valid JSON (line {error.lineno}: {error.msg}).") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise PoNetError(f"'{stream.path}' can't be read as JSON: {brief(error)}.") from error
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        if len({len(column) for column in value.values()}) > 1:
            raise PoNetError(f"The columns of '{stream.path}' have different lengths.")
        return value
    records = enumerate(value if isinstance(value, list) else [value], 1)
    return from_records((_checked(record, number, stream, "Record") for number, record in records), stream)


def json_lines(stream: ByteStream) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line and its record. Raises PoNetError: naming the line that isn't one."""
    return _parsed(stream.lines(), stream)


def from_records(records: Iterable[dict[str, Any]], stream: ByteStream) -> Columns:
    """Columns from records, None where a record lacks a key. Raises PoNetError: there are none."""
    columns: Columns = {}
    count = 0
    for count, record in enumerate(records, 1):
        for name, value in record.items():
            column = columns.setdefault(name, [])
            column.extend([None] * (count - 1 - len(column)))
            column.append(value)
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


def _parsed(lines: Iterable[str], stream: ByteStream) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise PoNetError(
                f"Line {number:,} of '{stream.path}' isn't valid JSON ({error.msg}): "
                'each line should be one record such as {"text": ..., "label": ...}.'
            ) from error
        except (ValueError, RecursionError) as error:
            raise PoNetError(f"Line {number:,} of '{stream.path}' can't be read as JSON: {brief(error)}.") from error
        yield number, _checked(value, number, stream, "Line")


def _checked(record: Any, number: int, stream: ByteStream, unit: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        like = 'a record such as {"text": ..., "label": ...}'
        raise PoNetError(f"{unit} {number:,} of '{stream.path}' isn't {like}.")
    return record


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return value
