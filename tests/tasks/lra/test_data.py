"""Building data sets: whatever goes wrong, a clear sentence, and never wrong data."""

import errno
import json
import os
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponet.artifacts import MANIFEST
from ponet.config.lra import DataOptions
from ponet.tasks.lra.data import LraData, build, fresh_test, open_cache, open_data
from ponet.tasks.lra.spec import TASKS, DatasetSpec, ExampleSource, cache_folder, get_lra_task
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError

SIZES = {"train": 25, "validation": 5, "test": 6}
TASK = replace(TASKS["listops"], official=SIZES)


def make(log: Path, delay: float, job: int) -> Examples:
    """Ten examples, each `[job, place, ...]`, the first two the same ones for every job."""
    with log.open("a") as file:
        file.write(f"{job}\n")
    time.sleep(delay)
    rows = [[9, place] if place < 2 else [job, *range(place)] for place in range(10)]
    lengths = np.array([len(row) for row in rows])
    return Examples([np.concatenate(rows).astype(np.uint8)], [lengths], np.arange(10, dtype=np.uint8), {"cut": 1})


def spec(log: Path, delay: float = 0.0, **changes: Any) -> DatasetSpec:
    """A data set of 36 examples that takes 5 jobs."""
    source = ExampleSource(partial(make, log, delay), None, SIZES, per_job=10, distinct=True)
    values: dict[str, Any] = {
        "task": "listops",
        "version": 1,
        "parameters": {"seed": 0},
        "source": "a test",
        "sources": lambda: [source],
    }
    return DatasetSpec(**{**values, **changes})


def read(folder: Path, of: DatasetSpec, verify: bool = False) -> LraData:
    return open_cache(folder, of, TASK, DataOptions(), verify)


def jobs(log: Path) -> list[int]:
    return sorted(int(line) for line in log.read_text().split()) if log.is_file() else []


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_build_and_what_it_says(tmp_path: Path, log: Path) -> None:
    of = spec(log)
    folder = build(of, tmp_path / "cache", workers=1)
    data = read(folder, of, verify=True)
    assert {split: len(store) for split, store in data.splits.items()} == SIZES
    rows = [tuple(row["input_ids"]) for store in data.splits.values() for row in store]
    assert len(set(rows)) == 36
    assert data.facts["notes"] == {"cut": 5}
    assert data.facts["seed"] == 0
    assert jobs(log) == [0, 1, 2, 3, 4]
    assert build(of, tmp_path / "cache", workers=1) == folder
    assert jobs(log) == [0, 1, 2, 3, 4]
    json.dumps(data.facts)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("stopped_at", ["making", "writing"])
