"""`ponet embed`: vectors of documents."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ponet.cli.errors import handle_errors, say

if TYPE_CHECKING:
    import numpy as np

    from ponet.data.inputs import Input

    Write = Callable[[int, Input, np.ndarray], object]

SUFFIXES = (".npy", ".parquet", ".jsonl")
ROWS = 4096
"""Rows of a Parquet row group."""


@handle_errors
def embed(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A CSV, JSON lines, Parquet or .txt file, a folder of .txt files, or -."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="A .npy, .parquet or .jsonl file, rows in input order.  \\[default: JSON lines on stdout]"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A folder or hub name.  \\[default: the checkpoint that comes with ponet]")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Column of the text.  \\[default: found]")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="A .txt file is one document, not one a line.")] = False,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens kept of a text.  \\[default: all, however long]", min=3)
    ] = None,
    batch_tokens: Annotated[int, typer.Option(help="Tokens in a batch, at most.", min=1)] = 8192,
    dtype: Annotated[str, typer.Option(help="float32, bf16, fp16, or auto: the fastest here.")] = "auto",
) -> None:
    """A vector for each document, of any length: the mean of its tokens' states, of length 1.

    The product of two vectors is their cosine: near 1 for texts that say the same.

    Examples:

      ponet embed articles.jsonl --out articles.npy

      ponet embed reports/ --out reports.parquet

      cat questions.txt | ponet embed - --out questions.jsonl
    """
    from ponet.data.inputs import read_inputs
    from ponet.embedding import Embedder
    from ponet.utils.errors import PoNetError

    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise PoNetError(f"--out writes {', '.join(SUFFIXES)}, by its suffix; '{out.name}' has none of these.")
    documents = read_inputs(source, text, whole=whole)
    first = next(documents, None)
    if first is None:
        raise PoNetError(f"'{source}' holds no documents.")
    embedder = Embedder(model, max_length, batch_tokens, dtype=dtype)
    waiting: list[Input] = []

    def texts() -> Iterator[str]:
        waiting.append(first)
        yield first.text
        for document in documents:
            waiting.append(document)
            yield document.text

    if out is not None and out.is_file() and Path(source).is_file() and out.samefile(source):
        raise PoNetError(f"'{out}' is the input: write to another file.")
    with _writer(out, embedder.width) as write:
        for index, vector in enumerate(embedder.stream(texts())):
            write(index, waiting.pop(0), vector)
    if embedder.cut:
        say(f"{embedder.cut:,} of {index + 1:,} texts were longer than {max_length:,} tokens and cut.", err=True)


@contextmanager
def _writer(out: Path | None, width: int) -> "Iterator[Write]":
    from ponet.utils.files import replacing

    if out is None:
        yield lambda index, document, vector: sys.stdout.write(_line(index, document, vector))
        return
    with replacing(out) as temporary, temporary.open("wb") as file:
        kind = {".npy": _array, ".parquet": _table, ".jsonl": _lines}[out.suffix.lower()]
        with kind(file, width) as write:
            yield write


def _line(index: int, document: "Input", vector: "np.ndarray") -> str:
    from ponet.utils.files import to_json

    named = {} if document.name is None else {"file": document.name}
    return to_json({"index": index, **named, "embedding": vector.tolist()}) + "\n"


@contextmanager
def _lines(file: Any, width: int) -> "Iterator[Write]":
    yield lambda index, document, vector: file.write(_line(index, document, vector).encode())


@contextmanager
def _array(file: Any, width: int) -> "Iterator[Write]":
    """Rows as they come; how many there were is put into the header in the end, for which its length is reserved."""
    import numpy as np

    def header(rows: int) -> None:
        file.seek(0)
        description = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, description)

    rows = 0

    def write(index: int, document: "Input", vector: "np.ndarray") -> None:
        nonlocal rows
        file.write(vector.astype("<f4").tobytes())
        rows += 1

    header(0)
    yield write
    header(rows)


@contextmanager
def _table(file: Any, width: int) -> "Iterator[Write]":
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[tuple[int, str | None, np.ndarray]] = []
    schema = pa.schema([("index", pa.int64()), ("file", pa.string()), ("embedding", pa.list_(pa.float32(), width))])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:

        def flush() -> None:
            if rows:
                flat = pa.array(np.concatenate([vector for _, _, vector in rows]))
                columns = [[index for index, _, _ in rows], [name for _, name, _ in rows]]
                arrays = [*map(pa.array, columns, schema.types), pa.FixedSizeListArray.from_arrays(flat, width)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
                rows.clear()

        def write(index: int, document: "Input", vector: "np.ndarray") -> None:
            rows.append((index, document.name, vector))
            if len(rows) == ROWS:
                flush()

        yield write
        flush()
