"""`ponet train --grid`: every combination of the values in a recipe's `grid` trained once, and the best one chosen.

What is a list in the grid is an axis of it; anything else is how the trials differ from the training that follows, such
as rows set aside for the choice. Each trial is a run of its own, resumed where it was cut off and removed once its
figure is in `grid.json`.
"""

import itertools
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ponet.config.recipe import Recipe, differences, recipe_from_dict
from ponet.config.yaml import parse_value
from ponet.training.display import Display
from ponet.training.distributed import process_count
from ponet.training.folder import GRID_FILE, RunFolder
from ponet.training.loop import DivergedError
from ponet.training.result import origin
from ponet.training.run import SMALL_IS_GOOD, train
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json, write_json

PREFIX = "grid."
"""Begins the changes that are the grid's: `grid.batch_size=16,32 grid.limit_train=5000`."""

Cell = dict[str, Any]
"""Key -> value, of every axis."""


def split_grid(changes: Iterable[str]) -> tuple[list[str], list[str]]:
    """The changes to the grid, without their prefix, and the rest."""
    changes = list(changes)
    mine = [change for change in changes if change.startswith(PREFIX)]
    return [change.removeprefix(PREFIX) for change in mine], [change for change in changes if change not in mine]


def changed_grid(grid: dict[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """A recipe's grid with changes: `batch_size=16,32` is an axis, `limit_train=5000` isn't. Raises PoNetError: a
    change of another form."""
    grid = dict(grid)
    for change in changes:
        key, equals, text = (part.strip() for part in change.partition("="))
        if not equals or not key:
            raise PoNetError(f"'{PREFIX}{change}' isn't of the form {PREFIX}key=value.")
        last = key.rpartition(".")[2]
        key = last if last in grid else key
        value = parse_value(text)
        if isinstance(value, str) and "," in value:
            value = [parse_value(part.strip()) for part in text.split(",")]
        grid[key] = [value] if isinstance(grid.get(key), list) and not isinstance(value, list) else value
    return grid


def choose(
    make: Callable[[list[str]], Recipe], grid: dict[str, Any], seed: int, folder: Path, overwrite: bool = False
) -> Cell:
    """The best cell of a grid, by the validation metric of one training each.

    Args:
        make: the recipe, given changes.
        grid: lists are its axes.
        folder: where `grid.json` and, below `grid`, the trials go.
        overwrite: whether figures that are there are removed first.

    Raises:
        PoNetError: no axis, trials that all diverge, no validation split, or figures of another grid.
    """
    if process_count() > 1:
        raise PoNetError("--grid trains in one process: choose without torchrun, then train the chosen cell with it.")
    axes = {key: values for key, values in grid.items() if isinstance(values, list)}
    if not axes or not all(axes.values()):
        raise PoNetError("There is no grid to choose from: give lists, such as grid.learning_rate=1e-4,3e-5.")
    fixed = [*(_change(key, value) for key, value in grid.items() if key not in axes), f"seed={seed}"]
    cells = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    recipes = [make([*fixed, *(_change(key, value) for key, value in cell.items())]) for cell in cells]  # all or none
    display, file = Display(), folder / GRID_FILE
    found = _on_file(file, make(fixed), overwrite)
    for number, (cell, recipe) in enumerate(zip(cells, recipes, strict=True), 1):
        if _find(found["cells"], cell) is None:
            display.notice(f"Trial {number} of {len(cells)}: {_words(cell)}.")
            name = "-".join(f"{key}{value}".replace("/", "_") for key, value in cell.items())
            found["cells"].append(cell | _trial(recipe, folder / "grid" / name, overwrite))
            write_json(file, found)
    with suppress(OSError):  # other things are in it
        (folder / "grid").rmdir()
    known = [each for cell in cells if (each := _find(found["cells"], cell)) and each["value"] is not None]
    if not known:
        raise PoNetError("Every trial of the grid diverged: lower the learning rates (grid.learning_rate=...).")
    less = any(word in known[0]["metric"] for word in SMALL_IS_GOOD)
    best = min(known, key=lambda each: each["value"] if less else -each["value"])
    chosen = {key: best[key] for key in axes}
    write_json(file, found | {"chosen": chosen, **origin(seed)})
    display.notice(
        f"The grid's choice is {_words(chosen)}: {best['metric']} {best['value']:.4f}, the best of {len(cells)}."
    )
    return chosen


def as_changes(cell: Cell) -> list[str]:
    """`key=value` for each axis."""
    return [_change(key, value) for key, value in cell.items()]


def _change(key: str, value: Any) -> str:
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def _words(cell: Cell) -> str:
    return ", ".join(as_changes(cell))


def _find(cells: list[dict[str, Any]], cell: Cell) -> dict[str, Any] | None:
    return next((each for each in cells if {key: each.get(key) for key in cell} == cell), None)


def _on_file(file: Path, recipe: Recipe, overwrite: bool) -> dict[str, Any]:
    """What earlier calls have found for the same trials."""
    fresh: dict[str, Any] = {"recipe": recipe.to_dict(), "cells": [], "chosen": None}
    if not file.is_file() or overwrite:
        return fresh
    found = read_json(file)
    if not isinstance(found, dict) or not {"recipe", "cells"} <= found.keys():
        raise PoNetError(f"'{file}' doesn't hold the figures of a grid: move it away.")
    differing = differences(recipe_from_dict(found["recipe"], (), str(file)), recipe, ("name", "description"))
    if differing:
        raise PoNetError(f"The grid in '{file}' was of another recipe: {differing[0]}. --overwrite chooses anew.")
    return fresh | {"cells": list(found["cells"])}


def _trial(recipe: Recipe, folder: Path, overwrite: bool) -> dict[str, Any]:
    """The figure of one cell; None for one that diverged."""
    metric, value, seconds = recipe.training.metric, None, None
    with suppress(DivergedError):
        result = train(recipe, folder, overwrite)
        best = result.get("best")
        if best is None:
            raise PoNetError("A grid chooses by a validation split, and the trials' data has none.")
        metric, value, seconds = best["metric"], best["value"], result["train"]["seconds"]
    if folder.is_dir() and not RunFolder(folder).remove_files():
        for file in folder.iterdir():  # the lock
            file.unlink()
        folder.rmdir()
    return {"metric": metric, "value": value, "seconds": seconds}
