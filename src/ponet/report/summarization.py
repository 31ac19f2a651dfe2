"""Suite `summarization`: sentences of articles against their leads."""

from pathlib import Path

from ponet.report.benchmarks import Values, collect, machine_note, made_by
from ponet.report.tables import Table, count, percent

SUITE = "summarization"


def summarization(results: Path) -> list[Table]:
    """The table of every result file."""
    return collect(results, SUITE, "Extractive summarization", summarization_tables, "rows")


def summarization_tables(values: Values) -> list[Table]:
    """The table of one result: a row for each method."""
    setup = values["setup"]
    columns = ("Method", "ROUGE-1", "ROUGE-2", "ROUGE-L", "Words of a summary", "Words/s")
    table = Table("Extractive summarization: Wikipedia's leads from the rest of the article", columns)
    for row in values["rows"]:
        figures = (percent([row[key]]) for key in ("rouge_1", "rouge_2", "rouge_l"))
        table.rows.append([row["method"], *figures, f"{row['length']:.0f}", count(row["words_per_second"])])
    table.notes += [
        f"{setup['count']:,} held-out articles; summaries of at most {setup['sentences']} sentences of the body, "
        "against the lead: F1 by `rouge-score`, with stemming; ROUGE-L of whole summaries. All but the first sentences "
        "and the oracle leave out sentences with three words in a row of one taken before. The oracle knows the lead.",
        machine_note(values),
        made_by(values),
    ]
    return [table]
