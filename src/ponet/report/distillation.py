"""Suite `distillation`: students of one teacher; how near they came to it, at the end and after equal tokens."""

from pathlib import Path

from ponet.report.results import LearningCurve, Runs, draw_curve, learning_curve, save_figure, written
from ponet.report.tables import ABSENT, Table
from ponet.utils.extras import pyplot

PLOT = "distillation.png"
FIGURES = {"hidden_loss": "Hidden states, error", "last_loss": "Last layer, error", "cosine": "Mean vectors, cosine"}
"""Metric of the held-out passages -> its column."""
COLUMNS = ("Student", "Layers", "d", "Seeds", "Tokens", "Minutes", "Tokens/s", *FIGURES.values())
HOW = (
    "Made by `ponet distil` (or `ponet train distil/<student> name=distillation/<teacher>/<student>`) and `ponet file`"
)


def distillation(results: Runs) -> list[Table]:
    """For each teacher a table of its students, and one of what they had come to after as many tokens as the shortest
    run."""
    if not results:
        return [Table("Distillation", COLUMNS, notes=[f"Nothing is measured yet. {HOW}."])]
    tables = []
    for teacher in sorted({result.task for result in results}):
        mine = results.of(teacher)
        tables += [_at_the_end(teacher, mine), *_after_equal_tokens(teacher, _curves(mine))]
    tables[-1].notes.append(f"{HOW}; shown by `ponet report distillation` (`--plots docs`).")
    return tables


def _curves(runs: Runs) -> list[LearningCurve]:
    """Of the runs that were evaluated."""
    found = (learning_curve(run, lambda metrics: {name: float(metrics[name]) for name in FIGURES}) for run in runs)
    return [curve for curve in found if curve is not None]


def _at_the_end(teacher: str, results: Runs) -> Table:
    table = Table(f"Students of {teacher}", COLUMNS)
    for student in dict.fromkeys(result.mixer for result in results):
        runs = results.of(mixer=student)
        minutes = runs.mean("train.seconds")
        shape, rate = runs.cells("model.layers", "model.hidden_size"), runs.cell("train.tokens_per_second")
        took = [runs.cell("train.tokens"), ABSENT if minutes is None else f"{minutes / 60:.0f}", rate]
        figures = runs.cells(*(f"validation.{name}" for name in FIGURES))
        table.rows.append([student, *shape, str(len(runs)), *took, *figures])
    table.notes.append(
        "On held-out passages: the squared error of the student's hidden states over the variance of the teacher's, "
        "the mean of all layers and of the last; the cosine of the student's mean vector with the teacher's."
        f"{results.on()}"
    )
    return table


def _after_equal_tokens(teacher: str, curves: list[LearningCurve]) -> list[Table]:
    students = list(dict.fromkeys(curve.mixer for curve in curves))
    if len(students) < 2:
        return []
    tokens = min(curve.tokens[-1] for curve in curves)
    table = Table(f"Students of {teacher} after {tokens / 1e6:.1f} million tokens each", ("Student", *FIGURES.values()))
    for student in students:
        mine = [curve for curve in curves if curve.mixer == student]
        figures = (written(name, [curve.at(tokens, name, "tokens") for curve in mine]) for name in FIGURES)
        table.rows.append([student, *figures])
    table.notes.append(
        "Interpolated between two evaluations. Where the learning rate of a longer run hadn't decayed by then, that "
        "run is at a disadvantage."
    )
    return [table]


def plot(results: Runs, folder: Path) -> Path | None:
    """Draws error and cosine of the students over tokens into `folder/distillation.png`; nothing, and None, where
    there are no curves."""
    curves = _curves(results)
    if not curves:
        return None
    figure, axes = pyplot().subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    names = list(dict.fromkeys((curve.task, curve.mixer) for curve in curves))
    several = len({teacher for teacher, _ in names}) > 1
    for axis, metric in zip(axes, ("hidden_loss", "cosine"), strict=True):
        for curve in curves:
            label = f"{curve.mixer} ({curve.task})" if several else curve.mixer
            draw_curve(axis, curve, "tokens", metric, label, color=f"C{names.index((curve.task, curve.mixer))}")
        axis.set(xlabel="million tokens", xscale="log")
        axis.set_title(f"held-out passages: {FIGURES[metric].lower()}", fontsize=10)
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    return save_figure(figure, Path(folder) / PLOT)
