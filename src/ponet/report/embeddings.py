"""Suite `embeddings`: what vectors are worth without fine-tuning."""

from pathlib import Path

from ponet.report.benchmarks import Values, collect, machine_note, made_by
from ponet.report.tables import Table

SUITE = "embeddings"
READINGS = {"cut": "first 512 tokens", "whole": "whole texts"}


def embeddings(results: Path) -> list[Table]:
    """The table of every result file."""
    return collect(results, SUITE, "Embeddings", embeddings_tables, "rows")


def embeddings_tables(values: Values) -> list[Table]:
    """One row for each model and way of reading."""
    columns = ["Model", "Weights", "Reads", "STS-B, Spearman", "IMDb, probe", "20 Newsgroups, probe", "Documents/s"]
    rows = []
    for row in values["rows"]:
        speed = row.get("documents_per_second")
        rows.append(
            [
                Path(row["model"]).name,
                f"{row['parameters'] / 1e6:.1f}M",
                READINGS[row["reading"]],
                f"{row['stsb']['spearman']:.1f}",
                f"{row['imdb']:.1f}",
                f"{row['20newsgroups']:.1f}",
                f"{speed['median']:.1f} ({speed['min']:.1f} to {speed['max']:.1f})" if speed else "–",
            ]
        )
    limit = values["setup"]["limit"]
    rows_used = "all rows" if limit is None else f"{limit:,} rows drawn of each split"
    note = (
        "STS-B: validation pairs, by the cosine of mean vectors. Probes: test accuracy in % of a logistic regression "
        f"on the vectors, its penalty chosen by cross-validation on the training rows; {rows_used}. Whole texts: PoNet "
        "in one pass, a model with attention as the mean of overlapping windows of 512 tokens. Documents/s: 256 "
        "reviews, median and range."
    )
    return [Table("Embeddings without fine-tuning", columns, rows, [note, machine_note(values), made_by(values)])]
