"""Suites `lra` and `self-pretraining`: Long Range Arena, published beside measured, and what each mixer gives for a
fixed time; and after masked tokens of its own inputs, beside training from scratch."""

from functools import cache
from pathlib import Path
from typing import Any

from ponet.config.files import read_recipe
from ponet.mixers import mixer_title
from ponet.report.published import LRA, LRA_BEYOND, LRA_TASKS
from ponet.report.results import (
    TRAINING,
    LearningCurve,
    Result,
    Runs,
    by_machine,
    draw_curve,
    learning_curve,
    load_results,
    save_figure,
)
from ponet.report.tables import ABSENT, Table, count, mean, percent, seconds
from ponet.utils.errors import PoNetError
from ponet.utils.extras import pyplot
from ponet.utils.files import read_json

TITLES = {
    "listops": "ListOps",
    "text": "Text",
    "retrieval": "Retrieval",
    "image": "Image",
    "pathfinder": "Pathfinder",
    "retrieval-wikipedia": "Retrieval, Wikipedia",
}
ORDER = ("attention", "performer", "lsh", "linformer", "nystrom", "fourier", "pooling", "linear", "external")
"""The paper's, then the mixers that it doesn't have."""
MIXERS = {name: mixer_title(name) for name in ORDER}
MIXERS["pooling-aligned"] = f"{MIXERS['pooling']}, aligned segments"
"""Folder -> the name of its row."""
SHORT = "*"
"""Stands behind figures of trainings with fewer steps than the published ones."""
SHARES = (0.25, 0.5, 1.0)
"""Of the longest time that all mixers of a task have trained for: where the table of fixed times looks."""
PLOT = "lra.png"


@cache
def _published_steps(task: str) -> int:
    steps: int = read_recipe(f"lra/{task}/pooling")["training"]["max_steps"]
    return steps


def _mark(task: str, runs: Runs) -> str:
    steps = runs.mean("train.steps")
    return SHORT if steps is not None and steps < _published_steps(task) else ""


def lra(results: Path) -> list[Table]:
    """What `measured` gives, and a table of self-pre-training where that was measured."""
    scratch = load_results(results, "lra")
    return [*measured(scratch), *_self_pretraining(load_results(results, "self-pretraining"), scratch)]


def measured(results: Runs) -> list[Table]:
    """The published table with measured rows; for each task what was measured; and accuracies after fixed times."""
    tables = [_arena(results), *(_measured(task, results.of(task)) for task in TITLES)]
    tables = [table for table in tables if table.rows]
    tables += _after_fixed_times(results)
    tables[-1].notes.append(
        "Made by `ponet train lra/<task>/<mixer>` and `ponet file`; shown by `ponet report lra` (`--plots docs`)."
    )
    return tables


def _arena(results: Runs) -> Table:
    table = Table("Long Range Arena, accuracy %", ("Model", *(TITLES[task] for task in LRA_TASKS), "AVG"))
    for mixer, name in MIXERS.items():
        if name in LRA:
            table.rows.append([f"{name}, published", *map(_published, LRA[name])])
        if mine := {task: runs for task in LRA_TASKS if (runs := results.of(task, mixer))}:
            marks = {task: _mark(task, runs) for task, runs in mine.items()}
            cells = {task: runs.cell("test.accuracy") + marks[task] for task, runs in mine.items()}
            average = percent([mean([runs.mean("test.accuracy") for runs in mine.values()])]) + max(marks.values())
            row = [*(cells.get(task, ABSENT) for task in LRA_TASKS), average if len(mine) == len(LRA_TASKS) else ABSENT]
            table.rows.append([f"{name}, measured", *row])
    table.sections.append(len(table.rows))
    table.rows += [[f"{name}, beyond the paper", *map(_published, row)] for name, row in LRA_BEYOND.items()]
    table.notes.append(
        f"Published: the paper's table 1. Measured: test split, the checkpoint with the best validation accuracy, mean "
        f"± standard deviation over seeds; {SHORT}: fewer steps than published, see below."
    )
    return table


