"""The data of Long Range Arena (PAPER section 4.1): six data sets, made or read once, then memory-mapped.

    data = open_data("listops", DataOptions())
    data.splits["train"][0]       # {"input_ids": [n] int64, "label": int}, for pairs also "input_ids_2"
    data.splits["train"].lengths  # [n] int64
    data.facts, data.notices      # what a result should say about the data; sentences for the user
    fresh_test("listops", DataOptions(), seed=123, count=2000)

Ids are the published ones and 0 is padding. Nothing is padded here. In images (`image`, `pathfinder`) every example has
1,024 tokens and a black pixel is 0 too: the published models treat it as padding, so the mask is `input_ids != 0`.
Each data set is built once, in parallel, in its folder of the cache, and opened when manifest, files and source agree.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from ponet.artifacts import MANIFEST, available_cores, building, checksums, damage, parallel_map, progress
from ponet.config.lra import DataOptions
from ponet.tasks.lra import image, listops, pathfinder, retrieval, text, wikipedia
from ponet.tasks.lra.spec import FORMAT, SPLITS, DatasetSpec, ExampleSource, Fresh, LraTask, cache_folder, get_lra_task
from ponet.tasks.lra.store import Examples, TokenStore
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json, write_json

SPECS: dict[str, Callable[[DataOptions], DatasetSpec]] = {
    "listops": listops.spec,
    "text": text.spec,
    "retrieval": retrieval.spec,
    "retrieval-wikipedia": wikipedia.spec,
    "image": image.spec,
    "pathfinder": pathfinder.spec,
}
FRESH_SPECS: dict[str, Callable[[DataOptions, Fresh], DatasetSpec]] = {
    "listops": listops.spec,
    "pathfinder": pathfinder.spec,
}
"""New test data."""
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

    @property
    def notices(self) -> list[str]:
        """The differences from the official data, for the user to read."""
        return list(self.facts["differences"])


def open_data(task: str, options: DataOptions | None = None, verify: bool = False) -> LraData:
    """A task's data from the cache; made first where it isn't there, with a progress bar on a terminal.

    Args:
        task: a name in `TASKS`.
        options: what may be chosen.
        verify: compare the checksum of every file too, not its size alone.

    Raises:
        PoNetError: unknown task or impossible option; a source that is missing or malformed (names file and line); a
            cache that is damaged, of other parameters, or can't be written.
    """
    about, options = get_lra_task(task), options or DataOptions()
    spec = SPECS[task](options)
    folder = build(spec, cache_folder(options), options.workers)
    return open_cache(folder, spec, about, options, verify)


def fresh_test(task: str, options: DataOptions | None, seed: int, count: int) -> TokenStore:
    """`count` newly generated test examples: another stream of random numbers than any training set, whatever the seed.

    An example that is also in the training set of `options` is left out, where that set is in the cache. Where it
    isn't, nothing is compared: that two draws are equal by chance is all but impossible in the published sizes.

    Raises:
        PoNetError: for a task whose data is fixed, or a count below 1.
    """
    about, options = get_lra_task(task), options or DataOptions()
    if task not in FRESH_SPECS or options.source is not None:
        raise PoNetError(
            f"No new test data can be made for '{task}' as it is read from files. Tasks that can: "
            f"{', '.join(FRESH_SPECS)}."
        )
    if count < 1:
        raise PoNetError(f"{count} fresh test examples make no test: ask for at least 1.")
    spec = FRESH_SPECS[task](options, (seed, count))
    folder = build(spec, cache_folder(options), options.workers, apart_from=SPECS[task](options))
    return open_cache(folder, spec, about, options).splits["test"]


def build(spec: DatasetSpec, cache: Path, workers: int | None = None, apart_from: DatasetSpec | None = None) -> Path:
    """The folder of a data set, which is built now unless it is there.

    Two processes don't build the same data: the second waits for the first.

    Args:
        cache: the folder of all data sets.
        workers: processes. None: one a core. They don't change the data.
        apart_from: a data set whose training examples are left out, where it is in the cache.

    Raises:
        PoNetError: see `open_data`.
    """
    folder = cache / spec.folder
    if (folder / MANIFEST).is_file():
        return folder
    sources = spec.sources()  # one that is missing is reported before anything is made
    with building(folder, f"Another process is preparing {spec.task}: waiting for it.", wait=True) as made:
        if made is not None:
            seen = set() if apart_from is None else _training_examples(cache / apart_from.folder)
            inputs, examples, notes, texts = dict(spec.inputs()), dict[str, int](), Counter[str](), 0
            for source in sources:
                with closing(_parts(spec.task, source, workers or available_cores(), seen)) as parts:
                    texts = _write(source, made, parts, examples, notes)
            files = checksums(made)
            hashes = "".join(facts["sha256"] for facts in files.values())
            manifest = {
                "format": FORMAT,
                "task": spec.task,
                "version": spec.version,
                "parameters": dict(spec.parameters),
                "source": spec.source,
                "inputs": inputs,
                "texts": texts,
                "shift": spec.shift,
                "examples": examples,
                "notes": notes,
                "checksum": hashlib.sha256(hashes.encode()).hexdigest(),
                "files": files,
            }
            write_json(made / MANIFEST, manifest)
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
            if source.jobs is None and barren >= BARREN:
                raise PoNetError(
                    f"Only {kept:,} of {wanted:,} different examples of {task} can be made: ask for fewer."
                )
    if kept < wanted:
        raise PoNetError(f"The source of {task} has {kept:,} examples where {wanted:,} are wanted: complete it.")


def _write(
    source: ExampleSource, folder: Path, parts: Iterator[Examples], examples: dict[str, int], notes: Counter[str]
) -> int:
    """The files of a source's splits. Returns how many texts an example has."""
    left: Examples | None = None
    for split, size in source.sizes.items():
        written: list[Examples] = []
        examples[split] = 0
        while size is None or examples[split] < size:
            if left is None or not len(left):
                left = next(parts, None)
                if left is None:
                    break
                notes.update(left.notes)
            taken, left = left.split(len(left) if size is None else size - examples[split])
            for column, tokens in enumerate(taken.tokens):
                with (folder / f"{split}.tokens{column}.bin").open("ab") as file:
                    file.write(tokens.tobytes())
            written.append(replace(taken, tokens=[]))
            examples[split] += len(taken)
        if not examples[split]:
            raise PoNetError(f"The source has no {split} example: complete it.")
        lengths = np.concatenate([np.stack(part.lengths, axis=1) for part in written])
        np.save(folder / f"{split}.lengths.npy", lengths)
        np.save(folder / f"{split}.labels.npy", np.concatenate([part.labels for part in written]))
    return lengths.shape[1]


