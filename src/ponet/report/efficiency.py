"""Suite `efficiency`: speed and memory by length, and real documents packed against padded."""

from collections.abc import Callable
from pathlib import Path

from ponet.benchmarks.measure import HELD
from ponet.report.benchmarks import (
    Values,
    absent,
    collect,
    greatest_spread,
    load_benchmarks,
    machine_note,
    made_by,
    spread,
)
from ponet.report.results import log_axes, save_figure
from ponet.report.tables import ABSENT, Table, count, memory
from ponet.utils.extras import pyplot

SUITE = "efficiency"
KINDS = {"training": "Training step", "inference": "Inference"}
WAYS = ("packed", "padded")


def efficiency(results: Path) -> list[Table]:
    """The tables of every result file."""
    return collect(results, SUITE, "Efficiency", efficiency_tables, "variants", "config")


def efficiency_tables(values: Values) -> list[Table]:
    """The table of one result."""
    table = _documents(values) if "documents" in values else _lengths(values)
    table.notes += [machine_note(values), made_by(values)]
    return [table]


def _lengths(values: Values) -> Table:
    """Rows are variants, columns lengths; a section for each kind and figure."""
    lengths = values["lengths"]
    table = Table(values["setup"]["description"], ("Tokens a document", *(f"{n:,}" for n in lengths), "Spread"))
    for kind in values["setup"]["kinds"]:
        speed = "steps/s" if kind == "training" else "tokens/s"
        speeds, memories = [], []
        for variant in values["variants"].values():
            if kind in variant:
                cells = [variant[kind].get(str(length), {}) for length in lengths]
                around = greatest_spread([spread(cell.get("time", {})) for cell in cells])
                speeds.append([variant["name"], *(_speed(cell, speed) for cell in cells), around])
                memories.append([variant["name"], *(_memory(cell.get("memory", {})) for cell in cells), ""])
        for title, rows in ((speed, speeds), ("peak memory", memories)):
            table.sections.append(len(table.rows))
            table.rows += [[f"{KINDS[kind]}, {title}", *[""] * (len(lengths) + 1)], *rows]
    table.notes = [_length_note(values)]
    return table


def _speed(cell: Values, speed: str) -> str:
    figure = cell.get(speed.replace("/", "_per_").replace("_s", "_second"))
    if figure is None:
        return absent(cell.get("time", {}))
    return count(figure) if speed == "tokens/s" else f"{figure:.3g}"


def _memory(cell: Values) -> str:
    return memory(cell["peak_bytes"]) if "peak_bytes" in cell else absent(cell)


def _length_note(values: Values) -> str:
    setup = values["setup"]
    sizes = [f"{n} of {int(length):,}" for length, n in setup["batch"].items() if int(length) in values["lengths"]]
    held = "most memory allocated in one step, weights and inputs included"
    if setup["device"] == "cpu":
        back = "given back at once" if setup.get("memory") == HELD else "that the allocator keeps included"
        held = f"growth of the process's resident memory in one step, over weights and inputs, freed memory {back}"
    return (
        "All variants are one encoder that differs in how it mixes tokens; the published form is PoNet with five "
        "projections in eager PyTorch. SDPA is PyTorch's fused attention, without dropout of its weights, for which it "
        "has no fused kernel on a CPU; eager attention keeps its weights and has it. "
        f"Documents of a batch: {', '.join(sizes)} tokens. Times are medians of steps taken in turns; spread is half "
        "the distance of the quartiles over the median, the greatest of a row. "
        f"Peak memory: {held}. Too slow: a step of more than {setup['patience_seconds']:g} s."
    )


