"""`ponet lra`: the data of Long Range Arena, made or read ahead of training, and looked at."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, Typer

from ponet.cli.errors import MOST_SEED, handle_errors, say
from ponet.utils.errors import PoNetError

lra = Typer(help="Prepare Long Range Arena's data, and look at it.", no_args_is_help=True)

Changes = Annotated[
    list[str] | None,
    Argument(
        metavar="KEY=VALUE",
        help="source, cache, seed, contour_length, train_size, validation_size, test_size, workers.",
        show_default=False,
    ),
]
Seed = Annotated[int, Option(help="Of the images.", min=0, max=MOST_SEED)]


@lra.command("data")
@handle_errors
def data(
    task: Annotated[str, Argument(help="listops, text, retrieval, retrieval-wikipedia, image or pathfinder.")],
    changes: Changes = None,
    verify: Annotated[bool, Option("--verify", help="Compare the checksum of every file.")] = False,
    as_json: Annotated[bool, Option("--json", help="All that is known about the data, as JSON.")] = False,
) -> None:
    """Make or read a task's data; training finds it in the cache. Prints what there is and how it differs.

    For example:
      ponet lra data listops
      ponet lra data pathfinder contour_length=9 workers=1
      ponet lra data retrieval source=lra_release
    """
    import json

    from ponet.tasks.lra.data import open_data

    found = open_data(task, _options(changes or []), verify)
    if as_json:
        say(json.dumps({**found.facts, "folder": str(found.folder)}, indent=2))
        return
    say(f"{found.task.name}: {found.task.title}")
    say(f"  from    {found.facts['source']}")
    for split, count in found.facts["examples"].items():
        lengths = found.splits[split].lengths
        say(f"  {split:<10}  {count:>7,} examples, {lengths.min():,} to {lengths.max():,} tokens")
    say(f"  folder  {found.folder}")
    for difference in found.notices:
        say(f"  note    {difference}")


@lra.command("sheet")
@handle_errors
def sheet(
    out: Annotated[Path, Option(help="The PNG file.")] = Path("pathfinder.png"),
    contour_length: Annotated[int, Option(help="Dashes in a curve: 6, 9 or 14.")] = 14,
    seed: Seed = 0,
    each: Annotated[int, Option(help="Images of each kind.", min=1, max=500)] = 24,
) -> None:
    """Newly made Pathfinder images on one sheet: those whose circles a curve joins, and those whose it doesn't."""
    from ponet.tasks.lra.pathfinder import draw_sheet

    draw_sheet(out, contour_length, seed, each)
    say(f"{out}: {each} images of each kind.")


def _options(changes: list[str]) -> Any:
    from ponet.config.lra import DataOptions
    from ponet.config.schema import build
    from ponet.config.yaml import parse_value

    raw = {}
    for change in changes:
        key, sign, value = change.partition("=")
        if not sign:
            raise PoNetError(f"'{change}' is not of the form KEY=VALUE, as in contour_length=9.")
        raw[key] = value
    values = {key: parse_value(value) for key, value in raw.items()}
    return build(DataOptions, values, "data", raw)
