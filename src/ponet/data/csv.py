"""Rows of separated values as people and spreadsheets write them: no row is lost to a stray quotation mark.

A quotation mark quotes where it opens a field and another closes it before a separator or the line's end. Any other is
text. Python's and Arrow's readers take an opening mark that never closes for a field of all the lines to the next mark.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

from ponet.data.streams import LONGEST_ROW, ByteStream
from ponet.utils.errors import PoNetError

SEPARATORS = (",", ";", "\t", "|")
SHOWN = {"\t": "tab"}
SNIFFED = 1 << 18
"""Characters from which the separator is guessed."""
SNIFFED_ROWS = 100
KNOWN = 200
"""Different values of a column that are remembered, to know a row within quotation marks from a text."""
REMEMBERED = 5000
"""Rows from which they are."""
SHORT = 64
"""Characters of such a value at most."""
Looks = list[list[tuple[int, str]]]
"""Of each line within quotation marks, the columns and values that it would have as a row."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)


class LooksLikeRowsError(PoNetError):
    """A quoted field that holds what would be rows without its quotation marks."""


class CsvRows:
    """The rows of a CSV or TSV file with a header, in order, in constant memory. Raises PoNetError: empty, not UTF-8, a
    column named twice.

    `separators` are candidates: the one is taken with which the first rows have as many fields as the header."""

    def __init__(self, stream: ByteStream, separators: tuple[str, ...] = SEPARATORS, quotes: bool = True) -> None:
        self.path, self.stream = stream.path, stream
        self._told, self._quotes = len(separators) > 1, quotes
        blocks, head = _line_ends(stream.blocks()), ""
        while len(head) < SNIFFED and (block := next(blocks, "")):
            head += block
        whole = len(head) < SNIFFED
        named = _SEPARATOR_LINE.match(head)
        if named:  # a spreadsheet's own word for it
            head = head[named.end() :]
        one = named[1] if named else separators[0] if len(separators) == 1 else None
        self.separator = one or _sniff(self.path, head, whole, separators)
        self._records = _Records(self.path, self.separator, chain([head], blocks), quotes=quotes)
        header = next(iter(self._records), None)
        if header is None:
            raise PoNetError(f"'{self.path}' is empty: it needs a header and rows.")
        self.columns, self._total = _names(header), len(header)
        twice = [name for name, count in Counter(self.columns).items() if count > 1]
        if twice:
            what = f"column '{min(twice)}'" if min(twice) else "column without a name"
            raise PoNetError(f"'{self.path}' has more than one {what}: give each column a name of its own.")

    def __iter__(self) -> Iterator[list[str]]:
        """The fields of each row, as many as there are columns. Raises PoNetError: a row with more or fewer fields, or
        marks around what look like rows; naming the row."""
        width = len(self.columns)
        for row, fields in enumerate(self._records, 1):
            if len(fields) == width:
                yield fields
            elif width < len(fields) and not any(fields[width:]):  # empty columns behind the last
                yield fields[:width]
            elif width < len(fields) <= self._total:
                raise PoNetError(
                    f"Row {row:,} of '{self.path}' has '{next(filter(None, fields[width:]))[:40]}' in a column without "
                    "a name: name it in the header, or empty it."
                )
            else:
                raise PoNetError(
                    f"Row {row:,} of '{self.path}' has {len(fields)} fields where the header has {width}: "
                    "put fields that hold a separator, a quotation mark or a line break in quotes."
                )

    @property
    def strays(self) -> int:
        """Rows so far in which a mark opens a field and none closes it."""
        return self._records.strays

    def notices(self) -> list[str]:
        """What is to be said once all rows are read."""
        said = []
        if self._told and self.separator != ",":
            shown = SHOWN.get(self.separator, f"'{self.separator}'")
            said.append(f"The columns of '{self.path}' are separated by {shown}.")
        if not self._quotes:
            said.append(f"'{self.path}' doesn't quote its fields: all quotation marks are read as text.")
        if self.strays:
            said.append(
                f"A quotation mark opens a field and doesn't close it in {self.strays:,} rows of '{self.path}' (first "
                f"in row {self._records.first_stray:,}): it is read as text."
            )
        if self._records.undoubled:
            said.append(
                f"Quotation marks within quotes aren't doubled in {self._records.undoubled:,} fields of '{self.path}': "
                "they are read as text."
            )
        if self._records.blank and len(self.columns) == 1:
            said.append(f"{self._records.blank:,} blank lines of '{self.path}' are no rows: left out.")
        return said


