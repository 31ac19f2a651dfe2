"""The result files under a folder: `<suite>/<task>/<mixer>/seed<k>/result.json`, and their learning curves."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ponet.report import tables
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = ("test", "validation", "train")
"""Where a run's result has its figures; it has one of them at least."""
WRITTEN: dict[str, Callable[[float | None], str]] = {
    "seconds": tables.seconds,
    "peak_memory_bytes": tables.memory,
    **dict.fromkeys(("hidden_loss", "last_loss", "cosine", "mlm_loss", "sso_loss"), tables.decimal),
    **dict.fromkeys(("steps", "tokens", "tokens_per_second"), tables.count),
    **dict.fromkeys(("layers", "num_hidden_layers", "hidden_size"), tables.count),
}
"""How the mean of a figure is written, by its name; all others are shares."""
TRAINING = ("train.steps", "train.tokens", "train.seconds", "train.tokens_per_second", "train.peak_memory_bytes")
"""What a training took."""


@dataclass(frozen=True)
class Result:
    """One measured run."""

    suite: str
    task: str
    mixer: str
    seed: int
    values: dict[str, Any]
    """The content of `result.json`."""
    folder: Path | None = None
    """Where it lies, with the run's other files."""

    def number(self, path: str) -> float | None:
        """A figure by its dotted path (`test.accuracy`), None where the file doesn't give it.

        Raises:
            PoNetError: where the file gives something that is not a number.
        """
        value: Any = self.values
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            where = f"{self.suite}/{self.task}/{self.mixer}/seed{self.seed}/result.json"
            raise PoNetError(f"'{path}' in {where} is not a number but {value!r}. Run that recipe again.")
        return float(value)

    def section(self, *keys: str) -> dict[str, Any]:
        """A part of the values, as `section("recipe", "training")`; empty where there is none."""
        found: Any = self.values
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def machine(self) -> str:
        """The GPU, or the processor and the threads it was used with; "" where the result doesn't say."""
        machine = self.section("machine")
        if "cpu" not in machine:
            return ""
        threads = machine.get("threads", machine.get("cores", "?"))
        return str(machine.get("gpu") or f"{machine['cpu']}, {threads} thread{'' if threads == 1 else 's'}")

    @property
    def step_seconds(self) -> float | None:
        """Seconds of a training step: as timed alone before the training, else the mean of the training's own."""
        timed, total, steps = (self.number(f"train.{name}") for name in ("timed_step_seconds", "seconds", "steps"))
        return timed if timed is not None or total is None or not steps else total / steps


class Runs(list[Result]):
    """Runs, and their figures as a table shows them; a figure is named by its dotted path (`test.accuracy`)."""

    def of(self, task: str | None = None, mixer: str | None = None) -> "Runs":
        """Those of a task, of a mixer, or of both."""
        return Runs(run for run in self if task in (None, run.task) and mixer in (None, run.mixer))

    def mean(self, path: str) -> float | None:
        """Over the runs that have it."""
        return tables.mean([run.number(path) for run in self])

    def cell(self, *paths: str) -> str:
        """A figure over all runs; of several paths each run has one."""
        values = [next((v for path in paths if (v := run.number(path)) is not None), None) for run in self]
        return written(paths[0].rpartition(".")[2], values)

    def cells(self, *paths: str) -> list[str]:
        """Several figures."""
        return [self.cell(path) for path in paths]

    def on(self) -> str:
        """` On X; Y.`, the machines; nothing where no run says."""
        machines = sorted({run.machine for run in self} - {""})
        return f" On {'; '.join(machines)}." if machines else ""


def written(name: str, values: Sequence[float | None]) -> str:
    """A figure of several runs, by its name."""
    return WRITTEN[name](tables.mean(values)) if name in WRITTEN else tables.percent(values)


def seeds(wanted: int, *runs: Runs) -> str:
    """`3`, or `3 of 5`; of several models `3 / 5 of 5`."""
    counts = " / ".join(str(len(each)) for each in runs)
    return f"{counts} of {wanted}" if any(len(each) < wanted for each in runs) else counts


def load_results(folder: Path, suite: str) -> Runs:
    """All results of a suite, by task, mixer and seed. None are found where there is no such folder.

    Raises:
        PoNetError: for a file that can't be read or isn't a result.
    """
    results = Runs()
    for path in sorted(Path(folder).glob(f"{suite}/*/*/seed*/result.json")):
        task, mixer, run = path.parts[-4:-1]
        seed = re.fullmatch(r"seed(\d+)", run)
        if seed is None:
            continue
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise explain(error, path) from error
        except (ValueError, RecursionError) as error:
            raise PoNetError(f"'{path}' is not a result file: {error}. Remove it or run its recipe again.") from error
        if not isinstance(values, dict) or not any(isinstance(values.get(part), dict) for part in FIGURES):
            raise PoNetError(f"'{path}' is not a result file: it holds no figures by name.")
        results.append(Result(suite, task, mixer, int(seed[1]), values, path.parent))
    results.sort(key=lambda result: (result.task, result.mixer, result.seed))
    return results


