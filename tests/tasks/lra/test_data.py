"""Preparing data: whatever goes wrong, a clear sentence, nothing lost that was made, and never wrong data."""

import errno
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponet.config.lra import DataOptions
from ponet.tasks.lra import build, parts
from ponet.tasks.lra.build import prepare
from ponet.tasks.lra.cache import MANIFEST, open_cache
from ponet.tasks.lra.data import TASKS, LraData, cache_folder, fresh_test, get_lra_task, open_data
from ponet.tasks.lra.plan import Plan, Stream
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError

SIZES = {"train": 25, "validation": 5, "test": 6}
TASK = replace(TASKS["listops"], official=SIZES)


def make(log: Path, delay: float, job: int) -> Examples:
    """Ten examples, each `[job, place, ...]`, the first two the same ones in every part."""
    with log.open("a") as file:
        file.write(f"{job}\n")
    time.sleep(delay)
    rows = [[9, place] if place < 2 else [job, *range(place)] for place in range(10)]
    lengths = np.array([len(row) for row in rows])
    return Examples([np.concatenate(rows).astype(np.uint8)], [lengths], np.arange(10, dtype=np.uint8), {"cut": 1})


def plan(log: Path, delay: float = 0.0, **changes: Any) -> Plan:
    """A data set of 36 examples that takes 5 parts."""
    stream = Stream(partial(make, log, delay), None, SIZES, per_job=10, distinct=True)
    values: dict[str, Any] = {
        "task": "listops",
        "version": 1,
        "parameters": {"seed": 0},
        "source": "a test",
        "streams": lambda: [stream],
    }
    return Plan(**{**values, **changes})


def read(folder: Path, of: Plan, verify: bool = False) -> LraData:
    return open_cache(folder, of, TASK, DataOptions(), verify)


