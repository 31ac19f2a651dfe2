"""Suite `precision`: the same trainings in float32 and in bf16."""

from ponet.report.results import Runs
from ponet.report.tables import ABSENT, Table

SETS = {"stsb": ("STS-B", "pearson"), "imdb": ("IMDb", "accuracy"), "listops": ("LRA, ListOps", "accuracy")}
"""Task below `precision/` -> title, metric."""
PRECISIONS = ("float32", "bf16")
COLUMNS = ("Data set", *PRECISIONS, "Seed by seed", "Loss, float32", "Loss, bf16", "Speed", "Seeds")
HOW = "Made by `ponet train precision/<set>/float32` (and `bf16`) and `ponet file`; shown by `ponet report precision`."


def precision(results: Runs) -> list[Table]:
    """One table: a row for each data set."""
    table = Table("Training in bf16", COLUMNS)
    for task, (title, metric) in SETS.items():
        sides = [{run.seed: run for run in results.of(task, side)} for side in PRECISIONS]
        seeds = sorted(sides[0].keys() & sides[1].keys())
        if not seeds:
            continue
        whole, half = (Runs(side[seed] for seed in seeds) for side in sides)
        figure = f"validation.{metric}"
        pairs = [(one.number(figure), other.number(figure)) for one, other in zip(whole, half, strict=True)]
        apart = [f"{100 * (other - one):+.1f}" for one, other in pairs if one is not None and other is not None]
        losses = [side.mean("validation.loss") for side in (whole, half)]
        speeds = [side.mean("train.tokens_per_second") for side in (whole, half)]
        table.rows.append(
            [
                f"{title}, {metric} %",
                *(side.cell(figure) for side in (whole, half)),
                ", ".join(apart) or ABSENT,
                *(ABSENT if loss is None else f"{loss:.4f}" for loss in losses),
                f"{speeds[1] / speeds[0]:.2f}×" if speeds[0] and speeds[1] else ABSENT,
                ", ".join(map(str, seeds)),
            ]
        )
    if not table.rows:
        table.notes.append(f"Nothing is measured yet. {HOW}")
        return [table]
    table.notes += [
        "Mean ± standard deviation over seeds, of the validation split's best evaluation; seed by seed: what bf16 "
        "changes in points, the same seed having the same weights, order and dropout at the start. Speed: training "
        "tokens/s, bf16 over float32, in runs one after the other. Matrix products in bf16 by autocast; LayerNorm, "
        f"softmax and losses in float32.{results.on()}",
        HOW,
    ]
    return [table]
