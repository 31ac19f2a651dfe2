"""`ponet evaluate`, `ponet export` and `ponet tokenizer`."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from ponet.cli.annotate import Run
from ponet.cli.errors import MOST_SEED, handle_errors, say
from ponet.utils.files import to_json

tokenizer = Typer(help="Make tokenizers.", no_args_is_help=True)


@handle_errors
def evaluate(
    run: Run,
    data: Annotated[str | None, Option(help="Another data set than the run's own.")] = None,
    split: Annotated[str, Option(help="Which split of it: train, validation or test.")] = "test",
    fresh_test_seed: Annotated[
        int | None,
        Option(help="New test data made from this seed, for tasks that make their data.", min=0, max=MOST_SEED),
    ] = None,
    fresh_size: Annotated[
        int | None, Option(help="Examples of that.  \\[default: as many as the test split has]", min=1)
    ] = None,
    file: Annotated[bool, Option("--file", help="Keep its figures in the run's folder, for reports.")] = False,
    dtype: Annotated[
        str | None, Option(help="float32, bf16, fp16, or auto: the fastest here.  \\[default: as in training]")
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
def export(
    source: Annotated[
        str, Argument(metavar="RUN", help="A run folder, a saved model, a bundled checkpoint, or a hub name.")
    ],
    out: Annotated[Path, Option(help="The folder to write.")] = ...,  # type: ignore[assignment]
    output: Annotated[
        str | None,
        Option(
            help="logits, the head's scores, or last_hidden_state, the encoder alone.  \\[default: logits, where there "
            "is a head]"
        ),
    ] = None,
    int8: Annotated[bool, Option("--int8", help="Quantize the linear maps: smaller, faster.")] = False,
    int8_embeddings: Annotated[
        bool, Option("--int8-embeddings", help="Quantize the embeddings too: smaller still.")
    ] = False,
    token_types: Annotated[
        bool | None,
        Option(
            "--token-types/--no-token-types",
            help="Whether token_type_ids are an input, for pairs of texts.  \\[default: as the run was trained]",
        ),
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace an export that is there.")] = False,
) -> None:
    """Write an ONNX graph with its tokenizer, and a runner that needs neither torch nor ponet.

    model.onnx takes input_ids, attention_mask and segment_ids, int64 [batch, length] of any size. The graph is run
    once and compared with the model. For mixers pooling, attention and fourier.

    Examples:
      ponet export runs/reviews --out reviews-onnx
      ponet export runs/reviews --out reviews-int8 --int8
      ponet export ponet-tiny --output last_hidden_state --out encoder
    """
    from ponet.onnx.export import export_onnx

    facts = export_onnx(
        source, out, output, int8, int8_embeddings, token_types, overwrite, notice=lambda text: say(text, err=True)
    )
    say(
        f"{out}: {facts['class']}, {facts['output']} {facts['output_shape']}, {facts['weights']}, "
        f"{facts['bytes'] / 1e6:,.1f} MB; {facts['usual']:.2g} off the model (root mean "
        f"square), {facts['largest']:.2g} at most, of outputs up to {facts['scale']:.2g}."
    )


@tokenizer.command("train")
@handle_errors
def train_tokenizer(
    corpus: Annotated[
        list[Path], Argument(metavar="CORPUS", help="Text, CSV, JSON lines or Parquet files, or folders.")
    ],
    out: Annotated[Path, Option(help="The folder to write.")] = ...,  # type: ignore[assignment]
    vocab_size: Annotated[int, Option(help="Pieces at most, special tokens included.")] = 16_000,
    text: Annotated[str, Option(help="Column of the text, in all but text files.")] = "text",
    cased: Annotated[bool, Option("--cased", help="Keep upper case and accents.")] = False,
    min_frequency: Annotated[int, Option(help="How often a pair must occur to become a piece.")] = 2,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a tokenizer that is there.")] = False,
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