def test_a_build_that_fails_leaves_nothing(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: str
) -> None:
    def full_disk(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if stopped_at == "writing":
            patch.setattr(np, "save", full_disk)
            of, message = spec(log), r"The disk is full: '.*' could not be written\. Free some space"
        else:
            source = ExampleSource(fail_at_three, None, SIZES, per_job=10)
            of, message = spec(log, sources=lambda: [source]), "the third is wrong"
        with pytest.raises(PoNetError, match=message):
            build(of, tmp_path / "cache", workers=1)
    assert not (tmp_path / "cache").exists()
    whole = build(spec(log), tmp_path / "whole", workers=1)
    assert contents(build(spec(log), tmp_path / "cache", workers=1)) == contents(whole)


def fail_at_three(job: int) -> Examples:
    if job == 3:
        raise PoNetError("the third is wrong")
    return make(Path(os.devnull), 0.0, job)


def test_builds_at_once_wait_for_the_first(tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = [threading.Thread(target=build, args=(spec(log, 0.02), tmp_path, 1)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "Another process is preparing listops: waiting for it." in capsys.readouterr().err
    assert jobs(log) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_do_not_change_the_data(tmp_path: Path, workers: int) -> None:
    sources = [ExampleSource(partial(make, Path(os.devnull), 0.0), None, {**SIZES, "test": 60}, 10, distinct=True)]
    one, many = (
        build(spec(tmp_path, sources=lambda: sources), tmp_path / str(number), workers=number)
        for number in (1, workers)
    )
    assert contents(one) == contents(many)


def prepared(tmp_path: Path, log: Path) -> tuple[DatasetSpec, Path]:
    source = tmp_path / "source.tsv"
    source.write_text("as it was")
    of = spec(log, inputs=lambda: {str(source): source.stat().st_size} if source.exists() else {})
    return of, build(of, tmp_path / "cache", workers=1)


def test_a_cache_of_other_parameters(tmp_path: Path, log: Path) -> None:
    of, folder = prepared(tmp_path, log)
    for other, what in (
        (replace(of, parameters={"seed": 1}), "parameter"),
        (replace(of, version=2), "version"),
        (replace(of, task="text"), "task"),
    ):
        assert other.folder != of.folder  # so that they don't meet, unless somebody renames a folder
        with pytest.raises(PoNetError, match=rf"holds data of another {what} .*Delete '.*', and it is made again"):
            read(folder, other)


def test_a_source_that_has_changed(tmp_path: Path, log: Path) -> None:
    of, folder = prepared(tmp_path, log)
    (tmp_path / "source.tsv").write_text("as it is now")
    with pytest.raises(PoNetError, match=r"was made when '.*source\.tsv' had 9 bytes, and now it has 12"):
        read(folder, of)
    (tmp_path / "source.tsv").unlink()
    assert len(read(folder, of).splits["train"]) == 25


def test_a_damaged_cache(tmp_path: Path, log: Path) -> None:
    of, folder = prepared(tmp_path, log)
    tokens = folder / "test.tokens0.bin"
    content = tokens.read_bytes()
    tokens.write_bytes(content[:-1] + b"\xff")
    read(folder, of)
    with pytest.raises(PoNetError, match="isn't what was written"):
        read(folder, of, verify=True)
    tokens.write_bytes(content[:-1])
    with pytest.raises(PoNetError, match="bytes where"):
        read(folder, of)
    tokens.unlink()
    with pytest.raises(PoNetError, match="is missing or can't be read"):
        read(folder, of)
    for text, message in (('{"format": 1}', "is not a manifest of prepared data"), ('{"format', "is not valid JSON")):
        (folder / MANIFEST).write_text(text)
        with pytest.raises(PoNetError, match=message):
            read(folder, of)


def test_a_source_with_too_little(tmp_path: Path, log: Path) -> None:
    few = ExampleSource(partial(make, log, 0.0), [0, 1], SIZES, per_job=10)
    with pytest.raises(PoNetError, match="has 20 examples where 36 are wanted"):
        build(spec(log, sources=lambda: [few]), tmp_path / "cache", workers=1)
    none = ExampleSource(partial(make, log, 0.0), [0], {"train": 10, "test": None}, per_job=10)
    with pytest.raises(PoNetError, match="has no test example"):
        build(spec(log, sources=lambda: [none], version=2), tmp_path / "cache", workers=1)


def same(job: int) -> Examples:
    return make(Path(os.devnull), 0.0, 0)


def test_a_generator_that_has_no_more(tmp_path: Path, log: Path) -> None:
    source = ExampleSource(same, None, SIZES, per_job=10, distinct=True)
    with pytest.raises(PoNetError, match="Only 10 of 36 different examples of listops can be made"):
        build(spec(log, sources=lambda: [source]), tmp_path / "cache", workers=1)


def test_a_folder_that_cannot_be_written(tmp_path: Path, log: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PoNetError, match="needs a folder where a file stands"):
        build(spec(log), tmp_path / "file", workers=1)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PONET_CACHE", raising=False)
    assert cache_folder(DataOptions()) == Path.home() / ".cache" / "ponet" / "lra"
    monkeypatch.setenv("PONET_CACHE", str(tmp_path))
    assert cache_folder(DataOptions()) == tmp_path / "lra"
    assert cache_folder(DataOptions(cache=tmp_path / "here")) == tmp_path / "here"


def test_impossible_options(tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match=r"has no task 'listop'\. Did you mean 'listops'"):
        get_lra_task("listop")
    with pytest.raises(PoNetError, match=r"train_size. should be at least 1, not 0"):
        open_data("listops", DataOptions(cache=tmp_path, train_size=0))
    with pytest.raises(PoNetError, match=r"workers. should be at least 1, not 0"):
        open_data("listops", DataOptions(cache=tmp_path, workers=0))
    with pytest.raises(PoNetError, match="0 fresh test examples"):
        fresh_test("listops", DataOptions(cache=tmp_path), seed=0, count=0)
    with pytest.raises(PoNetError, match="No new test data can be made for 'pathfinder'"):
        fresh_test("pathfinder", DataOptions(cache=tmp_path, source="lra_release"), seed=0, count=5)
