"""Suite `fill-mask`: words that people are sure of, by their place in a model's order."""

from pathlib import Path

from ponet.report.benchmarks import Values, collect, machine_note, made_by
from ponet.report.tables import Table, percent

SUITE = "fill-mask"


def fill_mask(results: Path) -> list[Table]:
    """The table of every result file."""
    return collect(results, SUITE, "Fill-mask", fill_mask_tables, "rows")


def fill_mask_tables(values: Values) -> list[Table]:
    """The table of one result: a row for each model."""
    keys = ("top_1", "top_5", "top_10")
    table = Table("Masked words", ("Model", "First, %", "Among the first 5, %", "Among the first 10, %"))
    for row in values["rows"]:
        table.rows.append([row["model"], *(percent([row[key]]) for key in keys)])
    table.notes += [
        f'{values["setup"]["sentences"]} everyday sentences with a masked word, as "The capital of France is [MASK]."; '
        "a word that a vocabulary splits counts as not found.",
        machine_note(values),
        made_by(values),
    ]
    return [table]
