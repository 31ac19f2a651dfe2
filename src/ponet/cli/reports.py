"""`ponet demo`, `ponet recipes` and `ponet report`: commands that show what there is."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option, Typer

from ponet.cli.errors import MOST_SEED, handle_errors, say

recipes = Typer(help="List the recipes, or show one with all it inherits.", invoke_without_command=True)


@handle_errors
def demo(
    out: Annotated[Path, Option(help="Where the table, the figures and the plot go.")] = Path("demo"),
    seed: Annotated[
        int, Option(help="The same seed gives the same data and the same models.", min=0, max=MOST_SEED)
    ] = 0,
    quick: Annotated[bool, Option("--quick", help="A minute: fewer steps and shorter inputs.")] = False,
) -> None:
    """PoNet and a Transformer of the same size, side by side, on long inputs made here: accuracy, speed, memory."""
    from ponet.demo import run_demo

    run_demo(out, seed=seed, quick=quick)


@recipes.command("list")
@handle_errors
def list_recipes() -> None:
    """The recipes that come with the package."""
    from ponet.config.files import available_recipes, read_recipe

    names = available_recipes()
    width = max(len(name) for name in names)
    for name in names:
        say(f"{name:<{width}}  {read_recipe(name).get('description', '')}")


@recipes.callback()
@handle_errors
def _recipes(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_recipes()


@recipes.command("show")
@handle_errors
def show_recipe(
    name: Annotated[str, Argument(metavar="RECIPE", help="A recipe's name or YAML file.")],
    changes: Annotated[list[str] | None, Argument(metavar="KEY=VALUE", help="Changes to it.")] = None,
) -> None:
    """A recipe with everything it inherits and every default, as YAML that `ponet train` takes."""
    from ponet.config.recipe import load_recipe

    text = load_recipe(name, changes or []).to_yaml()
    if sys.stdout.isatty():
        say(text.removesuffix("\n"))
    else:
        sys.stdout.write(text)


@handle_errors
def report(
    name: Annotated[str | None, Argument(metavar="NAME", help="One report.  \\[default: all]")] = None,
    results: Annotated[Path, Option(help="The folder of result files.")] = Path("results"),
    markdown: Annotated[bool, Option("--markdown", help="Markdown instead of tables for the terminal.")] = False,
    write_readme: Annotated[bool, Option("--write-readme", help="Fill the tables of README.md and docs/.")] = False,
    check: Annotated[bool, Option("--check", help="Fail if they aren't what the results give.")] = False,
    plots: Annotated[Path | None, Option(help="Draw what can be drawn into this folder.")] = None,
) -> None:
    """The measured results as tables, from the result files under results/."""
    from ponet.report.command import report as make_report

    make_report(name, results, as_markdown=markdown, write_readme=write_readme, check=check, plots=plots)
