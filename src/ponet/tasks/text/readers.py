"""One file of rows -> one table. What is wrong with a file is said in one sentence that names the place."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ponet.errors import PoNetError
from ponet.files import explain
from ponet.tasks.text.records import read_json, read_json_lines
from ponet.tasks.text.separated import read_csv, read_tsv
from ponet.tasks.text.table import Table, brief

MEBIBYTE = 1 << 20


def suffixes() -> list[str]:
    """The file name endings that `read_table` knows."""
    return list(_READERS)


def read_table(path: Path) -> Table:
    """The rows of a CSV, TSV, JSON lines, JSON or Parquet file, told apart by the ending of its name.

    Raises:
        PoNetError: unknown ending, missing or unreadable file, not UTF-8, broken, without rows, a column named twice.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise PoNetError(
            f"'{path}' ends in '{path.suffix}', which can't be read as rows: save it as one of {', '.join(_READERS)}."
        )
    try:
        with path.open("rb") as stream:
            start = stream.read(1)
    except OSError as error:
        raise explain(error, path) from error
    if not start:
        raise PoNetError(f"'{path}' is empty: it needs a header or keys, and rows.")
    if reader is not _read_parquet:
        check_utf8(path)
    table = reader(path)
    twice = {name for name in table.columns if table.columns.count(name) > 1}
    if twice:
        raise PoNetError(f"'{path}' has more than one column '{min(twice)}': give each column a name of its own.")
    if not len(table):
        raise PoNetError(f"'{path}' has columns ({', '.join(table.columns) or 'none'}) but no rows.")
    return table


def check_utf8(path: Path) -> None:
    """Raises PoNetError where the file isn't UTF-8, with the place and a way to convert it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    try:
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(16 * MEBIBYTE), b""):
                if position == 0 and block[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                    raise PoNetError(f"'{path}' is UTF-16. Convert it: iconv -f utf-16 -t utf-8 FILE > NEW.")
                position -= len(decoder.getstate()[0])  # bytes of a character that the block's end had cut
                decoder.decode(block)
                position = stream.tell()
            position -= len(decoder.getstate()[0])
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise PoNetError(
            f"'{path}' isn't UTF-8 text (byte {position + error.start:,} is 0x{error.object[error.start]:02x}). "
            "Convert it, for example: iconv -f latin1 -t utf-8 FILE > NEW."
        ) from error
    except OSError as error:
        raise explain(error, path) from error


def read_text(path: Path) -> str:
    """A whole text file.

    Raises:
        PoNetError: missing, unreadable or not UTF-8.
    """
    check_utf8(path)
    return path.read_text(encoding="utf-8-sig")


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            data = file.read()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PoNetError(f"'{path}' isn't a whole Parquet file ({brief(error)}): copy or write it again.") from error
    except OSError as error:
        if error.errno is None:  # Arrow reports damage within the file as an OSError without a number
            raise PoNetError(
                f"'{path}' isn't a whole Parquet file ({brief(error)}): copy or write it again."
            ) from error
        raise explain(error, path) from error
    for index, column in enumerate(data.schema):
        if pa.types.is_dictionary(column.type):
            data = data.set_column(index, column.name, data.column(index).cast(column.type.value_type))
    return Table(data, str(path), class_names=_class_names(data.schema.metadata))


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of ClassLabel columns from what the `datasets` library writes into a Parquet file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return features_class_names(features)
    except (KeyError, ValueError, TypeError):
        return {}


def features_class_names(features: dict[str, Any]) -> dict[str, list[str]]:
    """`{column: names}` of the ClassLabel features (alone or in a list) in a `datasets` features dictionary."""
    names = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and inner.get("names"):
            names[column] = [str(name) for name in inner["names"]]
    return names


_READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".parquet": _read_parquet,
}
