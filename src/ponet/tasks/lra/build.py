"""Preparing data: parts in parallel processes, each file whole by rename, and a manifest when all is there.

A build that is killed leaves its finished parts, and the next one goes on from them. Two builds of the same data don't
meet: the second waits for the first. A folder without a manifest is never read as data.
"""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ponet.tasks.lra.cache import MANIFEST, existing_keys, write_manifest
from ponet.tasks.lra.parts import digest, load_part, part_path, write_part
from ponet.tasks.lra.plan import Plan, Stream
from ponet.tasks.lra.store import Examples
from ponet.tasks.lra.workers import available_cores, pool
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, replacing
from ponet.utils.progress import track

FEW = 4
"""Parts that are made here, since starting other processes would take longer."""
_FILE = r"(train|validation|test)\.(tokens[0-9]\.bin|lengths\.npy|labels\.npy)"
MADE = re.compile(rf"parts-[0-9a-f]{{8}}|{_FILE}|manifest\.json|\.({_FILE}|manifest\.json)\.[a-z0-9_]{{8}}\.tmp")
"""The names of what a build makes, or leaves when it is killed, in the folder of its data."""
BARREN = 100
"""Parts without one new example, after which a stream is taken to have no more."""


def prepare(plan: Plan, cache: Path, workers: int | None = None, without: Plan | None = None) -> Path:
    """The folder of the prepared data, which is made now unless it is there.

    Args:
        plan: what to make.
        cache: the folder of all prepared data.
        workers: processes. None: one a core.
        without: a data set whose training examples are left out, where it is in the cache.

    Raises:
        PoNetError: see `ponet.tasks.lra.data.open_data`.
    """
    if workers is not None and workers < 1:
        raise PoNetError(f"workers is {workers}: at least one process has to do the work.")
    folder = cache / plan.folder
    if not (folder / MANIFEST).is_file():
        streams = plan.streams()  # a source that is missing is told before anything is made
        try:
            other = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            other = [name for name in other if not MADE.fullmatch(name)]
            if other:
                raise PoNetError(
                    f"'{folder}' holds other things, such as '{other[0]}': move them away, or choose another cache."
                )
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(cache / f".{plan.folder}.lock", plan.task):
                if not (folder / MANIFEST).is_file():
                    seen = existing_keys(cache / without.folder) if without is not None else set()
                    _build(plan, streams, folder, workers or available_cores(), seen)
        except OSError as error:
            raise explain(error, error.filename or folder) from error
    return folder


