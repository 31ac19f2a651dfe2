"""Suite `glue`: PoNet, FNet and their BERT teacher of equal size, fine-tuned alike; published beside measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponet.report.published import GLUE_AVERAGE, GLUE_PONET
from ponet.report.results import Result, load_results, machine_of
from ponet.report.tables import ABSENT, Table, mean, percent
from ponet.report.targets import target_table
from ponet.utils.files import read_json

SUITE = "glue"
MODELS = {"bert": "BERT", "fnet": "FNet", "ponet": "PoNet", "ponet-scratch": "PoNet from scratch"}
"""Variant of each recipe -> the title of its column."""
REDUCED = "*"
"""Stands behind the names of sets with fewer training rows than the official ones."""
HOW = (
    "Made by `ponet train glue/<task>/<model> --grid seed=0,1,2` (CoLA, STS-B, MRPC, RTE: five seeds) and `ponet file`"
)


@dataclass(frozen=True)
class GlueSet:
    """A row of the table."""

    title: str
    task: str
    """The recipe below `glue/`."""
    metrics: tuple[str, ...]
    """As a result names them; the figure is their mean."""
    train_rows: int
    """Of the official set."""
    split: str = "validation"
    seeds: int = 3
    """Runs that make a cell complete."""
    averaged: bool = True
    """Whether the average counts it; published ones leave WNLI out."""


SETS = {
    "mnli-m": GlueSet("MNLI, matched", "mnli", ("accuracy",), 392_702),
    "mnli-mm": GlueSet("MNLI, mismatched", "mnli", ("accuracy",), 392_702, split="test"),
    "qqp": GlueSet("QQP", "qqp", ("accuracy", "f1"), 363_846),
    "qnli": GlueSet("QNLI", "qnli", ("accuracy",), 104_743),
    "sst2": GlueSet("SST-2", "sst2", ("accuracy",), 67_349),
    "cola": GlueSet("CoLA", "cola", ("matthews",), 8_551, seeds=5),
    "stsb": GlueSet("STS-B", "stsb", ("spearman",), 5_749, seeds=5),
    "mrpc": GlueSet("MRPC", "mrpc", ("accuracy", "f1"), 3_668, seeds=5),
    "rte": GlueSet("RTE", "rte", ("accuracy",), 2_490, seeds=5),
    "wnli": GlueSet("WNLI", "wnli", ("accuracy",), 635, averaged=False),
}
METRICS = {"matthews": "Matthews correlation", "spearman": "Spearman", "f1": "F1", "accuracy": "accuracy"}


def glue(results: Path) -> list[Table]:
    """The figures by task and model, the goals, and the settings that the grid chose.

    Args:
        results: the folder of all results.
    """
    runs = [run for run in load_results(results, SUITE) if run.mixer in MODELS]
    columns = (
        "Task",
        *(f"{title} %" for title in MODELS.values()),
        "PoNet / BERT",
        "PoNet / FNet",
        "Seeds",
        "Published %",
    )
    table = Table("GLUE", columns)
    for key, each in SETS.items():
        table.rows.append(_row(key, each, runs))
    averages, counted = _averages(runs)
    shown = [percent([averages.get(model)]) for model in MODELS]
    published = f"{GLUE_AVERAGE['ponet']:.2f}"
    table.sections.append(len(table.rows))
    table.rows.append(["Average", *shown, *_ratios(averages), ABSENT, published])
    table.notes = _notes(runs, counted)
    tables = [table]
    if (goals := target_table(results, SUITE, "GLUE: goals", {"average": averages})) is not None:
        tables.append(goals)
    if runs:
        tables.append(_settings(runs))
    tables[-1].notes.append(f"{HOW}; shown by `ponet report glue`.")
    return tables


def _figure(each: GlueSet, run: Result) -> float | None:
    values = [run.number(f"{each.split}.{metric}") for metric in each.metrics]
    return None if None in values else mean(values)


def _runs(each: GlueSet, model: str, runs: list[Result]) -> list[Result]:
    return [run for run in runs if (run.task, run.mixer) == (each.task, model)]


def _row(key: str, each: GlueSet, runs: list[Result]) -> list[str]:
    mine = {model: _runs(each, model, runs) for model in MODELS}
    values = {model: [_figure(each, run) for run in found] for model, found in mine.items()}
    means = {model: average for model, found in values.items() if (average := mean(found)) is not None}
    cells = [percent(found) if mine[model] else "missing" for model, found in values.items()]
    seeds = " / ".join(str(len(found)) for found in mine.values())
    if any(len(found) < each.seeds for found in mine.values()):
        seeds += f" of {each.seeds}"
    measured = " and ".join(METRICS[metric] for metric in each.metrics)
    reduced = REDUCED if any(_is_reduced(each, run) for found in mine.values() for run in found) else ""
    published = f"{GLUE_PONET[key]:.2f}" if key in GLUE_PONET else ABSENT
    return [f"{each.title}{reduced}, {measured}", *cells, *_ratios(means), seeds, published]


def _ratios(means: dict[str, float]) -> list[str]:
    """PoNet's figure over BERT's and FNet's."""
    return [
        f"{100 * means['ponet'] / means[other]:.1f} %" if "ponet" in means and means.get(other) else ABSENT
        for other in ("bert", "fnet")
    ]


