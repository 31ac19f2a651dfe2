"""Text out of files of any size, as often as asked for and in constant memory."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ponet.errors import PoNetError, suggest
from ponet.files import explain

PIECE = 1 << 16
"""Characters handed over at once, at most."""
SUFFIXES = (".txt", ".text", ".md", ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""What is taken from a folder. A file named by itself is read as text if its name ends in none of these."""

Row = tuple[str, int]
"""A text (of a text file: a block of it) and the bytes of the file that have been read."""


class Corpus:
    """The texts of files and folders: text, CSV, TSV, JSON lines, Parquet.

    Args:
        paths: files, or folders that are searched to the bottom; read in the order of their names.
        column: the column or field that holds the text, in all but text files.

    Raises:
        PoNetError: where a path is missing or a folder holds none of `SUFFIXES`.
    """

    def __init__(self, paths: Sequence[str | Path], column: str = "text") -> None:
        self.files = _files([Path(path) for path in paths])
        self.column = column
        self.bytes = sum(file.stat().st_size for file in self.files)
        self.texts = 0
        """Text files, and rows of the others that hold text, read so far by the last call of `pieces`."""

    def pieces(self, advance: Callable[[int], None] = lambda count: None) -> Iterator[str]:
        """The texts in order, cut at space into pieces of at most `PIECE` characters; `advance` is told bytes as read.

        Raises:
            PoNetError: for a file that is unreadable, binary, not UTF-8, cut off, or has no such column.
        """
        self.texts = 0
        for path in self.files:
            with _explained(path), open(path, "rb") as file:
                done = 0
                for text, position in self._rows(path, file):
                    yield from pieces(text)
                    advance(position - done)
                    done = position

    def documents(self, path: Path, limit: int) -> Iterator[Row]:
        """The texts of one of `files` in order, whole: a row is one, and so is a text file.

        A text of more than `limit` characters is cut at line ends (else at space) into several, so that a text file
        larger than the memory can be read too.

        Raises:
            PoNetError: as `pieces` does.
        """
        if limit < PIECE:
            raise ValueError(f"limit must be at least {PIECE}, not {limit}")
        with _explained(path), open(path, "rb") as file:
            rows = self._rows(path, file)
            if path.suffix.lower() in SUFFIXES[3:]:
                for text, position in rows:
                    yield from ((part, position) for part in _parts(text, limit))
                return
            rest, position = "", 0
            for block, position in rows:  # the last one counts
                rest += block
                if len(rest) > limit:
                    *whole, rest = _parts(rest, limit)
                    yield from ((part, position) for part in whole)
            if rest:
                yield rest, position

    def _rows(self, path: Path, file: BinaryIO) -> Iterator[Row]:
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES[3:]:
            self.texts += 1
            yield from _text(path, file)
            return
        if suffix == ".parquet":
            rows = self._parquet(path, file)
        elif suffix in (".jsonl", ".ndjson"):
            rows = self._json_lines(path, file)
        else:
            rows = self._table(path, file, "\t" if suffix == ".tsv" else ",")
        for text, position in rows:
            self.texts += not text.isspace() and text != ""
            yield text, position

    def _table(self, path: Path, file: BinaryIO, delimiter: str) -> Iterator[Row]:
        csv.field_size_limit(2**31 - 1)  # the default refuses a document of more than 128 KiB
        rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), delimiter=delimiter)
        header = next(rows, [])
        self._require(path, header)
        column = header.index(self.column)
        for row in rows:
            if len(row) > column:
                yield row[column], file.tell()

    def _json_lines(self, path: Path, file: BinaryIO) -> Iterator[Row]:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig"))
            except json.JSONDecodeError as error:
                raise PoNetError(f"'{path}', line {number}, is not JSON: {error.msg}.") from error
            if not isinstance(record, dict):
                raise PoNetError(f"'{path}', line {number}, is not a JSON object with a field '{self.column}'.")
            self._require(path, list(record))
            text = record[self.column]
            if text is not None and not isinstance(text, str):
                raise PoNetError(f"'{path}', line {number}: '{self.column}' holds {type(text).__name__}, not text.")
            yield text or "", file.tell()

    def _parquet(self, path: Path, file: BinaryIO) -> Iterator[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(file)
            schema, count = table.schema_arrow, max(table.metadata.num_rows, 1)
            self._require(path, schema.names)
            kind = schema.field(self.column).type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise PoNetError(f"'{path}': the column '{self.column}' holds {kind}, not text.")
            done, size = 0, path.stat().st_size
            for batch in table.iter_batches(batch_size=64, columns=[self.column]):
                for text in batch.column(0).to_pylist():
                    done += 1
                    yield text or "", size * done // count
        except pa.ArrowException as error:
            raise PoNetError(f"'{path}' is not a whole Parquet file: write or fetch it again.") from error

    def _require(self, path: Path, columns: list[str]) -> None:
        if self.column not in columns:
            raise PoNetError(f"'{path}' has no column '{self.column}'.{suggest(self.column, columns)}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What is wrong with a file, in one sentence that names it."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise PoNetError(f"'{path}' is not UTF-8 text: convert it first, for example with iconv.") from error
    except csv.Error as error:
        raise PoNetError(f"'{path}' can't be read as a table: {error}.") from error
    except OSError as error:
        raise explain(error, path) from error


def _parts(text: str, limit: int) -> Iterator[str]:
    """A text in parts of at most `limit` characters, cut after a line's end, else after space, else anywhere."""
    start = 0
    while len(text) - start > limit:
        line = text.rfind("\n", start, start + limit) + 1
        end = line if line > start else _after_last_space(text, start, start + limit)
        yield text[start:end]
        start = end
    yield text[start:]


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of at most `PIECE` characters, cut after space where there is any."""
    start = 0
    while len(text) - start > PIECE:
        end = _after_last_space(text, start, start + PIECE)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _text(path: Path, file: BinaryIO) -> Iterator[Row]:
    rest = ""
    decoded = io.TextIOWrapper(file, encoding="utf-8-sig")
    while block := decoded.read(PIECE):
        if "\0" in block:
            raise PoNetError(f"'{path}' is a binary file: give text, {', '.join(SUFFIXES[3:-1])} or {SUFFIXES[-1]}.")
        block = rest + block
        cut = _after_last_space(block, 0, len(block))
        yield block[:cut], file.tell()
        rest = block[cut:]
    yield rest, file.tell()


def _after_last_space(text: str, start: int, end: int) -> int:
    """Where to end a piece of `text[start:end]` so that it ends no word halfway; `end` where it is one long word."""
    space = max(text.rfind(" ", start, end), text.rfind("\n", start, end)) + 1
    return space if space > start else end


def _files(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise PoNetError(f"There is no '{path}'. Check the path.")
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            inside = [p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)]
            if not inside:
                raise PoNetError(f"'{path}' holds no file whose name ends in {', '.join(SUFFIXES)}.")
            found += inside
        elif path.suffix.lower() == ".json":
            raise PoNetError(f"'{path}' is JSON: give JSON lines, an object with a field for the text on each line.")
        else:
            found.append(path)
    if not found:
        raise PoNetError("No corpus was given: name text files, tables or folders.")
    return found
