"""`ponet explain`: what a model heard."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ponet.cli.errors import handle_errors, say
from ponet.utils.errors import PoNetError
from ponet.utils.files import write_text


@handle_errors
def explain(
    run: Annotated[str, Argument(metavar="RUN", help="A run folder, or a checkpoint: a folder or a name.")],
    text: Annotated[str, Argument(metavar="TEXT", help="A file with one text, or - for standard input.")],
    out: Annotated[Path, Option(help="The page to write.")] = Path("lens.html"),
    label: Annotated[str | None, Option(help="The class that is explained.  \\[default: the model's answer]")] = None,
    max_length: Annotated[
        int | None, Option(help="Tokens of the text that are read.  \\[default: the run's, or 2048]", min=8)
    ] = None,
    max_steps: Annotated[
        int, Option(help="Passes for integrated gradients, at most; fewer are less exact.", min=17)
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
