"""Documents to label or embed: tables, lines, a folder of files or standard input, in order, as they come."""

import codecs
import hashlib
import os
import select
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from ponet.data.columns import choose_columns, text_column
from ponet.data.sources import open_source, read_text
from ponet.data.split_files import saved_files, split_files
from ponet.data.streams import BLOCK, ByteStream, file_ends, is_table, is_text
from ponet.data.tables import DataTable, RowStream
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import explain

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


@dataclass
class Inputs:
    """Documents in order. Where the next one has yet to come (standard input), None comes first: what has been given
    should be answered before it is asked for."""

    read: Callable[["Inputs"], Iterator[Input | None]]
    """Gives the documents, and keeps `position` and `notices`."""
    size: int | None = None
    """Bytes of the source; None where nobody knows."""
    named: bool = False
    """Whether each document has the name of its file."""
    kept: list[str] = field(default_factory=list)
    """The columns that are carried along, as far as they are known."""
    types: dict[str, pa.DataType] = field(default_factory=dict)
    """The Arrow types of these, where the source has types."""
    position: int = 0
    """Bytes of the source that have been read, about."""
    notices: list[str] = field(default_factory=list)
    """What is to be said once everything is read."""
    documents: int = 0
    """How many have been read."""
    blank: int = 0
    """How many of these hold blanks alone, or nothing, as a null does."""

    def __iter__(self) -> Iterator[Input | None]:
        for item in self.read(self):
            if item is not None:
                self.documents += 1
                self.blank += not (item.text.strip() or (item.pair or "").strip())
            yield item


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
    def _is_folder(self) -> bool:
        place = Path(self.name)
        return place.is_dir() and any(place.glob("*.txt"))

    def open(self, skip: int = 0) -> Inputs:
        """The documents after the first `skip`. Raises PoNetError: an unreadable source, no such column, or columns
        asked of what isn't a table."""
        if not (self.live or is_text(Path(self.name)) or self._is_folder):
            return _open_table(self, skip)
        if self.pair is not None:
            raise PoNetError(f"This model reads pairs of texts: '{self.name}' must be a table with two columns.")
        if self.keep:
            raise PoNetError(f"'{self.name}' is no table and has no column '{self.keep[0]}' to keep: leave --keep out.")
        if self.live:
            if sys.stdin is None:
                raise PoNetError("Standard input is closed. Name a file, or send the text in: ponet ... - < FILE")
            return Inputs(lambda _: _standard_input(self.whole))
        if self._is_folder:
            files = self.files()
            size = sum(file.stat().st_size for file in files)
            return Inputs(lambda inputs: _documents(inputs, files, skip), size, named=True)
        with ByteStream(Path(self.name)) as stream:
            return Inputs(lambda inputs: _lines(inputs, Path(self.name), skip, self.whole), stream.size)

    def files(self) -> list[Path]:
        """What is read, in order."""
        place = Path(self.name)
        if not place.is_dir():
            return [place]
        return sorted(place.glob("*.txt")) if self._is_folder else _tables(place)

    def identity(self) -> dict[str, Any]:
        """What tells another source from this one, or this one after a change, without reading all of it. Raises
        PoNetError: a file that can't be read."""
        digest = hashlib.sha256()
        for file in self.files():
            try:
                facts = file.stat()
            except OSError as error:
                raise explain(error, file) from error
            digest.update(f"{file.name} {facts.st_size} {facts.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
            digest.update(b"".join(file_ends(file, _END)))
        columns = {"text": self.text, "pair": self.pair, "whole": self.whole, "trained": self.trained}
        return {"files": digest.hexdigest(), **columns, "keep": None if self.keep is None else list(self.keep)}


def _open_table(source: Source, skip: int) -> Inputs:
    files = source.files()
    stream = RowStream(files) if files else None
    # a folder that holds no table may hold something else, such as a folder for each class
    sample = stream.sample if stream else next(iter(open_source(source.name).splits.values()))
    named = source.text or (source.trained if source.trained in sample.columns else None)
    columns = choose_columns(sample, named, source.pair, labelled=False)
    for name in source.keep or ():
        if name not in sample.columns:
            raise PoNetError(f"'{sample.origin}' has no column '{name}' to keep.{suggest(name, sample.columns)}")
    text_column(sample, columns.text)  # refuses what holds no text before anything is computed
    texts = [columns.text, *([columns.pair] if columns.pair else [])]

    def batches(inputs: Inputs) -> Iterator[pa.RecordBatch]:
        if stream is None:
            yield from sample.data.slice(skip).to_batches(BATCH)
            return
        wanted = None if source.keep is None else list(dict.fromkeys([*texts, *source.keep]))
        for batch in stream.batches(wanted, skip):
            inputs.position = stream.position
            yield batch
        inputs.notices = stream.notices

    def read(inputs: Inputs) -> Iterator[Input]:
        for batch in batches(inputs):
            data = pa.Table.from_batches([batch])
            for name in texts:  # a JSON line may lack it
                if name not in data.column_names:
                    data = data.append_column(name, pa.nulls(len(data)))
            sides = [text_column(DataTable(data, sample.origin), name).to_pylist() for name in texts]
            kept = data if source.keep is None else data.select(list(source.keep))
            rows = kept.to_pylist() if kept.num_columns else [None] * len(data)
            pairs = sides[1] if columns.pair else [None] * len(data)
            for text, pair, row in zip(sides[0], pairs, rows, strict=True):
                yield Input(text, pair, None, row)

    kept = list(sample.columns if source.keep is None else source.keep)
    if stream is None:
        return Inputs(read, kept=kept)
    types = {name: stream.types[name] for name in kept if name in stream.types}
    return Inputs(read, stream.size, kept=kept, types=types)


def _lines(inputs: Inputs, path: Path, skip: int, whole: bool) -> Iterator[Input]:
    """A text file: its lines, or the whole of it."""
    if whole:
        yield from [Input(read_text(path))][skip:]
        return
    with ByteStream(path) as stream:
        for line in islice(stream.lines(), skip, None):
            inputs.position = stream.position
            yield Input(line)


def _documents(inputs: Inputs, files: list[Path], skip: int) -> Iterator[Input]:
    """Text files, one document each."""
    for number, file in enumerate(files):
        if number >= skip:
            yield Input(read_text(file), name=file.name)
        inputs.position += file.stat().st_size


def _standard_input(whole: bool) -> Iterator[Input | None]:
    """Lines as they come: each block of a pipe is answered before the next one is waited for."""
    pending: list[str] = []
    try:
        for text in _blocks():
            if text is None:
                if not whole:
                    yield None
                continue
            *lines, rest = [text] if whole else text.split("\n")
            for line in lines:
                yield Input("".join([*pending, line]).removesuffix("\r"))
                pending = []
            pending.append(rest)
    except UnicodeDecodeError as error:
        raise PoNetError("Standard input isn't UTF-8 text. Convert it: iconv -f latin1 -t utf-8 | ponet ...") from error
    if whole:
        yield Input("".join(pending))
    elif any(pending):
        yield Input("".join(pending).removesuffix("\r"))


def _blocks() -> Iterator[str | None]:
    """Text of standard input as it comes; None before each wait."""
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):  # a stream of Python's own, in place of a file
        reconfigure = getattr(sys.stdin, "reconfigure", None)
        if reconfigure is not None:  # in some locales Python takes any byte
            reconfigure(encoding="utf-8-sig", errors="strict", newline="")
        yield from sys.stdin
        return
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    data = b"to begin with"
    while data:
        if not select.select([descriptor], [], [], 0)[0]:
            yield None
        data = os.read(descriptor, BLOCK)
        yield decoder.decode(data, final=not data)


def _tables(folder: Path) -> list[Path]:
    """The files of a folder's only split, or else all tables in it, in the order of their names; none where it holds
    something else that can be read. Raises PoNetError: a folder with several splits."""
    splits = split_files(folder)
    if len(splits) > 1:
        raise PoNetError(f"'{folder}' has the splits {', '.join(splits)}: name the files of one.")
    files = next(iter(splits.values()), None) or saved_files(folder)
    files = files or [entry for entry in sorted(folder.iterdir()) if entry.is_file() and is_table(entry)]
    return [] if any(file.is_dir() for file in files) else files
