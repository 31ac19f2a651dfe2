"""Documents from tables of any size: the same whatever the format, a bounded number at a time, from any row on."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ponet.data.tables as rows
from ponet.data.inputs import Source
from ponet.inference.progress import Pace
from ponet.utils.errors import PoNetError

TEXTS = [f"text {i}" for i in range(10)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same rows in every format, read three at a time."""
    monkeypatch.setattr(rows, "BATCH_ROWS", 3)
    monkeypatch.chdir(tmp_path)
    records = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    Path("a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    Path("a.json").write_text(json.dumps(records))
    Path("a.csv").write_text("id,text\n" + "".join(f"{i},{text}\n" for i, text in enumerate(TEXTS)))
    Path("a.csv.gz").write_bytes(gzip.compress(Path("a.csv").read_bytes()))
    Path("a.tsv").write_text(Path("a.csv").read_text().replace(",", "\t"))
    pq.write_table(pa.Table.from_pylist(records), "a.parquet", row_group_size=4)
    return tmp_path


def texts(source: Source, skip: int = 0) -> list[str]:
    return [item.text for item in source.open(skip) if item is not None]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.csv.gz", "a.tsv", "a.parquet"])
def test_every_format_from_any_row_on(folder: Path, name: str) -> None:
    for skip in (0, 1, 3, 4, 8, 10):
        assert texts(Source(name), skip) == TEXTS[skip:]
    inputs = Source(name, keep=("id",)).open(5)
    kept = [item.row for item in inputs if item is not None]
    assert [int(row["id"]) for row in kept if row] == [5, 6, 7, 8, 9]
    assert inputs.position == inputs.size == Path(name).stat().st_size


def test_row_groups_that_are_done_are_not_read(folder: Path) -> None:
    stream = rows.RowStream([Path("a.parquet")])
    data = bytearray(Path("a.parquet").read_bytes())
    start = pq.ParquetFile("a.parquet").metadata.row_group(0).column(1).data_page_offset
    data[start : start + 20] = bytes(20)
    Path("a.parquet").write_bytes(data)
    assert [text for batch in stream.batches(["text"], 4) for text in batch["text"].to_pylist()] == TEXTS[4:]
    with pytest.raises(PoNetError, match="isn't a whole Parquet file"):
        list(stream.batches(["text"], 3))


def test_a_folder_of_tables_is_one(folder: Path) -> None:
    (folder / "many").mkdir()
    for number in range(3):
        pq.write_table(pa.table({"text": TEXTS[3 * number : 3 * number + 3]}), f"many/part-{number}.parquet")
    for skip in (0, 2, 3, 7, 9):
        assert texts(Source("many"), skip) == TEXTS[skip:9]
    pq.write_table(pa.table({"body": TEXTS}), "many/part-3.parquet")
    with pytest.raises(PoNetError, match=r"part-3\.parquet' has no column 'text'"):
        texts(Source("many"))


def test_what_a_half_written_table_says(folder: Path) -> None:
    Path("half.parquet").write_bytes(Path("a.parquet").read_bytes()[:-100])
    with pytest.raises(PoNetError, match="isn't a whole Parquet file"):
        Source("half.parquet").open()


def test_notices_are_there_at_the_end(folder: Path) -> None:
    Path("b.csv").write_text('text;id\n"quoted;1\nfine;2\n')
    inputs = Source("b.csv").open()
    assert [item.text for item in inputs if item] == ['"quoted', "fine"]
    assert any("separated by ';'" in notice for notice in inputs.notices)
    assert any("quotation mark" in notice for notice in inputs.notices)


def test_what_is_no_text_in_a_later_row_becomes_one(folder: Path) -> None:
    Path("b.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n{"id": 1}\n{"text": 5}\n{"text": null}\n')
    assert texts(Source("b.jsonl")) == ["a", "b", "c", "", "5", ""]


def test_the_identity_changes_with_the_file_and_the_columns(folder: Path) -> None:
    before = Source("a.csv").identity()
    assert Source("a.csv").identity() == before
    assert Source("a.csv", keep=("id",)).identity() != before
    Path("a.csv").write_text(Path("a.csv").read_text().replace("text 5", "text x"))
    assert Source("a.csv").identity() != before


def test_the_pace_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 110.0])
    monkeypatch.setattr("ponet.inference.progress.time.monotonic", lambda: next(clock))
    pace = Pace(size=1000, rows=500)
    pace.update(500, 500)  # what an earlier process did, read over
    pace.update(600, 600)
    assert str(pace) == "600 rows, 10.0 rows/s, 40 s left"