def jobs(log: Path) -> list[int]:
    return sorted(int(line) for line in log.read_text().split()) if log.is_file() else []


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_build_and_what_it_says(tmp_path: Path, log: Path) -> None:
    of = plan(log)
    folder = prepare(of, tmp_path / "cache", workers=1)
    data = read(folder, of, verify=True)
    assert {split: len(store) for split, store in data.splits.items()} == SIZES
    rows = [tuple(row["input_ids"]) for store in data.splits.values() for row in store]
    assert len(set(rows)) == 36
    assert data.facts["notes"] == {"cut": 5}
    assert data.facts["seed"] == 0
    assert jobs(log) == [0, 1, 2, 3, 4]
    assert not list(folder.glob("parts*"))
    assert prepare(of, tmp_path / "cache", workers=1) == folder
    assert jobs(log) == [0, 1, 2, 3, 4]
    json.dumps(data.facts)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_build_that_fails_goes_on_where_it_was(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = plan(log)
    whole = prepare(of, tmp_path / "whole", workers=1)
    log.unlink()
    written = parts.write_part

    def fail(function: Any, job: int, path: Path) -> None:
        if job == 3:
            raise PoNetError("stopped")
        written(function, job, path)

    monkeypatch.setattr(build, "write_part", fail)
    with pytest.raises(PoNetError, match="stopped"):
        prepare(of, tmp_path / "cache", workers=1)
    assert jobs(log) == [0, 1, 2]
    folder = tmp_path / "cache" / of.folder
    assert not (folder / MANIFEST).exists()
    with pytest.raises(PoNetError, match="There is no"):
        read(folder, of)
    monkeypatch.setattr(build, "write_part", written)
    prepare(of, tmp_path / "cache", workers=1)
    assert jobs(log) == [0, 1, 2, 3, 4]
    assert contents(folder) == contents(whole)


def test_a_part_that_was_damaged_meanwhile_is_made_again(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = plan(log)
    whole = prepare(of, tmp_path / "whole", workers=1)
    written = parts.write_part

    def damage(function: Any, job: int, path: Path) -> None:
        written(function, job, path)
        if job == 2 and jobs(log).count(2) == 2:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(bytes(content))

    monkeypatch.setattr(build, "write_part", damage)
    folder = prepare(of, tmp_path / "cache", workers=1)
    assert jobs(log).count(2) == 3
    assert contents(folder) == contents(whole)


def full_disk(*arguments: Any, **options: Any) -> None:
    arguments[0].write(b"a part of it")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("function", ["savez", "save"])
def test_a_full_disk(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    of = plan(log)
    kept = getattr(np, function)
    monkeypatch.setattr(np, function, full_disk)
    with pytest.raises(PoNetError, match=r"The disk is full: '.*' could not be written\. Free some space"):
        prepare(of, tmp_path / "cache", workers=1)
    folder = tmp_path / "cache" / of.folder
    assert not [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith((".npz", ".bin"))]
    monkeypatch.setattr(np, function, kept)
    assert prepare(of, tmp_path / "cache", workers=1) == folder
    read(folder, of, verify=True)


def build_elsewhere(cache: Path, log: Path, delay: float) -> None:
    prepare(plan(log, delay), cache, workers=1)


def started(cache: Path, log: Path, delay: float, until: Callable[[], bool]) -> multiprocessing.Process:
    child = multiprocessing.get_context("fork").Process(target=build_elsewhere, args=(cache, log, delay))
    child.start()
    while not until():
        assert child.is_alive()
        time.sleep(0.01)
    return child


def test_a_build_that_was_killed(tmp_path: Path, log: Path) -> None:
    of = plan(log)
    whole = prepare(of, tmp_path / "whole", workers=1)
    log.unlink()
    child = started(tmp_path / "cache", log, 0.1, lambda: len(jobs(log)) == 3)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    folder = tmp_path / "cache" / of.folder
    assert not (folder / MANIFEST).exists()
    (folder / "train.tokens0.bin").write_bytes(b"half a file of the one that was killed")
    (folder / ".train.labels.npy.a1b2c3d4.tmp").write_bytes(b"and a temporary one")
    prepare(of, tmp_path / "cache", workers=1)  # the lock has ended with its process
    assert jobs(log).count(0) == 1
    assert contents(folder) == contents(whole)


def test_two_builds_at_once(tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of = plan(log)
    child = started(tmp_path / "cache", log, 0.05, lambda: len(jobs(log)) > 0)
    folder = prepare(of, tmp_path / "cache", workers=1)
    child.join()
    assert "Another process is preparing listops: waiting for it." in capsys.readouterr().err
    assert jobs(log) == [0, 1, 2, 3, 4]
    read(folder, of, verify=True)


def test_two_builds_in_threads(tmp_path: Path, log: Path) -> None:
    threads = [threading.Thread(target=build_elsewhere, args=(tmp_path, log, 0.01)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert jobs(log) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_workers_do_not_change_the_data(tmp_path: Path) -> None:
    options = DataOptions(train_size=500, validation_size=50, test_size=9_000, contour_length=6)
    one, two = (
        open_data("pathfinder", replace(options, cache=tmp_path / str(workers), workers=workers)) for workers in (1, 2)
    )
    assert one.facts["checksum"] == two.facts["checksum"]


@pytest.mark.slow
def test_a_worker_that_fails_says_why(tmp_path: Path, log: Path) -> None:
    def lines() -> list[Stream]:
        return [Stream(fail_at_three, None, {**SIZES, "test": 60}, per_job=10)]

    with pytest.raises(PoNetError, match="the third is wrong"):
        prepare(plan(log, streams=lines), tmp_path / "cache", workers=2)


def fail_at_three(job: int) -> Examples:
    if job == 3:
        raise PoNetError("the third is wrong")
    return make(Path(os.devnull), 0.0, job)


def prepared(tmp_path: Path, log: Path) -> tuple[Plan, Path]:
    source = tmp_path / "source.tsv"
    source.write_text("as it was")
    of = plan(log, inputs=lambda: {str(source): source.stat().st_size} if source.exists() else {})
    return of, prepare(of, tmp_path / "cache", workers=1)


def test_a_cache_of_other_parameters(tmp_path: Path, log: Path) -> None:
    of, folder = prepared(tmp_path, log)
    for other, what in (
        (replace(of, parameters={"seed": 1}), "parameter"),
        (replace(of, version=2), "version"),
        (replace(of, task="text"), "task"),
    ):
        assert other.folder != of.folder  # so that they don't meet, unless somebody renames a folder
        with pytest.raises(PoNetError, match=rf"holds data of another {what} .*Delete '.*', and it is made anew"):
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
    with pytest.raises(PoNetError, match="is damaged: its checksum is not that of the manifest"):
        read(folder, of, verify=True)
    tokens.write_bytes(content[:-1])
    with pytest.raises(PoNetError, match="is damaged: "):
        read(folder, of)
    tokens.unlink()
    with pytest.raises(PoNetError, match="is missing from the prepared data"):
        read(folder, of)
    for text, message in (('{"format": 1}', "is not a manifest of prepared data"), ('{"format', "is not valid JSON")):
        (folder / MANIFEST).write_text(text)
        with pytest.raises(PoNetError, match=message):
            read(folder, of)


def test_a_source_with_too_little(tmp_path: Path, log: Path) -> None:
    few = Stream(partial(make, log, 0.0), [0, 1], SIZES, per_job=10)
    with pytest.raises(PoNetError, match="has 20 examples where 36 are wanted"):
        prepare(plan(log, streams=lambda: [few]), tmp_path / "cache", workers=1)
    none = Stream(partial(make, log, 0.0), [0], {"train": 10, "test": None}, per_job=10)
    with pytest.raises(PoNetError, match="has no test example"):
        prepare(plan(log, streams=lambda: [none], version=2), tmp_path / "cache", workers=1)


def same(job: int) -> Examples:
    return make(Path(os.devnull), 0.0, 0)


def test_a_generator_that_has_no_more(tmp_path: Path, log: Path) -> None:
    stream = Stream(same, None, SIZES, per_job=10, distinct=True)
    with pytest.raises(PoNetError, match="Only 10 of 36 different examples of listops can be made"):
        prepare(plan(log, streams=lambda: [stream]), tmp_path / "cache", workers=1)


def test_a_folder_that_cannot_be_written(tmp_path: Path, log: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PoNetError, match="needs a folder where a file stands"):
        prepare(plan(log), tmp_path / "file", workers=1)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PONET_CACHE", raising=False)
    assert cache_folder(DataOptions()) == Path.home() / ".cache" / "ponet" / "lra"
    monkeypatch.setenv("PONET_CACHE", str(tmp_path))
    assert cache_folder(DataOptions()) == tmp_path / "lra"
    assert cache_folder(DataOptions(cache=tmp_path / "here")) == tmp_path / "here"


def test_impossible_options(tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match=r"has no task 'listop'\. Did you mean 'listops'"):
        get_lra_task("listop")
    with pytest.raises(PoNetError, match=r"'data.train_size' should be at least 1, not 0"):
        open_data("listops", DataOptions(cache=tmp_path, train_size=0))
    with pytest.raises(PoNetError, match=r"'data.workers' should be at least 1, not 0"):
        open_data("listops", DataOptions(cache=tmp_path, workers=0))
    with pytest.raises(PoNetError, match="0 fresh test examples"):
        fresh_test("listops", DataOptions(cache=tmp_path), seed=0, count=0)
    with pytest.raises(PoNetError, match="No new test data can be made for 'pathfinder'"):
        fresh_test("pathfinder", DataOptions(cache=tmp_path, source="lra_release"), seed=0, count=5)


def test_every_task_has_its_module() -> None:
    from importlib import import_module

    for task in TASKS.values():
        module = import_module(f"ponet.tasks.lra.{task.module}")
        assert callable(module.plan)
        assert hasattr(module, "fresh_plan") == task.generated
