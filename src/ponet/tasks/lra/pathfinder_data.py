"""Pathfinder as a data set: generated, or read from the published archive."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ponet.tasks.lra.pathfinder import check_contour_length, generate
from ponet.tasks.lra.pathfinder_files import metadata_files, read_images, row_jobs
from ponet.tasks.lra.pathfinder_shapes import PIXELS
from ponet.tasks.lra.plan import Plan, Stream
from ponet.tasks.lra.published import count_differences, sizes
from ponet.tasks.lra.store import Examples

if TYPE_CHECKING:
    from ponet.config.lra import DataOptions

VERSION = 1
FRESH = 1
"""The stream of random numbers for new test data; 0 is for the data set itself."""
_PER_BLOCK = 1_000
_SOURCE = "generated after the published script"


def plan(options: "DataOptions") -> Plan:
    """The whole data set."""
    from ponet.tasks.lra.data import TASKS

    check_contour_length(options.contour_length)
    about = TASKS["pathfinder"]
    if options.source is not None:
        return _published(options, options.source)
    wanted = options.sizes(about.official)
    return Plan(
        task=about.name,
        version=VERSION,
        parameters={
            "source": "generated",
            "seed": options.seed,
            "contour_length": options.contour_length,
            "sizes": wanted,
        },
        source=_SOURCE,
        streams=lambda: [_stream(options.seed, 0, options.contour_length, wanted)],
        differences=lambda examples, notes: [
            *count_differences(about.official, examples, wanted),
            *_contour_difference(options),
        ],
    )


def fresh_plan(options: "DataOptions", seed: int, count: int) -> Plan:
    """New test data."""
    check_contour_length(options.contour_length)
    return Plan(
        task="pathfinder-fresh",
        version=VERSION,
        parameters={
            "source": "generated",
            "seed": seed,
            "contour_length": options.contour_length,
            "sizes": {"test": count},
            "apart_from": options.seed,
        },
        source=_SOURCE,
        streams=lambda: [_stream(seed, FRESH, options.contour_length, {"test": count})],
    )


def _stream(seed: int, split: int, contour_length: int, wanted: Mapping[str, int | None]) -> Stream:
    make = partial(_make, seed, split, contour_length)
    return Stream(make, None, wanted, per_job=_PER_BLOCK, unit="images", distinct=True)


def _make(seed: int, split: int, contour_length: int, block: int) -> Examples:
    made = generate(seed, block, _PER_BLOCK, contour_length, split)
    return Examples([made.images.reshape(-1)], [np.full(len(made), PIXELS, np.int64)], made.labels)


def _published(options: "DataOptions", source: str) -> Plan:
    from ponet.tasks.lra.data import TASKS

    about = TASKS["pathfinder"]
    shown = {"train": options.train_size, "validation": options.validation_size, "test": options.test_size}

    def streams() -> list[Stream]:
        return [
            Stream(read_images, jobs, {split: None}, per_job=_PER_BLOCK, unit="images")
            for split, jobs in row_jobs(source, options.contour_length, _PER_BLOCK).items()
        ]

    def differences(examples: Mapping[str, int], notes: Mapping[str, int]) -> list[str]:
        found = [*count_differences(about.official, examples, shown), *_contour_difference(options)]
        if notes.get("empty"):
            found.append(f"{notes['empty']:,} empty images left out; of the published set, one is known to be empty.")
        found.append(
            "The splits are cut in the order of the metadata; the published ones in TensorFlow Datasets' order."
        )
        return found

    return Plan(
        task=about.name,
        version=VERSION,
        parameters={
            "source": str(Path(source).expanduser().resolve()),
            "contour_length": options.contour_length,
        },
        source="the published archive",
        streams=streams,
        inputs=lambda: sizes(metadata_files(source, options.contour_length)),
        shown=shown,
        differences=differences,
    )


def _contour_difference(options: "DataOptions") -> list[str]:
    if options.contour_length == 14:
        return []
    return [f"Curves of {options.contour_length} dashes; published results are for 14."]
