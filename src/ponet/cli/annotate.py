"""What `ponet predict` and `ponet embed` share: options, and where the results go."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponet.cli.errors import say

if TYPE_CHECKING:
    from ponet.data.inputs import Source
    from ponet.inference.documents import Annotator

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT", help="A CSV, JSON lines, Parquet or .txt file, a folder of tables or .txt files, or -."
    ),
]
Whole = Annotated[bool, typer.Option("--whole", help="A .txt file is one document, not one a line.")]
Keep = Annotated[str | None, typer.Option(help="Columns of the input to carry along: id,title.", metavar="NAMES")]
KeepAll = Annotated[bool, typer.Option("--keep-all", help="Carry all columns of the input along.")]
BatchTokens = Annotated[int, typer.Option(help="Tokens in a batch, at most; a longer text is alone.", min=1)]
DType = Annotated[str, typer.Option(help="float32, bf16, fp16, or auto: the fastest here.")]
Workers = Annotated[int, typer.Option(help="Processes that tokenize; 1: this one.", min=1, max=1024)]


def kept(names: str | None, everything: bool) -> tuple[str, ...] | None:
    """The columns of `--keep` and `--keep-all`; None: all.

    Raises:
        PoNetError: both are given, or a name is empty.
    """
    from ponet.utils.errors import PoNetError

    if names is None:
        return None if everything else ()
    columns = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    if everything or not all(columns):
        raise PoNetError("Give --keep names with commas between them, as in --keep id,title, or --keep-all.")
    return columns


def annotate(
    opened: "Callable[[], tuple[Source, Annotator]]", source: "Source", out: Path | None, vectors: bool, workers: int
) -> None:
    """Writes what a model finds to a file, or to standard output as it comes.

    Args:
        opened: opens the model, and says what is to be read.
        source: what is to be read, as far as it is known without the model.
        vectors: whether the model finds vectors.

    Raises:
        PoNetError: as `ponet.inference.job`.
    """
    from ponet.inference.job import annotate_to_file, annotate_to_stream, check_output
    from ponet.utils.files import is_stream, writing
    from ponet.utils.libraries import quiet_libraries

    check_output(source, out, vectors, workers)
    source, annotator = opened()

    def tell(sentence: str) -> None:
        say(sentence, err=True)

    with quiet_libraries():
        if out is None:
            annotate_to_stream(source, annotator, sys.stdout, workers, tell)
        elif is_stream(out):
            with writing(out) as stream:
                annotate_to_stream(source, annotator, stream, workers, tell)
        else:
            annotate_to_file(source, annotator, out, workers, tell)
