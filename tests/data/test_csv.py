"""Separated values as people, spreadsheets and broken scripts write them: no row is lost, and none is made up."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponet.data import csv as module
from ponet.data.streams import ByteStream
from ponet.data.tables import open_csv, read_table
from ponet.utils.errors import PoNetError

FIELDS = st.text(alphabet="ab \",;'\n\té", max_size=8)


def rows(path: Path, content: str) -> list[list[str]]:
    path.write_text(content, encoding="utf-8", newline="")
    with open_csv(path) as found:
        return [found.columns, *found]


@given(
    st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(FIELDS, min_size=width, max_size=width), min_size=1, max_size=8)
    )
)
def test_what_python_writes_is_read_as_python_reads_it(table: list[list[str]]) -> None:
    header = [f"column{index}" for index in range(len(table[0]))]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        text = io.StringIO()
        csv.writer(text, quoting=quoting).writerows([header, *table])
        found = list(module._Records(Path("a.csv"), ",", iter([text.getvalue()])))
        assert found == [header, *table]


@pytest.mark.parametrize("block", [1, 2, 3, 5, 64])
def test_blocks_cut_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    from ponet.data import streams

    monkeypatch.setattr(streams, "BLOCK", block)
    monkeypatch.setattr(module, "SNIFFED", 4)
    content = 'text,label\r\n"é, ""b""\r\nc",x\r\n"open,y\r\n"He said "yes" to me",z\r\nplain,\r\n'
    assert rows(tmp_path / "a.csv", content) == [
        ["text", "label"],
        ['é, "b"\r\nc', "x"],
        ['"open', "y"],
        ['He said "yes" to me', "z"],
        ["plain", ""],
    ]


@pytest.mark.parametrize("opened", [(3,), (0,), (79,), (0, 79), (3, 40), (3, 4), (0, 1, 2), tuple(range(80))])
def test_marks_that_never_close_lose_no_row(tmp_path: Path, opened: tuple[int, ...]) -> None:
    lines = [f"{'spam' if row % 2 else 'ham'}," + ('"' if row in opened else "") + f"text {row}" for row in range(80)]
    (tmp_path / "a.csv").write_text("\n".join(["label,text", *lines]) + "\n")
    table = read_table(tmp_path / "a.csv")
    assert table.data.column("text").to_pylist() == [line.partition(",")[2] for line in lines]
    assert f"in {len(opened)} rows of" in table.notices[0]
    assert f"first in row {opened[0] + 1}" in table.notices[0]


@pytest.mark.parametrize(
    ("header", "row"),
    [("label,text", "{label},{mark}text {row}{end}"), ("text,label", "{mark}text {row}{end},{label}")],
)
@pytest.mark.parametrize(("first", "last"), [(0, 1), (3, 40), (50, 79)])
def test_marks_around_what_look_like_rows_are_refused(
    tmp_path: Path, header: str, row: str, first: int, last: int
) -> None:
    """An opening mark in one row and a closing one in another make one text of all rows between."""
    lines = [
        row.format(
            label="spam" if index % 2 else "ham",
            row=index,
            mark='"' if index == first else "",
            end='"' if index == last else "",
        )
        for index in range(80)
    ]
    (tmp_path / "a.csv").write_text("\n".join([header, *lines]) + "\n")
    with pytest.raises(PoNetError, match=rf"in row {first + 1} of '.*a\.csv' closes {last - first} lines later"):
        read_table(tmp_path / "a.csv")
    lines = [line.replace(",", "\t") for line in lines]
    (tmp_path / "a.tsv").write_text("\n".join([header.replace(",", "\t"), *lines]) + "\n")
    assert len(read_table(tmp_path / "a.tsv")) == 80  # such a file doesn't quote at all


@pytest.mark.parametrize(
    "text",
    [
        "Dear sir,\nI write to you, as I did before,\nto say\nthis.",
        "one, two\nthree, four\nfive, six",
        "\n\n\n",
        "a line\nanother",
        '"quoted" at its head\nand more',
    ],
)
def test_texts_of_several_lines_stay_whole(tmp_path: Path, text: str) -> None:
    table = [["text", "label"], *([text, name] for name in ("ham", "spam", "ham", "spam"))]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows(table)
    assert read_table(tmp_path / "a.csv").data.column("text").to_pylist() == [text] * 4


@pytest.mark.parametrize(
    ("content", "columns", "row"),
    [
        ("text,label,,,\na,b,,,\n", ["text", "label"], ["a", "b"]),
        ("text,label,,,\na,b\n", ["text", "label"], ["a", "b"]),
        ("text,label\na,b,,\n", ["text", "label"], ["a", "b"]),
        ("sep=;\ntext;label\na,c;b\n", ["text", "label"], ["a,c", "b"]),
        ('"sep=|"\r\ntext|label\r\na,c|b\r\n', ["text", "label"], ["a,c", "b"]),
        ("sep=\t\ntext\tlabel\na,c\tb\n", ["text", "label"], ["a,c", "b"]),
        ("Text;Label (good, bad)\na;b\n", ["Text", "Label (good, bad)"], ["a", "b"]),
        ("Text;Label (good, bad)\na, c;b\n", ["Text", "Label (good, bad)"], ["a, c", "b"]),
        ("Text;Label, in words\na;b\na, c, d;b\n", ["Text", "Label, in words"], ["a", "b"]),
        ("text|score;unit\na|5\n", ["text", "score;unit"], ["a", "5"]),
        (" text , label \na,b\n", ["text", "label"], ["a", "b"]),
        ("text,label\ra,b\rc,d\r", ["text", "label"], ["a", "b"]),
        ("\n\ntext,label\n\na,b\n", ["text", "label"], ["a", "b"]),
        (",text,label\n0,a,b\n", ["", "text", "label"], ["0", "a", "b"]),
        ('text,label\n"a, c" ,b\n', ["text", "label"], ["a, c", "b"]),
        ('text,label\n"say "a, b" now" ,c\n', ["text", "label"], ['say "a, b" now', "c"]),
        ('text,label\n"say "a", b now" ,c\n', ["text", "label"], None),
    ],
)
def test_what_spreadsheets_leave(tmp_path: Path, content: str, columns: list[str], row: list[str] | None) -> None:
    if row is None:
        with pytest.raises(PoNetError, match=r"Row 1 of '.*a\.csv' has 3 fields"):
            rows(tmp_path / "a.csv", content)
        return
    assert rows(tmp_path / "a.csv", content)[:2] == [columns, row]


def test_a_value_in_a_column_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match=r"Row 2 of '.*a\.csv' has 'note' in a column without a name"):
        rows(tmp_path / "a.csv", "text,label,,\na,b,,\na,b,,note\n")
    with pytest.raises(PoNetError, match="more than one column without a name"):
        rows(tmp_path / "a.csv", ",,text\n1,2,a\n")


def test_blank_lines_of_a_single_column_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text\na\n\n""\nb\n\n')
    table = read_table(tmp_path / "a.csv")
    assert table.data.column("text").to_pylist() == ["a", "", "b"]
    assert table.notices == [f"2 blank lines of '{tmp_path / 'a.csv'}' are no rows: left out."]


def test_a_row_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ponet.data import streams

    monkeypatch.setattr(streams, "BLOCK", 100)
    monkeypatch.setattr(module, "SNIFFED", 10)
    monkeypatch.setattr(module, "LONGEST_ROW", 500)
    with pytest.raises(PoNetError, match=r"Row 1 of '.*a\.csv' is longer than 500"):
        rows(tmp_path / "a.csv", "text,label\n" + "a" * 5000 + ",b\n")
    long = '"' + "a" * 5000  # such a mark isn't looked for to the end of the world
    assert rows(tmp_path / "a.csv", f"text,label\n{'a' * 300},b\n{long[:400]},b\nc,d\n")[2] == [long[:400], "b"]


def test_the_position_reaches_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    with ByteStream(tmp_path / "a.csv") as stream:
        list(module.CsvRows(stream))
        assert stream.position == stream.size
