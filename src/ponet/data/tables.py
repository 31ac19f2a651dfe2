"""One file -> one table of rows. What is wrong with a file is said in one sentence that names the place."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ponet.data.arrow import ArrowRows
from ponet.data.csv import CsvRows, LooksLikeRowsError
from ponet.data.records import Columns, array, from_records, json_columns, json_lines
from ponet.data.streams import COMPRESSIONS, TABLES, ZIP, ByteStream, split_name
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_CHARACTERS = 1 << 24
"""Characters of a CSV that wait as Python objects at most."""
MEMORY_SHARE = 0.8
"""Of the memory that is free: what a table may take."""


@dataclass
class DataTable:
    """Rows as read, nothing chosen or converted yet."""

    data: "pa.Table"
    origin: str
    """The file (or files) it came from, for messages."""
    class_names: dict[str, list[str]] = field(default_factory=dict)
    """Names behind an integer label column, where the file carries them (a `datasets` ClassLabel)."""
    notices: list[str] = field(default_factory=list)
    decimal_comma: bool = False
    """Whether `0,5` may be a number: the file's separator isn't a comma."""

    @property
    def columns(self) -> list[str]:
        return list(self.data.column_names)

    def __len__(self) -> int:
        return int(self.data.num_rows)


def read_table(path: Path) -> DataTable:
    """The rows of a CSV, TSV, JSON lines, JSON, Parquet or Arrow file, also compressed, recognised by its name.

    Raises:
        PoNetError: unknown ending, missing or unreadable file, not UTF-8, broken, without rows, a column named twice,
            more than there is memory for.
    """
    check_kind(path)
    with ByteStream(path) as stream:
        if stream.size == 0:
            raise PoNetError(f"'{path}' is empty: it needs a header or keys, and rows.")
        kind = stream.kind
        if kind in (".parquet", ".arrow"):
            table = _from_arrow(ArrowRows(stream), path)
        elif kind in (".csv", ".tsv"):
            table = _from_csv(path)
        elif kind == ".json":
            table = _from_columns(json_columns(stream), path)
        else:
            table = _from_columns(from_records(json_lines(stream), stream, "line"), path)
    twice = {name for name in table.columns if table.columns.count(name) > 1}
    if twice:
        raise PoNetError(f"'{path}' has more than one column '{min(twice)}': give each column a name of its own.")
    if not len(table):
        raise PoNetError(f"'{path}' has columns ({', '.join(table.columns) or 'none'}) but no rows.")
    return table


def check_kind(path: Path) -> None:
    """Raises PoNetError where the name isn't that of a table."""
    _, kind, compression = split_name(path)
    if kind not in TABLES and (kind or compression != ZIP):
        raise PoNetError(
            f"'{path}' ends in '{path.suffix}', which can't be read as rows: save it as one of {', '.join(TABLES)} "
            f"(also {', '.join((*COMPRESSIONS, ZIP))})."
        )


@contextmanager
def open_csv(path: Path) -> Iterator[CsvRows]:
    """The rows of a CSV or TSV file.

    Many TSV files (GLUE's own) don't quote: where a mark opens a field and doesn't close it, none of the file quotes.

    Raises:
        PoNetError: as `CsvRows`.
    """
    quotes = True
    with ByteStream(path) as stream:
        if stream.kind == ".tsv":
            first = CsvRows(stream, ("\t",))
            try:
                quotes = not any(first.strays for _ in first)
            except LooksLikeRowsError:
                quotes = False
    with ByteStream(path) as stream:
        yield CsvRows(stream, ("\t",), quotes) if stream.kind == ".tsv" else CsvRows(stream)


def _from_csv(path: Path) -> DataTable:
    import pyarrow as pa

    memory = MemoryLimit(path)
    with open_csv(path) as rows:
        # Everything as text: whether '01' is a number is for the label's rules to say, not for the file reader.
        schema = pa.schema([(name, pa.string()) for name in rows.columns])
        batches: list[pa.RecordBatch] = []
        pending: list[list[str]] = []
        size = 0

        def keep() -> None:
            columns = list(zip(*pending, strict=True)) or [() for _ in rows.columns]
            batches.append(pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=schema))
            memory.take(batches[-1].nbytes)

        for fields in rows:
            pending.append(fields)
            size += sum(map(len, fields)) + 1
            if size > CHUNK_CHARACTERS:
                keep()
                pending, size = [], 0
        keep()
        data = pa.Table.from_batches(batches, schema)
        return DataTable(data, str(path), notices=rows.notices(), decimal_comma=rows.separator != ",")


def _from_arrow(rows: ArrowRows, path: Path) -> DataTable:
    import pyarrow as pa

    memory, batches = MemoryLimit(path), []
    for batch in rows.batches():
        memory.take(batch.nbytes)
        batches.append(batch)
    if not batches:
        return DataTable(rows.schema.empty_table(), str(path))
    return DataTable(pa.Table.from_batches(batches), str(path), class_names=rows.class_names)


def _from_columns(columns: Columns, path: Path) -> DataTable:
    import pyarrow as pa

    return DataTable(pa.table({name: array(values) for name, values in columns.items()}), str(path))


class MemoryLimit:
    """How much of what is free a table has taken."""

    def __init__(self, path: Path) -> None:
        import psutil

        self.path, self.left = path, int(MEMORY_SHARE * psutil.virtual_memory().available)

    def take(self, size: int) -> None:
        """Raises PoNetError where `size` more bytes don't fit in memory."""
        self.left -= size
        if self.left < 0:
            raise PoNetError(f"'{self.path}' doesn't fit into the memory that is free: split it into smaller files.")
