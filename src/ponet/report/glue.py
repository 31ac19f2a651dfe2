"""Suite `glue`: PoNet, FNet and their BERT teacher of equal size, fine-tuned alike; published beside measured."""

from dataclasses import dataclass
from pathlib import Path

from ponet.report.published import GLUE_AVERAGE, GLUE_PONET
from ponet.report.results import Result, Runs, load_results, seeds
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
    """From the folder of all results the figures by task and model, the goals, and the settings that the grid chose."""
    runs = Runs(run for run in load_results(results, SUITE) if run.mixer in MODELS)
    columns = (*(f"{title} %" for title in MODELS.values()), "PoNet / BERT", "PoNet / FNet", "Seeds", "Published %")
    table = Table("GLUE", ("Task", *columns), [_row(key, each, runs) for key, each in SETS.items()])
    averages, counted = _averages(runs)
    shown = [percent([averages.get(model)]) for model in MODELS]
    table.sections.append(len(table.rows))
    table.rows.append(["Average", *shown, *_ratios(averages), ABSENT, f"{GLUE_AVERAGE['ponet']:.2f}"])
    table.notes = _notes(runs, counted)
    tables = [table]
    if (goals := target_table(results, SUITE, "GLUE: goals", {"average": averages})) is not None:
        tables.append(goals)
    if runs:
        tables.append(_settings(runs))
    tables[-1].notes.append(f"{HOW}; shown by `ponet report glue`.")
    return tables


def _figures(each: GlueSet, runs: Runs) -> list[float | None]:
    """Each run's mean of the metrics, None where it lacks one."""
    found = ([run.number(f"{each.split}.{metric}") for metric in each.metrics] for run in runs)
    return [None if None in values else mean(values) for values in found]


def _row(key: str, each: GlueSet, runs: Runs) -> list[str]:
    mine = {model: runs.of(each.task, model) for model in MODELS}
    values = {model: _figures(each, found) for model, found in mine.items()}
    means = {model: average for model, found in values.items() if (average := mean(found)) is not None}
    cells = [percent(found) if found else "missing" for found in values.values()]
    measured = " and ".join(METRICS[metric] for metric in each.metrics)
    reduced = REDUCED if any(_is_reduced(each, run) for found in mine.values() for run in found) else ""
    published = f"{GLUE_PONET[key]:.2f}" if key in GLUE_PONET else ABSENT
    return [f"{each.title}{reduced}, {measured}", *cells, *_ratios(means), seeds(each.seeds, *mine.values()), published]


def _ratios(means: dict[str, float]) -> list[str]:
    """PoNet's figure over BERT's and FNet's."""
    return [
        f"{100 * means['ponet'] / means[other]:.1f} %" if "ponet" in means and means.get(other) else ABSENT
        for other in ("bert", "fnet")
    ]


def _is_reduced(each: GlueSet, run: Result) -> bool:
    rows = run.number("data.splits.train.rows")
    return rows is not None and rows < each.train_rows


def _averages(runs: Runs) -> tuple[dict[str, float], list[str]]:
    """Each model's mean over the rows that all models with results have, and the titles of these rows."""
    models = [model for model in MODELS if runs.of(mixer=model)]
    figures = {
        key: {model: mean(_figures(each, runs.of(each.task, model))) for model in models}
        for key, each in SETS.items()
        if each.averaged
    }
    common = [key for key, found in figures.items() if found and None not in found.values()]
    averages = {model: mean([figures[key][model] for key in common]) for model in models}
    return {model: value for model, value in averages.items() if value is not None}, [SETS[key].title for key in common]


def _notes(runs: Runs, counted: list[str]) -> list[str]:
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
        for run in runs.of(each.task)
        if _is_reduced(each, run) and (rows := run.number("data.splits.train.rows"))
    }
    if reduced:
        notes.append(f"{REDUCED} Reduced set. {'; '.join(sorted(reduced))}.")
    if any("all-MiniLM-L6-v2" in str(run.section("recipe", "model").get("init")) for run in runs):
        notes.append(
            "The teacher, all-MiniLM-L6-v2, was trained on pairs of many public sets, QQP, SNLI and MultiNLI among "
            "them."
        )
    machines = runs.on().strip()
    return [*notes, *([machines] if machines else [])]


def _settings(runs: Runs) -> Table:
    table = Table("GLUE: learning rate, batch, epochs and how pairs are read", ("Task", *MODELS.values()))
    table.notes.append(
        "Of N: the best of N trials with rows set aside from the training rows (`grid.json`); otherwise the recipe's."
    )
    titles = {each.task: each.title.partition(",")[0] for each in SETS.values()}
    for task, title in titles.items():
        found = (dict.fromkeys(map(_setting, runs.of(task, model))) for model in MODELS)
        cells = ["; ".join(settings) or ABSENT for settings in found]
        if any(cell != ABSENT for cell in cells):
            table.rows.append([title, *cells])
    return table


def _setting(run: Result) -> str:
    training = run.section("recipe", "training")
    text = f"{training.get('learning_rate')}, {training.get('batch_size')}, {training.get('epochs')}"
    data = run.section("recipe", "data")
    text += f", {data.get('pairs', 'joined')}" if data.get("pair") else ""
    file = None if run.folder is None else run.folder.parent / "grid.json"
    return text if file is None or not file.is_file() else f"{text} (of {len(read_json(file)['cells'])})"
