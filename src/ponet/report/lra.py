"""Suite `lra`: Long Range Arena, published beside measured, and what each mixer gives for a fixed time."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ponet.config.files import read_recipe
from ponet.mixers import mixer_title
from ponet.report.published import LRA, LRA_BEYOND, LRA_TASKS
from ponet.report.results import Result, evaluations, machine_of, save_figure, step_seconds
from ponet.report.tables import ABSENT, Table, count, mean, memory, percent, seconds
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


@cache
def _published_steps(task: str) -> int:
    steps: int = read_recipe(f"lra/{task}/pooling")["training"]["max_steps"]
    return steps


@dataclass(frozen=True)
class _Cell:
    """All seeds of one mixer on one task."""

    task: str
    mixer: str
    runs: list[Result]

    @property
    def steps(self) -> float | None:
        return mean([run.number("train.steps") for run in self.runs])

    @property
    def short(self) -> bool:
        return self.steps is not None and self.steps < _published_steps(self.task)

    def accuracy(self, split: str = "test") -> str:
        return percent([run.number(f"{split}.accuracy") for run in self.runs])

    def marked(self) -> str:
        return self.accuracy() + (SHORT if self.short else "")


def lra(results: list[Result]) -> list[Table]:
    """The published table with measured rows; for each task what was measured; and accuracies after fixed times."""
    cells = _cells(results)
    tables = [_arena(cells), *(_measured(task, cells) for task in TITLES if any(cell.task == task for cell in cells))]
    tables += _after_fixed_times(results)
    tables[-1].notes.append(
        "Made by `ponet train lra/<task>/<mixer>` and `ponet file`; shown by `ponet report lra` (`--plots docs`)."
    )
    return tables


def _cells(results: list[Result]) -> list[_Cell]:
    cells = [
        _Cell(task, mixer, [result for result in results if (result.task, result.mixer) == (task, mixer)])
        for task in TITLES
        for mixer in MIXERS
    ]
    return [cell for cell in cells if cell.runs]


def _arena(cells: list[_Cell]) -> Table:
    table = Table("Long Range Arena, accuracy %", ("Model", *(TITLES[task] for task in LRA_TASKS), "AVG"))
    for mixer, name in MIXERS.items():
        if name in LRA:
            table.rows.append([f"{name}, published", *map(_published, LRA[name])])
        mine = {cell.task: cell for cell in cells if cell.mixer == mixer and cell.task in LRA_TASKS}
        if mine:
            table.rows.append([f"{name}, measured", *_row(mine)])
    table.sections.append(len(table.rows))
    table.rows += [[f"{name}, beyond the paper", *map(_published, row)] for name, row in LRA_BEYOND.items()]
    table.notes.append(
        f"Published: the paper's table 1. Measured: test split, the checkpoint with the best validation accuracy, mean "
        f"± standard deviation over seeds; {SHORT}: fewer steps than published, see below."
    )
    return table


def _row(mine: dict[str, _Cell]) -> list[str]:
    row = [
        mine[task].accuracy() + (SHORT if mine[task].short else "") if task in mine else ABSENT for task in LRA_TASKS
    ]
    if len(mine) < len(LRA_TASKS):
        return [*row, ABSENT]
    means = [mean([run.number("test.accuracy") for run in cell.runs]) for cell in mine.values()]
    return [*row, percent([mean(means)]) + (SHORT if any(cell.short for cell in mine.values()) else "")]


def _published(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"


def _measured(task: str, cells: list[_Cell]) -> Table:
    columns = ("Model", "Test %", "Validation %", "Published %", "Seeds", "Steps", "Step", "Time", "Tokens/s", "Memory")
    table = Table(f"{TITLES[task]}: measured", columns)
    here = [cell for cell in cells if cell.task == task]
    fresh = {cell.mixer: found for cell in here if (found := [each for run in cell.runs if (each := _fresh(run))])}
    if fresh:
        table.columns = (*columns[:2], "Fresh test %", *columns[2:])
    for cell in here:
        published = LRA.get(MIXERS[cell.mixer])
        figure = None if published is None or task not in LRA_TASKS else published[LRA_TASKS.index(task)]
        table.rows.append(
            [
                MIXERS[cell.mixer],
                cell.accuracy(),
                *([percent([accuracy for accuracy, _ in fresh.get(cell.mixer, [])])] if fresh else []),
                cell.accuracy("validation"),
                _published(figure),
                str(len(cell.runs)),
                count(cell.steps),
                seconds(mean([step_seconds(run) for run in cell.runs])),
                seconds(mean([run.number("train.seconds") for run in cell.runs])),
                count(mean([run.number("train.tokens_per_second") for run in cell.runs])),
                memory(mean([run.number("train.peak_memory_bytes") for run in cell.runs])),
            ]
        )
    machines = sorted({machine_of(run) for cell in here for run in cell.runs} - {""})
    notes = [f"Published: {count(_published_steps(task))} steps."]
    if any(run.number("train.timed_step_seconds") for cell in here for run in cell.runs):
        notes.append("Step: timed before the training, where a time and not a number of steps was given.")
    if fresh:
        sizes = sorted({f"{examples:,}" for found in fresh.values() for _, examples in found})
        notes.append(f"Fresh test: {' or '.join(sizes)} newly generated examples, the same for all.")
    if machines:
        notes.append(f"On {'; '.join(machines)}.")
    differences = sorted({text for cell in here for run in cell.runs for text in _differences(run)})
    table.notes = [" ".join([*notes, *differences])]
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
    data = run.values.get("data")
    found = data.get("differences") if isinstance(data, dict) else None
    return [str(text) for text in found] if isinstance(found, list) else []


def _after_fixed_times(results: list[Result]) -> list[Table]:
    tables: list[Table] = []
    for (task, machine), lines in curves(results).items():
        mixers = [mixer for mixer in MIXERS if any(line.mixer == mixer for line in lines)]
        if len(mixers) < 2:
            continue
        common = min(max(line.seconds[-1] for line in lines if line.mixer == mixer) for mixer in mixers)
        times = [share * common for share in SHARES]
        columns = ("Model", *(f"{time / 60:.3g} min" for time in times), "all its time")
        table = Table(f"{TITLES[task]}: best validation accuracy %, by training time", columns)
        for mixer in mixers:
            mine = [line for line in lines if line.mixer == mixer]
            figures = [percent([line.best_until(time) for line in mine]) for time in [*times, float("inf")]]
            longest = max(line.seconds[-1] for line in mine)
            table.rows.append([MIXERS[mixer], *figures[:-1], f"{figures[-1]} ({longest / 60:.3g} min)"])
        table.notes.append(f"Time in training steps alone, without evaluations, on {machine or 'one machine'}.")
        tables.append(table)
    return tables


__all__ = ["MIXERS", "TITLES", "AccuracyCurve", "lra"]


PLOT = "lra.png"


@dataclass(frozen=True)
class AccuracyCurve:
    """One run's evaluations."""

    mixer: str
    seed: int
    seconds: list[float]
    """As `ponet.report.results.Evaluation` has them."""
    accuracy: list[float]
    """From 0 to 1, on the validation split."""

    def best_until(self, seconds: float) -> float | None:
        """The best accuracy within a time; None before the first evaluation."""
        known = [value for time, value in zip(self.seconds, self.accuracy, strict=True) if time <= seconds * 1.001]
        return max(known, default=None)


