"""Suite `predict`: what a precision and a runtime cost in accuracy, and give in documents/s."""

from pathlib import Path

from ponet.report.benchmarks import Values, absent, collect, greatest_spread, machine_note, made_by, spread
from ponet.report.tables import ABSENT, Table, percent

SUITE = "predict"
PIPELINE = "pipeline"


def prediction(results: Path) -> list[Table]:
    """The table of every result file."""
    return collect(results, SUITE, "Prediction", prediction_tables, "rows")


def prediction_tables(values: Values) -> list[Table]:
    """The table of one result: a row for each way to predict."""
    setup, rows = values["setup"], values["rows"]
    metric = setup["metric"]
    title = f"Prediction, {setup['run']}"
    headings = ("Way", metric.capitalize(), "As float32", "Documents/s", "Over the pipeline", "Spread")
    table = Table(title, headings)
    speeds = {row["way"]: setup["documents"] / row["time"]["median_seconds"] for row in rows if _measured(row)}
    for row in rows:
        way, speed = row["way"], speeds.get(row["way"])
        beside = [value for name, value in speeds.items() if name.startswith(f"{PIPELINE} {_dtype(way)}")]
        ratio = ABSENT if speed is None or not beside or way.startswith(PIPELINE) else f"{speed / max(beside):.2f}×"
        table.rows.append(
            [
                _title(way),
                percent([row["figures"][metric]]),
                percent([row["agreement"]]) if "agreement" in row else ABSENT,
                absent(row["time"]) if speed is None else f"{speed:,.1f}",
                ratio,
                greatest_spread([spread(row["time"])]),
            ]
        )
    table.notes += [
        f"{setup['documents']:,} documents of the {setup['split']} split, cut at {setup['max_length']:,} tokens, from "
        "texts to probabilities, tokenization included; all ways in turns, medians. The pipeline is of transformers, "
        "with its batches of one text and with batches of 32, on the same model; ratios are over the faster of the two "
        "in the same type (for ONNX Runtime, float32). As float32: the share of documents with the same answer as "
        "`ponet predict --dtype float32`. int8: linear maps only, quantized dynamically.",
        machine_note(values),
        made_by(values),
    ]
    return [table]


def _measured(row: Values) -> bool:
    return "median_seconds" in row["time"]


def _dtype(way: str) -> str:
    _, *rest = way.split()
    return rest[0] if rest else "float32"


def _title(way: str) -> str:
    kind, *rest = way.split()
    if kind == PIPELINE:
        return f"transformers.pipeline, {rest[0]}, batches of {rest[1]}"
    return {"ponet": f"ponet predict, {' '.join(rest)}", "onnx": "ONNX Runtime", "int8": "ONNX Runtime, int8"}[kind]
