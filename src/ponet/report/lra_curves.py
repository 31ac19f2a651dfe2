"""Learning curves of Long Range Arena: validation accuracy over training time, from the results' metrics.jsonl."""

from dataclasses import dataclass
from pathlib import Path

from ponet.report.results import Result
from ponet.report.runs import evaluations, machine_of, save_figure

PLOT = "lra.png"


@dataclass(frozen=True)
class Curve:
    """One run's evaluations."""

    mixer: str
    seed: int
    seconds: list[float]
    """As `ponet.report.runs.Evaluation` has them."""
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
    return save_figure(figure, Path(folder) / PLOT)


def _curve(result: Result) -> Curve | None:
    found = evaluations(result, lambda each: (each.seconds, float(each.figures["accuracy"])))
    if not found:
        return None
    seconds, accuracy = map(list, zip(*found, strict=True))
    return Curve(result.mixer, result.seed, seconds, accuracy)
