"""Folders are built once and never half, held by one process at a time, and workers never outlive their parent."""

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ponet import artifacts
from ponet.artifacts import LOCK, MANIFEST, STAGING, building, checksums, damage, locked, parallel_map, replacing_folder
from ponet.utils.errors import PoNetError


def build(folder: Path, text: str = "made", wait: bool = False, before_end: Callable[[], Any] = lambda: None) -> bool:
    """Whether this call made the folder."""
    with building(folder, "busy", wait) as made:
        if made is not None:
            (made / "below").mkdir()
            (made / "below" / "file").write_text(text)
            before_end()
            (made / MANIFEST).write_text("{}")
    return made is not None


def content(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


WHOLE = ["below", "below/file", MANIFEST]


def in_another_process(function: Callable[..., Any], *arguments: Any) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def until(condition: Callable[[], bool], process: multiprocessing.Process) -> None:
    while not condition():
        assert process.is_alive()
        time.sleep(0.005)


def fail(error: BaseException) -> Callable[[], None]:
    def before_end() -> None:
        raise error

    return before_end


def test_a_folder_is_built_once(tmp_path: Path) -> None:
    assert build(tmp_path / "new" / "folder")
    assert not build(tmp_path / "new" / "folder", "other")
    assert (tmp_path / "new" / "folder" / "below" / "file").read_text() == "made"
    assert content(tmp_path / "new" / "folder") == WHOLE


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PoNetError("no"), OSError(errno.ENOSPC, "No space left")])
def test_a_build_that_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    expected = PoNetError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected, match="The disk is full: '.*folder'" if isinstance(error, OSError) else None):
        build(tmp_path / "new" / "folder", before_end=fail(error))
    assert content(tmp_path) == []
    (tmp_path / "there").mkdir()
    with pytest.raises(ZeroDivisionError):
        build(tmp_path / "there", before_end=fail(ZeroDivisionError()))
    assert content(tmp_path) == ["there"]


def test_what_a_killed_build_leaves_is_never_taken_for_whole(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    process = in_another_process(build, folder, "half", False, lambda: time.sleep(60))
    until((folder / STAGING / "below" / "file").exists, process)
    with pytest.raises(PoNetError, match="busy"):
        build(folder)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert not (folder / MANIFEST).exists()
    assert build(folder)
    assert (folder / "below" / "file").read_text() == "made"
    assert content(folder) == WHOLE


def test_a_build_killed_while_it_moves_its_files_is_completed(tmp_path: Path) -> None:
    build(tmp_path / "folder")
    staging = tmp_path / "folder" / STAGING
    staging.mkdir()
    (tmp_path / "folder" / MANIFEST).rename(staging / MANIFEST)
    (staging / "late").write_text("")
    assert not build(tmp_path / "folder", "other")
    assert content(tmp_path / "folder") == sorted([*WHOLE, "late"])


@pytest.mark.parametrize("fails", [False, True])
def test_a_second_process_can_wait(tmp_path: Path, capfd: pytest.CaptureFixture[str], fails: bool) -> None:
    folder, log = tmp_path / "folder", tmp_path / "log"

    def work() -> None:
        log.write_text("begun")
        time.sleep(0.3)
        assert not fails

    process = in_another_process(build, folder, "first", False, work)
    until(log.exists, process)
    assert build(folder, "second", wait=True) == fails
    process.join()
    assert (folder / "below" / "file").read_text() == ("second" if fails else "first")
    assert "busy" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["notes.txt", ".git", "parts-0a1b2c3d"])
def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(PoNetError, match=f"holds other things, such as '{name}': move them away"):
        build(tmp_path)
    assert content(tmp_path) == [name]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PoNetError, match="needs a folder where a file stands"):
        build(tmp_path / "file" / "folder")


def test_a_lock_is_for_one_and_leaves_nothing(tmp_path: Path) -> None:
    with locked(tmp_path / "run", "busy"):
        assert (tmp_path / "run" / LOCK).exists()
        with pytest.raises(PoNetError, match="busy"), locked(tmp_path / "run", "busy"):
            pass
        (tmp_path / "run" / "file").write_text("")
    with locked(tmp_path / "run", "busy"), locked(tmp_path / "empty" / "run", "busy"):
        pass
    assert content(tmp_path) == ["run", "run/file"]


def test_damage_is_seen(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "file"
    path.write_text("text")
    [(name, facts)] = checksums(tmp_path).items()
    assert (name, facts["bytes"]) == ("below/file", 4)
    assert damage(path, 4, facts["sha256"]) is None
    path.write_text("tixt")
    assert damage(path, 4, None) is None
    assert damage(path, 4, facts["sha256"]) == "isn't what was written"
    path.write_text("tex")
    assert damage(path, 4, None) == "has 3 bytes where 4 were written"
    path.unlink()
    assert damage(path, 4, None) == "is missing or can't be read"


def test_a_folder_takes_its_place_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    with replacing_folder(folder) as made:
        (made / "a").write_text("first")
    with pytest.raises(ZeroDivisionError), replacing_folder(folder) as made:
        raise ZeroDivisionError
    assert (folder / "a").read_text() == "first"
    rename, calls = os.rename, []

    def fails_once(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fails_once)
        with pytest.raises(PoNetError, match="disk is full"), replacing_folder(folder) as made:
            (made / "b").write_text("second")
    assert content(folder) == ["a"]
    with replacing_folder(folder) as made:
        (made / "b").write_text("second")
    assert content(tmp_path) == ["folder", "folder/b"]


def square(number: int) -> int:
    if number < 0:
        raise PoNetError(f"{number} is negative")
    if number == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_are_done_in_order_and_only_a_few_ahead(workers: int) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    for done, result in enumerate(parallel_map(square, jobs(), workers)):
        assert result == done * done
        assert len(taken) <= done + 1 + (workers + 1 if workers > 1 else 0)


def test_a_worker_that_fails_or_is_killed() -> None:
    with pytest.raises(PoNetError, match="-1 is negative"):
        list(parallel_map(square, [1, -1, 2], 2))
    with pytest.raises(PoNetError, match="A worker process was killed, perhaps for want of memory"):
        list(parallel_map(square, [1, 99, 2], 2))


def use_workers(log: Path) -> None:
    for _ in parallel_map(write_and_wait, [log] * 2, 2):
        pass


def write_and_wait(log: Path) -> None:
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(60)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = in_another_process(use_workers, log)
    until(lambda: log.exists() and len(log.read_text().split()) == 2, process)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    pids = [int(pid) for pid in log.read_text().split()]
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, pids))


def test_progress_is_hidden_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for unit in ("images", "bytes"):
        with artifacts.progress("Working", 10, unit) as advance:
            advance(10)
    assert capsys.readouterr() == ("", "")
