"""`ponet train`, `ponet finetune` and `ponet file`: commands that write run folders."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from ponet.cli.errors import handle_errors, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from ponet.config.recipe import Recipe

CHANGES = "Changes, dotted or by the last part: learning_rate=1e-4 data.max_length=512 seed=0,1,2"
Changes = Annotated[list[str] | None, Argument(metavar="KEY=VALUE", help=CHANGES)]
NONE = "none"
"""What `ponet finetune --model` calls no checkpoint."""
Overwrite = Annotated[bool, Option("--overwrite", help="Remove a run that is there, and train again.")]


@handle_errors
def train(
    recipe: Annotated[str, Argument(metavar="RECIPE", help="A recipe's name (`ponet recipes`) or YAML file.")],
    changes: Changes = None,
    out: Annotated[Path | None, Option(help="The run folder.  \\[default: runs/RECIPE/seedN]")] = None,
    grid: Annotated[
        bool,
        Option(
            "--grid",
            help="First try each combination of the recipe's grid once, and train with the best; "
            "grid.KEY=A,B changes the grid, grid.KEY=VALUE the trials.",
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a recipe into a run folder; the same command takes up a training that was cut off.

    Examples:
      ponet train documents/imdb/pooling
      ponet train documents/hnd/pooling seed=0,1,2,3,4
      ponet train my-recipe.yaml max_steps=200 --out runs/trial
      ponet train lra/listops/pooling budget=25m
      ponet train glue/rte/ponet --grid grid.batch_size=16,32 seed=0,1,2
    """
    from ponet.config.recipe import load_recipe

    changes = changes or []
    if grid:
        changes, out = _choose(recipe, changes, out, overwrite)
    run_seeds(lambda overrides: load_recipe(recipe, overrides), changes, out, overwrite, separate=grid)


@handle_errors
def finetune(
    data: Annotated[
        str, Argument(metavar="DATA", help="A CSV, JSON lines or Parquet file, a folder of splits, or a hub name.")
    ],
    changes: Changes = None,
    out: Annotated[Path, Option(help="The run folder.")] = ...,  # type: ignore[assignment]
    model: Annotated[
        str | None,
        Option(
            help="A checkpoint to start from: folder, bundled or hub name; none: a small model from scratch, with a "
            "tokenizer of the texts.  \\[default: the best bundled one]"
        ),
    ] = None,
    text: Annotated[str | None, Option(help="Column of the text.  \\[default: found]")] = None,
    pair: Annotated[str | None, Option(help="Column of a second text.")] = None,
    label: Annotated[
        str | None, Option(help="Column of the label, or several 0/1 columns: a,b,c.  \\[default: found]")
    ] = None,
    max_length: Annotated[int | None, Option(help="Tokens kept of a text.  \\[default: 2048]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a classifier on your own documents; no recipe to write.

    Examples:
      ponet finetune reviews.csv --out runs/reviews
      ponet finetune data/ --out runs/topics --text body --label topic
      ponet finetune long.jsonl --out runs/long --max-length 8192 epochs=5
      ponet finetune pairs.csv --out runs/pairs --model checkpoint seed=1
      ponet finetune russian.csv --out runs/russian --model none
    """
    from ponet.config.files import read_recipe
    from ponet.config.recipe import recipe_from_dict
    from ponet.models.checkpoints import checkpoint_names
    from ponet.tasks.text.modelling import starting_recipe

    names = checkpoint_names()
    start = model if model is not None else names[0] if names else NONE
    values = read_recipe(starting_recipe(None if start == NONE else start, pair is not None))
    values["name"] = f"finetune/{Path(data).stem or 'data'}"
    columns = None if label is None else [part.strip() for part in label.split(",")]
    given = {
        "path": data,
        "text": text,
        "pair": pair,
        "label": columns[0] if columns is not None and len(columns) == 1 else columns,
        "max_length": max_length,
    }
    values["data"] |= {key: value for key, value in given.items() if value is not None}
    if start != NONE:
        values["model"] = {**values.get("model", {}), "init": start}
    run_seeds(lambda overrides: recipe_from_dict(values, overrides), changes or [], out, overwrite)


@handle_errors
def file(
    runs: Annotated[list[Path], Argument(metavar="RUN", help="Complete run folders.")],
    results: Annotated[Path, Option(help="The folder of result files.")] = Path("results"),
    weights_mb: Annotated[float, Option(help="The most megabytes of weights that go along.")] = 2.0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a result that is there.")] = False,
) -> None:
    """Copy runs to results/SUITE/TASK/MIXER/seedN: the files that belong in a repository, small weights included.

    Examples:
      ponet file runs/lra/listops/pooling/seed0
      ponet file runs/lra/*/*/seed*
    """
    from ponet.training.export import export_run

    for run in runs:
        say(str(export_run(run, results, weights_mb, overwrite)))


def _choose(recipe: str, changes: list[str], out: Path | None, overwrite: bool) -> tuple[list[str], Path]:
    """The changes with those of the grid's best cell, and the folder of the runs."""
    from ponet.config.files import check_section, read_recipe
    from ponet.config.recipe import load_recipe, split_seeds
    from ponet.training import grid

    of_grid, rest = grid.split_grid(changes)
    seeds, others = split_seeds(rest)
    first = load_recipe(recipe, others)
    folder = out or Path("runs", *Path(first.name).parts)
    values = grid.changed_grid(check_section(read_recipe(recipe), "grid", recipe), of_grid)
    seed = seeds[0] if seeds else first.seed
    cell = grid.choose(lambda more: load_recipe(recipe, [*others, *more]), values, seed, folder, overwrite)
    return [*rest, *grid.as_changes(cell)], folder


def run_seeds(
    make: "Callable[[list[str]], Recipe]", changes: list[str], out: Path | None, overwrite: bool, separate: bool = False
) -> list[Path]:
    """One run, or one for each of `seed=0,1,2`, each in a folder of its own, which are returned.

    Args:
        separate: whether a single run has a folder of its own below `out` too.
    """
    from ponet.config.recipe import split_seeds

    seeds, rest = split_seeds(changes)
    recipes = [make([*rest, *([f"seed={seed}"] if seeds else [])]) for seed in seeds or [0]]
    from ponet.training.distributed import process_index
    from ponet.training.run import train as train_recipe

    folders: list[Path] = []
    for recipe in recipes:
        name = f"seed{recipe.seed}"
        default = Path("runs", *Path(recipe.name).parts, name)
        folders.append(default if out is None else out / name if separate or len(recipes) > 1 else out)
        result = train_recipe(recipe, folders[-1], overwrite)
        if process_index() == 0:
            say("\n".join(summary(result, folders[-1])))
    return folders


def summary(result: dict[str, Any], out: Path) -> list[str]:
    """The result in a few lines, for people; result.json has all of it."""
    lines = []
    for split in ("validation", "test"):
        if result.get(split):
            figures = "  ".join(f"{name} {_number(value)}" for name, value in result[split].items())
            lines.append(f"{split:<11} {figures}")
    train = result["train"]
    parts = [f"{train['seconds']:,.1f} s"] if train.get("seconds") is not None else []
    if train.get("steps"):
        parts.insert(0, f"{train['steps']:,} steps")
    if train.get("tokens_per_second"):
        parts.append(f"{train['tokens_per_second']:,.0f} tokens/s")
    if train.get("peak_memory_bytes"):
        parts.append(f"peak memory {train['peak_memory_bytes'] / 1e6:,.0f} MB")
    return [*lines, f"{'trained':<11} {'  '.join(parts)}", f"{'run folder':<11} {out}"]


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else json.dumps(value)
