"""`ponet benchmark`: how fast and how small, beside others, on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ponet.cli.errors import MOST_SEED, handle_errors, say

if TYPE_CHECKING:
    from rich.console import Console

    from ponet.benchmarks.common import Machine

benchmark = typer.Typer(help="Measure speed and memory on this machine, side by side.", no_args_is_help=True)

Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, or on a GPU float16.")]
Threads = Annotated[int | None, typer.Option(help="Threads of a CPU.  \\[default: torch's own choice]")]
Seed = Annotated[int, typer.Option(help="Of weights and inputs.", min=0, max=MOST_SEED)]


@benchmark.command("ops")
@handle_errors
def ops(
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds: batches so small that caches hold them.")] = False,
    rounds: Annotated[int | None, typer.Option(help="Measurements of each op.  \\[default: 15, quick 3]")] = None,
    json: Annotated[Path | None, typer.Option(help="The result file.  \\[default: runs/benchmark/ops.json]")] = None,
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
    from ponet.benchmarks.common import stage
    from ponet.benchmarks.ops import OpsPlan, count_rows, measure_ops
    from ponet.report.ops import ops_tables

    plan = OpsPlan(_machine(device, dtype, threads), quick, rounds, seed)
    path = json_file(json, "ops")
    console = make_console()
    console.print(f"Up to {count_rows(plan) * (3 if quick else 11) // 60 + 1} minutes; {_where(plan.machine)}.")
    with stage(console, "measuring", count_rows(plan)) as advance:
        values = measure_ops(plan, path, advance)
    show_tables(console, ops_tables(values), [path])


@benchmark.command("efficiency")
@handle_errors
def efficiency(
    config: Annotated[
        str, typer.Option(help="lra: Long Range Arena, Text (2 layers, d 64); mini: 6 layers, d 384; base: 12, d 768.")
    ] = "lra",
    lengths: Annotated[
        str | None,
        typer.Option(help="Tokens of a document, rising; k is 1024.  \\[default: 512,1k,2k,4k,8k,16k; quick to 2k]"),
    ] = None,
    mixers: Annotated[
        str | None,
        typer.Option(
            help="Mixers and variants, as --list shows them, or all.  "
            "\\[default: all that are trained but hybrids; mini, base, quick: the first 7]"
        ),
    ] = None,
    kinds: Annotated[
        str | None, typer.Option(help="training, inference or both.  \\[default: both; base on a CPU: inference]")
    ] = None,
    documents: Annotated[
        str | None,
        typer.Option(help="Real documents instead: a file of rows, a folder, or a set in the data folder (imdb)."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="For documents: a vocab.txt, or bytes.  \\[default: bert-base-uncased's]"),
    ] = None,
    max_length: Annotated[int, typer.Option(help="For documents: tokens kept of each.")] = 4096,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
    quick: Annotated[bool, typer.Option("--quick", help="A minute or two: fewer lengths, rounds and seconds.")] = False,
    rounds: Annotated[
        int | None, typer.Option(help="Measurements of each.  \\[default: 10, quick 3; documents 12 batches, quick 3]")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="To time all variants at one length.  \\[default: by configuration]")
    ] = None,
    patience: Annotated[
        float | None, typer.Option(help="Seconds a step may take before it is too slow.  \\[default: lra 15, base 60]")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(help="Tokens of a batch; one document at least.  \\[default: by configuration]")
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(help="The result file; plots go beside it.  \\[default: runs/benchmark/efficiency-CONFIG.json]"),
    ] = None,
    seed: Seed = 0,
    show: Annotated[bool, typer.Option("--list", help="Say what --mixers takes, and end.")] = False,
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
    if show:
        _list()
        return
    dtypes = (dtype,) if documents is not None else _names(dtype) or ("float32",)
    machine = _machine(device, dtypes[0], threads)
    if documents is not None:
        _check_unused("--documents", lengths=lengths, kinds=kinds, batch_tokens=batch_tokens)
        _documents(
            documents, config, mixers, tokenizer, max_length, machine, quick, rounds, seconds, patience, json, seed
        )
        return
    from ponet.benchmarks import efficiency as measuring
    from ponet.benchmarks.common import numbers, stage
    from ponet.benchmarks.encoders import MAIN
    from ponet.report.efficiency import efficiency_tables, plot_efficiency
    from ponet.utils.extras import MissingExtraError
    from ponet.utils.files import is_stream

    plan = measuring.EfficiencyPlan(
        config,
        numbers(lengths, "--lengths") if lengths else measuring.QUICK_LENGTHS if quick else measuring.LENGTHS,
        _names(mixers) or (MAIN if quick else None),
        measuring.KINDS if kinds == "both" else _names(kinds),
        batch_tokens,
        machine,
        dtypes,
        rounds=(measuring.QUICK_ROUNDS if quick else measuring.ROUNDS) if rounds is None else rounds,
        seconds=measuring.QUICK_SECONDS if quick and seconds is None else seconds,
        patience=measuring.QUICK_PATIENCE if quick and patience is None else patience,
        seed=seed,
    )
    path = json_file(json, f"efficiency-{config}")
    console = make_console()
    console.print(f"{plan.setup.name}, {plan.setup.segments}; {_where(machine, ', '.join(dtypes))}.")
    costs = measuring.estimate(plan, measuring.calibrate(plan))
    total = sum(costs.values())
    console.print(f"That will take {_about(total)}, by one short step of each. Ctrl-C keeps what is measured.")
    with stage(console, "measuring", total, weighted=True) as advance:
        values = measuring.measure_efficiency(plan, path, costs, advance)
    plots = []
    try:
        plots = [] if is_stream(path) else plot_efficiency(values, path.with_suffix(""))
    except MissingExtraError as error:
        console.print(f"The plots aren't drawn. {error}")
    show_tables(console, efficiency_tables(values), [path, *plots])


@benchmark.command("long")
@handle_errors
def long(
    lengths: Annotated[
        str | None, typer.Option(help="Tokens, rising; k is 1024.  \\[default: 16000,64000,256000,1000000]")
    ] = None,
    chunk_size: Annotated[int, typer.Option(help="Tokens at a time in each layer.")] = 16384,
    dtype: Dtype = "float32",
    threads: Threads = None,
    json: Annotated[Path | None, typer.Option(help="The result file.  \\[default: runs/benchmark/long.json]")] = None,
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
    from ponet.benchmarks.common import numbers, stage
    from ponet.report.rows import long_tables

    machine = _machine("cpu", dtype, threads)
    chosen = numbers(lengths, "--lengths") if lengths else measuring.LENGTHS
    plan = measuring.LongPlan(chosen, chunk_size, machine, seed)
    path = json_file(json, "long")
    console = make_console()
    with stage(console, "measuring", 2 * sum(chosen), weighted=True) as advance:
        values = measuring.measure_long(plan, path, advance)
    show_tables(console, long_tables(values), [path])


@benchmark.command("embeddings")
@handle_errors
def embeddings(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Encoders, PoNet's or BERT's: folders, checkpoints, hub names."),
    ],
    limit: Annotated[int, typer.Option(help="Rows of each split of a probe; 0 for all.", min=0)] = 5000,
    rounds: Annotated[int, typer.Option(help="Measurements of the speed.", min=1)] = 3,
    dtype: Annotated[str, typer.Option(help="float32, bf16, fp16, or auto: the fastest here.")] = "float32",
    json: Annotated[
        Path | None, typer.Option(help="The result file.  \\[default: runs/benchmark/embeddings.json]")
    ] = None,
    seed: Seed = 0,
) -> None:
    """What vectors are worth without fine-tuning: similarity of sentences, linear probes on documents, documents/s.

    STS-B's validation pairs, scored by the cosine of their vectors; logistic regressions on the vectors of IMDb and 20
    Newsgroups, at the first 512 tokens and of whole texts, which a model with attention reads in windows. From the data
    folder (PONET_DATA).

    Example:

      ponet benchmark embeddings sentence-transformers/all-MiniLM-L6-v2 ponet-mini
    """
    from ponet.benchmarks.common import stage
    from ponet.benchmarks.embeddings import EmbeddingsPlan, measure_embeddings
    from ponet.report.rows import embeddings_tables

    plan = EmbeddingsPlan(tuple(models), limit or None, rounds, seed, dtype)
    path = json_file(json, "embeddings")
    console = make_console()
    with stage(console, "measuring", 2 * len(models) + 1) as advance:
        values = measure_embeddings(plan, path, advance)
    show_tables(console, embeddings_tables(values), [path])


@benchmark.command("fill-mask")
@handle_errors
def fill_mask(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Checkpoints that know masked words: folders, bundled or hub names."),
    ],
    json: Annotated[
        Path | None, typer.Option(help="The result file.  \\[default: runs/benchmark/fill-mask.json]")
    ] = None,
) -> None:
    """What a checkpoint has learned about words: thirty everyday sentences with one masked word.

    Example:

      ponet benchmark fill-mask ponet-tiny runs/mini
    """
    from ponet.benchmarks.common import stage
    from ponet.benchmarks.fill_mask import FillMaskPlan, measure_fill_mask
    from ponet.report.rows import fill_mask_tables

    path = json_file(json, "fill-mask")
    console = make_console()
    with stage(console, "measuring", len(models)) as advance:
        values = measure_fill_mask(FillMaskPlan(tuple(models)), path, advance)
    show_tables(console, fill_mask_tables(values), [path])


@benchmark.command("predict")
@handle_errors
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run of `ponet finetune` or of a text task.")],
    limit: Annotated[int, typer.Option(help="Documents, drawn by the seed.", min=1)] = 1000,
    split: Annotated[str, typer.Option(help="Which split of the run's data.")] = "test",
    rounds: Annotated[int, typer.Option(help="Measurements of each way.", min=1)] = 3,
    json: Annotated[
        Path | None, typer.Option(help="The result file.  \\[default: runs/benchmark/predict.json]")
    ] = None,
    seed: Seed = 0,
) -> None:
    """A fine-tuned model in float32, bf16 and int8, beside transformers.pipeline: accuracy and documents/s.

    From texts to probabilities, tokenization included, on documents of the run's own data. ONNX Runtime runs what
    `ponet export` writes. Needs ponet[onnx].

    Example:

      ponet benchmark predict runs/imdb --limit 1000 --json results/predict/imdb.json
    """
    from ponet.benchmarks.common import stage
    from ponet.benchmarks.prediction import PredictionPlan, count_ways, measure_prediction
    from ponet.report.rows import prediction_tables

    plan = PredictionPlan(run, limit, split, rounds, seed)
    path = json_file(json, "predict")
    console = make_console()
    with stage(console, "measuring", count_ways()) as advance:
        values = measure_prediction(plan, path, advance)
    show_tables(console, prediction_tables(values), [path])


def _documents(
    documents: str,
    config: str,
    mixers: str | None,
    tokenizer: str | None,
    max_length: int,
    machine: "Machine",
    quick: bool,
    rounds: int | None,
    seconds: float | None,
    patience: float | None,
    json: Path | None,
    seed: int,
) -> None:
    from ponet.benchmarks import documents as measuring
    from ponet.benchmarks.common import stage
    from ponet.report.efficiency import efficiency_tables

    plan = measuring.DocumentsPlan(
        documents,
        config,
        _names(mixers) or measuring.MIXERS,
        tokenizer,
        max_length,
        batches=(measuring.QUICK_BATCHES if quick else measuring.BATCHES) if rounds is None else rounds,
        seconds=seconds or (measuring.QUICK_SECONDS if quick else measuring.SECONDS),
        patience=patience,
        machine=machine,
        limit=measuring.QUICK_DOCUMENTS if quick else measuring.DOCUMENTS,
        seed=seed,
    )
    path = json_file(json, f"efficiency-documents-{config}")
    console = make_console()
    read = measuring.read_documents(plan)
    total = 2 * plan.seconds + 10
    console.print(f"{len(read.ids):,} documents, {plan.setup.name}; {_where(machine)}. That will take {_about(total)}.")
    with stage(console, "measuring", len(measuring.KINDS)) as advance:
        values = measuring.measure_documents(plan, read, path, advance)
    show_tables(console, efficiency_tables(values), [path])


def _machine(device: str, dtype: str, threads: int | None) -> "Machine":
    from ponet.benchmarks.common import Machine

    return Machine(device, dtype, threads)


def _names(text: str | None) -> tuple[str, ...] | None:
    """`a,b` as names; None for none."""
    if text is None:
        return None
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip())) or None


def json_file(given: Path | None, name: str) -> Path:
    from ponet.utils.errors import PoNetError
    from ponet.utils.files import is_stream

    path = given or Path("runs", "benchmark", f"{name}.json")
    if path.is_dir():
        raise PoNetError(f"'{path}' is a folder: name a file, for example {path / name}.json.")
    return path if path.suffix == ".json" or is_stream(path) else path.with_name(f"{path.name}.json")


def _check_unused(option: str, **others: Any) -> None:
    from ponet.utils.errors import PoNetError

    for name, value in others.items():
        if value is not None:
            raise PoNetError(
                f"--{name.replace('_', '-')} doesn't go with {option}: documents have lengths of their own."
            )


def make_console() -> "Console":
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


def _list() -> None:
    from ponet.benchmarks.encoders import MAIN, variants

    known = variants()
    width = max(len(name) for name in known)
    for name, variant in known.items():
        say(f"{name:<{width}}  {variant.name}{'' if name in MAIN else '  (not in mini, base or quick unless named)'}")


def show_tables(console: "Console", tables: list[Any], paths: list[Path]) -> None:
    """The tables, then their notes, and what was written."""
    from ponet.report.tables import show
    from ponet.utils.errors import printable

    notes = [note for table in tables for note in table.notes]
    for table in tables:
        table.notes = []
        show(table, console)
    for note in notes:
        console.print(printable(f"{note.replace('`', '')}\n"), markup=False, soft_wrap=not console.is_terminal)
    console.print(printable(f"\nWritten: {', '.join(map(str, paths))}"), markup=False)
