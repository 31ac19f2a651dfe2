"""Results as files: JSON lines, CSV, Parquet, or the array of the vectors."""

import base64
import csv
import datetime
import io
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from ponet.inference.documents import records
from ponet.utils.errors import PoNetError
from ponet.utils.files import to_json

Tables = Iterable[pa.Table]
Write = Callable[[BinaryIO, pa.Schema, Tables], None]

ROWS = 4096
"""Rows of a Parquet row group, about."""
VECTOR = "embedding"


def _write_lines(file: BinaryIO, schema: pa.Schema, tables: Tables) -> None:
    """One JSON object a line."""
    for table in tables:
        file.write(json_lines(table).encode())


def json_lines(table: pa.Table) -> str:
    """One JSON object a line, as text."""
    return "".join(to_json(json_value(record)) + "\n" for record in records(table))


def _write_csv(file: BinaryIO, schema: pa.Schema, tables: Tables) -> None:
    """A header and rows: numbers by name (`scores`) have a column each, lists are JSON."""
    inner = {field.name: [child.name for child in field.type] for field in schema if pa.types.is_struct(field.type)}
    names = [(name, child) for name in schema.names for child in inner.get(name, [None])]
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(name if child is None else f"{name}.{child}" for name, child in names)
    for table in tables:
        for record in records(table):
            writer.writerow([_cell(record.get(name), child) for name, child in names])
    text.flush()
    text.detach()


def _write_parquet(file: BinaryIO, schema: pa.Schema, tables: Tables) -> None:
    """The columns in their types, compressed by zstd."""
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(table)
            if sum(map(len, waiting)) >= ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))


def _write_array(file: BinaryIO, schema: pa.Schema, tables: Tables) -> None:
    """The vectors as a NumPy array `[n, d]` float32; how many there are is put into its header in the end."""
    width = schema.field(VECTOR).type.list_size
    rows = 0

    def header() -> None:
        file.seek(0)
        description = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, description)  # has room for any number

    header()
    for table in tables:
        flat = table.column(VECTOR).combine_chunks().flatten()
        file.write(flat.to_numpy(zero_copy_only=False).astype("<f4").tobytes())
        rows += len(table)
    header()


FORMATS: dict[str, Write] = {
    ".jsonl": _write_lines,
    ".ndjson": _write_lines,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".npy": _write_array,
}


def output_format(out: Path, vectors: bool, keeps: bool) -> Write:
    """How a file is written, by its suffix, where the results are `vectors` or columns of the input are carried along
    (`keeps`). Raises PoNetError: no such format, or one that can't hold these columns."""
    known = [suffix for suffix in FORMATS if suffix != ".npy" or vectors]
    suffix = out.suffix.lower()
    if suffix not in known:
        raise PoNetError(f"--out writes {', '.join(known)}, by its suffix; '{out.name}' has none of these.")
    if suffix == ".npy" and keeps:
        raise PoNetError("A .npy file holds vectors alone: leave --keep out, or write .parquet, .csv or .jsonl.")
    return FORMATS[suffix]


def json_value(value: Any) -> Any:
    """A value as JSON can hold it: no NaN, and dates, decimals and bytes as text."""
    if isinstance(value, dict):
        return {str(key): json_value(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _cell(value: Any, child: str | None) -> Any:
    value = json_value(value if child is None or value is None else value.get(child))
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
