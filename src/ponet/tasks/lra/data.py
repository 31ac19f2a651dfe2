"""The data of Long Range Arena (PAPER section 4.1): six data sets, made or read once, then memory-mapped.

    data = open_data("listops", DataOptions())
    data.splits["train"][0]       # {"input_ids": [n] int64, "label": int}, for pairs also "input_ids_2"
    data.splits["train"].lengths  # [n] int64
    data.facts, data.notices      # what a result should say about the data; sentences for the user
    fresh_test("listops", DataOptions(), seed=123, count=2000)

Ids are the published ones and 0 is padding. Nothing is padded here. In images (`image`, `pathfinder`) every example has
1,024 tokens and a black pixel is 0 too: the published models treat it as padding, so the mask is `input_ids != 0`.
"""

from collections.abc import Callable

from ponet.config.lra import DataOptions
from ponet.tasks.lra import image, listops, pathfinder, retrieval, text, wikipedia
from ponet.tasks.lra.cache import LraData, build, open_cache
from ponet.tasks.lra.spec import DatasetSpec, cache_folder, get_lra_task
from ponet.tasks.lra.store import TokenStore
from ponet.utils.errors import PoNetError

SPECS: dict[str, Callable[[DataOptions], DatasetSpec]] = {
    "listops": listops.spec,
    "text": text.spec,
    "retrieval": retrieval.spec,
    "retrieval-wikipedia": wikipedia.spec,
    "image": image.spec,
    "pathfinder": pathfinder.spec,
}
FRESH_SPECS: dict[str, Callable[[DataOptions, int, int], DatasetSpec]] = {
    "listops": listops.fresh_spec,
    "pathfinder": pathfinder.fresh_spec,
}
"""New test data, from options, seed and number of examples."""


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
    about = get_lra_task(task)
    options = options or DataOptions()
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
    about = get_lra_task(task)
    options = options or DataOptions()
    if task not in FRESH_SPECS or options.source is not None:
        raise PoNetError(
            f"No new test data can be made for '{task}' as it is read from files. Tasks that can: "
            f"{', '.join(FRESH_SPECS)}."
        )
    if count < 1:
        raise PoNetError(f"{count} fresh test examples make no test: ask for at least 1.")
    spec = FRESH_SPECS[task](options, seed, count)
    folder = build(spec, cache_folder(options), options.workers, apart_from=SPECS[task](options))
    return open_cache(folder, spec, about, options).splits["test"]
