"""`ponet segment`, `ponet summarize` and `ponet adapter`: what trained scores of sentences are for."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from ponet.cli.errors import handle_errors, say
from ponet.utils.errors import PoNetError
from ponet.utils.files import to_json, writing

if TYPE_CHECKING:
    from ponet.data.inputs import Input

Source = Annotated[
    str, Argument(metavar="INPUT", help="A .txt or .md file, CSV, JSON lines or Parquet, a folder of .txt files, or -.")
]
Out = Annotated[Path | None, Option(help="Write to this file.  \\[default: standard output]")]
Model = Annotated[str | None, Option(help="A run folder.  \\[default: the model that comes with ponet]")]
TextColumn = Annotated[str | None, Option(help="Column of the text.  \\[default: found]")]
Lines = Annotated[bool, Option("--lines", help="A text file has a document a line; else it is one document.")]
BatchTokens = Annotated[int, Option(help="Tokens in a batch, at most; a longer document is alone.", min=1)]
DType = Annotated[str, Option(help="float32, bf16, fp16, or auto: the fastest here.")]


@handle_errors
def segment(
    source: Source,
    out: Out = None,
    model: Model = None,
    max_tokens: Annotated[int | None, Option(help="Tokens of a chunk, at most.", min=1)] = None,
    min_tokens: Annotated[int, Option(help="Smaller chunks are joined to a neighbour.", min=0)] = 0,
    threshold: Annotated[
        float | None, Option(help="Probability from which on a topic ends.  \\[default: the model's]")
    ] = None,
    text: TextColumn = None,
    lines: Lines = False,
    batch_tokens: BatchTokens = 16_384,
    dtype: DType = "auto",
) -> None:
    """Cut documents of any length where their topics end: one JSON object a chunk.

    Each has the numbers of its document and chunk, its characters (start, end) and its text. The texts of a
    document's chunks, joined, are the document. A document is read in one pass.

    Examples:
      ponet segment book.txt --out chunks.jsonl
      ponet segment articles.jsonl --max-tokens 500 --min-tokens 100 --out chunks.jsonl
      cat notes.md | ponet segment - --model runs/segmentation
    """
    documents = _open(source, text, lines, out)
    from ponet.segmenting import Segmenter  # after what a mistake in the names needs: it imports torch

    segmenter = Segmenter(model, max_tokens, min_tokens, threshold, batch_tokens, dtype)
    counts = {"documents": 0, "empty": 0, "chunks": 0}

    def records() -> Iterator[dict[str, Any]]:
        for place, document, chunks in _results(documents, segmenter.stream, counts):
            counts["empty"] += not document.text.strip()
            counts["chunks"] += len(chunks)
            for index, chunk in enumerate(chunks):
                yield {**place, "chunk": index, "start": chunk.start, "end": chunk.end, "text": chunk.text}

    _write(records(), out)
    _say_counts(counts, f"{counts['chunks']:,} chunks" if out is not None else None)


@handle_errors
def summarize(
    source: Source,
    out: Out = None,
    model: Model = None,
    sentences: Annotated[int | None, Option(help="Of a summary, at most.  \\[default: 5]", min=1)] = None,
    ratio: Annotated[
        float | None, Option(help="Share of a document's sentences, in the place of a number.", max=1)
    ] = None,
    repetitions: Annotated[
        bool, Option("--repetitions", help="Also take a sentence with three words in a row of one taken before.")
    ] = False,
    text: TextColumn = None,
    lines: Lines = False,
    batch_tokens: BatchTokens = 16_384,
    dtype: DType = "auto",
) -> None:
    """The sentences that sum a document up: one JSON object a document.

    Each has the number of its document and its sentences in text order, with their characters (start, end), score
    and text. A document is read in one pass, whatever its length.

    Examples:
      ponet summarize report.txt --sentences 5
      ponet summarize articles.jsonl --ratio 0.1 --out summaries.jsonl
    """
    documents = _open(source, text, lines, out)
    from ponet.summarizing import Summarizer  # after what a mistake in the names needs: it imports torch

    summarizer = Summarizer(model, sentences, ratio, not repetitions, batch_tokens, dtype)
    counts = {"documents": 0, "empty": 0}

    def records() -> Iterator[dict[str, Any]]:
        for place, _, chosen in _results(documents, summarizer.stream, counts):
            counts["empty"] += not chosen
            yield {**place, "sentences": [asdict(sentence) for sentence in chosen]}

    _write(records(), out)
    _say_counts(counts, "summaries" if out is not None else None)


@handle_errors
def adapter(
    run: Annotated[Path, Argument(metavar="RUN", help="A run with data.freeze_encoder.")],
    out: Annotated[Path, Option(help="The folder to write.")] = ...,  # type: ignore[assignment]
) -> None:
    """Keep of a trained model only what it has beside the bundled checkpoint that it was trained on.

    The folder takes a run's place in --model.

    Example:
      ponet adapter runs/segmentation/wikipedia/adapter/seed0 --out segmentation-adapter
    """
    from ponet.tasks.sentences.modelling import save_adapter

    facts = save_adapter(run, out)
    say(f"{facts['bytes'] / 1e6:.2f} MB beside {facts['base']}: {out}")


def _open(source: str, text: str | None, lines: bool, out: Path | None) -> "Iterator[Input]":
    """The documents, the first of them read already, so that a mistake is said before a model is opened."""
    from ponet.data.inputs import Source as Documents

    if out is not None and out.is_file() and Path(source).is_file() and out.samefile(source):
        raise PoNetError(f"'{out}' is the input: write to another file.")
    documents = (each for each in Documents(source, text, whole=not lines).open() if each is not None)
    held = list(islice(documents, 1))
    if held and not held[0].text:
        held += islice(documents, 1)
    if not held or (len(held) == 1 and not held[0].text):
        raise PoNetError(f"'{source}' holds no text.")
    return map(_checked, chain(held, documents))


def _checked(document: "Input") -> "Input":
    """Refuses what is no text, though its bytes are characters."""
    if "\0" in document.text:
        raise PoNetError(f"{document.name or 'The input'} is binary, not text: it holds zero bytes.")
    return document


def _results(
    documents: "Iterator[Input]", stream: Callable[[Iterator[str]], Iterator[Any]], counts: dict[str, int]
) -> "Iterator[tuple[dict[str, Any], Input, Any]]":
    """What says which document it is, the document, and what a stream of texts gives for it."""
    waiting: list[Input] = []

    def texts() -> Iterator[str]:
        for document in documents:
            waiting.append(document)
            yield document.text

    for number, found in enumerate(stream(texts())):
        counts["documents"] += 1
        document = waiting.pop(0)
        yield {"document": number} | ({} if document.name is None else {"file": document.name}), document, found


def _write(records: Iterator[dict[str, Any]], out: Path | None) -> None:
    with nullcontext(sys.stdout) if out is None else writing(out) as file:
        for record in records:
            file.write(to_json(record) + "\n")


def _say_counts(counts: dict[str, int], made: str | None) -> None:
    documents = f"{counts['documents']:,} document{'' if counts['documents'] == 1 else 's'}"
    if counts["empty"]:
        say(f"{counts['empty']:,} of {documents} without words.", err=True)
    if made:
        say(f"{made} of {documents}.", err=True)