Along = Literal["tokens", "seconds"]


@dataclass(frozen=True)
class LearningCurve:
    """One run's evaluations on the validation split."""

    task: str
    mixer: str
    """The two folders' names."""
    machine: str
    tokens: list[float]
    """Trained on, at each evaluation; NaN where that wasn't asked for."""
    seconds: list[float]
    """In training steps: as counted while training or, where a step was timed alone before, steps times that."""
    figures: dict[str, list[float]]
    """Name -> value at each evaluation."""

    def at(self, place: float, name: str, along: Along = "seconds") -> float | None:
        """A figure after a time or a number of tokens, between two evaluations in proportion; None before the first
        and after the last."""
        import numpy as np

        places = self.axis(along)
        if name not in self.figures or not places[0] <= place <= places[-1] * 1.001:
            return None
        return float(np.interp(place, places, self.figures[name]))

    def best_until(self, seconds: float, name: str) -> float | None:
        """The highest value within a time; None before the first evaluation."""
        pairs = zip(self.seconds, self.figures[name], strict=True)
        return max((value for time, value in pairs if time <= seconds * 1.001), default=None)

    def axis(self, along: Along) -> list[float]:
        """`tokens` or `seconds`, at each evaluation."""
        return self.tokens if along == "tokens" else self.seconds

    def other_axis_at(self, place: float, along: Along) -> float:
        """Tokens trained on after a time, or the time that a number of tokens took; both begin at 0."""
        import numpy as np

        other: Along = "seconds" if along == "tokens" else "tokens"
        return float(np.interp(place, [0.0, *self.axis(along)], [0.0, *self.axis(other)]))


def learning_curve(
    run: Result, read: Callable[[dict[str, Any]], dict[str, float]], tokens: bool = True
) -> LearningCurve | None:
    """A run's evaluations, from its metrics.jsonl; None where it was never evaluated or the file wasn't kept.

    Args:
        run: the run.
        read: the figures among an evaluation's metrics; raises KeyError, TypeError or ValueError where they aren't
            there. Each evaluation must have those of the first.
        tokens: whether the tokens trained on are needed too.

    Raises:
        PoNetError: a file that can't be read, or a line that isn't such an evaluation.
    """
    path = None if run.folder is None else run.folder / "metrics.jsonl"
    if path is None or not path.exists():
        return None
    timed = run.number("train.timed_step_seconds")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise explain(error, path) from error
    curve = LearningCurve(run.task, run.mixer, run.machine, [], [], {})
    for number, line in enumerate(lines, 1):
        try:
            values: dict[str, Any] = json.loads(line)
            if "validation" not in values:
                continue
            found = read(values["validation"])
            curve.seconds.append(float(values["seconds"] if timed is None else values["step"] * timed))
            curve.tokens.append(float(values["tokens"] if tokens else "nan"))
            for name in curve.figures or found:
                curve.figures.setdefault(name, []).append(found[name])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PoNetError(f"'{path}', line {number}, is no evaluation of a run: file the run again.") from error
    return curve if curve.seconds else None


Found = TypeVar("Found", Result, LearningCurve)


def by_machine(found: Iterable[Found]) -> dict[tuple[str, str], list[Found]]:
    """Runs or curves by task and machine, in the given order."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for each in found:
        groups.setdefault((each.task, each.machine), []).append(each)
    return groups


def draw_curve(axis: "Axes", curve: LearningCurve, along: Along, name: str, label: str, **options: Any) -> None:
    """Draws a figure, an accuracy in percent, over million tokens or minutes. A label stands once in the legend."""
    x = [place / (1e6 if along == "tokens" else 60) for place in curve.axis(along)]
    y = [100 * value for value in curve.figures[name]] if name.endswith("accuracy") else curve.figures[name]
    _, known = axis.get_legend_handles_labels()
    axis.plot(x, y, label=None if label in known else label, **options)


def log_axes(axis: "Axes", lengths: list[int]) -> None:
    """Logarithmic axes, with the lengths as the ticks of x and plain numbers at y."""
    from matplotlib import ticker

    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,g}"))
    axis.yaxis.set_minor_formatter(ticker.NullFormatter())
    axis.set_xticks(lengths, [f"{n:,}" for n in lengths])


def save_figure(figure: "Figure", path: Path, dpi: int = 110) -> Path:
    """Writes a PNG, whole or not at all, and frees the figure."""
    from matplotlib import pyplot

    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})
    finally:
        pyplot.close(figure)
    return path
