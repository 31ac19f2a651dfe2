"""Speed and memory by length, one curve a variant, on logarithmic axes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ponet.report.benchmarks import Values
from ponet.report.runs import save_figure

COLOURS = {
    "pooling": "#0072b2",
    "pooling-published": "#56b4e9",
    "pooling-mixer-checkpointing": "#004b77",
    "pooling-checkpointing": "#8fa8b8",
    "fourier": "#009e73",
    "attention": "#d55e00",
    "attention-eager": "#cc79a7",
}
OTHERS = ("#e69f00", "#7f7f7f", "#8c564b", "#bcbd22", "#17becf", "#9467bd")
DASHED = ("pooling-published", "pooling-mixer-checkpointing", "pooling-checkpointing", "attention-eager")
TITLES = {"training": "training step", "inference": "inference"}


def draw(values: Values, figure: Callable[[Any], float | None], label: str, path: Path) -> Path:
    """One panel for each kind that was measured.

    Args:
        values: a result of `ponet benchmark efficiency` by length.
        figure: a cell's, None where it has none.
        label: what it is.
        path: the PNG file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    kinds, lengths = values["setup"]["kinds"], values["lengths"]
    drawing, axes = pyplot.subplots(
        1, len(kinds), figsize=(4.6 * len(kinds) + 2.2, 4.2), layout="constrained", squeeze=False
    )
    others = [key for key in values["variants"] if key not in COLOURS]
    for axis, kind in zip(axes[0], kinds, strict=True):
        for key, variant in values["variants"].items():
            cells = [(n, variant.get(kind, {}).get(str(n))) for n in lengths]
            points = [(n, value) for n, cell in cells if cell is not None and (value := figure(cell))]
            if points:
                colour = COLOURS.get(key) or OTHERS[others.index(key) % len(OTHERS)]
                style = "--" if key in DASHED else "-"
                axis.plot(
                    *zip(*points, strict=True), style, marker="o", markersize=4, label=variant["name"], color=colour
                )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,g}"))
        axis.yaxis.set_minor_formatter(ticker.NullFormatter())
        axis.set_xticks(lengths, [f"{n:,}" for n in lengths])
        axis.minorticks_off()
        axis.set_xlabel("tokens in each document")
        axis.set_title(f"{TITLES[kind]}: {label}")
        axis.grid(alpha=0.3)
    handles = {text: line for axis in axes[0] for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    drawing.legend(handles.values(), handles.keys(), loc="outside right center", fontsize="small")
    return save_figure(drawing, path, dpi=150)
