"""Suite `precision`: the same trainings in float32 and in bf16."""

from ponet.report.results import Result, machine_of
from ponet.report.tables import ABSENT, Table, mean, percent

SETS = {"stsb": ("STS-B", "pearson"), "imdb": ("IMDb", "accuracy"), "listops": ("LRA, ListOps", "accuracy")}
"""Task below `precision/` -> title, metric."""
PRECISIONS = ("float32", "bf16")
COLUMNS = ("Data set", *PRECISIONS, "Seed by seed", "Loss, float32", "Loss, bf16", "Speed", "Seeds")
HOW = "Made by `ponet train precision/<set>/float32` (and `bf16`) and `ponet file`; shown by `ponet report precision`."


def precision(results: list[Result]) -> list[Table]:
    """One table: a row for each data set."""
    table = Table("Training in bf16", COLUMNS)
    for task, (title, metric) in SETS.items():
        sides = [{run.seed: run for run in results if (run.task, run.mixer) == (task, side)} for side in PRECISIONS]
        seeds = sorted(sides[0].keys() & sides[1].keys())
        if not seeds:
            continue
        pairs = [[side[seed] for seed in seeds] for side in sides]
        values, losses, speeds = (
            [[run.number(name) for run in runs] for runs in pairs]
            for name in (f"validation.{metric}", "validation.loss", "train.tokens_per_second")
        )
        apart = [100 * (half - whole) for whole, half in zip(*values, strict=True) if None not in (whole, half)]
        whole, half = (mean(side) for side in speeds)
        table.rows.append(
            [
                f"{title}, {metric} %",
                *map(percent, values),
                ", ".join(f"{each:+.1f}" for each in apart) or ABSENT,
                *(ABSENT if (loss := mean(side)) is None else f"{loss:.4f}" for side in losses),
                f"{half / whole:.2f}×" if whole and half else ABSENT,
                ", ".join(map(str, seeds)),
            ]
        )
    if not table.rows:
        table.notes.append(f"Nothing is measured yet. {HOW}")
        return [table]
    machines = sorted({machine_of(run) for run in results} - {""})
    table.notes += [
        "Mean ± standard deviation over seeds, of the validation split's best evaluation; seed by seed: what bf16 "
        "changes in points, the same seed having the same weights, order and dropout at the start. Speed: training "
        "tokens/s, bf16 over float32, in runs one after the other. Matrix products in bf16 by autocast; LayerNorm, "
        "softmax and losses in float32." + (f" On {'; '.join(machines)}." if machines else ""),
        HOW,
    ]
    return [table]
