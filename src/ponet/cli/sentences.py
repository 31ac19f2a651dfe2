"""`ponet segment`, `ponet summarize` and `ponet adapter`: what trained scores of sentences are for."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ponet.cli.errors import handle_errors, say

if TYPE_CHECKING:
    from ponet.data.inputs import Input

Source = Annotated[
    str,
    typer.Argument(
        metavar="INPUT", help="A .txt or .md file, CSV, JSON lines or Parquet, a folder of .txt files, or -."
    ),
]
Out = Annotated[Path | None, typer.Option(help="Write to this file.  \\[default: standard output]")]
Model = Annotated[str | None, typer.Option(help="A run folder.  \\[default: the model that comes with ponet]")]
TextColumn = Annotated[str | None, typer.Option(help="Column of the text.  \\[default: found]")]
Lines = Annotated[bool, typer.Option("--lines", help="A text file has a document a line; else it is one document.")]
BatchTokens = Annotated[int, typer.Option(help="Tokens in a batch, at most; a longer document is alone.", min=1)]


@handle_errors
def segment(
    source: Source,
    out: Out = None,
    model: Model = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of a chunk, at most.", min=1)] = None,
    min_tokens: Annotated[int, typer.Option(help="Smaller chunks are joined to a neighbour.", min=0)] = 0,
    threshold: Annotated[
        float | None, typer.Option(help="Probability from which on a topic ends.  \\[default: the model's]")
    ] = None,
    text: TextColumn = None,
    lines: Lines = False,
    batch_tokens: BatchTokens = 16_384,
) -> None:
    """Cut documents of any length where their topics end: one JSON object a chunk.

    Each has the numbers of its document and chunk, its characters (start, end) and its text. The texts of a
    document's chunks, joined, are the document. A document is read in one pass.

    Examples:

      ponet segment book.txt --out chunks.jsonl

      ponet segment articles.jsonl --max-tokens 500 --min-tokens 100 --out chunks.jsonl

      cat notes.md | ponet segment - --model runs/segmentation
    """
    documents, out_file = _open(source, text, lines, out)
    from ponet.segmenting import Segmenter  # after what a mistake in the names needs: it imports torch

    segmenter = Segmenter(model, max_tokens, min_tokens, threshold, batch_tokens)
    counts = {"documents": 0, "empty": 0, "chunks": 0}

    def records() -> Iterator[dict[str, Any]]:
        for number, (document, chunks) in enumerate(_paired(documents, segmenter.stream)):
            counts["documents"] += 1
            counts["empty"] += not document.text.strip()
            counts["chunks"] += len(chunks)
            for index, chunk in enumerate(chunks):
                named = {} if document.name is None else {"file": document.name}
                place = {"chunk": index, "start": chunk.start, "end": chunk.end, "text": chunk.text}
                yield {"document": number, **named, **place}

    _write(records(), out_file)
    _say_counts(counts, f"{counts['chunks']:,} chunks" if out is not None else None)


@handle_errors
def summarize(
    source: Source,
    out: Out = None,
    model: Model = None,
    sentences: Annotated[int | None, typer.Option(help="Of a summary, at most.  \\[default: 5]", min=1)] = None,
    ratio: Annotated[
        float | None, typer.Option(help="Share of a document's sentences, in the place of a number.", max=1)
    ] = None,
    repetitions: Annotated[
        bool, typer.Option("--repetitions", help="Also take a sentence with three words in a row of one taken before.")
    ] = False,
    text: TextColumn = None,
    lines: Lines = False,
    batch_tokens: BatchTokens = 16_384,
) -> None:
    """The sentences that sum a document up: one JSON object a document.

    Each has the number of its document and its sentences in text order, with their characters (start, end), score
    and text. A document is read in one pass, whatever its length.

    Examples:

      ponet summarize report.txt --sentences 5

      ponet summarize articles.jsonl --ratio 0.1 --out summaries.jsonl
    """
    from dataclasses import asdict

    documents, out_file = _open(source, text, lines, out)
    from ponet.summarizing import Summarizer  # after what a mistake in the names needs: it imports torch

    summarizer = Summarizer(model, sentences, ratio, not repetitions, batch_tokens)
    counts = {"documents": 0, "empty": 0}

    def records() -> Iterator[dict[str, Any]]:
        for number, (document, chosen) in enumerate(_paired(documents, summarizer.stream)):
            counts["documents"] += 1
            counts["empty"] += not chosen
            named = {} if document.name is None else {"file": document.name}
            yield {"document": number, **named, "sentences": [asdict(sentence) for sentence in chosen]}

    _write(records(), out_file)
    _say_counts(counts, "summaries" if out is not None else None)


@handle_errors
def adapter(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run with data.freeze_encoder.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = ...,  # type: ignore[assignment]
) -> None:
    """Keep of a trained model only what it has beside the bundled checkpoint that it was trained on.

    The folder takes a run's place in --model.

    Example:

      ponet adapter runs/segmentation/wikipedia/adapter/seed0 --out segmentation-adapter
    """
    from ponet.tasks.sentences.modelling import save_adapter

    facts = save_adapter(run, out)
    say(f"{facts['bytes'] / 1e6:.2f} MB beside {facts['base']}: {out}")


def _open(source: str, text: str | None, lines: bool, out: Path | None) -> "tuple[Iterator[Input], Path | None]":
    """The documents, the first of them read already, so that a mistake is said before a model is opened."""
    from itertools import chain

    from ponet.data.inputs import Source as Documents
    from ponet.utils.errors import PoNetError

    if out is not None and out.is_file() and Path(source).is_file() and out.samefile(source):
        raise PoNetError(f"'{out}' is the input: write to another file.")
    opened = Documents(source, text, whole=not lines).open()
    documents = (document for document in opened if document is not None)
    first = next(documents, None)
    if first is None or (not first.text and (second := next(documents, None)) is None):
        raise PoNetError(f"'{source}' holds no text.")
    held = [first] if first.text else [first, second]
    return map(_checked, chain(held, documents)), out  # type: ignore[arg-type]


def _checked(document: "Input") -> "Input":
    """Refuses what is no text, though its bytes are characters."""
    from ponet.utils.errors import PoNetError

    if "\0" in document.text:
        raise PoNetError(f"{document.name or 'The input'} is binary, not text: it holds zero bytes.")
    return document


def _paired(
    documents: "Iterator[Input]", stream: Callable[[Iterator[str]], Iterator[Any]]
) -> "Iterator[tuple[Input, Any]]":
    """Each document with what a stream of texts gives for it."""
    waiting: list[Input] = []

    def texts() -> Iterator[str]:
        for document in documents:
            waiting.append(document)
            yield document.text

    for found in stream(texts()):
        yield waiting.pop(0), found


def _write(records: Iterator[dict[str, Any]], out: Path | None) -> None:
    from ponet.utils.files import to_json, writing

    if out is None:
        for record in records:
            sys.stdout.write(to_json(record) + "\n")
        return
    with writing(out) as file:
        for record in records:
            file.write(to_json(record) + "\n")


def _say_counts(counts: dict[str, int], made: str | None) -> None:
    documents = f"{counts['documents']:,} document{'' if counts['documents'] == 1 else 's'}"
    if counts["empty"]:
        say(f"{counts['empty']:,} of {documents} without words.", err=True)
    if made:
        say(f"{made} of {documents}.", err=True)
