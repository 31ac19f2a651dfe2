"""Learning curves of Long Range Arena: validation accuracy over training time, from the results' metrics.jsonl."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponet.errors import PoNetError
from ponet.files import explain, replacing
from ponet.report.results import Result

PLOT = "lra.png"


@dataclass(frozen=True)
class Curve:
    """One run's evaluations."""

    mixer: str
    seed: int
    seconds: list[float]
    """In training steps: as counted while training or, where a step was timed alone before, steps times that."""
    accuracy: list[float]
    """From 0 to 1, on the validation split."""

    def best_until(self, seconds: float) -> float | None:
        """The best accuracy within a time; None before the first evaluation."""
        known = [value for time, value in zip(self.seconds, self.accuracy, strict=True) if time <= seconds * 1.001]
        return max(known, default=None)


def curves(results: list[Result]) -> dict[tuple[str, str], list[Curve]]:
    """The curves of all runs that have one, by task and machine."""
    found: dict[tuple[str, str], list[Curve]] = {}
    for result in results:
        curve = _curve(result)
        if curve is not None:
            found.setdefault((result.task, machine_of(result)), []).append(curve)
    return found


def machine_of(result: Result) -> str:
    """The GPU, or the processor and the threads it was used with; "" where the result doesn't say."""
    machine = result.values.get("machine")
    if not isinstance(machine, dict) or "cpu" not in machine:
        return ""
    threads = machine.get("threads", machine.get("cores", "?"))
    return str(machine.get("gpu") or f"{machine['cpu']}, {threads} thread{'' if threads == 1 else 's'}")


def plot(results: list[Result], folder: Path) -> Path | None:
    """Draws a panel for each task and machine into `folder/lra.png`; nothing, and None, where there are no curves."""
    from ponet.report.lra import MIXERS, TITLES

    found = {key: lines for key, lines in curves(results).items() if key[0] in TITLES}
    if not found:
        return None
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = sorted(found, key=lambda key: (list(TITLES).index(key[0]), key[1]))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(6 * columns, 3.8 * rows), squeeze=False)
    colours = dict(zip(MIXERS, pyplot.get_cmap("tab10").colors, strict=False))  # type: ignore[attr-defined]
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
    path = Path(folder) / PLOT
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})
    finally:
        pyplot.close(figure)
    return path


def _curve(result: Result) -> Curve | None:
    path = None if result.folder is None else result.folder / "metrics.jsonl"
    if path is None or not path.exists():
        return None
    timed = result.number("train.timed_step_seconds")
    seconds, accuracy = [], []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise explain(error, path) from error
    for number, line in enumerate(lines, 1):
        try:
            values: dict[str, Any] = json.loads(line)
            if "validation" not in values:
                continue
            accuracy.append(float(values["validation"]["accuracy"]))
            seconds.append(float(values["seconds"] if timed is None else values["step"] * timed))
        except (ValueError, KeyError, TypeError) as error:
            raise PoNetError(f"'{path}', line {number}, is no evaluation of a run: file the run again.") from error
    return Curve(result.mixer, result.seed, seconds, accuracy) if seconds else None
