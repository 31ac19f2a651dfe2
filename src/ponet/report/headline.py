"""Report `headline`: the few figures of the README, published beside measured, out of the other suites' results."""

from pathlib import Path

from ponet.report.benchmarks import Values, load_benchmarks, machine_note
from ponet.report.documents import documents
from ponet.report.lra import lra
from ponet.report.published import LRA_TRAINING_STEP
from ponet.report.results import load_results
from ponet.report.tables import ABSENT, Table, memory

LENGTH = 4096
"""Tokens a document, in the rows on speed and memory."""
BENCHMARK = "lra-cpu"
"""The result of `ponet benchmark efficiency` that they come from."""
MODELS = {"PoNet": "pooling", "Transformer": "attention"}
"""Name in the tables -> variant of the benchmark. The Transformer's attention is PyTorch's fused one."""


def headline(results: Path) -> list[Table]:
    """One table: accuracy, and speed and memory of a training step. What isn't measured is shown as missing."""
    arena, *_ = lra(results)
    [imdb] = [table for table in documents(load_results(results, "documents")) if table.title == "IMDb"]
    measured = load_benchmarks(results, "efficiency", "variants").get(BENCHMARK)
    columns = [f"{name}, {how}" for name in MODELS for how in ("published", "measured")]
    table = Table("Published beside measured", ["", *columns])
    for task in ("ListOps", "Text"):
        table.rows.append([f"Long Range Arena, {task}: accuracy %", *(_cell(arena, name, task) for name in columns)])
    published = _cell(imdb, "Published: PoNet-Base, pre-trained", "F1 %")
    ponet, transformer = (_cell(imdb, name, "F1 %") for name in MODELS)
    table.rows.append(["IMDb: F1 %", published, ponet, ABSENT, transformer])
    step = f"Training step at {LENGTH:,} tokens"
    speeds, peaks = [], []
    for name, variant in MODELS.items():
        steps, gigabytes = LRA_TRAINING_STEP[name]
        cell = _training(measured, variant)
        speeds += [f"{steps:.1f}", _speed(cell)]
        peaks += [f"{gigabytes:.1f} GB", _peak(cell)]
    table.rows += [[f"{step}: steps/s", *speeds], [f"{step}: peak memory", *peaks]]
    table.notes.append(
        "*: fewer steps than published. Arena: each model had about the same training time on one CPU core. IMDb, "
        "published: pre-trained, 12 layers of width 768; measured: trained from scratch, 2 layers of width 64."
    )
    if measured is not None:
        table.notes.append(_note(measured))
    table.notes.append("Made by the commands below the tables of docs/results.md; shown by `ponet report headline`.")
    return [table]


def _note(measured: Values) -> str:
    """Ratios, what the two Transformers are, and where this was measured."""
    texts = [
        "Speed and memory, published: on a GPU, with attention that stores its weights; measured: with fused attention."
    ]
    ponet, transformer, eager = (_training(measured, variant) for variant in (*MODELS.values(), "attention-eager"))
    if "steps_per_second" in eager:
        figures = f"{_speed(eager)} steps/s, {_peak(eager)}"
        texts.append(f"The same Transformer with attention that stores its weights: {figures}.")
    if "steps_per_second" in ponet and "steps_per_second" in transformer:
        here = ponet["steps_per_second"] / transformer["steps_per_second"]
        published = LRA_TRAINING_STEP["PoNet"][0] / LRA_TRAINING_STEP["Transformer"][0]
        texts.append(
            f"PoNet's step is {here:.1f} times as fast as the Transformer's here, {published:.1f} times as published."
        )
    return " ".join([*texts, machine_note(measured)])


def _cell(table: Table, row: str, column: str) -> str:
    """Of another report's table; missing where it has no such row."""
    place = list(table.columns).index(column)
    return next((cells[place] for cells in table.rows if cells[0] == row), ABSENT)


def _training(measured: Values | None, variant: str) -> Values:
    """A variant's cell of a training step; empty where it wasn't measured."""
    cell: Values = (measured or {}).get("variants", {}).get(variant, {}).get("training", {}).get(str(LENGTH), {})
    return cell


def _peak(cell: Values) -> str:
    return memory(cell.get("memory", {}).get("peak_bytes"))


def _speed(cell: Values) -> str:
    speed = cell.get("steps_per_second")
    return ABSENT if speed is None else f"{speed:.2g}"
