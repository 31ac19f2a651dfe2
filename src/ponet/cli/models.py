"""`ponet evaluate`, `ponet predict` and `ponet tokenizer`: commands that use what is there."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponet.cli.annotate import BatchTokens, DType, Input, Keep, KeepAll, Whole, Workers
from ponet.cli.errors import MOST_SEED, handle_errors, say
from ponet.utils.files import to_json

if TYPE_CHECKING:
    from ponet.data.inputs import Source
    from ponet.tasks.text.predict import Predictor

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
tokenizer = typer.Typer(help="Make tokenizers.", no_args_is_help=True)


@handle_errors
def evaluate(
    run: Run,
    data: Annotated[str | None, typer.Option(help="Another data set than the run's own.")] = None,
    split: Annotated[str, typer.Option(help="Which split of it: train, validation or test.")] = "test",
    fresh_test_seed: Annotated[
        int | None,
        typer.Option(help="New test data made from this seed, for tasks that make their data.", min=0, max=MOST_SEED),
    ] = None,
    fresh_size: Annotated[
        int | None, typer.Option(help="Examples of that.  \\[default: as many as the test split has]", min=1)
    ] = None,
    file: Annotated[bool, typer.Option("--file", help="Keep its figures in the run's folder, for reports.")] = False,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bf16, fp16, or auto: the fastest here.  \\[default: as in training]")
    ] = None,
) -> None:
    """Metrics of a run's model on a split, as JSON.

    Examples:

      ponet evaluate runs/reviews

      ponet evaluate runs/reviews --data newer.csv

      ponet evaluate runs/lra/listops/pooling/seed0 --fresh-test-seed 1 --fresh-size 10000 --file
    """
    from ponet.training.evaluation import evaluate as evaluate_run

    result = evaluate_run(run, data, split, fresh_test_seed, fresh_size=fresh_size, file=file, dtype=dtype)
    sys.stdout.write(to_json(result, indent=2) + "\n")


@handle_errors
def predict(
    run: Run,
    source: Input,
    out: Annotated[
        Path | None,
        typer.Option(help="A .jsonl, .csv or .parquet file.  \\[default: JSON lines on standard output]"),
    ] = None,
    text: Annotated[str | None, typer.Option(help="Column of the text.  \\[default: the run's]")] = None,
    pair: Annotated[str | None, typer.Option(help="Column of the second text.")] = None,
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
    from ponet.cli.annotate import annotate, kept
    from ponet.data.inputs import Source

    columns = kept(keep, keep_all)

    def opened() -> "tuple[Source, Predictor]":
        from ponet.training.evaluation import predictor

        answering = predictor(run, batch_tokens=batch_tokens, dtype=dtype)
        return answering.source(source, text, pair, whole, columns), answering

    annotate(opened, Source(source, whole=whole, keep=columns), out, vectors=False, workers=workers)


@tokenizer.command("train")
@handle_errors
def train_tokenizer(
    corpus: Annotated[
        list[Path], typer.Argument(metavar="CORPUS", help="Text, CSV, JSON lines or Parquet files, or folders.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = ...,  # type: ignore[assignment]
    vocab_size: Annotated[int, typer.Option(help="Pieces at most, special tokens included.")] = 16_000,
    text: Annotated[str, typer.Option(help="Column of the text, in all but text files.")] = "text",
    cased: Annotated[bool, typer.Option("--cased", help="Keep upper case and accents.")] = False,
    min_frequency: Annotated[int, typer.Option(help="How often a pair must occur to become a piece.")] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a tokenizer that is there.")] = False,
) -> None:
    """Learn a WordPiece vocabulary from a corpus of any size.

    Example:

      ponet tokenizer train corpus/ --vocab-size 16000 --out my-tokenizer
    """
    from ponet.data.tokenizer_training import train_tokenizer_from_corpus

    made = train_tokenizer_from_corpus(
        corpus,
        out,
        vocab_size,
        lowercase=not cased,
        text_column=text,
        min_frequency=min_frequency,
        overwrite=overwrite,
        show_progress=sys.stderr.isatty(),
    )
    for notice in made.notices:
        say(notice, err=True)
    say(f"{made.vocab_size:,} pieces from {made.texts:,} texts in {made.seconds:,.1f} s: {made.folder}")
