"""Files of every kind, whole and broken."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ponet.data import streams
from ponet.data.streams import ByteStream
from ponet.data.tables import read_table
from ponet.utils.errors import PoNetError

Write = Callable[..., Path]
HUGE = "word " * 1_048_576
"""5 MB without a line break."""


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, write_rows: Write, name: str) -> None:
    rows = [{"text": 'He said "no", twice;\tthen\nleft. ü', "label": "x"}, {"text": "", "label": "y"}]
    if name.endswith("tsv"):
        rows[0]["text"] = "no tab, no quotation mark. ü"
    table = read_table(write_rows(tmp_path / name, rows))
    assert table.data.to_pylist() == rows


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.parquet"])
def test_a_five_megabyte_document_on_one_line_simply_works(tmp_path: Path, write_rows: Write, name: str) -> None:
    rows = [{"text": HUGE, "label": "x"}, {"text": "short", "label": "y"}]
    texts = read_table(write_rows(tmp_path / name, rows)).data.column("text").to_pylist()
    assert [len(text) for text in texts] == [len(HUGE), 5]
    assert texts[0] == HUGE


def test_numbers_in_a_csv_stay_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n007,01\nNA,null\n2020-01-01,1e3\n")
    table = read_table(tmp_path / "a.csv").data
    assert table.column("text").to_pylist() == ["007", "NA", "2020-01-01"]
    assert table.column("label").to_pylist() == ["01", "null", "1e3"]


def test_byte_order_marks_are_no_part_of_a_column_name(tmp_path: Path) -> None:
    for name, text in (("a.csv", "text,label\na,b\n"), ("a.jsonl", '{"text": "a", "label": "b"}\n')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert read_table(tmp_path / name).columns == ["text", "label"]


@pytest.mark.parametrize(("separator", "shown"), [(";", "';'"), ("\t", "tab"), ("|", "'|'")])
def test_a_csv_with_another_separator_is_read_and_said(
    tmp_path: Path, write_rows: Write, separator: str, shown: str
) -> None:
    table = read_table(write_rows(tmp_path / "a.csv", [{"text": "one, two", "label": "x"}], separator))
    assert table.data.to_pylist() == [{"text": "one, two", "label": "x"}]
    assert table.notices == [f"The columns of '{tmp_path / 'a.csv'}' are separated by {shown}."]


def test_a_stray_quotation_mark_in_a_tsv_swallows_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tlabel\n"open\t0\nplain\t1\n"again\t0\n')
    table = read_table(tmp_path / "a.tsv")
    assert table.data.column("text").to_pylist() == ['"open', "plain", '"again']
    assert "doesn't quote its fields: all quotation marks are read as text" in table.notices[0]


def test_a_quoted_tsv_field_may_hold_tabs_and_line_breaks(tmp_path: Path, write_rows: Write) -> None:
    rows = [{"text": "a\tb\nc", "label": "0"}, {"text": "d", "label": "1"}]
    assert read_table(write_rows(tmp_path / "a.tsv", rows)).data.to_pylist() == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\n", "is empty"),
        ("a.csv", b"text,label\n", r"columns \(text, label\) but no rows"),
        ("a.csv", b"text,label\nfine,1\none,two,three\n", "Row 2 of .* has 3 fields where the header has 2"),
        ("a.csv", b"text,label\nfine,1\nalone\n", "Row 2 of .* has 1 fields"),
        ("a.csv", b'text,label\n"never, closed,1\nb,2\n', "Row 1 of .* quotes"),
        ("a.csv", b"text,text\na,b\n", "more than one column 'text'"),
        ("a.csv", b"text,label\ncaf\xe9,1\n", r"isn't UTF-8 text \(byte 14 is 0xe9\).*iconv"),
        ("a.csv", "text,label\na,b\n".encode("utf-16"), "is UTF-16"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "b"\n', "Line 2 of .* isn't valid JSON"),
        ("a.jsonl", b'{"text": "a"}\n[1, 2]\n', "Line 2 of .* isn't a record"),
        ("a.jsonl", b"\n \n", "has no rows"),
        ("a.json", b'{"text": ["a", "b"], "label": [1]}', "different lengths"),
        ("a.json", b"[1, 2]", "Record 1 of .* isn't a record"),
        ("a.json", b'[{"text": "a"}', "isn't valid JSON"),
        ("a.json", b"[" * 100_000, "can't be read as JSON"),
        ("a.parquet", b"PAR1 this is none", "isn't a whole Parquet file"),
        ("a.xlsx", b"PK", r"ends in '\.xlsx'.*\.csv"),
        ("a", b"text", "can't be read as rows"),
    ],
)
def test_a_broken_file_is_one_sentence_that_names_it(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PoNetError, match=message) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_truncated_parquet_file_is_said_so(tmp_path: Path, write_rows: Write, reviews: Callable[..., Any]) -> None:
    path = write_rows(tmp_path / "a.parquet", reviews())
    whole = path.read_bytes()
    for size in (len(whole) // 2, len(whole) - 1, 4):
        path.write_bytes(whole[:size])
        with pytest.raises(PoNetError, match="isn't a whole Parquet file"):
            read_table(path)
    damaged = bytearray(whole)
    damaged[8 : len(whole) // 2] = bytes(len(whole) // 2 - 8)
    path.write_bytes(damaged)
    with pytest.raises(PoNetError, match="isn't a whole Parquet file"):
        read_table(path)


def test_missing_unreadable_and_folder(tmp_path: Path, write_rows: Write, reviews: Callable[..., Any]) -> None:
    with pytest.raises(PoNetError, match=r"There is no '.*none\.csv'"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(PoNetError, match="is a folder"):
        read_table(tmp_path / "folder.csv")
    locked = write_rows(tmp_path / "locked.csv", reviews())
    locked.chmod(0)
    if not os.access(locked, os.R_OK):  # root reads everything
        with pytest.raises(PoNetError, match="No permission"):
            read_table(locked)


def test_the_byte_of_broken_utf8_is_right_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> None:
        with ByteStream(tmp_path / "a.csv") as stream:
            list(stream.blocks())

    monkeypatch.setattr(streams, "BLOCK", 16)
    for at in range(10, 40):
        content = ("é" * 30).encode()[:60]
        broken = content[: at - at % 2] + b"\xff" + content[at - at % 2 :]
        (tmp_path / "a.csv").write_bytes(broken)
        with pytest.raises(PoNetError, match=rf"byte {at - at % 2} is 0xff"):
            read()
    (tmp_path / "a.csv").write_bytes(b"x" * 31 + "é".encode()[:1])
    with pytest.raises(PoNetError, match="byte 31 is 0xc3"):
        read()


def test_json_in_its_usual_shapes(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    shapes = {
        "records": json.dumps(rows),
        "columns": json.dumps({"text": ["a", "b"], "label": [1, 0]}),
        "under data": json.dumps({"version": 1, "data": rows}),
        "lines": "\n".join(map(json.dumps, rows)),
    }
    for name, text in shapes.items():
        (tmp_path / "a.json").write_text(text)
        assert read_table(tmp_path / "a.json").data.to_pylist() == rows, name


def test_records_with_missing_keys_mixed_types_and_half_characters(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": 1}', '{"label": "1", "note": [1]}', '{"text": "\\ud83d", "note": null}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert read_table(tmp_path / "a.jsonl").data.to_pylist() == [
        {"text": "a", "label": "1", "note": None},
        {"text": None, "label": "1", "note": [1]},
        {"text": "?", "label": None, "note": None},
    ]


def test_class_names_of_a_datasets_file_are_read(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    datasets.disable_progress_bars()
    data = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    data.to_parquet(str(tmp_path / "a.parquet"))
    assert read_table(tmp_path / "a.parquet").class_names == {"label": ["neg", "pos"]}
