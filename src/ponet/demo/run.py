"""`ponet demo`: PoNet and the Transformer of the same size learn ListOps side by side, then both read longer inputs;
and what the bundled checkpoint does."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ponet.benchmarks.common import check_writable, stage
from ponet.benchmarks.measure import PeakMemory, Timing
from ponet.config.recipe import check_seed
from ponet.demo.checkpoint import show_checkpoint
from ponet.demo.race import BATCH, MODELS, SHAPE, Learned, learn, make_data, memory_by_length, time_by_length
from ponet.report.efficiency import COLOURS
from ponet.report.results import log_axes, save_figure
from ponet.report.tables import ABSENT, Table, count, memory, percent, seconds
from ponet.tasks.lra.listops import decode
from ponet.training.distributed import check_environment
from ponet.training.result import origin
from ponet.utils.errors import PoNetError, printable
from ponet.utils.extras import MissingExtraError, pyplot
from ponet.utils.files import read_json, write_json

STEPS, QUICK_STEPS = 500, 150
LENGTHS, QUICK_LENGTHS = (512, 1024, 2048, 4096, 8192), (512, 1024, 2048)
INSTEAD = {"timeout": "too slow", "out_of_memory": "out of memory", "error": "failed"}
"""What stands where a figure could not be measured."""


def run_demo(
    out: Path,
    seed: int = 0,
    quick: bool = False,
    steps: int | None = None,
    lengths: tuple[int, ...] | None = None,
    test: int = 2000,
    seconds_a_length: float = 4.0,
    checkpoint: bool = True,
) -> dict[str, Any]:
    """Trains, measures, prints one table, writes `out/result.json` and `out/plot.png`.

    Accuracies depend on the seed and `steps` alone (on one machine with one number of threads).

    Args:
        out: a folder, made where it isn't there.
        seed: of data and weights.
        quick: fewer steps and lengths.
        steps: training steps of each model.
        lengths: document lengths to measure, in tokens, rising.
        test: expressions to test on.
        seconds_a_length: for timing each length.
        checkpoint: whether the bundled checkpoint is shown too.

    Returns:
        The content of `result.json`.

    Raises:
        PoNetError: where `out` can't be written to, or the seed isn't one.
    """
    check_environment()
    check_seed(seed)
    steps = steps or (QUICK_STEPS if quick else STEPS)
    lengths = lengths or (QUICK_LENGTHS if quick else LENGTHS)
    _check_writable(out)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    start = time.perf_counter()
    data = make_data(seed, steps, test)
    mean = float(data.all.lengths.mean())
    console.print(
        f"ListOps: {len(data.all):,} nested lists of {SHAPE.min_length + 1} to {SHAPE.max_length - 1} tokens "
        f"(mean {mean:.0f}). One of them, whose value is {data.all.labels[0]}:\n  {decode(data.all[0])}"
    )
    with stage(console, "training", steps) as advance:
        learned = learn(data, seed, lambda state: advance(_losses(state)))
    console.print(
        f"Trained {' and '.join(MODELS.values())} in turns on the same {steps} batches of {BATCH}; "
        f"always saying the most frequent value would be right in {data.guess:.1%}."
    )
    with stage(console, "measuring", len(lengths) * (1 + len(MODELS))) as advance:
        timings = time_by_length(lengths, seed, seconds_a_length, advance)
        memories = memory_by_length(lengths, seed, timings, advance)
    result: dict[str, Any] = {
        "models": {key: _figures(key, learned[key], lengths, timings[key], memories[key]) for key in MODELS},
        "data": {"train": len(data.train), "test": len(data.test), "mean_length": mean, "guess": data.guess},
        "training": {"steps": steps, "batch": BATCH},
        "scaling": {"lengths": list(lengths), "what": "one training step on one document, float32"},
        "seconds": time.perf_counter() - start,
    }
    found = origin(seed)
    result |= {name: found[name] for name in ("seed", "commit", "versions", "machine", "command")}
    write_json(out / "result.json", result)
    console.print(table(result).rich())
    console.print(_conclusion(result))
    if checkpoint:
        result["checkpoint"] = show_checkpoint(console, out, seed, quick)
        write_json(out / "result.json", result)
    written = str(out / "result.json")
    try:
        plot(result, out / "plot.png")
        written += f", {out / 'plot.png'}"
    except MissingExtraError as error:
        console.print(f"The plot isn't drawn. {error}")
    console.print(printable(f"Written: {written}"))
    return result


def _figures(
    mixer: str, learned: Learned, lengths: Sequence[int], timings: list[Timing], memories: list[PeakMemory]
) -> dict[str, Any]:
    """Everything about one model, for `result.json`."""
    times = [timing.to_dict() for timing in timings]
    for length, entry in zip(lengths, times, strict=True):
        if "median_seconds" in entry:
            entry["tokens_per_second"] = length / entry["median_seconds"]
    return {
        "name": MODELS[mixer],
        "parameters": learned.parameters,
        "accuracy": learned.accuracy,
        "loss": learned.losses,
        "train_seconds": learned.seconds,
        "tokens_per_second": learned.tokens / learned.seconds,
        "time": times,
        "memory": [memory.to_dict() for memory in memories],
    }


def _conclusion(result: dict[str, Any]) -> str:
    """What the figures say about the longest document that both models were measured at."""
    models, lengths = result["models"], result["scaling"]["lengths"]
    took = f"Done in {result['seconds']:.0f} s."
    for i in reversed(range(len(lengths))):
        pooling, attention = (models[mixer]["time"][i].get("median_seconds") for mixer in MODELS)
        if pooling and attention:
            how = f"{attention / pooling:.1f} times as fast as" if attention > pooling else "slower than"
            return f"{took} At {lengths[i]:,} tokens a training step of PoNet is {how} the Transformer's."
    return took


def _losses(state: dict[str, Learned]) -> str:
    losses = (f"{name} {statistics.mean(state[mixer].losses[-20:]):.2f}" for mixer, name in MODELS.items())
    return f"loss {', '.join(losses)}"


def _check_writable(out: Path) -> None:
    """Before minutes of work, not after: the folder can be written to, and holds no result but a demo's."""
    kept, drawn = out / "result.json", out / "plot.png"
    before = read_json(kept) if kept.exists() else None
    if kept.exists() and not (isinstance(before, dict) and {"models", "scaling"} <= before.keys()):
        raise PoNetError(f"'{kept}' isn't a demo's: choose another folder with --out.")
    if drawn.exists() and not kept.exists():
        raise PoNetError(f"'{drawn}' isn't a demo's: choose another folder with --out.")
    check_writable(out, out)


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
            texts = [write(cell[figure]) if figure in cell else INSTEAD.get(cell["status"], ABSENT) for cell in cells]
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
        axis.set(xlabel="tokens in the document", title=title)
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    save_figure(figure, path, dpi=150)
