"""`ponet explain` and `ponet benchmark lens`: what a model heard, and whether that matters for its answer."""

from pathlib import Path
from typing import Annotated

import typer

from ponet.cli.benchmarks import Seed, benchmark, json_file, make_console, show_tables
from ponet.cli.errors import handle_errors, say


@handle_errors
def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or a checkpoint: a folder or a name.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A file with one text, or - for standard input.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("lens.html"),
    label: Annotated[
        str | None, typer.Option(help="The class that is explained.  \\[default: the model's answer]")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of the text that are read.  \\[default: the run's, or 2048]", min=8)
    ] = None,
    max_steps: Annotated[
        int, typer.Option(help="Passes for integrated gradients, at most; fewer are less exact.", min=17)
    ] = 513,
) -> None:
    """A page that shows what each token of a text heard: who won its segment and window, and whom all listen to.

    One HTML file without network: tokens shaded by how many channels they won, by layer and granularity, and for a
    classifier by gradient x input and integrated gradients.

    Examples:

      ponet explain runs/reviews review.txt --out lens.html

      cat notes.txt | ponet explain ponet-mini - --out lens.html
    """
    from ponet.data.inputs import Input, Source
    from ponet.data.sources import read_text
    from ponet.data.streams import is_table
    from ponet.explaining.page import page
    from ponet.explaining.text import explain as explain_text
    from ponet.utils.errors import PoNetError
    from ponet.utils.files import write_text

    if text != "-" and out.is_file() and Path(text).is_file() and out.samefile(text):
        raise PoNetError(f"'{out}' is the input: write to another file.")
    if text != "-" and is_table(Path(text)):
        raise PoNetError(f"'{text}' is a table: give a file with one text.")
    source = (Input(read_text(Path(text))),) if text != "-" else Source(text, whole=True).open()
    content = "".join(document.text for document in source if document is not None)
    if "\0" in content:
        raise PoNetError(f"'{text}' is binary, not text: it holds zero bytes.")
    explanation = explain_text(run, content, label, max_length, max_steps=max_steps)
    write_text(out, page(explanation))
    for note in explanation.notes:
        say(note, err=True)
    say(f"{len(explanation.pieces):,} tokens: {out}", err=True)


@benchmark.command("lens")
@handle_errors
def lens(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run of `ponet finetune`: one label of several.")],
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Texts with labels.  \\[default: the run's own]")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split of it: train, validation or test.")] = "test",
    limit: Annotated[int, typer.Option(help="Texts, drawn with the seed; 0 for all.", min=0)] = 200,
    share: Annotated[float, typer.Option(help="Of a text's tokens that are deleted.", min=0.001, max=0.999)] = 0.1,
    json: Annotated[Path | None, typer.Option(help="The result file.  \\[default: runs/benchmark/lens.json]")] = None,
    seed: Seed = 0,
) -> None:
    """Whether what the lens shows matters: how far a class's probability falls without the tokens that it ranks first.

    Tokens are ranked by the lens (channels won, weights, gradients), by captum's integrated gradients, and at random.
    Needs ponet[baselines].

    Example:

      ponet benchmark lens runs/documents/imdb/pooling/seed0 --limit 500 --json results/lens/imdb.json
    """
    from ponet.benchmarks.common import stage
    from ponet.benchmarks.lens import LensPlan, measure_lens
    from ponet.report.lens import lens_tables

    plan = LensPlan(run, data, split, limit or None, share, seed)
    path, terminal = json_file(json, "lens"), make_console()
    with stage(terminal, "measuring", 1, weighted=True) as advance:
        values = measure_lens(plan, path, advance)
    show_tables(terminal, lens_tables(values), [path])
