"""`ponet distil`: a BERT encoder taught to a PoNet."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ponet.cli.errors import handle_errors
from ponet.cli.runs import Overwrite
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from collections.abc import Sequence


@handle_errors
def distil(
    teacher: Annotated[
        str, Argument(metavar="TEACHER", help="A BERT encoder (MiniLM, bge, e5, gte): folder or hub name.")
    ],
    corpus: Annotated[
        list[str],
        Argument(
            metavar="CORPUS... [KEY=VALUE...]",
            help="Text, CSV, JSON lines or Parquet files, folders, hub names, or data that `ponet pretrain prepare "
            "--tokenizer TEACHER` made; then changes to the recipe.",
        ),
    ],
    out: Annotated[Path, Option(help="The run folder; the same command goes on with a run that was cut off.")],
    recipe: Annotated[
        str, Option(help="Sizes, lengths and schedule: distil/mini, distil/nano, distil/fourier.")
    ] = "distil/mini",
    validation: Annotated[list[str] | None, Option(help="Held-out text; may be given several times.")] = None,
    validation_fraction: Annotated[
        float | None,
        Option(help="Share of the documents to hold out.  \\[default: without --validation, 0.005 to 0.1]"),
    ] = None,
    text: Annotated[str, Option(help="Column of the text, in all but text files.")] = "text",
    prepared: Annotated[Path | None, Option(help="Where the tokenized corpus is kept.  \\[default: OUT.data]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Teach a student with linear-time mixers what a BERT encoder makes of your text.

    The student begins with all of the teacher's weights but those of its attention, and learns each layer's hidden
    states and the mean vectors of passages. Half an hour on two CPU cores already gives a usable encoder of MiniLM's
    size; docs/distillation.md says what more brings.

    Examples:
      ponet distil sentence-transformers/all-MiniLM-L6-v2 wikipedia --out student
      ponet distil BAAI/bge-small-en-v1.5 reports/ letters.jsonl --out student max_steps=2000 precision=bf16
      ponet distil my-bert data --out student --recipe distil/nano lengths=[128] shares=null
      ponet distil my-bert data --out hybrid 'mixer_types=[pooling,pooling,attention,pooling,pooling,attention]'
    """
    from ponet.cli.runs import run_seeds
    from ponet.config.recipe import load_recipe
    from ponet.models.checkpoints import write_modules
    from ponet.training.distributed import process_index

    changes = [each for each in corpus if "=" in each and not Path(each).exists()]
    named = [each for each in corpus if each not in changes]
    if not named:
        raise PoNetError("Name a corpus behind the teacher: files, folders, or a hub name.")
    folder = prepared or out.with_name(f"{out.name}.data")
    folders = _prepared(teacher, named, validation or [], validation_fraction, text, folder)
    given = [f"data.teacher={teacher}", f"data.path=[{', '.join(folders)}]"]
    for run in run_seeds(lambda overrides: load_recipe(recipe, [*given, *overrides]), changes, out, overwrite):
        if process_index() == 0:
            write_modules(run)


def _prepared(
    teacher: str, corpus: "Sequence[str]", validation: "Sequence[str]", fraction: float | None, text: str, folder: Path
) -> list[str]:
    """Folders of prepared data: those that are named, and `folder` for the text that isn't tokenized yet."""
    from ponet.artifacts import MANIFEST
    from ponet.tasks.distillation.models import open_teacher
    from ponet.tasks.pretraining.prepare import prepare
    from ponet.training.distributed import process_index, wait_for_all

    ready = [each for each in corpus if (Path(each) / MANIFEST).is_file()]
    raw = [each for each in corpus if each not in ready]
    if not raw:
        return ready
    open_teacher(teacher)  # one that can't serve is refused before minutes of tokenizing
    if process_index() == 0:
        made = prepare(
            raw, folder, tokenizer=teacher, validation=validation, validation_fraction=fraction, text_column=text
        )
        for notice in made.notices:
            typer.echo(notice, err=True)
    wait_for_all()
    return [*ready, str(folder)]