def _sniff(path: Path, head: str, whole: bool, separators: tuple[str, ...]) -> str:
    """The separator with which the first rows have as many fields as the header."""
    found: list[tuple[bool, int, str]] = []
    for separator in separators:
        rows: list[list[str]] = []
        with suppress(LooksLikeRowsError):  # reported for the rows themselves, if this is the separator
            rows.extend(islice(_Records(path, separator, iter([head]), whole), SNIFFED_ROWS))
        if not rows or len(rows[0]) < 2:
            continue
        names = _names(rows[0])
        width = len(names)
        balanced = all(name.count("(") == name.count(")") for name in names)  # `Label (good, bad)` is one name
        if all(len(row) == width or (len(row) > width and not any(row[width:])) for row in rows[1:]):
            found.append((balanced, width, separator))
    if found:
        return max(found, key=lambda each: each[:2])[2]
    first = next((line for line in head.splitlines() if line.strip()), "")
    return "," if "," in first else max(separators, key=first.count)


def _names(header: list[str]) -> list[str]:
    """The names of columns, without those at the end that have none."""
    names = [name.strip() for name in header]
    while len(names) > 1 and not names[-1]:
        names.pop()
    return names


class _Records:
    """The fields of each record, the header's among them; counts what is out of order."""

    def __init__(
        self, path: Path, separator: str, blocks: Iterator[str], whole: bool = True, quotes: bool = True
    ) -> None:
        self.path, self.separator, self._quotes = path, separator, quotes
        self.strays = self.first_stray = self.undoubled = self.blank = 0
        self._blocks, self._whole = blocks, whole
        self._text, self._at, self._end = "", 0, False
        self._row = -1
        self._known: list[set[str]] = []
        self._doubtful: list[tuple[int, int, Looks]] = []
        mark = re.escape(separator)
        self._quoted = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"[ ]*')
        self._closing = re.compile(rf'"[ ]*(?={mark}|\r?$)', re.MULTILINE)
        self._plain = re.compile(rf"[^{mark}\n]*")
        self._iterator = self._read()

    def __iter__(self) -> Iterator[list[str]]:
        return self._iterator

    def _read(self) -> Iterator[list[str]]:
        separator, blank = self.separator, " " if self.separator == "\t" else " \t"
        while True:
            mark = self._text.find('"', self._at) if self._quotes else -1
            end = self._text.rfind("\n", self._at, mark if mark >= 0 else len(self._text))
            if mark < 0 and self._end and self._whole and self._at < len(self._text):
                end = len(self._text)  # the last line may have no end
            if end >= self._at:  # whole lines without a mark
                lines = self._text[self._at : end].split("\n")
                self._at = end + 1
                for line in lines:
                    line = line.removesuffix("\r")
                    if line.strip(blank):
                        yield self._told(line.split(separator))
                    else:
                        self.blank += 1
            elif mark >= 0:
                fields = self._marked()
                if fields is not None:
                    yield self._told(fields)
                elif not self._whole:
                    return  # of a head the last line may be cut
            elif self._end:
                break
            else:
                self._refill()
        for doubtful in self._doubtful:
            self._judge(*doubtful)

    def _refill(self) -> None:
        """More text; as much again as is pending, so that a long field is scanned a few times only."""
        pending = self._text[self._at :]
        if len(pending) > LONGEST_ROW and '"' not in pending:
            raise PoNetError(f"Row {self._row + 1:,} of '{self.path}' is longer than {LONGEST_ROW:,} characters.")
        parts, size = [pending], 0
        while size <= len(pending):
            block = next(self._blocks, None)
            if block is None:
                self._end = True
                break
            parts.append(block)
            size += len(block)
        self._text, self._at = "".join(parts), 0

    def _marked(self) -> list[str] | None:
        """The fields of a record that has quotation marks; None where more text is needed first."""
        text, at, ends = self._text, self._at, (self.separator, "\n", "\r\n")
        fields: list[str] = []
        broken: list[int] = []  # fields over several lines
        stray = undoubled = 0
        while True:
            field, after = None, at
            if text.startswith('"', at):
                match = self._quoted.match(text, at)
                more = not self._end and (match is None or match.end() >= len(text) - 1)
                if more and len(text) - self._at <= LONGEST_ROW:
                    self._refill()
                    return None
                if match is not None and (match.end() >= len(text) or text.startswith(ends, match.end())):
                    field, after = match[1], match.end()
                    if "\n" in field:
                        broken.append(len(fields))
                else:
                    line = text.find("\n", at)
                    if line < 0 and not self._end:
                        self._refill()
                        return None
                    closing = self._closing.search(text, at + 1, len(text) if line < 0 else line)
                    if closing is not None:  # "He said "yes" to me"
                        field, after = text[at + 1 : closing.start()], closing.end()
                        undoubled += 1
                    else:
                        stray = 1
            if field is not None:
                fields.append(field.replace('""', '"') if '""' in field else field)
            else:
                plain = self._plain.match(text, at)
                assert plain is not None  # it matches nothing too
                after = plain.end()
                fields.append(plain[0])
            if after >= len(text) and not self._end:
                self._refill()
                return None
            if text.startswith(self.separator, after):
                at = after + 1
                continue
            if field is None:
                fields[-1] = fields[-1].removesuffix("\r")
            break
        end = text.find("\n", after)
        if broken:
            self._check_broken(text[self._at : after], broken)
        self._at = end + 1 if end >= 0 else len(text)
        self.undoubled += undoubled
        if stray:
            self.strays += 1
            self.first_stray = self.first_stray or self._row + 1
        return fields

    def _told(self, fields: list[str]) -> list[str]:
        """The fields, once the row is counted and its short values are remembered."""
        self._row += 1
        if self._row == 0:  # the header
            self._known = [set() for _ in fields]
        elif self._row <= REMEMBERED:
            for values, field in zip(self._known, fields, strict=False):
                if len(values) < KNOWN and 0 < len(field) <= SHORT:
                    values.add(field)
        return fields

    def _check_broken(self, raw: str, broken: list[int]) -> None:
        """Refuses marks around what would be rows by itself: two strays far apart look like a quoted text."""
        lines = raw.replace("\r\n", "\n").split("\n")
        width = len(self._known)
        looks: Looks = []
        for number, line in enumerate(lines):
            parts = line.split(self.separator)
            if len(parts) != width or width < 2:
                return
            begin = broken[0] + 1 if number == 0 else 0
            end = broken[-1] if number == len(lines) - 1 else width
            values = [(column, parts[column]) for column in range(begin, end) if 0 < len(parts[column]) <= SHORT]
            if values or begin < end:  # else it looks the same either way
                looks.append(values)
        doubtful = (self._row + 1, len(lines) - 1, looks)
        self._judge(*doubtful)
        if len(self._doubtful) < KNOWN:
            self._doubtful.append(doubtful)  # to be judged by all rows

    def _judge(self, row: int, breaks: int, looks: Looks) -> None:
        counts = Counter(value for values in looks for value in values)
        evidence = [any(text in self._known[column] or counts[column, text] > 1 for column, text in v) for v in looks]
        if evidence and all(evidence):
            raise LooksLikeRowsError(
                f"A quotation mark in row {row:,} of '{self.path}' closes {breaks:,} lines later, "
                "and these lines look like rows: double the mark or remove it, or save the file as JSON lines if they "
                "are one text."
            )


def _line_ends(blocks: Iterator[str]) -> Iterator[str]:
    """The text, with line feeds where an old file has carriage returns alone."""
    first = next(blocks, "")
    if "\r" in first and "\n" not in first:
        blocks = (block.replace("\r", "\n") for block in blocks)
        first = first.replace("\r", "\n")
    return chain([first] if first else [], blocks)