def _is_reduced(each: GlueSet, run: Result) -> bool:
    rows = run.number("data.splits.train.rows")
    return rows is not None and rows < each.train_rows


def _averages(runs: list[Result]) -> tuple[dict[str, float], list[str]]:
    """Each model's mean over the rows that all models with results have, and the titles of these rows."""
    models = [model for model in MODELS if any(run.mixer == model for run in runs)]
    figures = {
        key: {model: mean([_figure(each, run) for run in _runs(each, model, runs)]) for model in models}
        for key, each in SETS.items()
        if each.averaged
    }
    common = [key for key, found in figures.items() if found and None not in found.values()]
    averages = {model: mean([figures[key][model] for key in common]) for model in models}
    return {model: value for model, value in averages.items() if value is not None}, [SETS[key].title for key in common]


def _notes(runs: list[Result], counted: list[str]) -> list[str]:
    if not runs:
        return ["Nothing is measured yet."]
    notes = [
        "Validation split after the last step (GLUE's test labels aren't public), mean ± standard deviation over "
        "seeds, whose numbers are in the columns' order. Published: PoNet-Base, 76.80, which is 95.7 % of BERT-Base "
        f"({GLUE_AVERAGE['bert']}) and 4.5 % above FNet. "
        f"Average over {', '.join(counted) or 'no task that all models have yet'}."
    ]
    reduced = {
        f"{each.title}: {int(rows):,} of {each.train_rows:,} training rows"
        for each in SETS.values()
        for run in runs
        if run.task == each.task and _is_reduced(each, run) and (rows := run.number("data.splits.train.rows"))
    }
    if reduced:
        notes.append(f"{REDUCED} Reduced set. {'; '.join(sorted(reduced))}.")
    if any("all-MiniLM-L6-v2" in str(_recipe(run, "model").get("init")) for run in runs):
        notes.append(
            "The teacher, all-MiniLM-L6-v2, was trained on pairs of many public sets, QQP, SNLI and MultiNLI among "
            "them."
        )
    machines = sorted({machine_of(run) for run in runs} - {""})
    return [*notes, *([f"On {'; '.join(machines)}."] if machines else [])]


def _recipe(run: Result, section: str) -> dict[str, Any]:
    recipe = run.values.get("recipe")
    found = recipe.get(section) if isinstance(recipe, dict) else None
    return found if isinstance(found, dict) else {}


def _settings(runs: list[Result]) -> Table:
    table = Table("GLUE: learning rate, batch and epochs", ("Task", *MODELS.values()))
    table.notes.append(
        "Of N: the best of N trials with rows set aside from the training rows (`grid.json`); otherwise the recipe's."
    )
    for task in dict.fromkeys(each.task for each in SETS.values()):
        cells = []
        for model in MODELS:
            found = dict.fromkeys(_setting(run) for run in runs if (run.task, run.mixer) == (task, model))
            cells.append("; ".join(found) or ABSENT)
        if any(cell != ABSENT for cell in cells):
            table.rows.append(
                [next(each.title for each in SETS.values() if each.task == task).partition(",")[0], *cells]
            )
    return table


def _setting(run: Result) -> str:
    training = _recipe(run, "training")
    text = f"{training.get('learning_rate')}, {training.get('batch_size')}, {training.get('epochs')}"
    file = None if run.folder is None else run.folder.parent / "grid.json"
    return text if file is None or not file.is_file() else f"{text} (of {len(read_json(file)['cells'])})"
