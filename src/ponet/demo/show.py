"""The demo's figures as a table and as a plot."""

from pathlib import Path
from typing import Any

from ponet.demo.race import MODELS
from ponet.report.efficiency import COLOURS
from ponet.report.results import log_axes, save_figure
from ponet.report.tables import ABSENT, Table, count, memory, percent, seconds
from ponet.utils.extras import pyplot

_INSTEAD = {"timeout": "too slow", "out_of_memory": "out of memory", "error": "failed"}


def table(result: dict[str, Any]) -> Table:
    """One table of everything measured, from the demo's `result.json`."""
    models, lengths = result["models"], result["scaling"]["lengths"]
    rows = [
        [f"accuracy on {result['data']['test']:,} new lists, %", *(percent([m["accuracy"]]) for m in models.values())],
        ["parameters", *(f"{m['parameters']:,}" for m in models.values())],
        ["training, tokens/s", *(count(m["tokens_per_second"]) for m in models.values())],
    ]
    made = Table("", ["", *MODELS.values(), "ratio"], [[*row, ""] for row in rows])
    parts = (
        ("time", "median_seconds", "training step at {:,} tokens", seconds),
        ("time", "tokens_per_second", "tokens/s at {:,} tokens", count),
        ("memory", "peak_bytes", "peak memory at {:,} tokens", memory),
    )
    for kind, figure, label, write in parts:
        made.sections.append(len(made.rows))
        for i, length in enumerate(lengths):
            cells = [models[mixer][kind][i] for mixer in MODELS]
            texts = [write(cell[figure]) if figure in cell else _INSTEAD.get(cell["status"], ABSENT) for cell in cells]
            ratio = "" if write is count else _ratio([cell.get(figure) for cell in cells])
            made.rows.append([label.format(length), *texts, ratio])
    return made


def _ratio(values: list[float | None]) -> str:
    """How many times as much the second model takes."""
    first, second = values
    return f"{second / first:.2g}×" if first and second else ABSENT


def plot(result: dict[str, Any], path: Path) -> None:
    """Time and memory of a training step by length, one curve a model, on logarithmic axes."""
    lengths = result["scaling"]["lengths"]
    figure, axes = pyplot().subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    panels = (
        ("time", "median_seconds", 1e3, "time of a training step, ms"),
        ("memory", "peak_bytes", 2**-20, "peak memory of a training step, MiB"),
    )
    for axis, (kind, name, scale, title) in zip(axes, panels, strict=True):
        for mixer, model in MODELS.items():
            cells = zip(lengths, result["models"][mixer][kind], strict=True)
            points = [(n, cell[name] * scale) for n, cell in cells if name in cell]
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=model, color=COLOURS[mixer])
        log_axes(axis, lengths)
        axis.set_xlabel("tokens in the document")
        axis.set_title(title)
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    save_figure(figure, path, dpi=150)
