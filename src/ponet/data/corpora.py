"""Text out of files of any size and out of the hub, as often as asked for and in constant memory."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ponet.data.arrow import ArrowRows
from ponet.data.hub import load_data_set
from ponet.data.records import json_columns, json_lines
from ponet.data.sources import find, not_here
from ponet.data.split_files import ALIASES, saved_files, split_files
from ponet.data.streams import TABLES, TEXTS, ZIP, ByteStream, file_ends, split_name
from ponet.data.tables import open_csv, require_columns
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import data_folder

PIECE = 1 << 16
"""Characters handed over at once, at most."""
SUFFIXES = (*TEXTS, *(suffix for suffix in TABLES if suffix != ".json"))
"""What is taken from a folder, also compressed. A file named by itself is read as text if its name ends otherwise."""
DOCUMENT_CHARACTERS = 4_000_000
"""A longer text is cut at line ends into several documents: what is in memory stays bounded."""
_BATCH = 64
_END_BYTES = 1 << 20

Row = tuple[str, int]
"""A text (of a text file: a block of it) and the bytes of the file that have been read."""


class TextCorpus:
    """The texts of files and folders: text, CSV, TSV, JSON lines, JSON, Parquet, Arrow, compressed or not. Raises
    PoNetError: where a path is missing or a folder holds none of `SUFFIXES`.

    Folders are searched to the bottom, and read in the order of their names; `column` holds the text, in all but text
    files."""

    def __init__(self, paths: Sequence[str | Path], column: str = "text") -> None:
        self.files = _files([Path(path) for path in paths])
        self.column = column
        self.bytes = sum(file.stat().st_size for file in self.files)
        self.texts = 0
        """Text files, and rows of the others that hold text, read so far by the last call of `pieces`."""

    def pieces(self, advance: Callable[[int], None] = lambda count: None) -> Iterator[str]:
        """The texts in order, cut at space into pieces of at most `PIECE` characters; `advance` gets the bytes read.
        Raises PoNetError: for a file that is unreadable, binary, not UTF-8, cut off, or has no such column."""
        self.texts = 0
        for path in self.files:
            done = 0
            for text, position in self._rows(path):
                yield from pieces(text)
                advance(position - done)
                done = position
            advance(path.stat().st_size - done)

    def documents(self, path: Path, limit: int) -> Iterator[Row]:
        """The texts of one of `files` in order, whole: a row is one, and so is a text file.

        A text of more than `limit` characters is cut at line ends (else at space) into several, so that a text file
        larger than the memory can be read too. Raises PoNetError: as `pieces` does."""
        if limit < PIECE:
            raise ValueError(f"limit must be at least {PIECE}, not {limit}")
        with ByteStream(path) as stream:
            is_table = stream.kind in TABLES
        rest, position = "", 0
        for text, position in self._rows(path):  # the last one counts
            if is_table:
                yield from ((part, position) for part in _parts(text, limit))
                continue
            rest += text
            if len(rest) > limit:
                *whole, rest = _parts(rest, limit)
                yield from ((part, position) for part in whole)
        if rest:
            yield rest, position

    def _rows(self, path: Path) -> Iterator[Row]:
        with ByteStream(path) as stream:
            if stream.kind not in TABLES:
                self.texts += 1
                yield from _text(stream)
                return
            for text, position in self._table(stream):
                self.texts += bool(text.strip())
                yield text, position

    def _table(self, stream: ByteStream) -> Iterator[Row]:
        if stream.kind in (".csv", ".tsv"):
            with open_csv(stream.path) as rows:
                require_columns(stream.path, rows.columns, [self.column])
                column = rows.columns.index(self.column)
                for fields in rows:
                    yield fields[column], rows.stream.position
        elif stream.kind in (".parquet", ".arrow"):
            yield from self._arrow(ArrowRows(stream))
        elif stream.kind == ".json":
            columns = json_columns(stream)
            require_columns(stream.path, list(columns), [self.column])
            for number, text in enumerate(columns[self.column], 1):
                yield self._string(text, f"record {number:,}", stream), stream.position
        else:
            for number, record in json_lines(stream):
                require_columns(stream.path, list(record), [self.column])
                yield self._string(record[self.column], f"line {number:,}", stream), stream.position

    def _arrow(self, rows: ArrowRows) -> Iterator[Row]:
        require_columns(rows.stream.path, rows.columns, [self.column])
        if not rows.is_text(self.column):
            kind = rows.schema.field(self.column).type
            raise PoNetError(f"'{rows.stream.path}': the column '{self.column}' holds {kind}, not text.")
        done, size = 0, rows.stream.size
        for batch in rows.batches([self.column]):
            for text in batch.column(0):
                done += 1
                yield text.as_py() or "", min(size, size * done // max(rows.rows, 1)) if rows.rows else 0

    def _string(self, text: Any, where: str, stream: ByteStream) -> str:
        if text is not None and not isinstance(text, str):
            raise PoNetError(f"'{stream.path}', {where}: '{self.column}' holds {type(text).__name__}, not text.")
        return text or ""


class FileSource:
    """Files as `TextCorpus` reads them: `files`, in order."""

    def __init__(self, paths: Sequence[Path], column: str) -> None:
        self.corpus = TextCorpus(paths, column)
        self.files = self.corpus.files

    def size(self, index: int) -> int:
        """Bytes of `files[index]`."""
        return self.files[index].stat().st_size

    def identity(self, index: int) -> dict[str, Any]:
        """What identifies `files[index]`, without reading all of it and without a path of this machine."""
        path = self.files[index]
        ends = hashlib.sha256(b"".join(file_ends(path, _END_BYTES))).hexdigest()
        return {"name": path.name, "bytes": self.size(index), "sha256_of_ends": ends}

    def documents(self, index: int) -> Iterator[Row]:
        """The texts of `files[index]` in order, each with the bytes read so far."""
        for text, position in self.corpus.documents(self.files[index], DOCUMENT_CHARACTERS):
            yield _sound(text), position


class HubSource:
    """The training split of a data set of the Hugging Face hub, memory-mapped by the library from its cache; with the
    methods of `FileSource`. Its name is `owner/name` or `owner/name:configuration`. Raises PoNetError: no such data
    set, no connection and nothing in the cache, or no such column."""

    def __init__(self, name: str, column: str, split: str = "train") -> None:
        self.data = load_data_set(name, *not_here(name), split=split)
        if column not in self.data.column_names:
            raise PoNetError(f"'{name}' has no column '{column}'.{suggest(column, self.data.column_names)}")
        kind = getattr(self.data.features[column], "dtype", "no text")
        if kind not in ("string", "large_string"):
            raise PoNetError(f"'{name}': the column '{column}' holds {kind}, not text.")
        self.files = [name]
        self.column = column

    def size(self, index: int) -> int:
        return int(self.data.dataset_size or self.data.data.nbytes)

    def identity(self, index: int) -> dict[str, Any]:
        return {"name": self.files[index], "bytes": self.size(index), "rows": len(self.data)}

    def documents(self, index: int) -> Iterator[Row]:
        size, rows, done = self.size(index), max(len(self.data), 1), 0
        for batch in self.data.select_columns([self.column]).iter(_BATCH):
            for text in batch[self.column]:
                done += 1
                for part in _parts(_sound(text or ""), DOCUMENT_CHARACTERS):
                    yield part, size * done // rows


CorpusSource = FileSource | HubSource


def open_sources(names: Sequence[str], column: str = "text") -> list[CorpusSource]:
    """The sources that are named, in order.

    A name is a file, a folder, either of them in the data folder, `FOLDER/SPLIT` for one split of a folder that has
    `train*`, `validation*` or `test*` files (without a split its training files are meant, so that held-out text stays
    held out), or `owner/name` on the hub. Raises PoNetError: for a name under which nothing is found, or nothing that
    can be read."""
    found = [(name, _local(name)) for name in names]
    return [HubSource(name, column) if paths is None else FileSource(paths, column) for name, paths in found]


def _local(name: str) -> list[Path] | None:
    """The files or folders that are meant, or None where only the hub is left."""
    data = data_folder()
    places = [Path(name)]
    if data is not None and not Path(name).is_absolute() and ".." not in Path(name).parts:
        places.append(data / name)
    for place in places:
        if place.is_dir():
            return split_files(place, texts=True).get("train") or [place]
        if place.exists():
            return [place]
        if place.parent.is_dir():
            files = split_files(place.parent, texts=True).get(ALIASES.get(place.name.lower(), ""))
            if files:
                return files
    if re.fullmatch(r"[^/]*", name):  # the hub's have an owner
        missing, near = not_here(name)
        raise PoNetError(f"{missing}.{near or ' Check the path.'}")
    find(name, SUFFIXES)  # refuses what the hub can't have
    return None


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of at most `PIECE` characters, cut after space where there is any."""
    return filter(None, _parts(text, PIECE, at_lines=False))


