"""Suites `ablations` and `hybrids`: PoNet without some of its parts, and with attention in some of its layers."""

from pathlib import Path

from ponet.report.benchmarks import load_benchmarks
from ponet.report.results import Runs, load_results
from ponet.report.tables import ABSENT, Table, count, mean, seconds

VARIANTS = {
    "full": "PoNet",
    "no-ga2": "without the second stage of GA",
    "no-ga": "without GA",
    "no-smp": "without SMP",
    "no-lmp": "without LMP",
    "mlm-nsp": "pre-trained with MLM + NSP (L_MN)",
    "mlm": "pre-trained with MLM alone (L_OM)",
}
"""Variant of each recipe below `ablations/` -> its row."""
HYBRIDS = {
    "pooling": "PoNet",
    **{f"hybrid-{k}": f"{k} of 6 layers with attention" for k in (1, 2, 3)},
    **{f"hybrid-{k}-window": f"{k} of 6 layers with attention in windows" for k in (1, 2, 3)},
}
"""Variant of each recipe below `hybrids/` -> its row."""
SPEED = "mini-cpu"
"""The result of `ponet benchmark efficiency` with the hybrids' speed."""
LENGTHS = (512, 4096, 16384)


Columns = dict[str, tuple[str, ...]]
"""Title -> the task, and the dotted paths of figures in a result, of which a run has one."""
FINE_TUNED: Columns = {
    "CoLA, Matthews %": ("cola", "validation.matthews"),
    "STS-B, Pearson %": ("stsb", "validation.pearson"),
    "IMDb, accuracy %": ("imdb", "test.accuracy"),
}
COLUMNS: Columns = {
    "MLM %": ("pretrain", "validation.mlm_accuracy"),
    "SSO %": ("pretrain", "validation.sso_accuracy", "validation.nsp_accuracy"),
    **FINE_TUNED,
    "ListOps %": ("listops", "test.accuracy"),
    "Text %": ("text", "test.accuracy"),
}
HYBRID_COLUMNS: Columns = {
    "Hidden states, error": ("distil", "validation.hidden_loss"),
    "Mean vectors, cosine": ("distil", "validation.cosine"),
    **FINE_TUNED,
}


def _figures(runs: Runs, variant: str, columns: Columns) -> list[str]:
    return [runs.of(task, variant).cell(*paths) for task, *paths in columns.values()]


def ablations(results: Path) -> list[Table]:
    """From the folder of all results a table of what the parts and objectives are worth, and one of hybrids."""
    return [_ablations(load_results(results, "ablations")), _hybrids(results)]


def _ablations(runs: Runs) -> Table:
    table = Table("Ablations", ("Model", *COLUMNS, "Tokens", "Step", "Seeds"))
    for variant, title in VARIANTS.items():
        first = runs.of("pretrain", variant)
        step = seconds(mean([run.step_seconds for run in first]))
        figures = _figures(runs, variant, COLUMNS)
        table.rows.append([title, *figures, first.cell("train.tokens"), step, _seeds(runs, variant)])
    table.notes = [
        "Mean ± standard deviation over seeds. MLM and SSO (of L_MN: NSP): accuracy on held-out documents at the end "
        "of pre-training, 4 layers of width 128 on the same tokens; CoLA, STS-B (validation split) and IMDb (test): "
        "fine-tuned from there; ListOps and Text: Long Range Arena, from scratch. Step: of pre-training, with 8,192 "
        f"tokens. Seeds: the fewest and the most of a column.{runs.on()}",
        "Made by `ponet train ablations/pretrain/<variant> data.path=DATA`, then `ponet train "
        "ablations/<task>/<variant> seed=0,1,2`, and `ponet file`; shown by `ponet report ablations`.",
    ]
    return table


def _seeds(runs: Runs, variant: str) -> str:
    """How many the columns have."""
    tasks = [run.task for run in runs.of(mixer=variant)]
    counts = sorted({tasks.count(task) for task in tasks})
    return ABSENT if not counts else f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])


def _hybrids(results: Path) -> Table:
    runs = load_results(results, "hybrids")
    speeds = (f"Tokens/s at {length:,}" for length in LENGTHS)
    table = Table("Hybrids", ("Model", *HYBRID_COLUMNS, "Tokens", "Seeds", *speeds))
    measured = load_benchmarks(results, "efficiency", "variants").get(SPEED) or {}
    for variant, title in HYBRIDS.items():
        cells = (measured.get("variants", {}).get(variant, {}).get("inference", {}).get(str(n), {}) for n in LENGTHS)
        rates = (count(cell.get("tokens_per_second")) for cell in cells)
        tokens, figures = runs.of("distil", variant).cell("train.tokens"), _figures(runs, variant, HYBRID_COLUMNS)
        table.rows.append([title, *figures, tokens, _seeds(runs, variant), *rates])
    table.notes = [
        "Students of one teacher, distilled on equal tokens, then fine-tuned: CoLA and STS-B on validation, IMDb on "
        "test. Attention is over the whole passage, or within windows of at most 256 tokens, which keeps the cost "
        f"linear. Tokens/s: inference on documents of so many tokens.{runs.on()}",
        "Made by `ponet train hybrids/distil/<variant> data.teacher=TEACHER data.path=[DATA]`, then `ponet train "
        "hybrids/<task>/<variant> seed=0,1,2`, and `ponet file`; speed by `ponet benchmark efficiency --config mini "
        f"--mixers {','.join(HYBRIDS)} --lengths 512,4k,16k --json results/efficiency/{SPEED}.json`.",
    ]
    return table
