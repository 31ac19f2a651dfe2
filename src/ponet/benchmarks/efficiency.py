"""`ponet benchmark efficiency`: training steps/s, inference tokens/s and peak memory by length (paper, table 2)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ponet.benchmarks.common import Advance, Machine, Record, check_known
from ponet.benchmarks.encoders import (
    KINDS,
    SETUPS,
    WARM_TOKENS,
    Cell,
    Setup,
    Variant,
    choose_variants,
    exported_graph,
    prepare_warm,
    variants,
)
from ponet.benchmarks.measure import HELD, PeakMemory, allocated_peak, classify, interleave, peak_memory
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require_onnx

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
QUICK_LENGTHS = (512, 1024, 2048)
ROUNDS, QUICK_ROUNDS = 10, 3
QUICK_SECONDS = 3.0
QUICK_PATIENCE = 4.0
LEAST_ROUNDS = 3
"""Measured however slow a model is, so that there is a spread; 2 where three would take far over the time."""
STARTING_SECONDS = 2.0
"""What a process of its own takes to start and to make its model, about; it may take 30 times as long."""


@dataclass(frozen=True)
class EfficiencyPlan:
    """What to measure; raises a PoNetError for what can't be."""

    config: str = "lra"
    """A key of `SETUPS`."""
    lengths: tuple[int, ...] = LENGTHS
    mixers: tuple[str, ...] | None = None
    """Keys of `variants()`, or "all"; None for those that the configuration says."""
    kinds: tuple[str, ...] | None = None
    """Of "training" and "inference"; None for what the configuration says (on a GPU both)."""
    batch_tokens: int | None = None
    """Tokens of a batch; None for what the configuration says."""
    machine: Machine = field(default_factory=Machine)
    dtypes: tuple[str, ...] = ()
    """Each variant has a row for each; none for the machine's alone. ONNX Runtime has its own."""
    rounds: int = ROUNDS
    seconds: float | None = None
    """For the timing of one group (all variants at one length); None for what the configuration says."""
    patience: float | None = None
    """Seconds that one step may take; None for what the configuration says."""
    warm_tokens: int = WARM_TOKENS
    """Tokens of the document that each model sees before it is measured, and that the estimate is made with."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_known("configuration ", self.config, SETUPS)
        if not self.lengths or list(self.lengths) != sorted(set(self.lengths)) or self.lengths[0] < 3:
            raise PoNetError("--lengths must rise, from 3 tokens on: for example 512,1024,2048.")
        for name, value in (("rounds", self.rounds), ("batch-tokens", self.batch_tokens)):
            if value is not None and value < 1:
                raise PoNetError(f"--{name} must be at least 1, not {value}.")
        for name in ("seconds", "patience"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise PoNetError(f"--{name} must be more than 0, not {value:g}.")
        for kind in self.kinds or ():
            check_known("", kind, KINDS)
        for dtype in self.dtypes:
            replace(self.machine, dtype=dtype)  # checks it
        found = choose_variants(self.mixers, self.setup, self.measured)
        if any(variant.runtime != "torch" for variant in found.values()):
            if self.machine.device != "cpu":
                raise PoNetError("ONNX Runtime is measured on a CPU: leave its rows out, or use --device cpu.")
            require_onnx()

    @property
    def setup(self) -> Setup:
        """The configuration."""
        return SETUPS[self.config]

    @property
    def measured(self) -> tuple[str, ...]:
        """The kinds that are measured."""
        return self.kinds or (KINDS if self.machine.device == "cuda" else self.setup.kinds)

    @property
    def limit(self) -> float:
        """Seconds that one step may take."""
        return self.patience or self.setup.patience

    @property
    def group_seconds(self) -> float:
        """For the timing of one group."""
        return self.seconds or self.setup.seconds

    def chosen(self, kind: str) -> dict[str, Variant]:
        """The rows of one kind: the variants, by `key` in the first type and by `key:dtype` in the others."""
        found = choose_variants(self.mixers, self.setup, self.measured)
        first, *others = self.dtypes or (self.machine.dtype,)
        rows = {}
        for key, variant in found.items():
            # in inference nothing is kept, so there is nothing to compute again
            if variant.infers_only if kind == "training" else variant.recomputes:
                continue
            rows[key] = variant
            if variant.runtime == "torch" and others:
                rows[key] = replace(variant, name=f"{variant.name}, {first}")
                rows |= {f"{key}:{dtype}": replace(variant, name=f"{variant.name}, {dtype}") for dtype in others}
        return rows

    def batch(self, length: int) -> int:
        """Documents of a batch: as many as its tokens allow, one at least."""
        setup = self.setup
        usual = setup.gpu_batch_tokens if self.machine.device == "cuda" else setup.cpu_batch_tokens
        return max(1, (self.batch_tokens or usual) // length)

    def tokens(self, length: int) -> int:
        """Tokens of a batch of documents of that length."""
        return self.batch(length) * length

    def cell(self, row: str, kind: str, length: int, batch: int | None = None) -> Cell:
        """One place in the table; for ONNX Runtime the graph is written, the first time."""
        machine, batch = self.machine, batch or self.batch(length)
        key, _, dtype = row.partition(":")
        where = (dtype or (self.dtypes or (machine.dtype,))[0], machine.device, self.seed, self.warm_tokens)
        graph = None
        if variants()[key].runtime != "torch":
            graph = exported_graph(self.config, key, max(*self.lengths, self.warm_tokens), self.seed)
        return Cell(self.config, key, kind, length, batch, *where, graph)

    def rounds_of(self, round_seconds: float) -> tuple[int, int]:
        """Rounds to warm up and rounds to measure at least, by the seconds that one round of a group takes."""
        slow = 4 * round_seconds > self.group_seconds
        very_slow = 2 * round_seconds > self.group_seconds
        return 0 if slow else 1, min(self.rounds, LEAST_ROUNDS - 1 if very_slow else LEAST_ROUNDS)


# --- how long it will take -------------------------------------------------------------------------------------------

Costs = dict[tuple[str, int], float]
"""Seconds by kind and length."""


def calibrate(plan: EfficiencyPlan) -> dict[tuple[str, str], float]:
    """Seconds of one step on `plan.warm_tokens` tokens, by variant and kind; infinite for what can't be run."""
    found = {}
    with plan.machine.threaded():
        for kind in plan.measured:
            for key in plan.chosen(kind):
                try:
                    step = prepare_warm(plan.cell(key, kind, plan.warm_tokens, batch=1))
                except Exception:  # it will fail again where it is reported
                    found[key, kind] = math.inf
                    continue
                timing = interleave({key: step}, 3, 0, budget=0.5, synchronize=plan.machine.synchronize)[key]
                found[key, kind] = min(timing.seconds, default=math.inf)
    return found


