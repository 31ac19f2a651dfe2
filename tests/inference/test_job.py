"""A source through a model into files: every format, columns carried along, and a stop at any place."""

import csv
import datetime
import io
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.inference.fake import Letters, Vectors

import ponet.inference.documents as documents
import ponet.inference.parts as parts
from ponet.data.inputs import Source
from ponet.inference.job import annotate_to_file, annotate_to_stream, check_output
from ponet.utils.errors import PoNetError

ROWS = 23


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "BLOCK_TEXTS", 4)
    monkeypatch.setattr(parts, "PART_SECONDS", 0.0)
    monkeypatch.setattr(parts, "PART_SHARE", 0.0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{"text": f"text {i} " * (i % 5), "id": i, "label": "old", "note": None} for i in range(ROWS)]
    rows[7]["id"] = "seven"
    rows[20]["late"] = [1.5]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(source: Path, out: Path, model: Any = None, keep: tuple[str, ...] | None = (), **options: Any) -> list[str]:
    said: list[str] = []
    place = Source(str(source), keep=keep)
    annotate_to_file(place, model or Letters(), out, say=said.append, **options)
    return said


def test_the_formats_hold_the_same(source: Path, tmp_path: Path) -> None:
    for suffix in ("jsonl", "csv", "parquet"):
        run(source, tmp_path / f"out.{suffix}", keep=("id",))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(ROWS))
    assert lines[3] == {
        "index": 3,
        "id": "3",  # one row's is a text
        "label": "text ",
        "scores": {"long": 1.0, "short": 0.25},
        "truncated": True,
    }
    assert "truncated" not in lines[1]
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [{k: v for k, v in row.items() if k != "truncated" or v} for row in rows] == lines
    with (tmp_path / "out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["id"] for row in table] == [line["id"] for line in lines]
    assert [float(row["scores.long"]) for row in table] == [line["scores"]["long"] for line in lines]
    assert [row["truncated"] for row in table[:5]] == ["", "", "", "true", "true"]
    assert not list(tmp_path.glob("*.parts"))


def test_standard_output_and_file_are_the_same(source: Path, tmp_path: Path) -> None:
    stream = io.StringIO()
    annotate_to_stream(Source(str(source)), Letters(), stream)
    run(source, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == stream.getvalue()


def test_all_columns_are_carried_along_under_names_of_their_own(source: Path, tmp_path: Path) -> None:
    said = run(source, tmp_path / "out.jsonl", keep=None)
    assert any("'label' as 'input_label'" in each for each in said)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {line["input_label"] for line in lines} == {"old"}
    assert [line["late"] for line in lines] == [[1.5] if i == 20 else None for i in range(ROWS)]
    assert lines[7]["id"] == "seven"
    assert {line["note"] for line in lines} == {None}


def test_blank_texts_are_counted_and_said(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"text": "a"}\n{"text": null}\n{"text": " \\n"}\n{"id": 5}\n')
    said = run(source, tmp_path / "out.jsonl")
    assert said[-1] == "3 of 4 texts are blank: their rows are what any such text gets."
    source.write_text('{"text": "a"}\n{"text": "b"}\n')
    assert not any("blank" in each for each in run(source, tmp_path / "other.jsonl"))


def test_types_of_parquet_stay(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  # as most files have it
    columns: dict[str, Any] = {
        "text": ["a"] * 9,
        "small": pa.array(range(9), pa.int16()),
        "at": pa.array([day] * 9, pa.timestamp("ms")),
        "tags": pa.array([["x"], []] * 4 + [None], pa.list_(pa.string())),
        "kind": pa.array(["k"] * 9).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet", row_group_size=2)
    run(tmp_path / "in.parquet", tmp_path / "out.parquet", keep=("small", "at", "tags", "kind"))
    schema, rows = pq.read_schema(tmp_path / "out.parquet"), pq.read_table(tmp_path / "out.parquet")
    assert [schema.field(name).type for name in ("small", "at", "tags")] == [
        columns[n].type for n in ("small", "at", "tags")
    ]
    for name in ("small", "at", "tags", "kind"):
        assert rows.column(name).to_pylist() == columns[name].to_pylist()
    run(tmp_path / "in.parquet", tmp_path / "out.csv", keep=("at",))
    assert "2026-01-02T03:04:05" in (tmp_path / "out.csv").read_text()


def test_vectors(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out.npy", Vectors())
    run(source, tmp_path / "out.parquet", Vectors())
    run(source, tmp_path / "out.csv", Vectors())
    vectors = np.load(tmp_path / "out.npy")
    assert (vectors.shape, vectors.dtype) == ((ROWS, 2), np.float32)
    assert pq.read_table(tmp_path / "out.parquet").column("embedding").to_pylist() == vectors.tolist()
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [json.loads(row["embedding"]) for row in csv.DictReader(file)] == vectors.tolist()
    with pytest.raises(PoNetError, match="vectors alone"):
        run(source, tmp_path / "other.npy", Vectors(), keep=("id",))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "txt", "folder"])
@pytest.mark.parametrize("stop", [1, 4, 11, 22])
def test_a_stop_loses_and_doubles_no_row(tmp_path: Path, suffix: str, stop: int) -> None:
    texts = [f"text {i}" for i in range(ROWS)]
    place = tmp_path / "in" / f"rows.{suffix}"
    place.parent.mkdir()
    if suffix == "folder":
        place = place.parent
        for i, text in enumerate(texts):
            (place / f"{i:03}.txt").write_text(text)
    elif suffix == "parquet":
        pq.write_table(pa.table({"text": texts}), place, row_group_size=5)
    else:
        lines = [json.dumps({"text": text}) for text in texts] if suffix == "jsonl" else texts
        place.write_text("".join(line + "\n" for line in (["text"] if suffix == "csv" else []) + lines))
    out = tmp_path / "out.jsonl"
    run(place, out)
    whole = out.read_text()
    assert len(whole.splitlines()) == ROWS
    out.unlink()
    with pytest.raises(PoNetError, match="enough"):
        run(place, out, Stopping(stop))
    assert not out.exists()
    again = Letters()
    said = run(place, out, again)
    assert out.read_text() == whole
    assert again.seen == ROWS - stop // 4 * 4
    assert any("are done already" in each for each in said) == (stop >= 4)
    assert not list(tmp_path.glob("*.parts"))


class Stopping(Letters):
    """Ends with an error once it has seen so many documents."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def annotate(self, documents: list[Any]) -> pa.Table:
        if self.seen + len(documents) > self.rows:
            raise PoNetError("enough")
        return super().annotate(documents)


def test_ctrl_c_keeps_what_is_done_and_says_so(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Letters):
        def annotate(self, documents: list[Any]) -> pa.Table:
            if self.seen == 8:
                raise KeyboardInterrupt
            return super().annotate(documents)

    monkeypatch.setattr(parts, "PART_SECONDS", 1000.0)  # nothing is written before
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        annotate_to_file(Source(str(source)), Interrupted(), tmp_path / "out.jsonl", say=said.append)
    assert said == [f"8 rows are kept in '{tmp_path / 'out.jsonl.parts'}': the same command goes on behind them."]
    again = Letters()
    run(source, tmp_path / "out.jsonl", again)
    assert again.seen == ROWS - 8


def test_another_job_is_not_mixed_in(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(PoNetError):
        run(source, out, Stopping(9))
    kept = sorted(path.name for path in (tmp_path / "out.jsonl.parts").iterdir())
    with pytest.raises(PoNetError, match=r"another model: .* delete '.*parts' to start over"):
        run(source, out, Letters(version=1))
    with pytest.raises(PoNetError, match="another input"):
        run(source, out, keep=("id",))
    with source.open("a") as file:
        file.write('{"text": "more"}\n')
    with pytest.raises(PoNetError, match="another input"):
        run(source, out)
    assert sorted(path.name for path in (tmp_path / "out.jsonl.parts").iterdir()) == kept


def test_damaged_and_missing_parts_are_named(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(PoNetError):
        run(source, out, Stopping(13))
    first, second, _ = sorted((tmp_path / "out.jsonl.parts").glob("*.arrow"))
    data = second.read_bytes()
    second.write_bytes(data[: len(data) // 2])
    with pytest.raises(PoNetError, match=f"{second.name}' is damaged"):
        run(source, out)
    second.write_bytes(data)
    first.unlink()
    with pytest.raises(PoNetError, match="lacks the rows from 0"):
        run(source, out)


def test_a_broken_row_keeps_what_was_done_and_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "fine"}\n' * 1030 + "broken\n")
    with pytest.raises(PoNetError, match="Line 1,031"):
        run(path, tmp_path / "out.jsonl")
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["out.jsonl.parts", "rows.jsonl"]
    path.write_text("broken\n")
    with pytest.raises(PoNetError, match="Line 1 "):
        run(path, tmp_path / "none" / "out.jsonl")
    assert not (tmp_path / "none").exists()


def test_standard_input_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.jsonl"
    lines = "".join(f"text {i}\n" for i in range(9))
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    with pytest.raises(PoNetError):
        run(Path("-"), out, Stopping(4))
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    run(Path("-"), out)
    assert len(out.read_text().splitlines()) == 9


def test_worker_processes_change_nothing(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "one.jsonl")
    run(source, tmp_path / "two.jsonl", workers=2)
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_what_is_refused_before_a_model_is_opened(source: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name, out, workers, says in [
        (str(source), source, 1, "is the input"),
        (str(source), tmp_path / "folder.csv", 1, "is a folder"),
        (str(source), tmp_path / "out.xlsx", 1, "by its suffix"),
        (str(source), tmp_path / "out.npy", 1, "by its suffix"),
        ("-", tmp_path / "out.csv", 2, "--workers"),
        (str(tmp_path / "none.csv"), None, 1, "There is no"),
    ]:
        with pytest.raises(PoNetError, match=says):
            check_output(Source(name), out, vectors=False, workers=workers)
    with pytest.raises(PoNetError, match="no column 'it' to keep"):
        run(source, tmp_path / "out.csv", keep=("it",))
    (tmp_path / "lines.txt").write_text("a\n")
    with pytest.raises(PoNetError, match="is no table"):
        run(tmp_path / "lines.txt", tmp_path / "out.csv", keep=("id",))
    (tmp_path / "lines.txt").write_text("")
    with pytest.raises(PoNetError, match="holds no documents"):
        run(tmp_path / "lines.txt", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


SCRIPT = """
import sys, time
from pathlib import Path
import ponet.inference.documents as documents
import ponet.inference.parts as parts
from ponet.data.inputs import Source
from ponet.inference.job import annotate_to_file
from tests.inference.fake import Letters

class Slow(Letters):
    def annotate(self, documents):
        time.sleep(0.01)
        return super().annotate(documents)

documents.BLOCK_TEXTS, parts.PART_SECONDS = 100, 0.02
annotate_to_file(Source(sys.argv[1], keep=("id",)), Slow(), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_killed_at_any_time(tmp_path: Path) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"text": f"text {i}", "id": i}) + "\n" for i in range(20_000)))
    command = [sys.executable, "-c", SCRIPT, str(source), str(out)]
    kills, number = 0, random.Random(0)
    while True:
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
        before = len(list(tmp_path.glob("*.parts/*.arrow")))
        while process.poll() is None and len(list(tmp_path.glob("*.parts/*.arrow"))) <= before:
            time.sleep(0.01)  # it hasn't begun
        time.sleep(number.uniform(0, 0.5))
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        kills += 1
    assert process.returncode == 0, process.communicate()[1]
    assert kills > 1
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == list(range(20_000))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]
