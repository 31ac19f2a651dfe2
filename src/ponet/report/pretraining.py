"""Suite `pretraining`: encoders of equal size, pre-trained on one stream; at the end, after equal tokens and time."""

from ponet.report.pretraining_curves import FIGURES, Along, Curve, curve_of, curves, name_of, order_of
from ponet.report.results import Result
from ponet.report.runs import machine_of, step_seconds
from ponet.report.tables import ABSENT, Table, count, mean, percent

HEADS = ("MLM loss", "MLM %", "SSO loss", "SSO %")
COLUMNS = ("Model", "Layers", "d", "Seeds", "Steps", "Tokens", "Minutes", "Tokens/s", *HEADS)
HOW = "Made by `ponet train pretrain/<size> mixer_types=<mixer> data.path=DATA` and `ponet file`"


def pretraining(results: list[Result]) -> list[Table]:
    """For each size (and machine) a table of what was trained, and what equal tokens and equal time give."""
    if not results:
        return [Table("Pre-training", COLUMNS, notes=[f"Nothing is measured yet. {HOW}."])]
    tables: list[Table] = []
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.task, machine_of(result)), []).append(result)
    found = curves(results)
    for key, mine in sorted(groups.items()):
        tables.append(_at_the_end(key, mine))
        decays = any(run.values.get("recipe", {}).get("training", {}).get("schedule") != "constant" for run in mine)
        lines = found.get(key, [])
        ends = [line.tokens[-1] for line in lines]
        if ends and max(ends) > 1.01 * min(ends):  # else the table of the ends is that of equal tokens
            tables += _after_equal(key, lines, "tokens", decays)
        tables += _after_equal(key, lines, "seconds", decays)
    tables[-1].notes.append(f"{HOW}; shown by `ponet report pretraining` (`--plots docs`).")
    return tables


def _at_the_end(key: tuple[str, str], results: list[Result]) -> Table:
    size, machine = key
    table = Table(f"Pre-training, {size}: at the end", COLUMNS)
    for mixer in sorted({result.mixer for result in results}, key=order_of):
        runs = [result for result in results if result.mixer == mixer]
        times = [_seconds(run) for run in runs]
        minutes = mean([None if time is None else time / 60 for time in times])
        table.rows.append(
            [
                name_of(mixer),
                count(mean([run.number("recipe.model.num_hidden_layers") for run in runs])),
                count(mean([run.number("recipe.model.hidden_size") for run in runs])),
                str(len(runs)),
                count(mean([run.number("train.steps") for run in runs])),
                count(mean([run.number("train.tokens") for run in runs])),
                ABSENT if minutes is None else f"{minutes:.1f}",
                count(mean([_speed(run, time) for run, time in zip(runs, times, strict=True)])),
                *_cells([{name: _final(run, name) for name in FIGURES} for run in runs]),
            ]
        )
    where = f" On {machine}." if machine else ""
    table.notes.append(
        "Loss and accuracy on held-out documents, at the last step: of masked words (MLM), and of whether the second "
        "span follows the first, precedes it or is from elsewhere (SSO); examples and masks are the same for all. "
        f"Minutes and tokens/s are those of training steps alone, without evaluations.{where}"
    )
    return table


def _after_equal(key: tuple[str, str], lines: list[Curve], along: Along, decays: bool) -> list[Table]:
    """What each mixer has come to when the shortest run ended; nothing where there is only one mixer."""
    mixers = sorted({line.mixer for line in lines}, key=order_of)
    if len(mixers) < 2:
        return []
    place = min(line.axis(along)[-1] for line in lines)
    if along == "tokens":
        title, other, what = f"after {place / 1e6:.1f} million tokens each", "Minutes", "number of tokens"
    else:
        title, other, what = f"after {place / 60:.1f} minutes each", "Tokens", "time"
    table = Table(f"Pre-training, {key[0]}: {title}", ("Model", other, *HEADS))
    for mixer in mixers:
        mine = [line for line in lines if line.mixer == mixer]
        needed = mean([line.other_axis_at(place, along) for line in mine])
        figures = [{name: line.at(place, name, along) for name in FIGURES} for line in mine]
        shown = ABSENT if needed is None else f"{needed / 60:.1f}" if along == "tokens" else count(needed)
        table.rows.append([name_of(mixer), shown, *_cells(figures)])
    table.notes.append(
        f"Between two evaluations in proportion. The {what} is the shortest run's"
        + (
            "; the learning rate of the others hadn't come to its end by then, which costs them something."
            if decays
            else ". The learning rate is constant after its warm-up, so that any point of a curve stands for itself."
        )
    )
    return [table]


def _cells(figures: list[dict[str, float | None]]) -> list[str]:
    """`FIGURES` of several runs: losses as means, accuracies in percent with their deviation."""
    cells = []
    for name in FIGURES:
        values = [each[name] for each in figures]
        loss = mean(values)
        cells.append(percent(values) if name.endswith("accuracy") else ABSENT if loss is None else f"{loss:.3f}")
    return cells


def _final(run: Result, name: str) -> float | None:
    """At the last evaluation; without curves, of the kept checkpoint."""
    curve = curve_of(run)
    if curve is not None:
        return curve.last(name)
    value = run.number(f"validation.{name}")
    return run.number(f"validation.{name.replace('sso_', 'nsp_')}") if value is None else value


def _seconds(run: Result) -> float | None:
    step, steps = step_seconds(run), run.number("train.steps")
    return None if step is None or steps is None else step * steps


def _speed(run: Result, seconds: float | None) -> float | None:
    tokens = run.number("train.tokens")
    return run.number("train.tokens_per_second") if tokens is None or not seconds else tokens / seconds