def estimate(plan: EfficiencyPlan, calibrated: Mapping[tuple[str, str], float]) -> Costs:
    """About the seconds that each group will take.

    Time is taken to grow with the tokens of a batch, for attention as operations do: the projections and the
    feed-forward are 24 d a token and channel, attention 4 n.
    """
    costs: Costs = {}
    hidden = plan.setup.fields.get("hidden_size", 768)
    for kind in plan.measured:
        for length in plan.lengths:
            steps = []
            for key, variant in plan.chosen(kind).items():
                seconds = calibrated[key, kind] * plan.tokens(length) / plan.warm_tokens
                if variant.mixer == "attention":
                    read = min(length, variant.window or length)
                    seconds *= (1 + read / (6 * hidden)) / (1 + plan.warm_tokens / (6 * hidden))
                if seconds <= plan.limit:
                    steps.append(seconds)
            one_round = sum(steps)
            warm_up, least = plan.rounds_of(one_round)
            timed = min(plan.rounds * one_round, max(least * one_round, plan.group_seconds))
            starting = STARTING_SECONDS * len(steps) if plan.machine.device == "cpu" else 0.0
            costs[kind, length] = one_round * (1 + warm_up) + timed + starting
    return costs


# --- measuring -------------------------------------------------------------------------------------------------------


def measure_efficiency(
    plan: EfficiencyPlan, path: Path, costs: Costs | None = None, advance: Advance = lambda word, amount=1.0: None
) -> dict[str, Any]:
    """Measures every variant at every length, memory first, and writes `path` (as `Record`) after every group.

    `advance` is called after each piece of work, with its share of the `costs` that `estimate` gives. Returns what the
    file holds.
    """
    with plan.machine.threaded(), Record(path, plan.seed, _head(plan)).keeping() as record:
        for length in plan.lengths:
            record.values["lengths"].append(length)
            for kind in plan.measured:
                share = (costs or {}).get((kind, length), 1.0) / (len(plan.chosen(kind)) + 1)
                _group(plan, kind, length, record.values, partial(advance, amount=share))
                record.save()
    return record.content