def curves(results: list[Result]) -> dict[tuple[str, str], list[AccuracyCurve]]:
    """The curves of all runs that have one, by task and machine."""
    found: dict[tuple[str, str], list[AccuracyCurve]] = {}
    for result in results:
        curve = _curve(result)
        if curve is not None:
            found.setdefault((result.task, machine_of(result)), []).append(curve)
    return found


def plot(results: list[Result], folder: Path) -> Path | None:
    """Draws a panel for each task and machine into `folder/lra.png`; nothing, and None, where there are no curves."""
    found = {key: lines for key, lines in curves(results).items() if key[0] in TITLES}
    if not found:
        return None
    plt = pyplot()
    panels = sorted(found, key=lambda key: (list(TITLES).index(key[0]), key[1]))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6 * columns, 3.8 * rows), squeeze=False)
    colours = dict(zip(MIXERS, plt.get_cmap("tab10").colors, strict=False))
    for axis, key in zip(axes.flat, panels, strict=False):
        named: set[str] = set()
        for curve in found[key]:
            if curve.mixer not in MIXERS:
                continue
            label = None if curve.mixer in named else MIXERS[curve.mixer]
            named.add(curve.mixer)
            axis.plot(
                [time / 60 for time in curve.seconds],
                [100 * value for value in curve.accuracy],
                color=colours[curve.mixer],
                linewidth=1.3,
                label=label,
            )
        axis.set_title(f"{TITLES[key[0]]} ({key[1]})" if key[1] else TITLES[key[0]], fontsize=10)
        axis.set_xlabel("minutes in training steps")
        axis.set_ylabel("validation accuracy, %")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.tight_layout()
    return save_figure(figure, Path(folder) / PLOT)


def _curve(result: Result) -> AccuracyCurve | None:
    found = evaluations(result, lambda each: (each.seconds, float(each.figures["accuracy"])))
    if not found:
        return None
    seconds, accuracy = map(list, zip(*found, strict=True))
    return AccuracyCurve(result.mixer, result.seed, seconds, accuracy)
