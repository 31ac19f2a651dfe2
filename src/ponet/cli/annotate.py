"""`ponet predict` and `ponet embed`: what a model finds for each document of a file, in order."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ponet.cli.errors import handle_errors, say
from ponet.utils.errors import PoNetError
from ponet.utils.files import is_stream, writing

if TYPE_CHECKING:
    from ponet.data.inputs import Source
    from ponet.embedding import Embedder, SegmentEmbedder
    from ponet.inference.documents import Annotator
    from ponet.tasks.text.predict import Predictor

Input = Annotated[
    str,
    Argument(metavar="INPUT", help="A CSV, JSON lines, Parquet or .txt file, a folder of tables or .txt files, or -."),
]
Run = Annotated[Path, Argument(metavar="RUN", help="A run folder.")]
Whole = Annotated[bool, Option("--whole", help="A .txt file is one document, not one a line.")]
Keep = Annotated[str | None, Option(help="Columns of the input to carry along: id,title.", metavar="NAMES")]
KeepAll = Annotated[bool, Option("--keep-all", help="Carry all columns of the input along.")]
BatchTokens = Annotated[int, Option(help="Tokens in a batch, at most; a longer text is alone.", min=1)]
DType = Annotated[str, Option(help="float32, bf16, fp16, or auto: the fastest here.")]
Workers = Annotated[int, Option(help="Processes that tokenize; 1: this one.", min=1, max=1024)]


def kept(names: str | None, everything: bool) -> tuple[str, ...] | None:
    """The columns of `--keep` and `--keep-all`; None: all. Raises PoNetError: both are given, or a name is empty."""
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
    """
    from ponet.inference.job import annotate_to_file, annotate_to_stream, check_output
    from ponet.utils.libraries import quiet_libraries

    check_output(source, out, vectors, workers)
    source, annotator = opened()

    tell = partial(say, err=True)
    with quiet_libraries():
        if out is None:
            annotate_to_stream(source, annotator, sys.stdout, workers, tell)
        elif is_stream(out):
            with writing(out) as stream:
                annotate_to_stream(source, annotator, stream, workers, tell)
        else:
            annotate_to_file(source, annotator, out, workers, tell)


@handle_errors
def predict(
    run: Run,
    source: Input,
    out: Annotated[
        Path | None, Option(help="A .jsonl, .csv or .parquet file.  \\[default: JSON lines on standard output]")
    ] = None,
    text: Annotated[str | None, Option(help="Column of the text.  \\[default: the run's]")] = None,
    pair: Annotated[str | None, Option(help="Column of the second text.")] = None,
    keep: Keep = None,
    keep_all: KeepAll = False,
    whole: Whole = False,
    batch_tokens: BatchTokens = 16_384,
    workers: Workers = 1,
    dtype: DType = "auto",
) -> None:
    """Labels and scores for new documents, in input order.

    A command that was stopped goes on behind the last row that it kept when it is run again (docs/corpora.md).

    Examples:
      ponet predict runs/reviews new.csv --out labels.jsonl
      ponet predict runs/reviews corpus.parquet --keep id,title --workers 4 --out labels.parquet
      cat documents.txt | ponet predict runs/reviews -
    """
    from ponet.data.inputs import Source

    columns = kept(keep, keep_all)

    def opened() -> "tuple[Source, Predictor]":
        from ponet.training.evaluation import predictor

        answering = predictor(run, batch_tokens=batch_tokens, dtype=dtype)
        return answering.source(source, text, pair, whole, columns), answering

    annotate(opened, Source(source, whole=whole, keep=columns), out, vectors=False, workers=workers)


@handle_errors
def embed(
    source: Input,
    out: Annotated[
        Path | None, Option(help="A .npy, .parquet, .jsonl or .csv file.  \\[default: JSON lines on standard output]")
    ] = None,
    model: Annotated[
        str | None, Option(help="A folder or hub name.  \\[default: the checkpoint that comes with ponet]")
    ] = None,
    text: Annotated[str | None, Option(help="Column of the text.  \\[default: found]")] = None,
    keep: Keep = None,
    keep_all: KeepAll = False,
    whole: Whole = False,
    max_length: Annotated[
        int | None, Option(help="Tokens kept of a text.  \\[default: all, however long]", min=3)
    ] = None,
    segments: Annotated[
        str | None, Option(help="A vector for each sentence or topic too: sentences, topics.", metavar="KIND")
    ] = None,
    max_tokens: Annotated[int | None, Option(help="Tokens of a topic, at most.", min=1)] = None,
    min_tokens: Annotated[int | None, Option(help="Smaller topics are joined to a neighbour.", min=0)] = None,
    batch_tokens: BatchTokens = 8192,
    workers: Workers = 1,
    dtype: DType = "auto",
) -> None:
    """A vector for each document, of any length: the mean of its tokens' states, of length 1. Rows in input order.

    The product of two vectors is their cosine: near 1 for texts that say the same. With --segments a row also has, from
    the same pass, the vectors of its sentences or topics with their characters (start, end). A command that was stopped
    goes on behind the last row that it kept when it is run again (docs/corpora.md).

    Examples:
      ponet embed articles.jsonl --out articles.npy
      ponet embed book.txt --whole --segments topics --max-tokens 256 --out book.parquet
      ponet embed corpus.parquet --keep id,title --workers 4 --out vectors.parquet
      cat questions.txt | ponet embed - --out questions.jsonl
    """
    from ponet.data.inputs import Source

    if segments not in (None, "sentences", "topics"):
        raise PoNetError(f"--segments is sentences or topics, not '{segments}'.")
    if segments != "topics" and (max_tokens, min_tokens) != (None, None):
        raise PoNetError("--max-tokens and --min-tokens are of topics: add --segments topics.")
    if segments is not None and out is not None and out.suffix.lower() == ".npy":
        raise PoNetError("A .npy file holds one vector a document: write .parquet, .jsonl or .csv with --segments.")
    place = Source(source, text, whole=whole, keep=kept(keep, keep_all))

    def opened() -> "tuple[Source, Embedder | SegmentEmbedder]":
        from ponet.embedding import Embedder, SegmentEmbedder

        embedder = Embedder(model, max_length, batch_tokens, dtype=dtype)
        if segments is None:
            return place, embedder
        if segments == "sentences":
            return place, SegmentEmbedder(embedder, settings={"kind": segments})
        from ponet.artifacts import sha256
        from ponet.segmenting import Segmenter
        from ponet.tasks.sentences.modelling import WEIGHTS

        least = min_tokens or 0
        segmenter = Segmenter(None, max_tokens, least, dtype=dtype)
        settings = {"kind": segments, "max_tokens": max_tokens, "min_tokens": least}
        settings["model"] = sha256(segmenter.scorer.folder / WEIGHTS)
        return place, SegmentEmbedder(embedder, segmenter.spans, settings)

    annotate(opened, place, out, vectors=True, workers=workers)
