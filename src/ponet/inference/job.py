"""A whole source through a model: into a file that is there when all of it is done, or line by line to a stream."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ponet.data.inputs import Inputs, Source
from ponet.inference.documents import TRUNCATED, Annotator, annotated, kept_name
from ponet.inference.output import VECTOR, json_lines, output_format
from ponet.inference.parts import open_parts
from ponet.inference.progress import reporting
from ponet.utils.errors import PoNetError
from ponet.utils.files import is_stream, leftovers, replacing

PARTS = ".parts"
"""Ends the name of the folder in which a file's rows wait for the last one."""

Say = Callable[[str], None]


def check_output(source: Source, out: Path | None, vectors: bool, workers: int) -> None:
    """Before a model is opened (`vectors`: one that finds these): what can't be written, or not in this way. Raises
    PoNetError: no such input; an output that is the input itself, a folder, of an unknown suffix, or of one that can't
    hold these columns; worker processes for documents that come one by one."""
    if source.live and workers > 1:
        raise PoNetError("Standard input is answered as it comes, by one process: leave --workers out, or name a file.")
    for file in [] if source.live else source.files():
        if not file.exists():
            raise PoNetError(f"There is no '{file}'. Check the path.")
    if out is None or is_stream(out):
        return
    if out.is_dir():
        raise PoNetError(f"'{out}' is a folder where a file was expected. Name the file.")
    if out.is_file() and Path(source.name).is_file() and out.samefile(source.name):
        raise PoNetError(f"'{out}' is the input: write to another file.")
    output_format(out, vectors, keeps=source.keep != ())


def annotate_to_stream(
    source: Source, annotator: Annotator, stream: TextIO, workers: int = 1, say: Say = lambda _: None
) -> None:
    """JSON lines, those of a block of documents as soon as they are known; `say` gets sentences about the whole. Raises
    PoNetError: no documents, or what reading and computing raise."""
    inputs = source.open()
    _say_renamed(inputs, annotator, say)
    rows = cut = 0
    with closing(annotated(annotator, inputs, workers)) as results:
        for result in results:
            stream.write(json_lines(result.table))
            stream.flush()
            rows += len(result.table)
            cut += _cut(result.table)
    _say_all(source, inputs, annotator, rows, cut, say)


def annotate_to_file(
    source: Source, annotator: Annotator, out: Path, workers: int = 1, say: Say = lambda _: None
) -> None:
    """JSON lines, CSV, Parquet or NumPy's array, by the suffix. Until all rows are done, they are kept in the folder
    `OUT.parts`; after a stop the same call goes on there, and standard input begins again. `say` gets sentences about
    progress, where there is no terminal, and about the whole. Raises PoNetError: no documents, parts of another job,
    what can't be written, or what reading and computing raise."""
    write = output_format(out, VECTOR in annotator.columns.names, keeps=source.keep != ())
    job = None if source.live else {"input": source.identity(), "model": annotator.identity()}
    with open_parts(out.with_name(out.name + PARTS), job) as parts:
        for file in leftovers(out.parent, [out.name]):
            file.unlink()  # of a process that was killed while it wrote
        done = parts.rows
        inputs = source.open(done)
        _say_renamed(inputs, annotator, say)
        if done:
            say(f"{done:,} rows are done already: going on behind them.")
        try:
            with (
                reporting(inputs.size, done, say) as report,
                closing(annotated(annotator, inputs, workers, done)) as results,
            ):
                for result in results:
                    parts.add(result.table)
                    done += len(result.table)
                    report(done, result.position)
            parts.flush()
        except KeyboardInterrupt:
            parts.flush()
            if job is not None and parts.rows:
                say(f"{parts.rows:,} rows are kept in '{parts.folder}': the same command goes on behind them.")
            raise
        if not parts.rows:
            raise PoNetError(f"'{source.name}' holds no documents.")
        schema = parts.schema()
        cut = sum(_cut(table) for table in parts.tables(schema))
        with replacing(out) as temporary, temporary.open("wb") as made:
            write(made, schema, parts.tables(schema))
        _say_all(source, inputs, annotator, parts.rows, cut, say)


def _cut(table: Any) -> int:
    return int(np.count_nonzero(table.column(TRUNCATED).to_numpy()))


def _say_renamed(inputs: Inputs, annotator: Annotator, say: Say) -> None:
    found = annotator.columns.names
    names = [name for name in inputs.kept if kept_name(name, found) != name]
    if names:
        renamed = ", ".join(f"'{name}' as '{kept_name(name, found)}'" for name in names)
        say(f"Results have columns of these names too, so the input's are kept under others: {renamed}.")


def _say_all(source: Source, inputs: Inputs, annotator: Annotator, rows: int, cut: int, say: Say) -> None:
    if not rows:
        raise PoNetError(f"'{source.name}' holds no documents.")
    for notice in inputs.notices:
        say(notice)
    if inputs.blank:
        say(f"{inputs.blank:,} of {inputs.documents:,} texts are blank: their rows are what any such text gets.")
    if cut:
        say(f"{cut:,} of {rows:,} texts were longer than {annotator.max_length:,} tokens and cut.")