def _parts(text: str, limit: int, at_lines: bool = True) -> Iterator[str]:
    """A text in parts of at most `limit` characters, cut after a line's end, else after space, else anywhere."""
    start = 0
    while len(text) - start > limit:
        end = text.rfind("\n", start, start + limit) + 1 if at_lines else 0
        if end <= start:
            end = _after_last_space(text, start, start + limit)
        yield text[start:end]
        start = end
    yield text[start:]


def _text(stream: ByteStream) -> Iterator[Row]:
    rest = ""
    for large in stream.blocks():
        for begin in range(0, len(large), PIECE):
            block = large[begin : begin + PIECE]
            if "\0" in block:
                raise PoNetError(f"'{stream.path}' is a binary file: give text or one of {', '.join(TABLES)}.")
            block = rest + block
            cut = _after_last_space(block, 0, len(block))
            yield block[:cut], stream.position
            rest = block[cut:]
    yield rest, stream.position


def _after_last_space(text: str, start: int, end: int) -> int:
    """Where to end a piece of `text[start:end]` so that it ends no word halfway; `end` where it is one long word."""
    space = max(text.rfind(" ", start, end), text.rfind("\n", start, end)) + 1
    return space if space > start else end


def _sound(text: str) -> str:
    """A text that can be encoded: half of a surrogate pair, which JSON may hold, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _files(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise PoNetError(f"There is no '{path}'. Check the path.")
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if _is_taken(file, path))
            if not inside:
                raise PoNetError(f"'{path}' holds no file whose name ends in {', '.join(SUFFIXES)}.")
            found += inside
        else:
            found.append(path)
    if not found:
        raise PoNetError("No corpus was given: name text files, tables or folders.")
    return found


def _is_taken(file: Path, folder: Path) -> bool:
    _, kind, compression = split_name(file)
    if kind not in SUFFIXES or compression == ZIP or not file.is_file():
        return False
    if any(part.startswith(".") for part in file.relative_to(folder).parts):
        return False
    saved = saved_files(file.parent) if kind == ".arrow" else []  # the library keeps other things there too
    return not saved or file in saved
