"""`ponet pretrain export`: a finished pre-training as a bundled checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from ponet.cli.errors import handle_errors, say


@handle_errors
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A complete pre-training's run folder.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The checkpoint's name: ponet-...")],
    data: Annotated[str, typer.Option(help="What the corpus is, in a few words for the model card.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="The folder to make NAME in.  \\[default: the package's checkpoints]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a checkpoint that is there.")] = False,
) -> None:
    """Make a run's model a checkpoint that goes by its name: fp16 weights, tokenizer, model card, 25 MB at most.

    Examples:

      ponet pretrain export runs/pretrain/tiny/seed0 ponet-tiny --data "English Wikipedia and 100 novels"

      ponet pretrain export runs/pretrain/tiny/seed0 ponet-mine --out checkpoints
    """
    from ponet.models.checkpoints import CHECKPOINTS, PREFIX
    from ponet.tasks.pretraining.export import export as export_run
    from ponet.utils.errors import PoNetError

    if not name.startswith(PREFIX) or Path(name).name != name:
        raise PoNetError(f"'{name}' can't be a checkpoint's name: let it begin with '{PREFIX}' and have no slash.")
    folder = (CHECKPOINTS if out is None else out) / name
    size = export_run(run, folder, data, overwrite)
    say(f"{folder}: {size / 1e6:.1f} MB")


def register(app: typer.Typer) -> None:
    """Adds the command to `ponet pretrain`; `ship` is its former name."""
    app.command("export")(export)
    app.command("ship", hidden=True)(export)
