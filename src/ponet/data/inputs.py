"""Documents to label or embed: a table, lines, a folder of files or standard input, in order."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ponet.data.columns import choose_columns, text_column
from ponet.data.sources import open_source, read_text
from ponet.data.streams import ByteStream, is_text
from ponet.data.tables import DataTable, read_table
from ponet.utils.errors import PoNetError


class Input(NamedTuple):
    """One document, or a pair of texts."""

    text: str
    pair: str | None = None
    name: str | None = None
    """The file it is from, where each document has its own."""


def read_inputs(
    source: str, text: str | None = None, pair: str | None = None, whole: bool = False, trained: str | None = None
) -> Iterator[Input]:
    """The documents of `source`, in order, as they come.

    Args:
        source: a table (CSV, TSV, JSON lines, JSON, Parquet); a .txt file with one document a line; a folder of .txt
            files, one document each; or `-`, standard input with one document a line.
        text, pair: columns. Without `text`, the column `trained` is taken where there is one, or else one is found.
        whole: a .txt file (or standard input) is one document.

    Raises:
        PoNetError: an unreadable source, no text column, or pairs asked of what isn't a table.
    """
    place = Path(source)
    plain = source == "-" or is_text(place) or (place.is_dir() and any(place.glob("*.txt")))
    if plain and pair is not None:
        raise PoNetError(f"This model reads pairs of texts: '{source}' must be a table with two columns.")
    if source == "-":
        return _standard_input(whole)
    if place.is_dir() and any(place.glob("*.txt")):
        return _folder(place)
    if is_text(place):
        return iter([Input(read_text(place))]) if whole else _file_lines(place)
    return _rows(place, text, pair, trained)


def _standard_input(whole: bool) -> Iterator[Input]:
    if sys.stdin is None:
        raise PoNetError("Standard input is closed. Name a file, or send the text in: ponet ... - < FILE")
    reconfigure = getattr(sys.stdin, "reconfigure", None)
    if reconfigure is not None:  # in some locales Python takes any byte
        reconfigure(encoding="utf-8-sig", errors="strict")
    try:
        if whole:
            yield Input(sys.stdin.read())
        else:
            yield from _lines(sys.stdin)
    except UnicodeDecodeError as error:
        raise PoNetError("Standard input isn't UTF-8 text. Convert it: iconv -f latin1 -t utf-8 | ponet ...") from error


def _lines(stream: Iterable[str]) -> Iterator[Input]:
    for line in stream:
        yield Input(line.rstrip("\r\n"))


def _file_lines(path: Path) -> Iterator[Input]:
    with ByteStream(path) as stream:
        yield from _lines(stream.lines())


def _folder(folder: Path) -> Iterator[Input]:
    for file in sorted(folder.glob("*.txt")):
        yield Input(read_text(file), name=file.name)


def _rows(path: Path, text: str | None, pair: str | None, trained: str | None) -> Iterator[Input]:
    table = _table(path)
    named = text or (trained if trained in table.columns else None)
    columns = choose_columns(table, named, pair, labelled=False)
    texts = text_column(table, columns.text)
    if columns.pair is None:
        yield from (Input(text.as_py()) for text in texts)
        return
    pairs = text_column(table, columns.pair)
    yield from (Input(text.as_py(), pair.as_py()) for text, pair in zip(texts, pairs, strict=True))


def _table(path: Path) -> DataTable:
    """The rows of a file, or of a folder that holds one table."""
    if not path.is_dir():
        return read_table(path)
    splits = open_source(str(path)).splits
    if len(splits) > 1:
        raise PoNetError(f"'{path}' has the splits {', '.join(splits)}: name the files of one.")
    return next(iter(splits.values()))