def _published(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"


def _measured(task: str, every: Runs) -> Table:
    columns = ("Model", "Test %", "Validation %", "Published %", "Seeds", "Steps", "Step", "Time", "Tokens/s", "Memory")
    table = Table(f"{TITLES[task]}: measured", columns)
    here = {mixer: runs for mixer in MIXERS if (runs := every.of(mixer=mixer))}
    fresh = {mixer: found for mixer, runs in here.items() if (found := [each for run in runs if (each := _fresh(run))])}
    if fresh:
        table.columns = (*columns[:2], "Fresh test %", *columns[2:])
    for mixer, runs in here.items():
        published = LRA.get(MIXERS[mixer])
        figure = None if published is None or task not in LRA_TASKS else published[LRA_TASKS.index(task)]
        newly = [percent([accuracy for accuracy, _ in fresh.get(mixer, [])])] if fresh else []
        scores = [runs.cell("test.accuracy"), *newly, runs.cell("validation.accuracy"), _published(figure)]
        steps, _, *training = runs.cells(*TRAINING)
        step = seconds(mean([run.step_seconds for run in runs]))
        table.rows.append([MIXERS[mixer], *scores, str(len(runs)), steps, step, *training])
    every = Runs(run for runs in here.values() for run in runs)
    notes = [f"Published: {count(_published_steps(task))} steps."]
    if every.mean("train.timed_step_seconds"):
        notes.append("Step: timed before the training, where a time and not a number of steps was given.")
    if fresh:
        sizes = sorted({f"{examples:,}" for found in fresh.values() for _, examples in found})
        notes.append(f"Fresh test: {' or '.join(sizes)} newly generated examples, the same for all.")
    differences = sorted({text for run in every for text in _differences(run)})
    table.notes = [" ".join([" ".join(notes) + every.on(), *differences])]
    return table


def _fresh(run: Result) -> tuple[float, int] | None:
    """Accuracy on newly generated data, and how many examples; None where that wasn't measured."""
    file = None if run.folder is None else run.folder / "fresh.json"
    if file is None or not file.is_file():
        return None
    values = read_json(file)
    try:
        return float(values["metrics"]["accuracy"]), int(values["examples"])
    except (KeyError, TypeError, ValueError) as error:
        raise PoNetError(f"'{file}' isn't what `ponet evaluate --file` wrote: measure again.") from error


def _differences(run: Result) -> list[str]:
    """Where the data isn't the official one, in the words of the data itself."""
    found = run.section("data").get("differences")
    return [str(text) for text in found] if isinstance(found, list) else []


def _curves(results: Runs) -> dict[tuple[str, str], list[LearningCurve]]:
    """The curves of all runs that have one, by task and machine."""

    def read(metrics: dict[str, Any]) -> dict[str, float]:
        return {"accuracy": float(metrics["accuracy"])}

    found = (learning_curve(run, read, tokens=False) for run in results if run.task in TITLES)
    return by_machine(curve for curve in found if curve is not None)


def _after_fixed_times(results: Runs) -> list[Table]:
    tables: list[Table] = []
    for (task, machine), lines in _curves(results).items():
        by_mixer = {mixer: mine for mixer in MIXERS if (mine := [line for line in lines if line.mixer == mixer])}
        if len(by_mixer) < 2:
            continue
        longest = {mixer: max(line.seconds[-1] for line in mine) for mixer, mine in by_mixer.items()}
        times = [share * min(longest.values()) for share in SHARES]
        columns = ("Model", *(f"{time / 60:.3g} min" for time in times), "all its time")
        table = Table(f"{TITLES[task]}: best validation accuracy %, by training time", columns)
        for mixer, mine in by_mixer.items():
            figures = [percent([line.best_until(time, "accuracy") for line in mine]) for time in [*times, float("inf")]]
            table.rows.append([MIXERS[mixer], *figures[:-1], f"{figures[-1]} ({longest[mixer] / 60:.3g} min)"])
        table.notes.append(f"Time in training steps alone, without evaluations, on {machine or 'one machine'}.")
        tables.append(table)
    return tables


def plot(results: Runs, folder: Path) -> Path | None:
    """Draws a panel for each task and machine into `folder/lra.png`; nothing, and None, where there are no curves."""
    found = _curves(results)
    if not found:
        return None
    plt = pyplot()
    panels = sorted(found, key=lambda key: (list(TITLES).index(key[0]), key[1]))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6 * columns, 3.8 * rows), squeeze=False)
    colours = dict(zip(MIXERS, plt.get_cmap("tab10").colors, strict=False))
    for axis, key in zip(axes.flat, panels, strict=False):
        for curve in found[key]:
            if curve.mixer in MIXERS:
                style = {"color": colours[curve.mixer], "linewidth": 1.3}
                draw_curve(axis, curve, "seconds", "accuracy", MIXERS[curve.mixer], **style)
        axis.set_title(f"{TITLES[key[0]]} ({key[1]})" if key[1] else TITLES[key[0]], fontsize=10)
        axis.set(xlabel="minutes in training steps", ylabel="validation accuracy, %")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.tight_layout()
    return save_figure(figure, Path(folder) / PLOT)


PRETRAINED = ("Test %", "From scratch %", "Masked tokens %", "Seeds", "Steps", "Pre-training", "In all", "From scratch")
"""The columns of the table of self-pre-training."""


def _self_pretraining(runs: Runs, scratch: Runs) -> list[Table]:
    table = Table("Long Range Arena: self-pre-training", ("Task, model", *PRETRAINED))
    for task in ("listops", "text"):
        for mixer in ("pooling", "fourier", "attention"):
            if mine := runs.of(task, mixer):
                beside, inputs = scratch.of(task, mixer), runs.of(f"{task}-inputs", mixer)
                scores = [
                    mine.cell("test.accuracy"),
                    beside.cell("test.accuracy"),
                    inputs.cell("validation.mlm_accuracy"),
                ]
                first, second = mine.mean("data.self_pretraining.seconds"), mine.mean("train.seconds")
                whole = ABSENT if first is None or second is None else seconds(first + second)
                times = [seconds(first), whole, beside.cell("train.seconds")]
                name = f"{TITLES[task]}, {mixer_title(mixer)}"
                table.rows.append([name, *scores, str(len(mine)), mine.cell("train.steps"), *times])
    table.notes = [
        "The encoder learns masked tokens of the task's own training inputs first, without labels, then the task. Mean "
        "± standard deviation over seeds of the second part. Masked tokens: accuracy on validation inputs. Times are "
        f"those in training steps of the first part, of both, and of the runs from scratch beside them.{runs.on()}",
        "Made by `ponet train self-pretraining/<task>-inputs/<mixer> budget=10m`, then `ponet train "
        "self-pretraining/<task>/<mixer> budget=15m`, and `ponet file`; shown by `ponet report lra`.",
    ]
    return [table] if table.rows else []
