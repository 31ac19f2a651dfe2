"""Retrieval: the published pairs of papers, whole and broken."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ponet.config.lra import DataOptions
from ponet.tasks.lra import published
from ponet.tasks.lra.data import LraData, open_data
from ponet.utils.errors import PoNetError

ROWS = [f"{i % 2}.0\tP{i}\tQ{i}\tb'paper {i}'\tb'other {i}'{'y' * 4100 * (i == 3)}\n" for i in range(12)]


def archive(folder: Path) -> Path:
    folder = folder / "lra_release" / "lra_release" / "tsv_data"
    folder.mkdir(parents=True)
    for name, rows in (("train", ROWS[:8]), ("eval", ROWS[8:10]), ("test", ROWS[10:])):
        (folder / f"new_aan_pairs.{name}.tsv").write_text("".join(rows))
    return folder


def opened(folder: Path) -> LraData:
    return open_data("retrieval", DataOptions(source=str(folder / "lra_release"), cache=folder / "c", workers=1))


def text(ids: np.ndarray) -> str:
    return (ids - 1).astype(np.uint8).tobytes().decode()


def test_published_pairs(tmp_path: Path) -> None:
    archive(tmp_path)
    data = opened(tmp_path)
    rows = [row for split in ("train", "validation", "test") for row in data.splits[split]]
    assert [row["label"] for row in rows] == [i % 2 for i in range(12)]
    assert [text(row["input_ids"]) for row in rows] == [f"b'paper {i}'" for i in range(12)]
    assert text(rows[4]["input_ids_2"]) == "b'other 4'"
    assert len(rows[3]["input_ids_2"]) == 4000
    assert data.facts["notes"]["cut"] == 1
    assert "train: 8 examples, officially 147,086." in data.notices


@pytest.mark.parametrize("size", [1, 40, 5000])
def test_blocks_are_whole_lines(tmp_path: Path, size: int) -> None:
    path = archive(tmp_path) / "new_aan_pairs.train.tsv"
    lines = [pair for block in published.blocks(path, size=size) for pair in block.lines()]
    assert lines == [(i + 1, ROWS[i].rstrip("\n").encode()) for i in range(8)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.0\ta\tb\tone text\n", r"line 9, has 4 columns instead of 5"),
        ("1.0\ta\tb\tone\ttwo\tthree\n", r"line 9, has 6 columns instead of 5"),
        ("yes\ta\tb\tone\ttwo\n", r"line 9, has the label 'yes', not 0\.0 or 1\.0"),
        ("\n", r"line 9, has 1 columns"),
        ("1.0\ta\tb\tone\ttw", r"line 9, has no end: the file has been cut off"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = archive(tmp_path) / "new_aan_pairs.train.tsv"
    path.write_text(path.read_text() + line)
    with pytest.raises(PoNetError, match=r"new_aan_pairs\.train\.tsv', " + message):
        opened(tmp_path)


def test_a_cut_file_is_found_before_any_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path) / "new_aan_pairs.test.tsv"
    path.write_text(path.read_text()[:-3])
    read: list[object] = []
    monkeypatch.setattr(published, "blocks", lambda path, header: read.append(path))
    with pytest.raises(PoNetError, match=r"test\.tsv', line 2, has no end"):
        opened(tmp_path)
    assert read == []


def test_a_wrong_line_in_a_later_block_has_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path) / "new_aan_pairs.train.tsv"
    path.write_text("".join(ROWS[:7]) + "broken\n")
    monkeypatch.setattr(published, "blocks", partial(published.blocks, size=50))
    with pytest.raises(PoNetError, match=r"train\.tsv', line 8, has 1 columns"):
        opened(tmp_path)


def test_an_empty_or_missing_file(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    (folder / "new_aan_pairs.eval.tsv").write_text("")
    with pytest.raises(PoNetError, match=r"eval\.tsv' is empty"):
        opened(tmp_path)
    (folder / "new_aan_pairs.eval.tsv").unlink()
    with pytest.raises(PoNetError, match=r"has no 'tsv_data/new_aan_pairs\.eval\.tsv'"):
        opened(tmp_path)


def test_without_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONET_DATA", str(tmp_path))
    with pytest.raises(PoNetError, match="name the folder 'lra_release'"):
        open_data("retrieval", DataOptions(cache=tmp_path / "c"))
    archive(tmp_path)
    assert len(open_data("retrieval", DataOptions(cache=tmp_path / "c", workers=1)).splits["train"]) == 8
