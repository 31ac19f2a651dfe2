"""Folders that are built once and never half: locks, build folders, checksums, worker processes and their progress.

Run folders, the Long Range Arena caches and pre-training shards share these. A folder of data is complete when its
`manifest.json` is there, which is moved into it last. `ponet.utils.files` writes single files.
"""

import hashlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from ponet.utils.errors import PoNetError
from ponet.utils.files import check_utf8_name, explain, explained

MANIFEST = "manifest.json"
LOCK = ".ponet.lock"
STAGING = ".ponet.building"
"""Where a folder's content is, within it, until all of it is written."""

Job = TypeVar("Job")
Result = TypeVar("Result")


@contextmanager
def locked(folder: Path, busy: str, wait: bool = False) -> Iterator[None]:
    """Holds a folder for this process alone; makes it where needed, and removes it again if it stays empty.

    The lock ends with its process, however that ends. Where another process holds it, `busy` is printed with `wait`,
    else raised.
    """
    from filelock import FileLock, Timeout

    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        with explained(folder):
            lock = FileLock(folder / LOCK)
            timeout = 0
            while not lock.is_locked:
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    lock.acquire(timeout)
                except Timeout as error:
                    if not wait:
                        raise PoNetError(busy) from error
                    print(busy, file=sys.stderr)
                    timeout = -1
                except FileNotFoundError:  # the other one came to nothing, and removed the folder
                    continue
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)  # while it is held: who waits opens a new one
            lock.release()
    finally:
        for each in made:
            with suppress(OSError):  # not empty
                each.rmdir()


@contextmanager
def building(folder: Path, busy: str, wait: bool = False) -> Iterator[Path | None]:
    """Yields an empty folder for the content of `folder`, or None where that is complete already.

    If the block ends well, what it has written, `manifest.json` included, becomes the content of `folder`; otherwise
    nothing remains. What a killed process left is removed first. `busy` and `wait` are as in `locked`.

    Raises:
        PoNetError: where `folder` holds other things, can't be written to, or is held by another process.
    """
    check_utf8_name(folder)
    with explained(folder):
        complete = any((each / MANIFEST).is_file() for each in (folder, folder / STAGING))
        there = sorted(path.name for path in folder.iterdir()) if folder.exists() and not complete else []
    if other := [name for name in there if name not in (LOCK, STAGING)]:
        raise PoNetError(
            f"'{folder}' holds other things, such as '{other[0]}': move them away, or choose another folder."
        )
    with locked(folder, busy, wait), explained(folder):
        _publish(folder)
        if (folder / MANIFEST).is_file():
            yield None
            return
        staging = folder / STAGING
        try:
            staging.mkdir()
            yield staging
            _publish(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _publish(folder: Path) -> None:
    """Moves up what has been completed, the manifest last: a process killed amid this leaves the rest to the next."""
    staging = folder / STAGING
    if (staging / MANIFEST).is_file():
        for path in sorted(staging.iterdir(), key=lambda path: path.name == MANIFEST):
            os.replace(path, folder / path.name)
    shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, whose place it takes if the block ends well; what was there is removed.

    The caller checks whether that may be removed.
    """
    folder = folder.resolve()
    staging: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
        made, before = staging / "made", staging / "before"
        made.mkdir()
        yield made
        if folder.exists():
            os.rename(folder, before)
        try:
            os.rename(made, folder)
        except OSError:
            if before.exists():
                os.rename(before, folder)
            raise
    except OSError as error:
        raise explain(error, folder) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """`bytes` and `sha256` of each file in a folder and below it, by its path from there."""
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def damage(path: Path, size: int, checksum: str | None) -> str | None:
    """How a file differs from the `size` bytes that were written, or (None: not compared) from their SHA-256, to follow
    its name in a sentence; None where it doesn't."""
    try:
        actual = path.stat().st_size
        if actual != size:
            return f"has {actual:,} bytes where {size:,} were written"
        return "isn't what was written" if checksum is not None and sha256(path) != checksum else None
    except OSError:
        return "is missing or can't be read"


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Generator[Result, None, None]:
    """`function(job)` for each job, in order, in worker processes; only a few jobs are taken ahead of the results.

    Args:
        function: sent to each worker once. It has to be importable there: a function of a module, or a partial of one.
        workers: processes; with 1, everything happens in this one.

    Raises:
        PoNetError: where a worker was killed; else what `function` raises.
    """
    if workers == 1:
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    stop, hold = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(workers, context, _start_worker, (function, stop))
    running: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            with _blocked_interrupts():
                running.append(executor.submit(_work, job))
            if len(running) > workers + 1:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenProcessPool as error:
        raise PoNetError(
            "A worker process was killed, perhaps for want of memory: run the same again with fewer workers. (A script "
            "of your own needs its calls under `if __name__ == '__main__':`.)"
        ) from error
    finally:
        hold.close()  # ends the workers at once, whatever they are at
        executor.shutdown(wait=True, cancel_futures=True)
        stop.close()


_function: Callable[[Any], Any]


def _start_worker(function: Callable[[Any], Any], stop: Connection) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent stops the workers
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one process per core is parallel enough
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=([parent.sentinel, stop],), daemon=True).start()


def _end_with(signs: list[Any]) -> None:
    connection.wait(signs)
    os._exit(1)  # a parent killed with -9 gives no notice, and a worker would wait for jobs for ever


def _work(job: Any) -> Any:
    return _function(job)


@contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Blocks Ctrl-C. A process that is started meanwhile doesn't see one before `_start_worker` ignores it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def progress(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar with rate and time left where standard error is a terminal, removed at the end.

    Yields a function that takes how many more of `total` are done, in `unit`s; "bytes" are shown as megabytes.
    """
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    class Rate(rich.TextColumn):
        def render(self, task: rich.Task) -> Text:
            return Text("" if not task.speed else f"{task.speed:,.0f} {unit}/s")

    of_bytes, of_others = (rich.DownloadColumn(), rich.TransferSpeedColumn()), (rich.MofNCompleteColumn(), Rate(""))
    counts = of_bytes if unit == "bytes" else of_others
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), *counts, rich.TimeRemainingColumn())
    console = Console(stderr=True)
    with rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(description, total=total)
        yield lambda count: bars.advance(bar, count)
