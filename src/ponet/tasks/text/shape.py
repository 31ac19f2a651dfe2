"""The splits as training gets them: drawn anew or missing ones cut from the training rows, overlap dropped, limits
applied."""

import numpy as np

from ponet.config.text import TextOptions
from ponet.data.labels import LabelSpace, list_names
from ponet.data.sources import SPLITS
from ponet.data.splits import draw, limit
from ponet.tasks.text.documents import Documents, count_of
from ponet.utils.errors import PoNetError


def put_together(splits: dict[str, Documents], options: TextOptions, notices: list[str]) -> None:
    """Where `resplit` is set, all rows become training rows, from which `cut_missing` then draws."""
    if not options.resplit:
        return
    if len(splits) == 1:
        raise PoNetError(f"'{options.path}' has no splits of its own to put together: leave resplit out.")
    parts = [splits.pop(name) for name in SPLITS if name in splits]
    size = sum(map(len, parts))
    splits["train"] = Documents.joined(parts, f"{size:,} rows of all splits of {options.path}")
    counts = " + ".join(f"{len(part):,}" for part in parts)
    notices.append(f"resplit: {counts} rows of {len(parts)} splits are put together and split anew.")


def cut_missing(splits: dict[str, Documents], space: LabelSpace, options: TextOptions, notices: list[str]) -> None:
    """Sets training rows aside where the data has no test or validation split."""
    size = len(splits["train"])  # both fractions are of all training rows
    for name, fraction, seed in (("test", options.test_fraction, 1), ("validation", options.validation_fraction, 0)):
        if name in splits:
            continue
        if fraction == 0:
            if name == "test":
                notices.append("There is no test split (test_fraction=0.1 would set rows aside for one).")
            continue
        train = splits["train"]
        count = max(1, round(fraction * size))
        rows = draw(len(train), count, _strata(train, space), 2 * options.drawing_seed() + seed)
        if not rows.size or len(rows) >= len(train):
            raise PoNetError(
                f"'{options.path}' has {size} labelled training rows, too few to set {name} rows aside: add rows."
            )
        left = np.setdiff1d(np.arange(len(train)), rows)
        splits[name] = train.take(rows, f"{len(rows):,} rows set aside from {train.origin}")
        splits["train"] = train.take(left, train.origin)
        share = f"{name}_fraction={fraction:g}, split_seed={options.split_seed}"
        notices.append(f"{len(rows):,} of {size:,} training rows are set aside for {name} ({share}).")


def mind_overlap(splits: dict[str, Documents], options: TextOptions, notices: list[str]) -> dict[str, int]:
    """Counts, for each other split, its documents that are in training too, and drops those from training if wanted."""
    training = splits["train"].identities()
    known = set(training)
    found: dict[str, int] = {}
    held_out: set[int] = set()
    for name in SPLITS[1:]:
        identities = splits[name].identities() if name in splits else []
        held_out.update(identities)
        found[name] = sum(identity in known for identity in identities)
        if found[name]:
            said = f"{count_of(found[name], len(identities), name)} occur word for word in training too"
            advice = "" if options.overlap == "drop" else ": overlap=drop would leave them out of training"
            notices.append(f"{said}{advice}.")
    kept = np.flatnonzero([identity not in held_out for identity in training])
    if options.overlap == "drop" and len(kept) < len(training):
        if not kept.size:
            raise PoNetError(f"Every training row of '{options.path}' is in another split too: none is left.")
        notices.append(f"{count_of(len(training) - len(kept), len(training), 'train')} are dropped for it.")
        splits["train"] = splits["train"].take(kept, f"{splits['train'].origin}, without rows of other splits")
    return {name: count for name, count in found.items() if count}


def apply_limits(splits: dict[str, Documents], space: LabelSpace, options: TextOptions, notices: list[str]) -> None:
    limits = {"train": options.limit_train, "validation": options.limit_validation, "test": options.limit_test}
    for name, documents in splits.items():
        rows = limit(len(documents), limits[name], _strata(documents, space), options.drawing_seed())
        if rows is not None:
            splits[name] = documents.take(rows, f"{len(rows):,} of {len(documents):,} rows of {documents.origin}")
            notices.append(f"limit_{name}: {len(rows):,} of {len(documents):,} rows are used.")


def check_classes(splits: dict[str, Documents], space: LabelSpace, options: TextOptions, notices: list[str]) -> None:
    """What only shows once rows are left out: a class gone."""
    labels = splits["train"].labels
    if space.kind == "single_label":
        present = np.bincount(labels, minlength=len(space.names))
        if np.count_nonzero(present) < 2:
            raise PoNetError(
                f"The {len(labels)} training rows left of '{options.path}' are of one class: "
                "raise limit_train or add rows."
            )
        absent = [name for name, count in zip(space.names, present, strict=True) if not count]
        if absent:
            notices.append(f"No training row has the class {list_names(absent)}.")


def _strata(documents: Documents, space: LabelSpace) -> np.ndarray | None:
    return documents.labels if space.kind == "single_label" else None