def _documents(values: Values) -> Table:
    """Rows are variants, columns packed and padded for each kind."""
    documents, setup = values["documents"], values["setup"]
    columns = [f"{title}, {way}" for title in KINDS.values() for way in (*WAYS, "ratio")]
    title = f"Documents of {documents['name']}: {setup['description']}"
    table = Table(title, ("Real tokens/s", *columns, "Spread"))
    for variant in values["variants"].values():
        cells: list[str] = []
        spreads: list[float | None] = []
        for kind in KINDS:
            measured = [variant.get(kind, {}).get(way, {}) for way in WAYS]
            rates = [one.get("tokens_per_second") for one in measured]
            cells += [absent(one) if rate is None else count(rate) for one, rate in zip(measured, rates, strict=True)]
            cells.append(f"{rates[0] / rates[1]:.2f}×" if all(rates) else ABSENT)
            spreads += [spread(one, "tokens_per_second", "quartiles_tokens_per_second") for one in measured]
        table.rows.append([variant["name"], *cells, greatest_spread(spreads)])
    table.notes = [
        f"{documents['count']:,} documents of {documents['mean_tokens']:,.0f} tokens on average (median "
        f"{documents['median_tokens']:,.0f}, longest {documents['longest_tokens']:,}, cut at {setup['max_length']:,}; "
        f"{setup['tokenizer']}) in up to {setup['batches']} random batches of {setup['batch']}, the same for all. "
        "Packed is how this package computes them (attention pads within the mixer). Padded is the same model on rows "
        "that are all as long as their batch's longest, every token computed as if it were real: what it costs to "
        "carry padding through a model, without what masking it costs on top. That is "
        f"{documents['computed_over_real']:.2f} times as many tokens; only the real ones count in tokens/s. Spread is "
        "that of single batches, which differ in their documents."
    ]
    return table


def plots(results: Path, folder: Path) -> list[Path]:
    """Draws every result by length into `folder`, as `efficiency-<result>-speed.png` and `-memory.png`."""
    measured = load_benchmarks(results, SUITE, "variants", "config")
    return [path for name, values in measured.items() for path in plot_efficiency(values, folder / f"{SUITE}-{name}")]


def plot_efficiency(values: Values, stem: Path) -> list[Path]:
    """Draws speed and memory by length into `stem-speed.png` and `stem-memory.png`; nothing for documents."""
    if "documents" in values or not values["lengths"]:
        return []

    def held(cell: Values) -> float | None:
        peak = cell.get("memory", {}).get("peak_bytes")
        return peak / 2**20 if peak else None

    return [
        _draw(values, lambda cell: cell.get("tokens_per_second"), "tokens/s", stem.with_name(f"{stem.name}-speed.png")),
        _draw(values, held, "peak memory, MiB", stem.with_name(f"{stem.name}-memory.png")),
    ]


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


def _draw(values: Values, figure: Callable[[Values], float | None], label: str, path: Path) -> Path:
    """One panel for each kind that was measured; `figure` is a cell's, None where it has none, and `label` names it."""
    kinds, lengths = values["setup"]["kinds"], values["lengths"]
    size = (4.6 * len(kinds) + 2.2, 4.2)
    drawing, axes = pyplot().subplots(1, len(kinds), figsize=size, layout="constrained", squeeze=False)
    others = [key for key in values["variants"] if key not in COLOURS]
    for axis, kind in zip(axes[0], kinds, strict=True):
        for key, variant in values["variants"].items():
            cells = [(n, variant.get(kind, {}).get(str(n))) for n in lengths]
            points = [(n, value) for n, cell in cells if cell is not None and (value := figure(cell))]
            if points:
                colour = COLOURS.get(key) or OTHERS[others.index(key) % len(OTHERS)]
                style = "--" if key in DASHED else "-"
                x, y = zip(*points, strict=True)
                axis.plot(x, y, style, marker="o", markersize=4, label=variant["name"], color=colour)
        log_axes(axis, lengths)
        axis.minorticks_off()
        axis.set(xlabel="tokens in each document", title=f"{KINDS[kind].lower()}: {label}")
        axis.grid(alpha=0.3)
    handles = {text: line for axis in axes[0] for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    drawing.legend(handles.values(), handles.keys(), loc="outside right center", fontsize="small")
    return save_figure(drawing, path, dpi=150)
