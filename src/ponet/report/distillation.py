"""Suite `distillation`: students of one teacher; how near they came to it, at the end and after equal tokens."""

from pathlib import Path

from ponet.report.results import EvaluationLine, LearningCurve, Result, evaluations, machine_of, save_figure
from ponet.report.tables import ABSENT, Table, count, mean
from ponet.utils.extras import pyplot

PLOT = "distillation.png"
FIGURES = {"hidden_loss": "Hidden states, error", "last_loss": "Last layer, error", "cosine": "Mean vectors, cosine"}
"""Metric of the held-out passages -> its column."""
COLUMNS = ("Student", "Layers", "d", "Seeds", "Tokens", "Minutes", "Tokens/s", *FIGURES.values())
HOW = (
    "Made by `ponet distil` (or `ponet train distil/<student> name=distillation/<teacher>/<student>`) and `ponet file`"
)


def distillation(results: list[Result]) -> list[Table]:
    """For each teacher a table of its students, and one of what they had come to after as many tokens as the shortest
    run."""
    if not results:
        return [Table("Distillation", COLUMNS, notes=[f"Nothing is measured yet. {HOW}."])]
    tables = []
    for teacher in sorted({result.task for result in results}):
        mine = [result for result in results if result.task == teacher]
        tables += [_at_the_end(teacher, mine), *_after_equal_tokens(teacher, mine)]
    tables[-1].notes.append(f"{HOW}; shown by `ponet report distillation` (`--plots docs`).")
    return tables


def _at_the_end(teacher: str, results: list[Result]) -> Table:
    table = Table(f"Students of {teacher}", COLUMNS)
    for student in dict.fromkeys(result.mixer for result in results):
        runs = [result for result in results if result.mixer == student]
        minutes = mean([run.number("train.seconds") for run in runs])
        table.rows.append(
            [
                student,
                *(count(mean([run.number(f"model.{key}") for run in runs])) for key in ("layers", "hidden_size")),
                str(len(runs)),
                count(mean([run.number("train.tokens") for run in runs])),
                ABSENT if minutes is None else f"{minutes / 60:.0f}",
                count(mean([run.number("train.tokens_per_second") for run in runs])),
                *(_figure(mean([run.number(f"validation.{name}") for run in runs])) for name in FIGURES),
            ]
        )
    machines = sorted({machine_of(result) for result in results} - {""})
    table.notes.append(
        "On held-out passages: the squared error of the student's hidden states over the variance of the teacher's, "
        "the mean of all layers and of the last; the cosine of the student's mean vector with the teacher's."
        + (f" On {'; '.join(machines)}." if machines else "")
    )
    return table


def _after_equal_tokens(teacher: str, results: list[Result]) -> list[Table]:
    curves = [curve for curve in map(curve_of, results) if curve is not None]
    students = list(dict.fromkeys(curve.mixer for curve in curves))
    if len(students) < 2:
        return []
    tokens = min(curve.tokens[-1] for curve in curves)
    table = Table(f"Students of {teacher} after {tokens / 1e6:.1f} million tokens each", ("Student", *FIGURES.values()))
    for student in students:
        mine = [curve for curve in curves if curve.mixer == student]
        table.rows.append(
            [student, *(_figure(mean([curve.at(tokens, name, "tokens") for curve in mine])) for name in FIGURES)]
        )
    table.notes.append(
        "Interpolated between two evaluations. Where the learning rate of a longer run hadn't decayed by then, that "
        "run is at a disadvantage."
    )
    return [table]


def curve_of(result: Result) -> LearningCurve | None:
    """One run's curve; None where it was never evaluated.

    Raises:
        PoNetError: a line that isn't an evaluation of a distillation.
    """

    def read(line: EvaluationLine) -> tuple[float, ...]:
        return float(line.line["tokens"]), line.seconds, *(float(line.figures[name]) for name in FIGURES)

    found = evaluations(result, read)
    if not found:
        return None
    tokens, seconds, *figures = map(list, zip(*found, strict=True))
    by_name = dict(zip(FIGURES, figures, strict=True))
    return LearningCurve(result.task, result.mixer, result.seed, tokens, seconds, by_name)


def plot(results: list[Result], folder: Path) -> Path | None:
    """Draws error and cosine of the students over tokens into `folder/distillation.png`.

    Returns:
        The file, or None, and nothing is drawn, where there are no curves.
    """
    curves = [curve for curve in map(curve_of, results) if curve is not None]
    if not curves:
        return None
    plt = pyplot()
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    names = list(dict.fromkeys((curve.task, curve.mixer) for curve in curves))
    several = len({teacher for teacher, _ in names}) > 1
    for axis, metric in zip(axes, ("hidden_loss", "cosine"), strict=True):
        for curve in curves:
            key = (curve.task, curve.mixer)
            label = f"{curve.mixer} ({curve.task})" if several else curve.mixer
            first = next(other for other in curves if (other.task, other.mixer) == key) is curve
            axis.plot(
                [tokens / 1e6 for tokens in curve.tokens],
                curve.figures[metric],
                color=f"C{names.index(key)}",
                label=label if first else None,
            )
        axis.set_xlabel("million tokens")
        axis.set_title(f"held-out passages: {FIGURES[metric].lower()}", fontsize=10)
        axis.set_xscale("log")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    return save_figure(figure, Path(folder) / PLOT)


def _figure(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"
