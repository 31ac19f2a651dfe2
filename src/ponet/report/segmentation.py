"""Suite `segmentation`: where topics end, by trained models and by what people use."""

from pathlib import Path

from ponet.report.benchmarks import Values, collect, machine_note, made_by
from ponet.report.tables import Table, count, percent

SUITE = "segmentation"
DOCUMENTS = {
    "wikipedia": "held-out Wikipedia articles, sections of every level",
    "wikipedia-top": "held-out Wikipedia articles, sections of the top level",
    "choi": "documents of ten excerpts each from novels and Wikipedia (Choi's form)",
}


def segmentation(results: Path) -> list[Table]:
    """The table of every result file."""
    return collect(results, SUITE, "Topic segmentation", segmentation_tables, "rows")


def segmentation_tables(values: Values) -> list[Table]:
    """The table of one result: a row for each method."""
    setup = values["setup"]
    columns = ("Method", "Pk, %", "WindowDiff, %", "F1, %", "Precision, %", "Recall, %", "Words/s")
    table = Table(f"Topic segmentation: {DOCUMENTS[setup['documents']]}", columns)
    for row in values["rows"]:
        figures = (percent([row[key]]) for key in ("pk", "window_diff", "f1", "precision", "recall"))
        table.rows.append([row["method"], *figures, count(row["words_per_second"])])
    table.notes += [
        f"{setup['count']:,} documents of {setup['sentences'] / setup['count']:.0f} sentences and "
        f"{setup['topics'] / setup['count']:.1f} topics on average; headings are taken away. Pk and WindowDiff (lower "
        "is better): means over documents; F1, precision and recall: of boundaries at the exact sentence, over all. "
        "Even cuts know the mean length of a topic. The embedding chunker cuts at the 95th percentile of distances of "
        "neighbouring sentences, each embedded with one neighbour on either side.",
        machine_note(values),
        made_by(values),
    ]
    return [table]
