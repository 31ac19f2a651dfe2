"""Documents to label or embed: tables, lines, a folder of files or standard input, in order, as they come."""

import codecs
import hashlib
import os
import select
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ponet.data.columns import choose_columns, text_column
from ponet.data.rows import RowStream
from ponet.data.sources import open_source, read_text
from ponet.data.split_files import saved_files, split_files
from ponet.data.streams import BLOCK, ByteStream, is_table, is_text
from ponet.data.tables import DataTable
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import explain

if TYPE_CHECKING:
    import pyarrow as pa

STANDARD_INPUT = "-"
BATCH = 1024
"""Rows at a time of what is in memory."""
_END = 1 << 20
"""Bytes at either end of a file that identify it, with its size and the time of its last change."""


class Input(NamedTuple):
    """One document, or a pair of texts."""

    text: str
    pair: str | None = None
    name: str | None = None
    """The file it is from, where each document has its own."""
    row: dict[str, Any] | None = None
    """The columns that are carried along."""


@dataclass(frozen=True)
class Source:
    """Where documents are, and which columns matter."""

    name: str
    """A table (CSV, TSV, JSON lines, JSON, Parquet, Arrow, also compressed) or a folder of tables with the same
    columns; a .txt file with one document a line; a folder of .txt files, one document each; or `-`, standard input
    with one document a line."""
    text: str | None = None
    """The column of the text. Without it, `trained` is taken where there is such a column, or else one is found."""
    pair: str | None = None
    """The column of a second text."""
    whole: bool = False
    """Whether a .txt file (or standard input) is one document."""
    trained: str | None = None
    keep: tuple[str, ...] | None = ()
    """Columns to carry along; None: all."""

    @property
    def live(self) -> bool:
        """Whether it can be read but once, and a document may be waited for."""
        return self.name == STANDARD_INPUT

    @property
    def _is_table(self) -> bool:
        return not (self.live or is_text(Path(self.name)) or self._is_folder)

    @property
    def _is_folder(self) -> bool:
        place = Path(self.name)
        return place.is_dir() and any(place.glob("*.txt"))

    def open(self, skip: int = 0) -> "Inputs":
        """The documents after the first `skip`.

        Raises:
            PoNetError: an unreadable source, no such column, or columns asked of what isn't a table.
        """
        if self._is_table:
            return _Table(self, skip)
        if self.pair is not None:
            raise PoNetError(f"This model reads pairs of texts: '{self.name}' must be a table with two columns.")
        if self.keep:
            raise PoNetError(f"'{self.name}' is no table and has no column '{self.keep[0]}' to keep: leave --keep out.")
        if self.live:
            return _StandardInput(self.whole)
        return _Files(self.files(), skip) if self._is_folder else _Lines(Path(self.name), skip, self.whole)

    def files(self) -> list[Path]:
        """What is read, in order."""
        place = Path(self.name)
        if not place.is_dir():
            return [place]
        return sorted(place.glob("*.txt")) if self._is_folder else _tables(place)

    def identity(self) -> dict[str, Any]:
        """What tells another source from this one, or this one after a change, without reading all of it.

        Raises:
            PoNetError: a file that can't be read.
        """
        digest = hashlib.sha256()
        for file in self.files():
            try:
                facts = file.stat()
                digest.update(f"{file.name} {facts.st_size} {facts.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
                with file.open("rb") as stream:
                    digest.update(stream.read(_END))
                    stream.seek(max(0, facts.st_size - _END))
                    digest.update(stream.read(_END))
            except OSError as error:
                raise explain(error, file) from error
        columns = {"text": self.text, "pair": self.pair, "whole": self.whole, "trained": self.trained}
        return {"files": digest.hexdigest(), **columns, "keep": None if self.keep is None else list(self.keep)}


class Inputs:
    """Documents in order. Where the next one has yet to come (standard input), None comes first: what has been given
    should be answered before it is asked for.

    Attributes:
        named: whether each document has the name of its file.
        kept: the columns that are carried along, as far as they are known.
        types: the Arrow types of these, where the source has types.
        size: bytes of the source; None where nobody knows.
        position: bytes of it that have been read, about.
        notices: what is to be said once everything is read.
    """

    named = False
    types: "dict[str, pa.DataType]"
    size: int | None = None
    position = 0

    def __init__(self) -> None:
        self.types = {}
        self.kept: list[str] = []
        self.notices: list[str] = []

    def __iter__(self) -> Iterator[Input | None]:
        raise NotImplementedError


class _Table(Inputs):
    def __init__(self, source: Source, skip: int) -> None:
        super().__init__()
        place = Path(source.name)
        files = source.files()
        self._stream = RowStream(files) if files else None
        whole = None if files else _only_split(place)
        sample = whole or (self._stream.sample if self._stream else None)
        assert sample is not None
        named = source.text or (source.trained if source.trained in sample.columns else None)
        self._columns = choose_columns(sample, named, source.pair, labelled=False)
        for name in source.keep or ():
            if name not in sample.columns:
                raise PoNetError(f"'{sample.origin}' has no column '{name}' to keep.{suggest(name, sample.columns)}")
        text_column(sample, self._columns.text)  # refuses what holds no text before anything is computed
        self._keep, self._skip, self._whole = source.keep, skip, whole
        self.kept = list(sample.columns if source.keep is None else source.keep)
        if self._stream is not None:
            self.size = self._stream.size
            self.types = {name: self._stream.types[name] for name in self.kept if name in self._stream.types}

    def __iter__(self) -> Iterator[Input | None]:
        for batch in self._batches():
            yield from self._documents(batch)

    def _batches(self) -> Iterator[DataTable]:
        import pyarrow as pa

        if self._whole is not None:
            rest = self._whole.data.slice(self._skip)
            yield from (DataTable(pa.Table.from_batches([each]), self._whole.origin) for each in rest.to_batches(BATCH))
            return
        assert self._stream is not None
        texts = [self._columns.text, *([self._columns.pair] if self._columns.pair else [])]
        wanted = None if self._keep is None else list(dict.fromkeys([*texts, *self._keep]))
        for batch in self._stream.batches(wanted, self._skip):
            self.position = self._stream.position
            table = pa.Table.from_batches([batch])
            for name in texts:  # a JSON line may lack it
                if name not in table.column_names:
                    table = table.append_column(name, pa.nulls(len(table)))
            yield DataTable(table, self._stream.sample.origin)
        self.notices = self._stream.notices

    def _documents(self, table: DataTable) -> Iterator[Input]:
        texts = text_column(table, self._columns.text).to_pylist()
        pairs = [None] * len(texts)
        if self._columns.pair is not None:
            pairs = text_column(table, self._columns.pair).to_pylist()
        kept = table.data if self._keep is None else table.data.select(list(self._keep))
        rows = kept.to_pylist() if kept.num_columns else [None] * len(texts)
        for text, pair, row in zip(texts, pairs, rows, strict=True):
            yield Input(text, pair, None, row)


class _Lines(Inputs):
    """A text file: its lines, or the whole of it."""

    def __init__(self, path: Path, skip: int, whole: bool) -> None:
        super().__init__()
        self._path, self._skip, self._whole = path, skip, whole
        with ByteStream(path) as stream:
            self.size = stream.size

    def __iter__(self) -> Iterator[Input | None]:
        if self._whole:
            yield from [Input(read_text(self._path))][self._skip :]
            return
        with ByteStream(self._path) as stream:
            for line in islice(stream.lines(), self._skip, None):
                self.position = stream.position
                yield Input(line)


class _Files(Inputs):
    """Text files, one document each."""

    named = True

    def __init__(self, files: list[Path], skip: int) -> None:
        super().__init__()
        self._files, self._skip = files, skip
        self.size = sum(file.stat().st_size for file in files)

    def __iter__(self) -> Iterator[Input | None]:
        for number, file in enumerate(self._files):
            if number >= self._skip:
                yield Input(read_text(file), name=file.name)
            self.position += file.stat().st_size


class _StandardInput(Inputs):
    """Lines as they come: each block of a pipe is answered before the next one is waited for."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        if sys.stdin is None:
            raise PoNetError("Standard input is closed. Name a file, or send the text in: ponet ... - < FILE")
        self._whole = whole

    def __iter__(self) -> Iterator[Input | None]:
        try:
            if self._whole:
                yield Input("".join(text for text in self._blocks() if text is not None))
                return
            pending: list[str] = []
            for text in self._blocks():
                if text is None:
                    yield None
                    continue
                *lines, rest = text.split("\n")
                for line in lines:
                    yield Input("".join([*pending, line]).removesuffix("\r"))
                    pending = []
                pending.append(rest)
            if any(pending):
                yield Input("".join(pending).removesuffix("\r"))
        except UnicodeDecodeError as error:
            raise PoNetError(
                "Standard input isn't UTF-8 text. Convert it: iconv -f latin1 -t utf-8 | ponet ..."
            ) from error

    def _blocks(self) -> Iterator[str | None]:
        """Text as it comes; None before each wait."""
        try:
            descriptor = sys.stdin.fileno()
        except (OSError, ValueError, AttributeError):  # a stream of Python's own, in place of a file
            reconfigure = getattr(sys.stdin, "reconfigure", None)
            if reconfigure is not None:  # in some locales Python takes any byte
                reconfigure(encoding="utf-8-sig", errors="strict", newline="")
            yield from sys.stdin
            return
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        while True:
            if not select.select([descriptor], [], [], 0)[0]:
                yield None
            data = os.read(descriptor, BLOCK)
            yield decoder.decode(data, final=not data)
            if not data:
                return


def _tables(folder: Path) -> list[Path]:
    """The files of a folder's only split, or else all tables in it, in the order of their names; none where it holds
    something else that can be read, such as a folder for each class.

    Raises:
        PoNetError: a folder with several splits.
    """
    splits = split_files(folder)
    if len(splits) > 1:
        raise PoNetError(f"'{folder}' has the splits {', '.join(splits)}: name the files of one.")
    files = next(iter(splits.values()), None) or saved_files(folder)
    files = files or [entry for entry in sorted(folder.iterdir()) if entry.is_file() and is_table(entry)]
    return [] if any(file.is_dir() for file in files) else files


def _only_split(folder: Path) -> DataTable:
    """The rows of a folder that holds no table, if it holds anything."""
    return next(iter(open_source(str(folder)).splits.values()))
