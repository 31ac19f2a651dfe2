"""`ponet pretrain`: from raw text to a pre-trained model."""

from pathlib import Path
from typing import Annotated

import typer

from ponet.cli.errors import handle_errors, say

pretrain = typer.Typer(help="Pre-train on your own text.", no_args_is_help=True)


@pretrain.command("prepare")
@handle_errors
def prepare(
    corpus: Annotated[
        list[str],
        typer.Argument(
            metavar="CORPUS", help="Text, CSV, JSON lines or Parquet files, folders, or hub names (owner/name)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    tokenizer: Annotated[
        str | None, typer.Option(help="A folder, vocab.txt or hub name.  \\[default: learned from the corpus]")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help="Pieces of a vocabulary that is learned.  \\[default: 16000]", min=10)
    ] = None,
    cased: Annotated[bool, typer.Option("--cased", help="Keep upper case and accents, in a learned one.")] = False,
    validation: Annotated[list[str] | None, typer.Option(help="Held-out text; may be given several times.")] = None,
    validation_fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of the documents to hold out.  \\[default: without --validation, some 2 MB: 0.005 to 0.1]"
        ),
    ] = None,
    text: Annotated[str, typer.Option(help="Column of the text, in all but text files.")] = "text",
    processes: Annotated[
        int | None, typer.Option(help="How many tokenize.  \\[default: one a core]", min=1, max=1024)
    ] = None,
) -> None:
    """Tokenize a corpus of any size once, into shards that training reads; held-out documents apart.

    A folder with train, validation and test files gives its training files; FOLDER/validation names one split.

    Examples:

      ponet pretrain prepare books/ articles.jsonl --out data

      ponet pretrain prepare corpus/ --tokenizer bert-base-uncased --validation held-out.txt --out data

      ponet pretrain prepare wikipedia novels --validation wikipedia/validation --vocab-size 16000 --out data
    """
    from ponet.tasks.pretraining.prepare import prepare as prepare_data

    made = prepare_data(
        corpus,
        out,
        tokenizer,
        vocab_size,
        validation or (),
        validation_fraction,
        text,
        lowercase=not cased,
        processes=processes,
    )
    for notice in made.notices:
        say(notice, err=True)
    for split, counts in made.splits.items():
        say(
            f"{split:<11} {counts.documents:,} documents  {counts.paragraphs:,} paragraphs  "
            f"{counts.sentences:,} sentences  {counts.tokens:,} tokens"
        )
    say(f"{'vocabulary':<11} {made.vocab_size:,} pieces")
    if made.bytes:
        rate = made.bytes / 1e6 / max(made.seconds, 1e-9)
        learned = f" (and {made.vocabulary_seconds:,.0f} s for the vocabulary)" if made.vocabulary_seconds > 1 else ""
        say(f"{'tokenized':<11} {made.bytes / 1e6:,.1f} MB in {made.seconds:,.1f} s, {rate:.1f} MB/s{learned}")
    say(f"{'data':<11} {made.folder}, {made.shards:,} shard{'' if made.shards == 1 else 's'}")