@contextmanager
def _alone(path: Path, task: str) -> Iterator[None]:
    """Waits until no other process prepares the same data. The lock ends with its process, however that ends."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process is preparing {task}: waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(plan: Plan, streams: list[Stream], folder: Path, workers: int, seen: set[bytes]) -> None:
    inputs = dict(plan.inputs())
    parts = folder / f"parts-{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:8]}"
    for left in folder.iterdir():  # of a killed build: half a file, or parts of other source files
        if left != parts and MADE.fullmatch(left.name):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    parts.mkdir(exist_ok=True)
    for left in parts.iterdir():
        if re.fullmatch(r"\.[0-9]+-[0-9]{6,}\.npz\.[a-z0-9_]{8}\.tmp", left.name):
            left.unlink()
    columns, notes, examples = 0, dict[str, int](), dict[str, int]()
    for number, stream in enumerate(streams):
        fill = partial(_run, plan.task, stream, parts, number, workers)
        rows = _choose(plan.task, stream, parts, number, fill, seen)
        columns = _write(stream, folder, parts, number, rows, notes, examples)
    write_manifest(folder, plan, columns, inputs, examples, notes)
    shutil.rmtree(parts, ignore_errors=True)


def _run(task: str, stream: Stream, parts: Path, number: int, workers: int, jobs: dict[int, Any]) -> None:
    """Makes the parts of these jobs, by their places."""
    with track(f"Preparing {task}", len(jobs) * stream.per_job, stream.unit) as advance:
        if workers == 1 or len(jobs) <= FEW or not stream.parallel:
            for place, job in jobs.items():
                write_part(stream.make, job, part_path(parts, number, place))
                advance(stream.per_job)
            return
        with pool(min(workers, len(jobs))) as executor:
            _finish(executor, stream, {part_path(parts, number, place): job for place, job in jobs.items()}, advance)


def _finish(executor: ProcessPoolExecutor, stream: Stream, jobs: dict[Path, Any], advance: Any) -> None:
    futures = [executor.submit(write_part, stream.make, job, path) for path, job in jobs.items()]
    try:
        for future in as_completed(futures):
            future.result()
            advance(stream.per_job)
    except BrokenProcessPool as error:
        raise PoNetError(
            "A process that prepares data has ended without a word: killed, or out of memory. Run the same again, and "
            "it goes on from there, with workers=1 where memory is short. (A script of your own needs its calls under "
            "`if __name__ == '__main__':`.)"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _choose(
    task: str, stream: Stream, parts: Path, number: int, fill: Any, seen: set[bytes]
) -> list[NDArray[np.int64]]:
    """Makes parts until there are enough examples; the rows that are kept of each part."""
    wanted = sum(size or 0 for size in stream.sizes.values())
    planned = len(stream.jobs) if stream.jobs is not None else -(-wanted // stream.per_job)
    rows: list[NDArray[np.int64]] = []
    kept = barren = 0
    while True:
        missing = [place for place in range(planned) if not part_path(parts, number, place).is_file()]
        if missing:
            fill({place: place if stream.jobs is None else stream.jobs[place] for place in missing})
        for place in range(len(rows), planned):
            part = load_part(part_path(parts, number, place))
            if part is None:  # damaged, and now deleted: to be made again
                break
            fresh = _fresh(part, seen) if stream.distinct else np.arange(len(part))
            rows.append(fresh)
            kept += len(fresh)
            barren = 0 if len(fresh) else barren + 1
        if len(rows) < planned:
            continue
        if kept >= wanted:
            return rows
        if stream.jobs is not None:
            raise PoNetError(f"The source of {task} has {kept:,} examples where {wanted:,} are wanted: complete it.")
        if barren >= BARREN:
            raise PoNetError(f"Only {kept:,} of {wanted:,} different examples of {task} can be made: ask for fewer.")
        planned += min(max(1, -(-(wanted - kept) // stream.per_job)), BARREN)


def _fresh(part: Examples, seen: set[bytes]) -> NDArray[np.int64]:
    """The rows of examples that are not in `seen`, which they join."""
    rows = []
    for row, key in enumerate(map(digest, part.contents())):
        if key not in seen:
            seen.add(key)
            rows.append(row)
    return np.array(rows, np.int64)


def _write(
    stream: Stream,
    folder: Path,
    parts: Path,
    number: int,
    rows: list[NDArray[np.int64]],
    notes: dict[str, int],
    examples: dict[str, int],
) -> int:
    """The files of a stream's splits. Returns how many texts an example has."""
    left: Examples | None = None
    columns = place = 0
    for split, size in stream.sizes.items():
        written = 0
        with ExitStack() as stack:
            files: list[Any] = []
            lengths: list[NDArray[np.int64]] = []
            labels: list[NDArray[np.uint8]] = []
            while size is None or written < size:
                if left is None or not len(left):
                    if place == len(rows):
                        break
                    left = _selected(part_path(parts, number, place), rows[place], notes)
                    place += 1
                taken = left
                if size is not None and len(left) > size - written:
                    taken = left.select(np.arange(size - written))
                left = left.select(np.arange(len(taken), len(left)))
                while len(files) < len(taken.tokens):
                    path = stack.enter_context(replacing(folder / f"{split}.tokens{len(files)}.bin"))
                    files.append(stack.enter_context(path.open("wb")))
                for file, tokens in zip(files, taken.tokens, strict=True):
                    file.write(tokens.tobytes())
                lengths.append(np.stack(taken.lengths, axis=1))
                labels.append(taken.labels)
                written += len(taken)
            if not written:
                raise PoNetError(f"The source has no {split} example: complete it.")
        for name, pieces in (("lengths", lengths), ("labels", labels)):
            with replacing(folder / f"{split}.{name}.npy") as path, path.open("wb") as file:
                np.save(file, np.concatenate(pieces))
        examples[split] = written
        columns = len(files)
    return columns


def _selected(path: Path, rows: NDArray[np.int64], notes: dict[str, int]) -> Examples:
    part = load_part(path)
    if part is None:
        raise PoNetError(f"'{path}' was damaged while it was in use. Run the same again: it is made anew.")
    for name, count in part.notes.items():
        notes[name] = notes.get(name, 0) + count
    return part if len(rows) == len(part) else part.select(rows)
