"""The rows of tables of any size, a bounded number at a time. (JSON without lines is read whole, as it must be.)"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ponet.data.arrow import BATCH_ROWS, ArrowRows
from ponet.data.records import array, json_columns, json_lines
from ponet.data.streams import ByteStream
from ponet.data.tables import DataTable, check_kind, open_csv
from ponet.utils.errors import PoNetError, suggest

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_CHARACTERS = 1 << 24
"""Characters of texts in a batch, at most, unless one row has more."""

Item = TypeVar("Item")


class RowStream:
    """The rows of one table, or of several with the same columns, in order.

    Args:
        paths: CSV, TSV, JSON lines, JSON, Parquet or Arrow files, also compressed.

    Attributes:
        sample: the first rows, by which columns are chosen.
        types: the Arrow type of each column, where the first file has types.
        size: bytes of all files.
        position: bytes of them that have been read, about.
        notices: what is to be said once everything is read.

    Raises:
        PoNetError: as `ponet.data.tables.read_table`.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        import pyarrow as pa

        self.paths = list(paths)
        self.size = sum(path.stat().st_size for path in self.paths if path.exists())
        self.position = 0
        self.notices: list[str] = []
        first = self.paths[0]
        _, batch = next(self._file(first, None, 0), (0, None))
        if batch is None:
            raise PoNetError(f"'{first}' has columns but no rows.")
        twice = {name for name in batch.schema.names if batch.schema.names.count(name) > 1}
        if twice:
            raise PoNetError(f"'{first}' has more than one column '{min(twice)}': give each column a name of its own.")
        self.sample = DataTable(pa.Table.from_batches([batch]), str(first))
        with ByteStream(first) as stream:
            typed = stream.kind in (".parquet", ".arrow")
        self.types: dict[str, pa.DataType] = {field.name: field.type for field in batch.schema} if typed else {}

    def batches(self, columns: Sequence[str] | None, skip: int = 0) -> "Iterator[pa.RecordBatch]":
        """Some columns of all rows after the first `skip`; None: all columns, of which JSON lines may have more later.

        Raises:
            PoNetError: a file that is damaged or lacks a column, naming the place.
        """
        self.notices.clear()
        rows = read = 0  # of the files before
        for path in self.paths:
            end = 0
            for start, batch in self._file(path, columns, skip - rows):
                end = start + len(batch)
                passed = max(0, skip - rows - start)
                self.position += read
                if passed < len(batch):
                    yield batch.slice(passed)
            rows += end
            read += path.stat().st_size
            self.position = read

    def _file(self, path: Path, columns: Sequence[str] | None, skip: int) -> "Iterator[tuple[int, pa.RecordBatch]]":
        """Batches of one file and the row at which each begins; some of the first `skip` rows may be left out. Sets
        `position` to that within the file."""
        check_kind(path)
        with ByteStream(path) as stream:
            if stream.size == 0:
                raise PoNetError(f"'{path}' is empty: it needs a header or keys, and rows.")
            if stream.kind in (".parquet", ".arrow"):
                yield from self._arrow(ArrowRows(stream), columns, skip)
                return
            readers = {".csv": self._csv, ".tsv": self._csv, ".json": self._json}
            row = 0
            for batch in readers.get(stream.kind, self._json_lines)(stream, columns):
                yield row, batch
                row += len(batch)

    def _arrow(
        self, rows: ArrowRows, columns: Sequence[str] | None, skip: int
    ) -> "Iterator[tuple[int, pa.RecordBatch]]":
        _require(rows.stream.path, rows.columns, columns)
        group, row = rows.group_of(skip)
        for batch in rows.batches(columns, group):
            start, row = row, row + len(batch)
            self.position = rows.stream.size * row // rows.rows if rows.rows else 0
            yield start, batch

    def _csv(self, stream: ByteStream, columns: Sequence[str] | None) -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        with open_csv(stream.path) as rows:
            _require(stream.path, rows.columns, columns)
            names = list(rows.columns if columns is None else columns)
            places = [rows.columns.index(name) for name in names]
            for chunk in _chunks(rows, lambda fields: sum(map(len, fields))):
                self.position = rows.stream.position
                values = [pa.array([fields[place] for fields in chunk], pa.string()) for place in places]
                yield pa.RecordBatch.from_arrays(values, names)
            self.notices += rows.notices()

    def _json(self, stream: ByteStream, columns: Sequence[str] | None) -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        found = json_columns(stream)
        _require(stream.path, list(found), columns)
        self.position = stream.position
        table = pa.table({name: array(found[name]) for name in (found if columns is None else columns)})
        yield from table.to_batches(BATCH_ROWS)

    def _json_lines(self, stream: ByteStream, columns: Sequence[str] | None) -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        records = (record for _, record in json_lines(stream))
        for chunk in _chunks(records, _characters):
            self.position = stream.position
            names = list(columns or dict.fromkeys(name for record in chunk for name in record))
            yield pa.RecordBatch.from_arrays([array([record.get(name) for record in chunk]) for name in names], names)


def _require(path: Path, there: Sequence[str], wanted: Sequence[str] | None) -> None:
    for name in wanted or ():
        if name not in there:
            raise PoNetError(f"'{path}' has no column '{name}'.{suggest(name, there)}")


def _characters(record: dict[str, Any]) -> int:
    return sum(len(value) for value in record.values() if isinstance(value, str))


def _chunks(items: Iterable[Item], size: Callable[[Item], int]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    total = 0
    for item in items:
        chunk.append(item)
        total += size(item)
        if len(chunk) == BATCH_ROWS or total > BATCH_CHARACTERS:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk
