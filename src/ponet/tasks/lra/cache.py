"""Data sets in the cache: each is built once, in parallel, and opened when manifest, files and source agree."""

import hashlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ponet.artifacts import MANIFEST, available_cores, building, checksums, damage, parallel_map, progress
from ponet.config.lra import DataOptions
from ponet.tasks.lra.spec import FORMAT, SPLITS, DatasetSpec, ExampleSource, LraTask
from ponet.tasks.lra.store import Examples, TokenStore
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json, write_json

FEW = 4
"""Jobs that are done in this process, since starting others would take longer."""
BARREN = 100
"""Jobs without one new example, after which a source is taken to have no more."""


@dataclass
class LraData:
    """A task's data, ready to be indexed."""

    task: LraTask
    splits: dict[str, TokenStore]
    """By `train`, `validation`, `test`."""
    facts: dict[str, Any]
    """JSON-able: `source`, `official` and `examples` (number by split), `differences` (sentences), `notes` (counts of
    what was cut or skipped), `seed` (generated data), `parameters`, `version` (of generator or reader), `checksum`."""
    folder: Path
    """Where it lies in the cache."""
    notices: list[str] = field(default_factory=list)
    """The differences from the official data, for the user to read."""


def build(spec: DatasetSpec, cache: Path, workers: int | None = None, apart_from: DatasetSpec | None = None) -> Path:
    """The folder of a data set, which is built now unless it is there.

    Two processes don't build the same data: the second waits for the first.

    Args:
        cache: the folder of all data sets.
        workers: processes. None: one a core. They don't change the data.
        apart_from: a data set whose training examples are left out, where it is in the cache.

    Raises:
        PoNetError: see `ponet.tasks.lra.data.open_data`.
    """
    if workers is not None and workers < 1:
        raise PoNetError(f"workers is {workers}: at least one process has to do the work.")
    folder = cache / spec.folder
    if (folder / MANIFEST).is_file():
        return folder
    sources = spec.sources()  # one that is missing is reported before anything is made
    with building(folder, f"Another process is preparing {spec.task}: waiting for it.", wait=True) as made:
        if made is not None:
            seen = set() if apart_from is None else _training_examples(cache / apart_from.folder)
            inputs, examples, notes, columns = dict(spec.inputs()), dict[str, int](), dict[str, int](), 0
            for source in sources:
                with closing(_parts(spec.task, source, workers or available_cores(), seen)) as parts:
                    columns = _write(source, made, parts, examples, notes)
            _write_manifest(made, spec, columns, inputs, examples, notes)
    return folder


