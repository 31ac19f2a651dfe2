"""What Long Range Arena's data sets are: the tasks, what may be chosen about them, and how one is to be made."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ponet.config.lra import DataOptions
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError, suggest

SPLITS = ("train", "validation", "test")
FORMAT = 1
"""Of the files in the cache; part of every folder's name."""


@dataclass(frozen=True)
class LraTask:
    """What is fixed about a task."""

    name: str
    title: str
    """One line for people."""
    vocab_size: int
    """Of the published models; not all ids occur."""
    classes: int
    max_length: int
    """Tokens kept of an example (of each text of a pair), the published models' input length N."""
    official: Mapping[str, int]
    """Published number of examples by split; for `retrieval-wikipedia`, a set of our own, what is made by default."""
    pairs: bool = False
    """Whether an example is two texts."""
    images: bool = False
    """Whether an example is an image of 32 rows with 32 pixels each."""
    own: bool = False
    """Whether this is a task of our own."""


def _sizes(*counts: int) -> dict[str, int]:
    return dict(zip(SPLITS, counts, strict=True))


_WIKIPEDIA = "whether two texts are of one Wikipedia article, byte by byte; not an official task"
_PAPERS = "whether two papers (AAN) share citations, byte by byte"
_PHOTOS = "classes of gray 32 x 32 images (CIFAR-10), pixel by pixel"
_CURVES = "whether a dashed curve joins two circles, pixel by pixel"
TASKS: dict[str, LraTask] = {
    task.name: task
    for task in (
        LraTask("listops", "the value of nested lists of digits", 32, 10, 2000, _sizes(96_000, 2_000, 2_000)),
        LraTask("text", "sentiment of film reviews (IMDb), byte by byte", 512, 2, 4000, _sizes(25_000, 25_000, 25_000)),
        LraTask("retrieval", _PAPERS, 512, 2, 4000, _sizes(147_086, 18_090, 17_437), pairs=True),
        LraTask("retrieval-wikipedia", _WIKIPEDIA, 512, 2, 4000, _sizes(40_000, 4_000, 4_000), pairs=True, own=True),
        LraTask("image", _PHOTOS, 256, 10, 1024, _sizes(45_000, 5_000, 10_000), images=True),
        LraTask("pathfinder", _CURVES, 256, 2, 1024, _sizes(160_000, 20_000, 20_000), images=True),
    )
}


def get_lra_task(name: str) -> LraTask:
    """The task of that name. Raises a PoNetError for an unknown name, with the nearest known one."""
    if name not in TASKS:
        raise PoNetError(f"Long Range Arena has no task '{name}'.{suggest(str(name), TASKS)}")
    return TASKS[name]


def cache_folder(options: DataOptions) -> Path:
    """Where prepared data lies: the option, `$PONET_CACHE/lra`, or `~/.cache/ponet/lra`."""
    if options.cache is not None:
        return Path(options.cache).expanduser()
    named = os.environ.get("PONET_CACHE")
    return (Path(named).expanduser() if named else Path.home() / ".cache" / "ponet") / "lra"


@dataclass(frozen=True)
class ExampleSource:
    """Where examples come from: independent jobs, whose results stand end to end and are cut into splits."""

    make: Callable[[Any], Examples]
    """The examples of a job; a function that another process can import, and no random state but its job's."""
    jobs: Sequence[Any] | None
    """None: the numbers 0, 1, 2, ... until there are enough examples."""
    sizes: Mapping[str, int | None]
    """Examples of each split, in the order in which they are cut off; None takes all that is left."""
    per_job: int
    """What the progress bar counts for each job (and, without `jobs`, about how many examples it makes)."""
    unit: str = "examples"
    distinct: bool = False
    """Whether an example that has occurred before is left out."""
    parallel: bool = True
    """Whether a job is enough work for another process."""


@dataclass(frozen=True)
class DatasetSpec:
    """All that decides what a data set holds, and how it is made."""

    task: str
    version: int
    """Of the generator or reader: raised whenever it makes other data of the same parameters."""
    parameters: Mapping[str, Any]
    """JSON-able. With the version they name the folder in the cache."""
    source: str
    """Where the data comes from, in words."""
    sources: Callable[[], list[ExampleSource]]
    """Called only when something has to be made, so that a prepared set opens without its source."""
    inputs: Callable[[], Mapping[str, int]] = dict
    """The size in bytes of each source file, by path: those that are there."""
    shift: int = 0
    """Added to stored bytes to make ids."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Splits that are another one under a second name."""
    shown: Mapping[str, int | None] = field(default_factory=dict)
    """How many examples of a complete split are wanted, spread evenly."""
    remarks: Callable[[Mapping[str, int]], list[str]] = lambda notes: []
    """From the notes: how this differs from the official data, besides the number of examples, in sentences."""

    @property
    def folder(self) -> str:
        """The folder's name in the cache: another one for other data."""
        identity = {"format": FORMAT, "version": self.version, **self.parameters}
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return f"{self.task}-{digest[:12]}"


Fresh = tuple[int, int]
"""Seed and number of new test examples."""


def generated_spec(
    task: str,
    version: int,
    make: Callable[[int, int, int], Examples],
    options: DataOptions,
    fresh: Fresh | None,
    per_block: int,
    unit: str = "examples",
    **choices: Any,
) -> DatasetSpec:
    """A data set that is generated: all of it, or new test data.

    Args:
        make: the examples of a block, from the seed, the stream of random numbers (0 for the data set, 1 for new test
            data) and the number of the block.
        per_block: how many that are, about.
        choices: further parameters.
    """
    if fresh is None:
        seed, wanted = options.seed, options.sizes(TASKS[task].official)
    else:
        seed, wanted = fresh[0], {"test": fresh[1]}
    parameters = {"source": "generated", "seed": seed, **choices, "sizes": wanted}
    if fresh is not None:
        parameters["apart_from"] = options.seed
    made = partial(make, seed, int(fresh is not None))
    source = ExampleSource(made, None, wanted, per_block, unit, distinct=True)
    name = task if fresh is None else f"{task}-fresh"
    return DatasetSpec(name, version, parameters, "generated after the published script", lambda: [source])
