"""`ponet pretrain run`: prepared data to a pre-trained model."""

from pathlib import Path
from typing import Annotated

import typer

from ponet.cli.errors import handle_errors
from ponet.cli.runs import Changes, Overwrite


def register(app: typer.Typer) -> None:
    """Adds the command to `ponet pretrain`."""
    app.command("run")(run)


@handle_errors
def run(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The folder that `ponet pretrain prepare` made.")],
    changes: Changes = None,
    size: Annotated[str, typer.Option(help="tiny, mini, small or base: the recipe pretrain/SIZE.")] = "mini",
    out: Annotated[Path | None, typer.Option(help="The run folder.  \\[default: runs/pretrain/SIZE/seedN]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Pre-train a model with masked words and the order of sentences; the same command goes on with a run cut off.

    `ponet train pretrain/SIZE data.path=DATA` is the same. With `torchrun --nproc-per-node N --no-python ponet pretrain
    run ...` N processes share the work (docs/scaling.md).

    Examples:

      ponet pretrain run data --size tiny budget=2h

      ponet pretrain run data --size mini max_steps=50000 whole_words=true

      ponet pretrain run data --size mini mixer_types=attention --out runs/bert

      ponet pretrain run data --size base objective=mlm gradient_accumulation=4 precision=bf16
    """
    from ponet.cli.runs import run_seeds
    from ponet.config.files import available_recipes
    from ponet.config.recipe import load_recipe
    from ponet.utils.errors import PoNetError, suggest

    sizes = [name.removeprefix("pretrain/") for name in available_recipes() if name.startswith("pretrain/")]
    if size not in sizes:
        raise PoNetError(f"There is no size '{size}'.{suggest(size, sizes)}")
    given = f"data.path={data}"
    run_seeds(lambda overrides: load_recipe(f"pretrain/{size}", [given, *overrides]), changes or [], out, overwrite)
