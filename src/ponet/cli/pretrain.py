"""`ponet pretrain`: from raw text to a pre-trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, Typer

from ponet.cli.errors import handle_errors, say
from ponet.cli.runs import Changes, Overwrite
from ponet.utils.errors import PoNetError, suggest

if TYPE_CHECKING:
    from ponet.tasks.pretraining.prepare import PreparedData

pretrain = Typer(help="Pre-train on your own text.", no_args_is_help=True)


@pretrain.command("prepare")
@handle_errors
def prepare(
    corpus: Annotated[
        list[str],
        Argument(metavar="CORPUS", help="Text, CSV, JSON lines or Parquet files, folders, or hub names (owner/name)."),
    ],
    out: Annotated[Path, Option(help="The folder to write.")],
    tokenizer: Annotated[
        str | None, Option(help="A folder, vocab.txt or hub name.  \\[default: learned from the corpus]")
    ] = None,
    vocab_size: Annotated[
        int | None, Option(help="Pieces of a vocabulary that is learned.  \\[default: 16000]", min=10)
    ] = None,
    cased: Annotated[bool, Option("--cased", help="Keep upper case and accents, in a learned one.")] = False,
    validation: Annotated[list[str] | None, Option(help="Held-out text; may be given several times.")] = None,
    validation_fraction: Annotated[
        float | None,
        Option(help="Share of the documents to hold out.  \\[default: without --validation, some 2 MB: 0.005 to 0.1]"),
    ] = None,
    text: Annotated[str, Option(help="Column of the text, in all but text files.")] = "text",
    processes: Annotated[
        int | None, Option(help="How many tokenize.  \\[default: one a core]", min=1, max=1024)
    ] = None,
    shard: Annotated[
        str | None, Option(help="Only the i-th of n parts, from 1, for `ponet pretrain merge`.", metavar="i/n")
    ] = None,
) -> None:
    """Tokenize a corpus of any size once, into shards that training reads; held-out documents apart.

    A folder with train, validation and test files gives its training files; FOLDER/validation names one split.

    Examples:
      ponet pretrain prepare books/ articles.jsonl --out data
      ponet pretrain prepare corpus/ --tokenizer bert-base-uncased --validation held-out.txt --out data
      ponet pretrain prepare wikipedia novels --validation wikipedia/validation --vocab-size 16000 --out data
      ponet pretrain prepare corpus/ --tokenizer my-tokenizer --shard 3/100 --out data
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
        part=None if shard is None else _part(shard),
    )
    _say_prepared(made)


@pretrain.command("merge")
@handle_errors
def merge(out: Annotated[Path, Argument(metavar="DATA", help="The --out of the parts.")]) -> None:
    """Put together what `ponet pretrain prepare --shard i/n` made on several machines, once all parts are there.

    Example:
      ponet pretrain merge data
    """
    from ponet.tasks.pretraining.prepare import merge as merge_parts

    _say_prepared(merge_parts(out))


def _part(shard: str) -> tuple[int, int]:
    number, slash, count = shard.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal()):
        raise PoNetError(f"--shard takes i/n, such as 3/100, not '{shard}'.")
    return int(number), int(count)


def _say_prepared(made: "PreparedData") -> None:
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
    part = "" if made.part is None else f", part {made.part[0]:,} of {made.part[1]:,}"
    say(f"{'data':<11} {made.folder}, {made.shards:,} shard{'' if made.shards == 1 else 's'}{part}")


@pretrain.command("run")
@handle_errors
def run(
    data: Annotated[Path, Argument(metavar="DATA", help="The folder that `ponet pretrain prepare` made.")],
    changes: Changes = None,
    size: Annotated[str, Option(help="tiny, mini, small or base: the recipe pretrain/SIZE.")] = "mini",
    out: Annotated[Path | None, Option(help="The run folder.  \\[default: runs/pretrain/SIZE/seedN]")] = None,
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

    sizes = [name.removeprefix("pretrain/") for name in available_recipes() if name.startswith("pretrain/")]
    if size not in sizes:
        raise PoNetError(f"There is no size '{size}'.{suggest(size, sizes)}")
    given = f"data.path={data}"
    run_seeds(lambda overrides: load_recipe(f"pretrain/{size}", [given, *overrides]), changes or [], out, overwrite)


@pretrain.command("export")
@pretrain.command("ship", hidden=True)  # its former name
@handle_errors
def export(
    run: Annotated[Path, Argument(metavar="RUN", help="A complete pre-training's or distillation's folder.")],
    name: Annotated[str, Argument(metavar="NAME", help="The checkpoint's name: ponet-...")],
    data: Annotated[str, Option(help="What the corpus is, in a few words for the model card.")] = "",
    notice: Annotated[str, Option(help="The teacher's origin and licence, for the model card.")] = "",
    out: Annotated[
        Path | None, Option(help="The folder to make NAME in.  \\[default: the package's checkpoints]")
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a checkpoint that is there.")] = False,
) -> None:
    """Make a run's model a checkpoint that goes by its name: fp16 weights, tokenizer, model card, 50 MB at most.

    Examples:
      ponet pretrain export runs/pretrain/tiny/seed0 ponet-tiny --data "English Wikipedia and 100 novels"
      ponet pretrain export runs/pretrain/tiny/seed0 ponet-mine --out checkpoints
      ponet distil TEACHER data --out runs/student; ponet pretrain export runs/student ponet-student --out checkpoints
    """
    from ponet.models.checkpoints import CHECKPOINTS, PREFIX
    from ponet.tasks.pretraining.export import export as export_run

    if not name.startswith(PREFIX) or Path(name).name != name:
        raise PoNetError(f"'{name}' can't be a checkpoint's name: let it begin with '{PREFIX}' and have no slash.")
    folder = (CHECKPOINTS if out is None else out) / name
    size = export_run(run, folder, data, overwrite, notice=notice)
    say(f"{folder}: {size / 1e6:.1f} MB")
