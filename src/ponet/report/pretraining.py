"""Suite `pretraining`: encoders of equal size, pre-trained on one stream; at the end, after equal tokens and time."""

from itertools import cycle
from pathlib import Path
from typing import Any, get_args

from ponet.report.results import (
    Along,
    LearningCurve,
    Result,
    Runs,
    by_machine,
    draw_curve,
    learning_curve,
    save_figure,
    written,
)
from ponet.report.tables import ABSENT, Table, count, mean
from ponet.utils.extras import pyplot

PLOT = "pretraining.png"
FIGURES = ("mlm_loss", "mlm_accuracy", "sso_loss", "sso_accuracy")
MIXERS = {"pooling": "PoNet", "attention": "BERT", "fourier": "FNet"}
"""Folder -> the model that such an encoder is."""
OBJECTIVES = {"mlm": "MLM alone", "mlm+nsp": "MLM + NSP"}
"""What may stand behind the mixer and a hyphen in a folder's name -> how it is written."""
HEADS = ("MLM loss", "MLM %", "SSO loss", "SSO %")
COLUMNS = ("Model", "Layers", "d", "Seeds", "Steps", "Tokens", "Minutes", "Tokens/s", *HEADS)
HOW = "Made by `ponet train pretrain/<size> mixer_types=<mixer> data.path=DATA` and `ponet file`"


def curve_of(run: Result) -> LearningCurve | None:
    """One run's curve; None where it was never evaluated.

    Raises:
        PoNetError: a line that isn't an evaluation of a pre-training.
    """

    def read(metrics: dict[str, Any]) -> dict[str, float]:
        named = {name.replace("nsp_", "sso_"): value for name, value in metrics.items()}
        return {name: float(named[name]) for name in (FIGURES if "sso_loss" in named else FIGURES[:2])}

    return learning_curve(run, read)


def _curves(runs: Runs) -> dict[tuple[str, str], list[LearningCurve]]:
    """The curves of all runs that have one, by size and machine."""
    return by_machine(curve for curve in map(curve_of, runs) if curve is not None)


def name_of(mixer: str) -> str:
    """`pooling-mlm+nsp` -> `PoNet, MLM + NSP`; of a mixture, its mixers' models joined."""
    mixers, _, objective = mixer.partition("-")
    name = " + ".join(MIXERS.get(each, each) for each in mixers.split("+"))
    return f"{name}, {OBJECTIVES.get(objective, objective)}" if objective else name


def _order(mixer: str) -> tuple[int, str]:
    """Sorts PoNet, BERT, FNet, then all others by name."""
    return ([*MIXERS, mixer].index(mixer), mixer)


def plot(results: Runs, folder: Path) -> Path | None:
    """Draws MLM and SSO accuracy over tokens and over minutes into `folder/pretraining.png`; nothing, and None, where
    there are no curves."""
    found = _curves(results)
    if not found:
        return None
    groups = sorted(found)
    mixers = sorted({curve.mixer for lines in found.values() for curve in lines}, key=_order)
    figure, axes = pyplot().subplots(2, 2, figsize=(11, 7.6), sharey="row", squeeze=False)
    for row, (name, title) in enumerate((("mlm_accuracy", "masked words"), ("sso_accuracy", "sentence order"))):
        for axis, along in zip(axes[row], get_args(Along), strict=True):
            for style, key in zip(cycle(("-", "--", ":", "-.")), groups, strict=False):
                for curve in sorted(found[key], key=lambda each: _order(each.mixer)):
                    if name not in curve.figures:
                        continue
                    label = name_of(curve.mixer) + (f", {_group(key, groups)}" if len(groups) > 1 else "")
                    colour = f"C{mixers.index(curve.mixer)}"
                    draw_curve(axis, curve, along, name, label, linestyle=style, color=colour, linewidth=1.4)
            x = "million tokens" if along == "tokens" else "minutes in training steps"
            axis.set(xlabel=x, ylabel=f"held-out accuracy, {title}, %")
            axis.grid(alpha=0.3)
            if axis.has_data():
                axis.legend(fontsize=8)
    size, machine = groups[0]
    if len(groups) == 1:
        figure.suptitle(f"Pre-training, {size}" + (f", on {machine}" if machine else ""), fontsize=10)
    figure.tight_layout()
    return save_figure(figure, Path(folder) / PLOT)