def _head(plan: EfficiencyPlan) -> dict[str, Any]:
    """What is known before measuring."""
    chosen = {key: variant for kind in plan.measured for key, variant in plan.chosen(kind).items()}
    return {
        "config": plan.config,
        "setup": {
            "description": f"{plan.setup.name}, {plan.setup.segments}",
            "device": plan.machine.device,
            "dtype": " and ".join(plan.dtypes or (plan.machine.dtype,)),
            "kinds": list(plan.measured),
            "rounds": plan.rounds,
            "patience_seconds": plan.limit,
            "memory": HELD if plan.machine.device == "cpu" else "allocated",
            "batch": {str(length): plan.batch(length) for length in plan.lengths},
        },
        "lengths": [],
        "variants": {key: {"name": variant.name} for key, variant in chosen.items()},
    }


def _group(
    plan: EfficiencyPlan, kind: str, length: int, values: dict[str, Any], advance: Callable[[str], None]
) -> None:
    """All variants at one length: the memory of each, then the time of those that fit, in turns."""
    cells: dict[str, dict[str, Any]] = {}
    steps: dict[str, Callable[[], object]] = {}
    one_round = 0.0
    for key in plan.chosen(kind):
        cell = plan.cell(key, kind, length)
        before = values["variants"][key].setdefault(kind, {})
        memory = gave_up(before, plan, length) or _memory(cell, plan.limit)
        cells[key] = before[str(length)] = {"memory": memory.to_dict()}
        status, message = memory.status, memory.message
        if memory.seconds is not None and memory.seconds > plan.limit:
            status, message = "timeout", f"one step took {memory.seconds:.1f} s, more than {plan.limit:g} s"
        if status == "ok":
            try:
                steps[key] = prepare_warm(cell)
                one_round += memory.seconds or 0.0
            except Exception as error:
                status, message = classify(error)
        cells[key]["time"] = {"status": status, "message": message}  # where it isn't timed
        advance(f"memory, {kind}, {length:,} tokens")
    warm_up, least = plan.rounds_of(one_round)
    timings = interleave(
        steps,
        rounds=plan.rounds,
        warm_up=warm_up,
        budget=plan.group_seconds,
        patience=plan.limit,
        synchronize=plan.machine.synchronize,
        least=least,
    )
    for key, timing in timings.items():
        cells[key]["time"] = timing.to_dict()
        if timing.seconds:
            cells[key]["steps_per_second"] = 1 / timing.median
            cells[key]["tokens_per_second"] = plan.tokens(length) / timing.median
    advance(f"time, {kind}, {length:,} tokens")


def _memory(cell: Cell, patience: float) -> PeakMemory:
    """The peak of one step; on a CPU in a process of its own, which ends where one step is far too slow."""
    if cell.device == "cuda":
        return allocated_peak(prepare_warm, (cell,))
    return peak_memory(prepare_warm, (cell,), timeout=30 * STARTING_SECONDS + 2 * patience, preload=(__name__,))


def gave_up(done: Mapping[str, Mapping[str, Any]], plan: EfficiencyPlan, length: int) -> PeakMemory | None:
    """The entry for a variant that failed at a smaller length, or is expected to be too slow at the next.

    `done` has its cells by length, as text, rising.
    """
    if not done:
        return None
    *_, (smaller, last) = done.items()
    for part in ("memory", "time"):
        if last[part]["status"] != "ok":
            already = last[part].get("message", "")
            message = already if already.startswith("left out") else f"left out: at {int(smaller):,} tokens {already}"
            return PeakMemory(status=last[part]["status"], message=message)
    expected = _expected([(int(n), cell["time"]["median_seconds"]) for n, cell in done.items()], plan, length)
    if expected <= plan.limit:
        return None
    return PeakMemory(status="timeout", message=f"left out: one step would take about {expected:.0f} s")


def _expected(points: Sequence[tuple[int, float]], plan: EfficiencyPlan, length: int) -> float:
    """The seconds of a step at the next length, from those at smaller ones: it grows as it last did."""
    last, seconds = points[-1]
    if len(points) < 2:
        return seconds * plan.tokens(length) / plan.tokens(last)
    previous, before = points[-2]
    power = math.log(seconds / before) / math.log(last / previous)
    return float(seconds * (length / last) ** power)