def open_cache(folder: Path, spec: DatasetSpec, task: LraTask, options: DataOptions, verify: bool = False) -> LraData:
    """The data set of a folder, once its manifest, its files and its source agree. Raises a PoNetError where they
    don't: what is wrong, and what to do."""
    manifest = read_json(folder / MANIFEST)
    _check(folder, manifest, spec, verify)
    splits = {}
    for split in SPLITS:
        stored = spec.aliases.get(split, split)
        if stored in manifest["examples"]:
            splits[split] = _open_split(folder, stored, manifest).spread(spec.shown.get(split))
    examples = {split: len(store) for split, store in splits.items()}
    differences = [*_count_differences(task, examples, options), *spec.remarks(manifest["notes"])]
    facts = {"task": task.name, "source": manifest["source"], "official": dict(task.official)}
    facts |= {"examples": examples, "differences": differences}
    facts |= {name: manifest[name] for name in ("notes", "parameters", "version", "checksum")}
    if "seed" in spec.parameters:
        facts["seed"] = spec.parameters["seed"]
    return LraData(task, splits, facts, folder)


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
    lengths = list(np.load(folder / f"{split}.lengths.npy").astype(np.int64).T.copy())
    labels = np.load(folder / f"{split}.labels.npy").astype(np.int64)
    files = [folder / f"{split}.tokens{column}.bin" for column in range(manifest["texts"])]
    return TokenStore(files, [np.cumsum(column) - column for column in lengths], lengths, labels, manifest["shift"])


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
