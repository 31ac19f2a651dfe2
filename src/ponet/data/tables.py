"""Tables: whole, or of any size a bounded number of rows at a time. (JSON without lines is read whole, as it must be.)

What is wrong with a file is said in one sentence that names the place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from ponet.data.arrow import BATCH_ROWS, ArrowRows
from ponet.data.csv import CsvRows, LooksLikeRowsError
from ponet.data.records import array, from_records, json_columns, json_lines
from ponet.data.streams import COMPRESSIONS, TABLES, ZIP, ByteStream, split_name
from ponet.utils.batching import bounded
from ponet.utils.errors import PoNetError, suggest

BATCH_CHARACTERS = 1 << 24
"""Characters of texts in a batch, at most, unless one row has more."""
MEMORY_SHARE = 0.8
"""Of the memory that is free: what a table may take."""
_BINARY = (".parquet", ".arrow")


@dataclass
class DataTable:
    """Rows as read, nothing chosen or converted yet."""

    data: pa.Table
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
    """The rows of a CSV, TSV, JSON lines, JSON, Parquet or Arrow file, also compressed, recognised by its name. Raises
    PoNetError: unknown ending, missing or unreadable file, not UTF-8, broken, without rows, a column named twice, more
    than there is memory for."""
    with _opened(path) as stream:
        if stream.kind in _BINARY:
            rows = ArrowRows(stream)
            batches = list(_fitting(path, rows.batches()))
            data = pa.Table.from_batches(batches) if batches else rows.schema.empty_table()
            table = DataTable(data, str(path), rows.class_names)
        elif stream.kind in (".csv", ".tsv"):
            with open_csv(path) as lines:
                # Everything as text: whether '01' is a number is for the label's rules to say, not for the file reader.
                schema = pa.schema([(name, pa.string()) for name in lines.columns])
                data = pa.Table.from_batches(_fitting(path, _csv_batches(lines, lines.columns)), schema)
                table = DataTable(data, str(path), {}, lines.notices(), lines.separator != ",")
        else:
            records = (record for _, record in json_lines(stream))
            columns = json_columns(stream) if stream.kind == ".json" else from_records(records, stream)
            table = DataTable(pa.table({name: array(values) for name, values in columns.items()}), str(path))
    _check_names(path, table.columns)
    if not len(table):
        raise PoNetError(f"'{path}' has columns ({', '.join(table.columns) or 'none'}) but no rows.")
    return table


class RowStream:
    """The rows of one table, or of several with the same columns, in order. Raises PoNetError: as `read_table`.

    Args:
        paths: CSV, TSV, JSON lines, JSON, Parquet or Arrow files, also compressed.

    Attributes:
        sample: the first rows, by which columns are chosen.
        types: the Arrow type of each column, where the first file has types.
        size: bytes of all files.
        position: bytes of them that have been read, about.
        notices: what is to be said once everything is read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.size = sum(path.stat().st_size for path in self.paths if path.exists())
        self.position = 0
        self.notices: list[str] = []
        first = self.paths[0]
        with _opened(first) as stream:
            batch = next((batch for _, batch in self._batches(stream, None, 0)), None)
        if batch is None:
            raise PoNetError(f"'{first}' has columns but no rows.")
        _check_names(first, batch.schema.names)
        self.sample = DataTable(pa.Table.from_batches([batch]), str(first))
        self.types: dict[str, pa.DataType] = {}
        if stream.kind in _BINARY:
            self.types = {column.name: column.type for column in batch.schema}

    def batches(self, columns: Sequence[str] | None, skip: int = 0) -> Iterator[pa.RecordBatch]:
        """Some columns of all rows after the first `skip`; None: all columns, of which JSON lines may have more later.
        Raises PoNetError: a file that is damaged or lacks a column, naming the place."""
        self.notices.clear()
        rows = read = 0  # of the files before
        for path in self.paths:
            end = 0
            with _opened(path) as stream:
                for start, batch in self._batches(stream, columns, skip - rows):
                    end = start + len(batch)
                    passed = max(0, skip - rows - start)
                    self.position += read
                    if passed < len(batch):
                        yield batch.slice(passed)
            rows += end
            read += path.stat().st_size
            self.position = read

    def _batches(
        self, stream: ByteStream, columns: Sequence[str] | None, skip: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of one file and the row at which each begins; some of the first `skip` rows may be left out. Sets
        `position` to that within the file."""
        if stream.kind in _BINARY:
            rows = ArrowRows(stream)
            require_columns(stream.path, rows.columns, columns)
            group, row = rows.group_of(skip)
            for batch in rows.batches(columns, group):
                start, row = row, row + len(batch)
                self.position = stream.size * row // rows.rows if rows.rows else 0
                yield start, batch
            return
        reader = {".csv": self._csv, ".tsv": self._csv, ".json": self._json}.get(stream.kind, self._json_lines)
        row = 0
        for batch in reader(stream, columns):
            yield row, batch
            row += len(batch)

    def _csv(self, stream: ByteStream, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        with open_csv(stream.path) as rows:
            require_columns(stream.path, rows.columns, columns)
            for batch in _csv_batches(rows, rows.columns if columns is None else columns):
                self.position = rows.stream.position
                yield batch
            self.notices += rows.notices()

    def _json(self, stream: ByteStream, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        found = json_columns(stream)
        require_columns(stream.path, list(found), columns)
        self.position = stream.position
        table = pa.table({name: array(found[name]) for name in (found if columns is None else columns)})
        yield from table.to_batches(BATCH_ROWS)

    def _json_lines(self, stream: ByteStream, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        records = (record for _, record in json_lines(stream))
        for chunk in bounded(records, _characters, BATCH_ROWS, BATCH_CHARACTERS):
            self.position = stream.position
            names = list(columns or dict.fromkeys(name for record in chunk for name in record))
            yield pa.RecordBatch.from_arrays([array([record.get(name) for record in chunk]) for name in names], names)


@contextmanager
def open_csv(path: Path) -> Iterator[CsvRows]:
    """The rows of a CSV or TSV file.

    Many TSV files (GLUE's own) don't quote: where a mark opens a field and doesn't close it, none of the file quotes.
    Raises PoNetError: as `CsvRows`."""
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


def _csv_batches(rows: CsvRows, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    places = [rows.columns.index(name) for name in columns]
    for chunk in bounded(rows, lambda fields: sum(map(len, fields)), BATCH_ROWS, BATCH_CHARACTERS):
        values = [pa.array([fields[place] for fields in chunk], pa.string()) for place in places]
        yield pa.RecordBatch.from_arrays(values, list(columns))


@contextmanager
def _opened(path: Path) -> Iterator[ByteStream]:
    """A table's bytes; refuses what has another ending, and an empty file."""
    _, kind, compression = split_name(path)
    if kind not in TABLES and (kind or compression != ZIP):
        raise PoNetError(
            f"'{path}' ends in '{path.suffix}', which can't be read as rows: save it as one of {', '.join(TABLES)} "
            f"(also {', '.join((*COMPRESSIONS, ZIP))})."
        )
    with ByteStream(path) as stream:
        if stream.size == 0:
            raise PoNetError(f"'{path}' is empty: it needs a header or keys, and rows.")
        yield stream


def _check_names(path: Path, names: list[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise PoNetError(f"'{path}' has more than one column '{min(twice)}': give each column a name of its own.")


def require_columns(path: Path, there: Sequence[str], wanted: Sequence[str] | None) -> None:
    """Raises PoNetError where a file lacks one of the columns."""
    for name in wanted or ():
        if name not in there:
            raise PoNetError(f"'{path}' has no column '{name}'.{suggest(name, there)}")


def _fitting(path: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, as long as they fit into the memory that is free now."""
    left = int(MEMORY_SHARE * psutil.virtual_memory().available)
    for batch in batches:
        left -= batch.nbytes
        if left < 0:
            raise PoNetError(f"'{path}' doesn't fit into the memory that is free: split it into smaller files.")
        yield batch


def _characters(record: dict[str, Any]) -> int:
    return sum(len(value) for value in record.values() if isinstance(value, str))
