"""CSV and TSV files, read by Arrow: no limit on a field's length, and a wrong row is named."""

import re
from pathlib import Path
from typing import Any

from ponet.errors import PoNetError
from ponet.files import explain
from ponet.tasks.text.table import Table, brief

LARGEST_BLOCK = 1 << 30
"""Bytes. Arrow's CSV reader wants a row within one block; its offsets are 32-bit."""
_QUOTED_FIELD = re.compile(r'(?m)(?:^|(?<=\t))"(?:[^"]|"")*+"(?=\t|\r?$)')
_OPENING_MARK = re.compile(r'(?m)(?:^|\t)"')


def read_csv(path: Path) -> Table:
    """A file with a header, its columns separated by commas, semicolons, tabs or bars."""
    header = _first_line(path)
    separator = "," if "," in header else max(";\t|", key=header.count)
    if separator not in header:  # a single column
        return _read_separated(path, ",")
    table = _read_separated(path, separator)
    if separator != ",":
        shown = "tab" if separator == "\t" else f"'{separator}'"
        table.notices.append(f"The columns of '{path}' are separated by {shown}.")
    return table


def read_tsv(path: Path) -> Table:
    """A file with a header, its columns separated by tabs, with or without quoted fields."""
    # Many TSV files (GLUE's own) don't quote: a stray quotation mark must not swallow the rows up to the next one.
    unquoted = _QUOTED_FIELD.sub("", path.read_text(encoding="utf-8-sig"))
    return _read_separated(path, "\t", quotes=_OPENING_MARK.search(unquoted) is None)


def _read_separated(path: Path, separator: str, quotes: bool = True) -> Table:
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    wrong: list[Any] = []

    def note(row: Any) -> str:
        wrong.append(row)
        return "error"

    read = arrow_csv.ReadOptions(use_threads=False, block_size=min(path.stat().st_size + 1, LARGEST_BLOCK))
    parse = arrow_csv.ParseOptions(
        delimiter=separator, quote_char='"' if quotes else False, newlines_in_values=quotes, invalid_row_handler=note
    )
    try:
        with arrow_csv.open_csv(path, read_options=read, parse_options=parse) as reader:
            names = reader.schema.names
        # Everything as text: whether '01' is a number is for the label's rules to say, not for the file reader.
        convert = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        return Table(
            arrow_csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert), str(path)
        )
    except pa.ArrowInvalid as error:
        if wrong:
            row = wrong[0]  # its number counts the header
            raise PoNetError(
                f"Row {row.number - 1} of '{path}' has {row.actual_columns} fields where the header has "
                f"{row.expected_columns}: put fields that hold a separator, a quotation mark or a line break in quotes."
            ) from error
        if "mpty CSV" in str(error):
            raise PoNetError(f"'{path}' is empty: it needs a header and rows.") from error
        raise PoNetError(f"'{path}' can't be read as a table: {brief(error)}.") from error
    except OSError as error:
        raise explain(error, path) from error


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as stream:
        return next((line for line in stream if line.strip()), "")
