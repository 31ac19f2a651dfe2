"""The result files under a folder: `<suite>/<task>/<mixer>/seed<k>/result.json`."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FIGURES = ("test", "validation", "train")
"""Where a run's result has its figures; it has one of them at least."""


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
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[key]
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            where = f"{self.suite}/{self.task}/{self.mixer}/seed{self.seed}/result.json"
            raise PoNetError(f"'{path}' in {where} is not a number but {value!r}. Run that recipe again.")
        return float(value)


def load_results(folder: Path, suite: str) -> list[Result]:
    """All results of a suite, by task, mixer and seed. None are found where there is no such folder.

    Raises:
        PoNetError: for a file that can't be read or isn't a result.
    """
    results: list[Result] = []
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
    return sorted(results, key=lambda result: (result.task, result.mixer, result.seed))


Read = TypeVar("Read")


def machine_of(result: Result) -> str:
    """The GPU, or the processor and the threads it was used with; "" where the result doesn't say."""
    machine = result.values.get("machine")
    if not isinstance(machine, dict) or "cpu" not in machine:
        return ""
    threads = machine.get("threads", machine.get("cores", "?"))
    return str(machine.get("gpu") or f"{machine['cpu']}, {threads} thread{'' if threads == 1 else 's'}")


def step_seconds(result: Result) -> float | None:
    """Seconds of a training step: as timed alone before the training, else the mean of the training's own."""
    timed, total, steps = (result.number(f"train.{name}") for name in ("timed_step_seconds", "seconds", "steps"))
    return timed if timed is not None or total is None or not steps else total / steps


@dataclass(frozen=True)
class EvaluationLine:
    """One evaluation on the validation split, from metrics.jsonl."""

    seconds: float
    """In training steps: as counted while training or, where a step was timed alone before, steps times that."""
    figures: dict[str, Any]
    """Metrics by name."""
    line: dict[str, Any]
    """All that its line says."""


def evaluations(result: Result, read: Callable[[EvaluationLine], Read]) -> list[Read]:
    """What is read of each of a run's evaluations, in order; nothing where its metrics weren't saved.

    Args:
        result: the run.
        read: takes what is needed, and raises KeyError, TypeError or ValueError where it isn't there.

    Raises:
        PoNetError: a file that can't be read, or a line that isn't such an evaluation.
    """
    path = None if result.folder is None else result.folder / "metrics.jsonl"
    if path is None or not path.exists():
        return []
    timed = result.number("train.timed_step_seconds")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise explain(error, path) from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            values: dict[str, Any] = json.loads(line)
            if "validation" not in values:
                continue
            seconds = float(values["seconds"] if timed is None else values["step"] * timed)
            found.append(read(EvaluationLine(seconds, values["validation"], values)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PoNetError(f"'{path}', line {number}, is no evaluation of a run: file the run again.") from error
    return found


Along = Literal["tokens", "seconds"]


@dataclass(frozen=True)
class LearningCurve:
    """One run's evaluations."""

    task: str
    mixer: str
    """The two folders' names."""
    seed: int
    tokens: list[float]
    """Trained on, at each evaluation."""
    seconds: list[float]
    """As `EvaluationLine` has them."""
    figures: dict[str, list[float]]
    """Name -> value at each evaluation."""

    def last(self, name: str) -> float | None:
        """A figure at the end; None where the run lacks it."""
        return self.figures[name][-1] if name in self.figures else None

    def at(self, place: float, name: str, along: Along = "seconds") -> float | None:
        """A figure after a time or a number of tokens, between two evaluations in proportion; None before the first
        and after the last."""
        import numpy as np

        places = self.axis(along)
        if name not in self.figures or not places[0] <= place <= places[-1] * 1.001:
            return None
        return float(np.interp(place, places, self.figures[name]))

    def axis(self, along: Along) -> list[float]:
        """`tokens` or `seconds`, at each evaluation."""
        return self.tokens if along == "tokens" else self.seconds

    def other_axis_at(self, place: float, along: Along) -> float:
        """Tokens trained on after a time, or the time that a number of tokens took; both begin at 0."""
        import numpy as np

        other: Along = "seconds" if along == "tokens" else "tokens"
        return float(np.interp(place, [0.0, *self.axis(along)], [0.0, *self.axis(other)]))


def save_figure(figure: "Figure", path: Path, dpi: int = 110) -> Path:
    """Writes a PNG, whole or not at all, and frees the figure."""
    from matplotlib import pyplot

    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})
    finally:
        pyplot.close(figure)
    return path
