"""`ponet embed`: vectors of documents."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponet.cli.annotate import BatchTokens, DType, Input, Keep, KeepAll, Whole, Workers
from ponet.cli.errors import handle_errors

if TYPE_CHECKING:
    from ponet.data.inputs import Source
    from ponet.embedding import Embedder


@handle_errors
def embed(
    source: Input,
    out: Annotated[
        Path | None,
        typer.Option(help="A .npy, .parquet, .jsonl or .csv file.  \\[default: JSON lines on standard output]"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A folder or hub name.  \\[default: the checkpoint that comes with ponet]")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Column of the text.  \\[default: found]")] = None,
    keep: Keep = None,
    keep_all: KeepAll = False,
    whole: Whole = False,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens kept of a text.  \\[default: all, however long]", min=3)
    ] = None,
    batch_tokens: BatchTokens = 8192,
    workers: Workers = 1,
    dtype: DType = "auto",
) -> None:
    """A vector for each document, of any length: the mean of its tokens' states, of length 1. Rows in input order.

    The product of two vectors is their cosine: near 1 for texts that say the same. A command that was stopped goes on
    behind the last row that it kept when it is run again (docs/corpora.md).

    Examples:

      ponet embed articles.jsonl --out articles.npy

      ponet embed corpus.parquet --keep id,title --workers 4 --out vectors.parquet

      cat questions.txt | ponet embed - --out questions.jsonl
    """
    from ponet.cli.annotate import annotate, kept
    from ponet.data.inputs import Source

    place = Source(source, text, whole=whole, keep=kept(keep, keep_all))

    def opened() -> "tuple[Source, Embedder]":
        from ponet.embedding import Embedder

        return place, Embedder(model, max_length, batch_tokens, dtype=dtype)

    annotate(opened, place, out, vectors=True, workers=workers)