def _parts(task: str, source: ExampleSource, workers: int, seen: set[bytes]) -> Generator[Examples, None, None]:
    """The examples of a source in the order of its jobs, without those in `seen`, which they join, if it says so."""
    wanted = sum(size or 0 for size in source.sizes.values())
    jobs = range(-(-wanted // source.per_job)) if source.jobs is None else source.jobs
    workers = min(workers, len(jobs)) if source.parallel and len(jobs) > FEW else 1
    every = chain(jobs, count(len(jobs))) if source.jobs is None else jobs
    kept = barren = 0
    with progress(f"Preparing {task}", len(jobs) * source.per_job, source.unit) as advance:
        for part in parallel_map(source.make, every, workers):
            advance(source.per_job)
            fresh = part.new(seen) if source.distinct else part
            yield fresh
            kept += len(fresh)
            barren = 0 if len(fresh) else barren + 1
            if source.jobs is None and kept >= wanted:
                return
            if barren >= BARREN and source.jobs is None:
                raise PoNetError(
                    f"Only {kept:,} of {wanted:,} different examples of {task} can be made: ask for fewer."
                )
    if kept < wanted:
        raise PoNetError(f"The source of {task} has {kept:,} examples where {wanted:,} are wanted: complete it.")


def _write(
    source: ExampleSource, folder: Path, parts: Iterator[Examples], examples: dict[str, int], notes: dict[str, int]
) -> int:
    """The files of a source's splits. Returns how many texts an example has."""
    left: Examples | None = None
    columns = 0
    for split, size in source.sizes.items():
        written = 0
        lengths: list[NDArray[np.int64]] = []
        labels: list[NDArray[np.uint8]] = []
        with ExitStack() as stack:
            files: list[Any] = []
            while size is None or written < size:
                if left is None or not len(left):
                    left = next(parts, None)
                    if left is None:
                        break
                    for name, number in left.notes.items():
                        notes[name] = notes.get(name, 0) + number
                taken, left = left.split(len(left) if size is None else size - written)
                while len(files) < len(taken.tokens):
                    files.append(stack.enter_context((folder / f"{split}.tokens{len(files)}.bin").open("wb")))
                for file, tokens in zip(files, taken.tokens, strict=True):
                    file.write(tokens.tobytes())
                lengths.append(np.stack(taken.lengths, axis=1))
                labels.append(taken.labels)
                written += len(taken)
        if not written:
            raise PoNetError(f"The source has no {split} example: complete it.")
        np.save(folder / f"{split}.lengths.npy", np.concatenate(lengths))
        np.save(folder / f"{split}.labels.npy", np.concatenate(labels))
        examples[split] = written
        columns = len(files)
    return columns


def _write_manifest(
    folder: Path,
    spec: DatasetSpec,
    columns: int,
    inputs: Mapping[str, int],
    examples: Mapping[str, int],
    notes: Mapping[str, int],
) -> None:
    files = checksums(folder)
    hashes = "".join(facts["sha256"] for facts in files.values())
    manifest = {
        "format": FORMAT,
        "task": spec.task,
        "version": spec.version,
        "parameters": dict(spec.parameters),
        "source": spec.source,
        "inputs": dict(inputs),
        "texts": columns,
        "shift": spec.shift,
        "examples": dict(examples),
        "notes": dict(notes),
        "checksum": hashlib.sha256(hashes.encode()).hexdigest(),
        "files": files,
    }
    write_json(folder / MANIFEST, manifest)


def open_cache(folder: Path, spec: DatasetSpec, task: LraTask, options: DataOptions, verify: bool = False) -> LraData:
    """The data set of a folder, once its manifest, its files and its source agree.

    Args:
        verify: compare the checksum of every file too, not its size alone.

    Raises:
        PoNetError: where they don't: what is wrong, and what to do.
    """
    manifest = read_json(folder / MANIFEST)
    _check(folder, manifest, spec, verify)
    splits = {}
    for split in SPLITS:
        stored = spec.aliases.get(split, split)
        if stored in manifest["examples"]:
            splits[split] = _open_split(folder, stored, manifest).spread(spec.shown.get(split))
    examples = {split: len(store) for split, store in splits.items()}
    differences = [*_count_differences(task, examples, options), *spec.remarks(manifest["notes"])]
    facts = {
        "task": task.name,
        "source": manifest["source"],
        "official": dict(task.official),
        "examples": examples,
        "differences": differences,
        **{name: manifest[name] for name in ("notes", "parameters", "version", "checksum")},
    }
    if "seed" in spec.parameters:
        facts["seed"] = spec.parameters["seed"]
    return LraData(task, splits, facts, folder, list(differences))


def _count_differences(task: LraTask, examples: Mapping[str, int], options: DataOptions) -> list[str]:
    """A sentence for each split that has another number of examples than the official one."""
    sentences = []
    for split, number in examples.items():
        if number != task.official[split]:
            reason = " as chosen" if options.chosen[split] == number else ""
            usual = "by default" if task.own else "officially"
            sentences.append(f"{split}: {number:,} examples{reason}, {usual} {task.official[split]:,}.")
    return sentences


def _open_split(folder: Path, split: str, manifest: Mapping[str, Any]) -> TokenStore:
    lengths = np.load(folder / f"{split}.lengths.npy").astype(np.int64)
    labels = np.load(folder / f"{split}.labels.npy").astype(np.int64)
    columns = [np.ascontiguousarray(lengths[:, column]) for column in range(manifest["texts"])]
    files = [folder / f"{split}.tokens{column}.bin" for column in range(manifest["texts"])]
    starts = [np.cumsum(column) - column for column in columns]
    return TokenStore(files, starts, columns, labels, manifest["shift"])


def _training_examples(folder: Path) -> set[bytes]:
    """The digests of the training examples of a data set, none where it isn't in the cache."""
    if not (folder / MANIFEST).is_file():
        return set()
    return _open_split(folder, "train", read_json(folder / MANIFEST)).digests()


def _check(folder: Path, manifest: Any, spec: DatasetSpec, verify: bool) -> None:
    again = f"Delete '{folder}', and it is made again."
    needed = {"format", "task", "version", "parameters", "inputs", "texts", "shift", "examples", "notes", "files"}
    if not isinstance(manifest, dict) or not needed <= set(manifest):
        raise PoNetError(f"'{folder / MANIFEST}' is not a manifest of prepared data. {again}")
    identity = {"format": FORMAT, "task": spec.task, "version": spec.version, "parameters": dict(spec.parameters)}
    for key, expected in identity.items():
        if manifest[key] != expected:
            raise PoNetError(
                f"'{folder}' holds data of another {key.rstrip('s')} ({manifest[key]}, not {expected}). {again}"
            )
    for name, size in manifest["inputs"].items():
        path = Path(name)
        if path.is_file() and path.stat().st_size != size:  # a source that is gone doesn't matter
            raise PoNetError(
                f"'{folder}' was made when '{path}' had {size:,} bytes, and now it has {path.stat().st_size:,}. {again}"
            )
    for name, facts in manifest["files"].items():
        if found := damage(folder / name, facts["bytes"], facts["sha256"] if verify else None):
            raise PoNetError(f"'{folder / name}' {found}. {again}")
