"""`ponet benchmark efficiency`: training steps/s, inference tokens/s and peak memory by length (paper, table 2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ponet.benchmarks.encoders import SETUPS, Cell, Setup, Variant, choose_variants, prepare, prepare_warm
from ponet.benchmarks.measure import Memory, Status, Timing, allocated_peak, classify, interleave, peak_memory
from ponet.benchmarks.options import Machine
from ponet.benchmarks.progress import Advance
from ponet.benchmarks.record import Record
from ponet.benchmarks.targets import efficiency_targets
from ponet.errors import PoNetError, suggest

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
QUICK_LENGTHS = (512, 1024, 2048)
ROUNDS, QUICK_ROUNDS = 10, 3
LEAST_ROUNDS = 3
"""Measured however slow a model is, so that there is a spread."""
PATIENCE = 60.0
QUICK_SECONDS = 3.0
KINDS = ("training", "inference")
_SKIPPED = "left out: a smaller length was too much"


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Raises:
        PoNetError: for a configuration, kind or length that can't be measured.
    """

    config: str = "lra"
    """A key of `SETUPS`."""
    lengths: tuple[int, ...] = LENGTHS
    mixers: tuple[str, ...] | None = None
    """Keys of `variants()`; None for all."""
    kinds: tuple[str, ...] | None = None
    """Of "training" and "inference"; None for what the configuration says (on a GPU both)."""
    batch_tokens: int | None = None
    """Tokens of a batch; None for what the configuration says."""
    machine: Machine = field(default_factory=Machine)
    rounds: int = ROUNDS
    seconds: float | None = None
    """For the timing of one group (all variants at one length); None for what the configuration says."""
    patience: float = PATIENCE
    """Seconds that one step may take; a variant that is slower is left out at greater lengths."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.config not in SETUPS:
            raise PoNetError(f"There is no configuration '{self.config}' to measure.{suggest(self.config, SETUPS)}")
        if not self.lengths or list(self.lengths) != sorted(set(self.lengths)) or self.lengths[0] < 3:
            raise PoNetError("--lengths must rise, from 3 tokens on: for example 512,1024,2048.")
        if self.rounds < 1:
            raise PoNetError(f"--rounds must be at least 1, not {self.rounds}.")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise PoNetError(f"--batch-tokens must be at least 1, not {self.batch_tokens}.")
        choose_variants(self.mixers, self.measured)

    @property
    def setup(self) -> Setup:
        """The configuration."""
        return SETUPS[self.config]

    @property
    def measured(self) -> tuple[str, ...]:
        """The kinds that are measured."""
        return self.kinds or (KINDS if self.machine.device == "cuda" else self.setup.kinds)

    def batch(self, length: int) -> int:
        """Documents of a batch: as many as its tokens allow, one at least."""
        setup = self.setup
        usual = setup.gpu_batch_tokens if self.machine.device == "cuda" else setup.cpu_batch_tokens
        return max(1, (self.batch_tokens or usual) // length)

    def cell(self, variant: str, kind: str, length: int) -> Cell:
        """One place in the table."""
        machine = self.machine
        return Cell(
            self.config, variant, kind, length, self.batch(length), machine.dtype, machine.device, seed=self.seed
        )


def count_cells(plan: Plan) -> int:
    """How often `measure_efficiency` advances: once a memory cell, once a group of times."""
    chosen = choose_variants(plan.mixers, plan.measured).values()
    groups = [[each for each in chosen if kind == "training" or not each.checkpointing] for kind in plan.measured]
    return len(plan.lengths) * sum(len(group) + 1 for group in groups)


def measure_efficiency(plan: Plan, path: Path, advance: Advance = lambda word: None) -> dict[str, Any]:
    """Measures every variant at every length, memory first, and writes `path` after every group.

    Args:
        plan: what to measure.
        path: the JSON file.
        advance: told of each piece of work that is done.

    Returns:
        What the file holds, the targets among it.

    Raises:
        PoNetError: where the file can't be written.
        BenchmarkInterruptedError: on Ctrl-C; the file then holds what was measured until then.
    """
    chosen = choose_variants(plan.mixers, plan.measured)
    with plan.machine.threaded():
        record = Record(path, plan.seed, _head(plan, chosen))
        with record.keeping():
            for length in plan.lengths:
                record.values["lengths"].append(length)
                for kind in plan.measured:
                    _group(plan, chosen, kind, length, record.values, advance)
                    targets = efficiency_targets(record.values)
                    record.values["targets"] = [target.to_dict() for target in targets]
                    record.save()
            record.save(complete=True)
    return record.values


def _head(plan: Plan, chosen: dict[str, Variant]) -> dict[str, Any]:
    """What is known before measuring."""
    return {
        "config": plan.config,
        "setup": {
            "description": plan.setup.name,
            "device": plan.machine.device,
            "dtype": plan.machine.dtype,
            "rounds": plan.rounds,
            "patience_seconds": plan.patience,
            "batch": {str(length): plan.batch(length) for length in plan.lengths},
        },
        "lengths": [],
        "variants": {key: {"name": variant.name} for key, variant in chosen.items()},
        "targets": [],
    }


def _group(
    plan: Plan, chosen: dict[str, Variant], kind: str, length: int, values: dict[str, Any], advance: Advance
) -> None:
    """All variants at one length: the memory of each, then the time of those that fit, in turns."""
    cells: dict[str, dict[str, Any]] = {}
    steps: dict[str, Callable[[], object]] = {}
    for key, variant in chosen.items():
        if variant.checkpointing and kind != "training":
            continue  # nothing is kept, so there is nothing to compute again
        cell = plan.cell(key, kind, length)
        before = values["variants"][key].setdefault(kind, {})
        memory = _gave_up(list(before.values())) or _memory(cell, plan.patience)
        cells[key] = before[str(length)] = {"memory": memory.to_dict()}
        if memory.status == "ok":
            try:
                steps[key] = prepare(cell)
            except Exception as error:
                status, message = classify(error)
                cells[key]["time"] = Timing(status=status, message=message).to_dict()
        else:
            cells[key]["time"] = {"status": memory.status, "message": memory.message}
        advance(f"memory, {kind}, {length:,} tokens")
    timings = interleave(
        steps,
        rounds=plan.rounds,
        warm_up=1,
        budget=plan.seconds or plan.setup.seconds,
        patience=plan.patience,
        synchronize=plan.machine.synchronize,
        least=min(LEAST_ROUNDS, plan.rounds),
    )
    for key, timing in timings.items():
        cells[key]["time"] = timing.to_dict()
        if timing.seconds:
            cells[key]["steps_per_second"] = 1 / timing.median
            cells[key]["tokens_per_second"] = plan.batch(length) * length / timing.median
    advance(f"time, {kind}, {length:,} tokens")


def _memory(cell: Cell, patience: float) -> Memory:
    """The peak of one step; on a CPU in a process of its own, which ends where one step is far too slow."""
    if cell.device == "cuda":
        return allocated_peak(prepare_warm, (cell,))
    return peak_memory(prepare_warm, (cell,), timeout=STARTING_SECONDS + 2 * patience, preload=(__name__,))


STARTING_SECONDS = 60.0
"""A child process may take to start and to make its model."""


def _gave_up(done: Sequence[dict[str, Any]]) -> Memory | None:
    """The entry for a variant that failed or was too slow at a smaller length."""
    if not done:
        return None
    states: list[Status] = [done[-1][part]["status"] for part in ("memory", "time")]
    worst = next((status for status in states if status != "ok"), None)
    return None if worst is None else Memory(status=worst, message=_SKIPPED)
