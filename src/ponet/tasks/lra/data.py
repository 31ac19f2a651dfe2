"""The data of Long Range Arena (PAPER section 4.1): six data sets, made or read once, then memory-mapped.

    data = open_data("listops", DataOptions())
    data.splits["train"][0]       # {"input_ids": [n] int64, "label": int}, for pairs also "input_ids_2"
    data.splits["train"].lengths  # [n] int64
    data.facts, data.notices      # what a result should say about the data; sentences for the user
    fresh_test("listops", DataOptions(), seed=123, count=2000)

Ids are the published ones and 0 is padding. Nothing is padded here. In images (`image`, `pathfinder`) every example has
1,024 tokens and a black pixel is 0 too: the published models treat it as padding, so the mask is `input_ids != 0`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.config.lra import DataOptions
from ponet.tasks.lra.store import TokenStore
from ponet.utils.errors import PoNetError, suggest

if TYPE_CHECKING:
    from ponet.tasks.lra.plan import Plan

SPLITS = ("train", "validation", "test")


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
    generated: bool = False
    """Whether `fresh_test` can make more of it."""
    module: str = ""


TASKS: dict[str, LraTask] = {
    task.name: task
    for task in (
        LraTask(
            "listops",
            "the value of nested lists of digits",
            vocab_size=32,
            classes=10,
            max_length=2000,
            official={"train": 96_000, "validation": 2_000, "test": 2_000},
            generated=True,
            module="listops_data",
        ),
        LraTask(
            "text",
            "sentiment of film reviews (IMDb), byte by byte",
            vocab_size=512,
            classes=2,
            max_length=4000,
            official={"train": 25_000, "validation": 25_000, "test": 25_000},
            module="text",
        ),
        LraTask(
            "retrieval",
            "whether two papers (AAN) share citations, byte by byte",
            vocab_size=512,
            classes=2,
            max_length=4000,
            official={"train": 147_086, "validation": 18_090, "test": 17_437},
            pairs=True,
            module="retrieval",
        ),
        LraTask(
            "retrieval-wikipedia",
            "whether two texts are of one Wikipedia article, byte by byte; not an official task",
            vocab_size=512,
            classes=2,
            max_length=4000,
            official={"train": 40_000, "validation": 4_000, "test": 4_000},
            pairs=True,
            module="wikipedia",
        ),
        LraTask(
            "image",
            "classes of gray 32 x 32 images (CIFAR-10), pixel by pixel",
            vocab_size=256,
            classes=10,
            max_length=1024,
            official={"train": 45_000, "validation": 5_000, "test": 10_000},
            images=True,
            module="image",
        ),
        LraTask(
            "pathfinder",
            "whether a dashed curve joins two circles, pixel by pixel",
            vocab_size=256,
            classes=2,
            max_length=1024,
            official={"train": 160_000, "validation": 20_000, "test": 20_000},
            images=True,
            generated=True,
            module="pathfinder_data",
        ),
    )
}


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


def get_lra_task(name: str) -> LraTask:
    """The task of that name.

    Raises:
        PoNetError: for an unknown name, with the nearest known one.
    """
    if name not in TASKS:
        raise PoNetError(f"Long Range Arena has no task '{name}'.{suggest(str(name), TASKS)}")
    return TASKS[name]


def cache_folder(options: DataOptions) -> Path:
    """Where prepared data lies: the option, `$PONET_CACHE/lra`, or `~/.cache/ponet/lra`."""
    if options.cache is not None:
        return Path(options.cache).expanduser()
    named = os.environ.get("PONET_CACHE")
    return (Path(named).expanduser() if named else Path.home() / ".cache" / "ponet") / "lra"


def open_data(task: str, options: DataOptions | None = None, verify: bool = False) -> LraData:
    """A task's data from the cache; made first where it isn't there, with a progress bar on a terminal.

    Args:
        task: a name in `TASKS`.
        options: what may be chosen.
        verify: compare the checksum of every file too, not its size alone.

    Raises:
        PoNetError: unknown task or impossible option; a source that is missing or malformed (names file and line); a
            cache that is damaged, of other parameters, or can't be written. What was made so far stays, and the next
            call goes on from there.
    """
    from ponet.tasks.lra.build import prepare
    from ponet.tasks.lra.cache import open_cache

    about = get_lra_task(task)
    options = options or DataOptions()
    plan = _plan(about, options)
    folder = prepare(plan, cache_folder(options), options.workers)
    return open_cache(folder, plan, about, options, verify)


def fresh_test(task: str, options: DataOptions | None, seed: int, count: int) -> TokenStore:
    """`count` newly generated test examples: another stream of random numbers than any training set, whatever the seed.

    An example that is also in the training set of `options` is left out, where that set is in the cache. Where it
    isn't, nothing is compared: that two draws are equal by chance is all but impossible in the published sizes.

    Raises:
        PoNetError: for a task whose data is fixed, or a count below 1.
    """
    from ponet.tasks.lra.build import prepare
    from ponet.tasks.lra.cache import open_cache

    about = get_lra_task(task)
    options = options or DataOptions()
    if not about.generated or options.source is not None:
        makes = ", ".join(name for name, other in TASKS.items() if other.generated)
        raise PoNetError(
            f"No new test data can be made for '{task}' as it is read from files. Tasks that can: {makes}."
        )
    if count < 1:
        raise PoNetError(f"{count} fresh test examples make no test: ask for at least 1.")
    plan = _module(about).fresh_plan(options, seed, count)
    folder = prepare(plan, cache_folder(options), options.workers, without=_plan(about, options))
    return open_cache(folder, plan, about, options).splits["test"]


def _plan(about: LraTask, options: DataOptions) -> "Plan":
    plan: Plan = _module(about).plan(options)
    return plan


def _module(about: LraTask) -> Any:
    return import_module(f"ponet.tasks.lra.{about.module}")
