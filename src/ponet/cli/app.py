"""The app with its commands; `ponet --help` shows what most people want first."""

from typing import Annotated

import typer

from ponet.cli import annotate, distil, explain, lra, model_benchmarks, models, pretrain, reports, runs, sentences
from ponet.cli.errors import set_up

HELP = """
PoNet: a linear-time pooling encoder for long documents.

From nothing to a trained model:

  ponet demo                               what it is good for, in minutes

  ponet finetune reviews.csv --out run     a classifier on your own documents

  ponet evaluate run --split validation    its metrics on rows that were held out

  ponet predict run new.csv                labels and scores, JSON lines

  ponet embed texts.jsonl --out v.npy      vectors of documents of any length

  ponet segment book.txt --out c.jsonl     chunks, cut where topics end

  ponet summarize report.txt               the sentences that sum it up

  ponet export run --out folder            an ONNX model that runs without torch

  ponet distil TEACHER CORPUS --out run    a BERT encoder taught to a linear-time one

  ponet recipes                            experiments ready to run

  ponet train documents/imdb/pooling       one of them
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("ponet"))
        raise typer.Exit


@app.callback()
def _every_command(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the libraries say, and tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    set_up(verbose)


app.command()(reports.demo)
app.command()(runs.finetune)
app.command()(runs.train)
app.command()(runs.file)
app.command()(models.evaluate)
app.command()(annotate.predict)
app.command()(models.export)
app.add_typer(reports.recipes, name="recipes")
app.add_typer(models.tokenizer, name="tokenizer")
app.add_typer(model_benchmarks.benchmark, name="benchmark")
app.add_typer(lra.lra, name="lra")
app.add_typer(pretrain.pretrain, name="pretrain")
app.command()(distil.distil)
app.command()(annotate.embed)
app.command()(explain.explain)
app.command()(sentences.segment)
app.command()(sentences.summarize)
app.command()(sentences.adapter)
app.command()(reports.report)
