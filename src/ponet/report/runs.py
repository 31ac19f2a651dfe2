"""What reports on trainings share: where a run was trained, its evaluations by time, and how a figure is saved."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ponet.report.results import Result
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
class Evaluation:
    """One evaluation on the validation split, from metrics.jsonl."""

    seconds: float
    """In training steps: as counted while training or, where a step was timed alone before, steps times that."""
    figures: dict[str, Any]
    """Metrics by name."""
    line: dict[str, Any]
    """All that its line says."""


def evaluations(result: Result, read: Callable[[Evaluation], Read]) -> list[Read]:
    """What is read of each of a run's evaluations, in order; nothing where its metrics weren't filed.

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
            found.append(read(Evaluation(seconds, values["validation"], values)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PoNetError(f"'{path}', line {number}, is no evaluation of a run: file the run again.") from error
    return found


def save_figure(figure: "Figure", path: Path, dpi: int = 110) -> Path:
    """Writes a PNG, whole or not at all, and frees the figure."""
    from matplotlib import pyplot

    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})
    finally:
        pyplot.close(figure)
    return path
