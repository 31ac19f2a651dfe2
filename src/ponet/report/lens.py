"""Suite `lens`: whether the tokens that an explanation ranks first carry a classifier's answer."""

from pathlib import Path

from ponet.report.benchmarks import Values, collect, machine_note, made_by
from ponet.report.tables import ABSENT, Table, percent

SUITE = "lens"


def lens(results: Path) -> list[Table]:
    """The table of every result file."""
    return collect(results, SUITE, "Pooling lens, faithfulness", lens_tables, "rows")


def lens_tables(values: Values) -> list[Table]:
    """The table of one result: a row for each ranking of the tokens."""
    setup = values["setup"]
    columns = ("Tokens deleted by", "Drop of the probability, points", "More than random, points", "Other answer, %")
    table = Table(f"Pooling lens, faithfulness: {setup['share']:.0%} of the tokens deleted, {setup['data']}", columns)
    for row in values["rows"]:
        margin = _ends(row["margin"], row["margin_interval"]) if "margin" in row else ABSENT
        table.rows.append([row["method"], _ends(row["drop"], row["interval"]), margin, percent([row["changed"]])])
    table.notes += [
        f"`{setup['run']}`, {setup['count']:,} of {setup['rows']:,} {setup['split']} texts drawn with seed "
        f"{values.get('seed', 0)}, of {setup['tokens'] / setup['count']:.0f} tokens on average. The drop is the fall "
        "of the probability of the class that the model answers with the whole text, in percentage points: the mean "
        "over texts and its 95 % confidence interval (bootstrap over texts). Wins and weights are means over the "
        f"layers that pool; random is the mean of {setup['random_draws']} draws; captum takes "
        f"{setup['captum_steps']} steps from padding to the text. The lens's integrated gradients miss the difference "
        f"of the logits by at most {setup['greatest_error']:.1e}.",
        machine_note(values),
        made_by(values),
    ]
    return [table]


def _ends(middle: float, ends: list[float]) -> str:
    low, high = ends
    return f"{100 * middle:.1f} ({100 * low:.1f} to {100 * high:.1f})"
