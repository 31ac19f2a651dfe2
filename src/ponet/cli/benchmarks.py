"""`ponet benchmark`: how fast and how small, beside others, on this machine."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option, Typer

from ponet.cli.errors import MOST_SEED, handle_errors, say
from ponet.utils.errors import PoNetError, printable
from ponet.utils.extras import MissingExtraError
from ponet.utils.files import is_stream

if TYPE_CHECKING:
    from rich.console import Console

    from ponet.benchmarks.common import Machine
    from ponet.report.tables import Table

benchmark = Typer(help="Measure speed and memory on this machine, side by side.", no_args_is_help=True)

Device = Annotated[str, Option(help="cpu or cuda.")]
Dtype = Annotated[str, Option(help="float32, bfloat16, or on a GPU float16.")]
Threads = Annotated[int | None, Option(help="Threads of a CPU.  \\[default: torch's own choice]")]
Seed = Annotated[int, Option(help="Of weights and inputs.", min=0, max=MOST_SEED)]


def result_file(name: str) -> Any:
    """`--json`: where the figures go."""
    return Option(help=f"The result file.  \\[default: runs/benchmark/{name}.json]")


@benchmark.command("ops")
@handle_errors
def ops(
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    quick: Annotated[bool, Option("--quick", help="Seconds: batches so small that caches hold them.")] = False,
    rounds: Annotated[int | None, Option(help="Measurements of each op.  \\[default: 15, quick 3]")] = None,
    json: Annotated[Path | None, result_file("ops")] = None,
    seed: Seed = 0,
) -> None:
    """PoNet's three ops, forward and backward, against the time to copy the bytes that they must move.

    An op that reads its inputs once and writes its results once can be no faster
    than a copy of as many bytes: 100 % in the table is that limit. Each backend
    at hand (numba on a CPU, triton on a GPU) stands beside the reference in plain
    PyTorch, on the batches of LRA Text (d 64, segments of 2), of the base model
    (d 768, sentences) and on one long segment; then one whole mixer beside the
    published form. Takes about three minutes.

    Examples:
      ponet benchmark ops --quick
      ponet benchmark ops --dtype bfloat16 --json results/ops/cpu-bfloat16.json
    """
    from ponet.benchmarks.common import Machine
    from ponet.benchmarks.ops import OpsPlan, count_rows, measure_ops
    from ponet.report.ops import ops_tables

    plan = OpsPlan(Machine(device, dtype, threads), quick, rounds, seed)
    path, rows = json_file(json, "ops"), count_rows(plan)
    _make_console().print(f"Up to {rows * (3 if quick else 11) // 60 + 1} minutes; {_where(plan.machine)}.")
    measure(path, rows, partial(measure_ops, plan), ops_tables)


@benchmark.command("efficiency")
@handle_errors
def efficiency(
    config: Annotated[
        str, Option(help="lra: Long Range Arena, Text (2 layers, d 64); mini: 6 layers, d 384; base: 12, d 768.")
    ] = "lra",
    lengths: Annotated[
        str | None,
        Option(help="Tokens of a document, rising; k is 1024.  \\[default: 512,1k,2k,4k,8k,16k; quick to 2k]"),
    ] = None,
    mixers: Annotated[
        str | None,
        Option(
            help="Mixers and variants, as --list shows them, or all.  "
            "\\[default: all that are trained but hybrids; mini, base, quick: the first 7]"
        ),
    ] = None,
    kinds: Annotated[
        str | None, Option(help="training, inference or both.  \\[default: both; base on a CPU: inference]")
    ] = None,
    documents: Annotated[
        str | None, Option(help="Real documents instead: a file of rows, a folder, or a set in the data folder (imdb).")
    ] = None,
    tokenizer: Annotated[
        str | None, Option(help="For documents: a vocab.txt, or bytes.  \\[default: bert-base-uncased's]")
    ] = None,
    max_length: Annotated[int, Option(help="For documents: tokens kept of each.")] = 4096,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    quick: Annotated[bool, Option("--quick", help="A minute or two: fewer lengths, rounds and seconds.")] = False,
    rounds: Annotated[
        int | None, Option(help="Measurements of each.  \\[default: 10, quick 3; documents 12 batches, quick 3]")
    ] = None,
    seconds: Annotated[
        float | None, Option(help="To time all variants at one length.  \\[default: by configuration]")
    ] = None,
    patience: Annotated[
        float | None, Option(help="Seconds a step may take before it is too slow.  \\[default: lra 15, base 60]")
    ] = None,
    batch_tokens: Annotated[
        int | None, Option(help="Tokens of a batch; one document at least.  \\[default: by configuration]")
    ] = None,
    json: Annotated[
        Path | None,
        Option(help="The result file; plots go beside it.  \\[default: runs/benchmark/efficiency-CONFIG.json]"),
    ] = None,
    seed: Seed = 0,
    show: Annotated[bool, Option("--list", help="Say what --mixers takes, and end.")] = False,
) -> None:
    """Training steps/s, inference tokens/s and peak memory by length, for PoNet and others.

    Table 2 of the paper, and more: one encoder with each mixer in turns, at 512
    to 16,384 tokens a document. On a CPU the memory of each cell is measured in
    a process of its own. What is too slow or runs out of memory is said to be
    so, and left out at greater lengths. The result file is written after every
    length; Ctrl-C keeps what is there.

    With --dtype float32,bfloat16 each variant has a row for each. The variants
    pooling-onnx, pooling-int8 (ONNX Runtime, as `ponet export` writes it) and
    attention-windows (a Transformer on windows of 512) are for inference.

    With --documents: real documents in random batches of 16, packed as this
    package computes them, against padded to the longest, in real tokens/s.

    Examples:
      ponet benchmark efficiency --quick
      ponet benchmark efficiency --config base --json base.json
      ponet benchmark efficiency --mixers pooling,fourier --lengths 4k,64k
      ponet benchmark efficiency --config mini --dtype float32,bfloat16 --mixers pooling,pooling-onnx,pooling-int8
      ponet benchmark efficiency --documents imdb --json imdb.json
    """
    from ponet.benchmarks.common import Machine, numbers
    from ponet.benchmarks.encoders import MAIN, variants
    from ponet.report.efficiency import efficiency_tables, plot_efficiency

    if show:
        width = max(map(len, variants()))
        for name, variant in variants().items():
            unless = "" if name in MAIN else "  (not in mini, base or quick unless named)"
            say(f"{name:<{width}}  {variant.name}{unless}")
        return
    dtypes = (dtype,) if documents is not None else names(dtype) or ("float32",)
    machine = Machine(device, dtypes[0], threads)
    if documents is not None:
        from ponet.benchmarks import documents as real

        for name, value in {"lengths": lengths, "kinds": kinds, "batch-tokens": batch_tokens}.items():
            if value is not None:
                raise PoNetError(f"--{name} doesn't go with --documents: documents have lengths of their own.")
        plan = real.DocumentsPlan(
            documents,
            config,
            names(mixers) or real.MIXERS,
            tokenizer,
            max_length,
            batches=(real.QUICK_BATCHES if quick else real.BATCHES) if rounds is None else rounds,
            seconds=seconds or (real.QUICK_SECONDS if quick else real.SECONDS),
            patience=patience,
            machine=machine,
            limit=real.QUICK_DOCUMENTS if quick else real.DOCUMENTS,
            seed=seed,
        )
        path = json_file(json, f"efficiency-documents-{config}")
        read = real.read_documents(plan)
        what = f"{len(read.ids):,} documents, {plan.setup.name}; {_where(machine)}"
        _make_console().print(f"{what}. That will take {_about(2 * plan.seconds + 10)}.")
        measure(path, len(real.KINDS), partial(real.measure_documents, plan, read), efficiency_tables)
        return
    from ponet.benchmarks import efficiency as measuring

    grid = measuring.EfficiencyPlan(
        config,
        numbers(lengths, "--lengths") if lengths else measuring.QUICK_LENGTHS if quick else measuring.LENGTHS,
        names(mixers) or (MAIN if quick else None),
        measuring.KINDS if kinds == "both" else names(kinds),
        batch_tokens,
        machine,
        dtypes,
        rounds=(measuring.QUICK_ROUNDS if quick else measuring.ROUNDS) if rounds is None else rounds,
        seconds=measuring.QUICK_SECONDS if quick and seconds is None else seconds,
        patience=measuring.QUICK_PATIENCE if quick and patience is None else patience,
        seed=seed,
    )
    path, console = json_file(json, f"efficiency-{config}"), _make_console()
    console.print(f"{grid.setup.name}, {grid.setup.segments}; {_where(machine, ', '.join(dtypes))}.")
    costs = measuring.estimate(grid, measuring.calibrate(grid))
    total = sum(costs.values())
    console.print(f"That will take {_about(total)}, by one short step of each. Ctrl-C keeps what is measured.")
    run = partial(measuring.measure_efficiency, grid, costs=costs)
    measure(path, total, run, efficiency_tables, weighted=True, plot=plot_efficiency)


@benchmark.command("long")
@handle_errors
def long(
    lengths: Annotated[
        str | None, Option(help="Tokens, rising; k is 1024.  \\[default: 16000,64000,256000,1000000]")
    ] = None,
    chunk_size: Annotated[int, Option(help="Tokens at a time in each layer.")] = 16384,
    dtype: Dtype = "float32",
    threads: Threads = None,
    json: Annotated[Path | None, result_file("long")] = None,
    seed: Seed = 0,
) -> None:
    """One document of up to a million tokens through an encoder, in bounded memory.

    6 layers, d 256, inference on a CPU: `chunk_size` in the configuration takes so
    many tokens at a time through each layer. Beside it the same all at once, where
    memory allows. Takes about ten minutes and up to 12 GiB.

    Example:
      ponet benchmark long --lengths 16k,64k
    """
    from ponet.benchmarks import long as measuring
    from ponet.benchmarks.common import Machine, numbers
    from ponet.report.rows import long_tables

    machine = Machine("cpu", dtype, threads)
    chosen = numbers(lengths, "--lengths") if lengths else measuring.LENGTHS
    plan = measuring.LongPlan(chosen, chunk_size, machine, seed)
    measure(json_file(json, "long"), 2 * sum(chosen), partial(measuring.measure_long, plan), long_tables, weighted=True)


def measure(
    path: Path,
    total: float,
    run: "Callable[..., dict[str, Any]]",
    tables: "Callable[[dict[str, Any]], list[Table]]",
    weighted: bool = False,
    plot: "Callable[[dict[str, Any], Path], list[Path]] | None" = None,
) -> None:
    """Runs a benchmark with a bar, and shows its tables, their notes, and what was written.

    Args:
        path: the result file, as `json_file` gives it.
        total, weighted: as `ponet.benchmarks.common.stage`.
        run: `(path, advance=)` -> what the file holds.
        tables, plot: take that; plots go beside the file.
    """
    from ponet.benchmarks.common import stage
    from ponet.report.tables import show

    console, written = _make_console(), [path]
    with stage(console, "measuring", total, weighted=weighted) as advance:
        values = run(path, advance=advance)
    try:
        written += [] if plot is None or is_stream(path) else plot(values, path.with_suffix(""))
    except MissingExtraError as error:
        console.print(f"The plots aren't drawn. {error}")
    shown = tables(values)
    notes = [note for table in shown for note in table.notes]
    for table in shown:
        table.notes = []
        show(table, console)
    for note in notes:
        console.print(printable(f"{note.replace('`', '')}\n"), markup=False, soft_wrap=not console.is_terminal)
    console.print(printable(f"\nWritten: {', '.join(map(str, written))}"), markup=False)


def names(text: str | None) -> tuple[str, ...] | None:
    """`a,b` as names; None for none."""
    if text is None:
        return None
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip())) or None


def json_file(given: Path | None, name: str) -> Path:
    path = given or Path("runs", "benchmark", f"{name}.json")
    if path.is_dir():
        raise PoNetError(f"'{path}' is a folder: name a file, for example {path / name}.json.")
    return path if path.suffix == ".json" or is_stream(path) else path.with_name(f"{path.name}.json")


def _make_console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def _where(machine: "Machine", dtypes: str | None = None) -> str:
    import torch

    if machine.device == "cuda":
        return f"{torch.cuda.get_device_name(0)}, {dtypes or machine.dtype}"
    threads = machine.threads or torch.get_num_threads()
    return f"{threads} thread{'s' if threads > 1 else ''}, {dtypes or machine.dtype}"


def _about(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds > 90 else "about a minute"
