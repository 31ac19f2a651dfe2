"""Suite `retrieval`: finding sections by their headings."""

from pathlib import Path

from ponet.report.benchmarks import Values, collect, machine_note, made_by
from ponet.report.tables import Table, count, percent

SUITE = "retrieval"


def retrieval(results: Path) -> list[Table]:
    """The table of every result file."""
    return collect(results, SUITE, "Retrieval of sections", retrieval_tables, "rows")


def retrieval_tables(values: Values) -> list[Table]:
    """The table of one result: a row for each method."""
    setup = values["setup"]
    columns = ("Method", "Recall@1, %", "Recall@10, %", "MRR, %", "Words/s")
    table = Table("Retrieval: the section that a title and a heading name", columns)
    for row in values["rows"]:
        figures = (percent([row[key]]) for key in ("recall_1", "recall_10", "mrr"))
        table.rows.append([row["method"], *figures, count(row["words_per_second"])])
    table.notes += [
        f"{setup['sections']:,} sections of {setup['articles']:,} held-out Wikipedia articles, headings taken away; a "
        "query for each of them. A section is read by itself, or as a part of its article, whose tokens are read once. "
        "Words/s: of reading all sections.",
        machine_note(values),
        made_by(values),
    ]
    return [table]