def _group(key: tuple[str, str], groups: list[tuple[str, str]]) -> str:
    """The size, with the machine where two groups differ in that alone."""
    size, machine = key
    return f"{size} ({machine})" if sum(each == size for each, _ in groups) > 1 else size


def pretraining(results: Runs) -> list[Table]:
    """For each size (and machine) a table of what was trained, and what equal tokens and equal time give."""
    if not results:
        return [Table("Pre-training", COLUMNS, notes=[f"Nothing is measured yet. {HOW}."])]
    tables: list[Table] = []
    found = _curves(results)
    for (size, machine), runs in sorted(by_machine(results).items()):
        tables.append(_at_the_end(size, Runs(runs)))
        decays = any(run.section("recipe", "training").get("schedule") != "constant" for run in runs)
        lines = found.get((size, machine), [])
        ends = [line.tokens[-1] for line in lines]
        if ends and max(ends) > 1.01 * min(ends):  # else the table of the ends is that of equal tokens
            tables += _after_equal(size, lines, "tokens", decays)
        tables += _after_equal(size, lines, "seconds", decays)
    tables[-1].notes.append(f"{HOW}; shown by `ponet report pretraining` (`--plots docs`).")
    return tables


def _at_the_end(size: str, results: Runs) -> Table:
    table = Table(f"Pre-training, {size}: at the end", COLUMNS)
    for mixer in sorted({result.mixer for result in results}, key=_order):
        runs = results.of(mixer=mixer)
        times = [_seconds(run) for run in runs]
        minutes = mean([None if time is None else time / 60 for time in times])
        shape = runs.cells("recipe.model.num_hidden_layers", "recipe.model.hidden_size")
        took = [*runs.cells("train.steps", "train.tokens"), ABSENT if minutes is None else f"{minutes:.1f}"]
        speed = count(mean([_speed(run, time) for run, time in zip(runs, times, strict=True)]))
        figures = (written(name, [_final(run, name) for run in runs]) for name in FIGURES)
        table.rows.append([name_of(mixer), *shape, str(len(runs)), *took, speed, *figures])
    table.notes.append(
        "Loss and accuracy on held-out documents, at the last step: of masked words (MLM), and of whether the second "
        "span follows the first, precedes it or is from elsewhere (SSO); examples and masks are the same for all. "
        f"Minutes and tokens/s are those of training steps alone, without evaluations.{results.on()}"
    )
    return table


def _after_equal(size: str, lines: list[LearningCurve], along: Along, decays: bool) -> list[Table]:
    """What each mixer has come to when the shortest run ended; nothing where there is only one mixer."""
    mixers = sorted({line.mixer for line in lines}, key=_order)
    if len(mixers) < 2:
        return []
    place = min(line.axis(along)[-1] for line in lines)
    if along == "tokens":
        title, other, what = f"after {place / 1e6:.1f} million tokens each", "Minutes", "number of tokens"
    else:
        title, other, what = f"after {place / 60:.1f} minutes each", "Tokens", "time"
    table = Table(f"Pre-training, {size}: {title}", ("Model", other, *HEADS))
    for mixer in mixers:
        mine = [line for line in lines if line.mixer == mixer]
        needed = mean([line.other_axis_at(place, along) for line in mine])
        figures = (written(name, [line.at(place, name, along) for line in mine]) for name in FIGURES)
        shown = ABSENT if needed is None else f"{needed / 60:.1f}" if along == "tokens" else count(needed)
        table.rows.append([name_of(mixer), shown, *figures])
    rates = ". The learning rate is constant after its warm-up, so that any point of a curve can be compared."
    if decays:
        rates = "; the learning rate of the others hadn't decayed to 0 by then, which costs them something."
    table.notes.append(f"Between two evaluations in proportion. The {what} is the shortest run's{rates}")
    return [table]


def _final(run: Result, name: str) -> float | None:
    """At the last evaluation; without curves, of the kept checkpoint."""
    curve = curve_of(run)
    if curve is not None:
        return curve.figures[name][-1] if name in curve.figures else None
    value = run.number(f"validation.{name}")
    return run.number(f"validation.{name.replace('sso_', 'nsp_')}") if value is None else value


def _seconds(run: Result) -> float | None:
    step, steps = run.step_seconds, run.number("train.steps")
    return None if step is None or steps is None else step * steps


def _speed(run: Result, seconds: float | None) -> float | None:
    tokens = run.number("train.tokens")
    return run.number("train.tokens_per_second") if tokens is None or not seconds else tokens / seconds
