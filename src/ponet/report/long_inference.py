"""Report `long-inference`, from `ponet benchmark long`: one very long document, in chunks and all at once."""

from pathlib import Path

from ponet.report.benchmarks import Values, absent, collect, machine_note, made_by
from ponet.report.tables import Table, memory, seconds

SUITE = "long"


def long_inference(results: Path) -> list[Table]:
    """The tables of every result file."""
    return collect(results, SUITE, "Very long documents", long_tables, "lengths")


def long_tables(values: Values) -> list[Table]:
    """The table of one result."""
    chunk = values["setup"]["chunk_size"]
    columns = ("Tokens", "Time", "Tokens/s", "Memory", "Time, all at once", "Memory, all at once")
    table = Table(f"One long document, {chunk:,} tokens at a time", columns)
    for length, cells in values["lengths"].items():
        row = [f"{int(length):,}"]
        for name in ("chunks", "whole"):
            cell = cells[name]
            measured = cell["status"] == "ok"
            row.append(seconds(cell["seconds"]) if measured else absent(cell))
            if name == "chunks":
                row.append(f"{cell['tokens_per_second']:,.0f}" if measured else absent(cell))
            row.append(memory(cell["peak_bytes"]) if measured else absent(cell))
        table.rows.append(row)
    if values["growth"] is not None:
        table.notes.append(f"Time grows with the power {values['growth']:.2f} of length, from first to last row.")
    table.notes += [
        f"{values['setup']['description']}; random weights. Memory is what inference adds to weights and inputs; the "
        "hidden states (the embeddings, and into and out of a layer) are most of it. Each cell is one run in a process "
        "of its own.",
        machine_note(values),
        made_by(values),
    ]
    return [table]
