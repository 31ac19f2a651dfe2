"""What is measured at which length, what is left out, and what the file says."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ponet.benchmarks import efficiency, measure
from ponet.benchmarks.common import BenchmarkInterruptedError, Machine
from ponet.benchmarks.efficiency import EfficiencyPlan, calibrate, estimate, gave_up, measure_efficiency
from ponet.benchmarks.encoders import KINDS, Cell
from ponet.benchmarks.measure import HELD, PeakMemory
from ponet.utils.errors import PoNetError

MIXERS = ("pooling", "fourier", "attention")


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Cells that take known seconds on a clock of their own: 1 for pooling and fourier, for attention as it grows."""
    now, asked = 0.0, []

    def took(cell: Cell) -> float:
        return {"attention": cell.length / 100}.get(cell.variant, 1.0)

    def prepared(cell: Cell) -> Callable[[], object]:
        def step() -> None:
            nonlocal now
            now += took(cell)

        return step

    def held(cell: Cell, patience: float) -> PeakMemory:
        asked.append(cell)
        return PeakMemory(peak_bytes=1000 * cell.length, baseline_bytes=1, seconds=took(cell))

    monkeypatch.setattr(measure, "clock", lambda: now)
    monkeypatch.setattr(efficiency, "prepare_warm", prepared)
    monkeypatch.setattr(efficiency, "_memory", held)
    return asked


def test_a_table_of_known_times(tmp_path: Path, no_waiting: list[Cell]) -> None:
    plan = EfficiencyPlan(
        lengths=(100, 200, 400, 800), mixers=MIXERS, batch_tokens=400, rounds=3, seconds=60, patience=3.0
    )
    said: list[float] = []
    costs = dict.fromkeys([(kind, length) for kind in KINDS for length in plan.lengths], 4.0)
    values = measure_efficiency(plan, tmp_path / "new/lra.json", costs, lambda word, amount=1.0: said.append(amount))
    assert json.loads((tmp_path / "new/lra.json").read_text()) == json.loads(json.dumps(values))
    assert sum(said) == pytest.approx(sum(costs.values()))
    assert values["complete"] is True
    assert values["setup"]["memory"] == HELD
    assert values["lengths"] == [100, 200, 400, 800]
    assert values["setup"]["batch"] == {"100": 4, "200": 2, "400": 1, "800": 1}
    pooling = values["variants"]["pooling"]["training"]
    assert pooling["100"]["time"]["median_seconds"] == 1
    assert pooling["100"]["time"]["rounds"] == 3
    assert pooling["100"]["steps_per_second"] == 1
    assert pooling["800"]["tokens_per_second"] == 800
    assert pooling["800"]["memory"]["peak_bytes"] == 800_000
    attention = values["variants"]["attention"]["training"]
    assert [attention[str(n)]["time"]["status"] for n in plan.lengths] == ["ok", "ok", "timeout", "timeout"]
    assert attention["400"]["time"]["message"] == "left out: one step would take about 4 s"
    assert attention["800"]["memory"] == {"status": "timeout", "message": "left out: one step would take about 4 s"}
    assert ("attention", 400) not in [(cell.variant, cell.length) for cell in no_waiting]


def test_a_first_step_that_is_too_slow_is_not_taken_again(tmp_path: Path, no_waiting: list[Cell]) -> None:
    plan = EfficiencyPlan(lengths=(800,), mixers=("attention",), kinds=("inference",), rounds=3, patience=3.0)
    cell = measure_efficiency(plan, tmp_path / "x.json")["variants"]["attention"]["inference"]["800"]
    assert cell["memory"]["peak_bytes"] == 800_000
    assert cell["time"] == {"status": "timeout", "message": "one step took 8.0 s, more than 3 s"}


def test_out_of_memory_is_not_tried_at_greater_lengths() -> None:
    gone = {"memory": {"status": "out_of_memory", "message": "more than 9 GiB"}, "time": {"status": "out_of_memory"}}
    memory = gave_up({"512": gone}, EfficiencyPlan(lengths=(512, 1024, 2048)), 1024)
    assert memory == PeakMemory(status="out_of_memory", message="left out: at 512 tokens more than 9 GiB")
    again = {"512": gone, "1024": {"memory": memory.to_dict(), "time": memory.to_dict()}}
    assert gave_up(again, EfficiencyPlan(lengths=(512, 1024, 2048)), 2048) == memory
    assert gave_up({}, EfficiencyPlan(), 512) is None


def test_growth_is_taken_to_go_on() -> None:
    def cell(seconds: float) -> dict[str, Any]:
        return {"memory": {"status": "ok"}, "time": {"status": "ok", "median_seconds": seconds}}

    plan = EfficiencyPlan(lengths=(512, 1024, 2048), batch_tokens=2048, patience=10.0)
    assert gave_up({"512": cell(9.0)}, plan, 1024) is None  # as many tokens
    assert gave_up({"512": cell(2.0), "1024": cell(4.0)}, plan, 2048) is None
    late = gave_up({"512": cell(3.0), "1024": cell(6.0)}, plan, 2048)
    assert late is not None
    assert late.message == "left out: one step would take about 12 s"


def test_an_estimate_before_anything_is_measured() -> None:
    plan = EfficiencyPlan(
        lengths=(512, 1024), mixers=("pooling", "attention"), kinds=("training",), batch_tokens=1024, rounds=2
    )
    costs = estimate(plan, {("pooling", "training"): 0.5, ("attention", "training"): 100.0})
    start = efficiency.STARTING_SECONDS
    assert costs == {("training", n): pytest.approx(1 + 1 + 2 + start) for n in plan.lengths}  # memory, warm-up, rounds
    grows = estimate(plan, {("pooling", "training"): math.inf, ("attention", "training"): 0.5})
    assert grows["training", 1024] > 1.3 * grows["training", 512] - start


def test_slow_rounds_are_fewer() -> None:
    plan = EfficiencyPlan(seconds=30.0)
    assert plan.rounds_of(1.0) == (1, 3)
    assert plan.rounds_of(10.0) == (0, 3)
    assert plan.rounds_of(20.0) == (0, 2)
    assert EfficiencyPlan(rounds=1, seconds=30.0).rounds_of(1.0) == (1, 1)


def test_ctrl_c_keeps_what_is_measured(tmp_path: Path, no_waiting: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    plan = EfficiencyPlan(lengths=(100, 200), mixers=("pooling",), kinds=("training",))

    def interrupt(word: str, amount: float = 1.0) -> None:
        if "200" in word:
            raise KeyboardInterrupt

    with pytest.raises(BenchmarkInterruptedError, match="What was measured until then is in") as caught:
        measure_efficiency(plan, tmp_path / "x.json", advance=interrupt)
    assert caught.value.signal == 2
    kept = json.loads((tmp_path / "x.json").read_text())
    assert kept["complete"] is False
    assert kept["lengths"] == [100]
    assert "100" in kept["variants"]["pooling"]["training"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"config": "bas"}, "Did you mean 'base'"),
        ({"lengths": (1024, 512)}, "must rise"),
        ({"lengths": (2,)}, "from 3 tokens on"),
        ({"lengths": ()}, "must rise"),
        ({"mixers": ("poling",)}, "Did you mean 'pooling'"),
        ({"kinds": ("train",)}, "Did you mean 'training'"),
        ({"rounds": 0}, "--rounds must be at least 1"),
        ({"batch_tokens": 0}, "--batch-tokens"),
        ({"seconds": 0.0}, "--seconds must be more than 0"),
        ({"patience": float("nan")}, "--patience must be more than 0"),
    ],
)
def test_what_cannot_be_measured_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PoNetError, match=message):
        EfficiencyPlan(**given)


def test_a_place_that_cannot_be_written_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PoNetError, match="file"):
        measure_efficiency(EfficiencyPlan(lengths=(16,)), tmp_path / "file/x.json")


@pytest.mark.slow
def test_real_cells_of_a_tiny_length(tmp_path: Path) -> None:
    """Both kinds, with memory in a process of its own."""
    plan = EfficiencyPlan(
        lengths=(24,),
        mixers=("pooling",),
        batch_tokens=48,
        rounds=1,
        machine=Machine(threads=1),
        warm_tokens=16,
        patience=3600.0,  # a busy machine may halt for a minute
    )
    costs = estimate(plan, calibrate(plan))
    assert all(seconds > 0 for seconds in costs.values())
    values = measure_efficiency(plan, tmp_path / "x.json", costs)
    for kind in KINDS:
        cell = values["variants"]["pooling"][kind]["24"]
        assert cell["memory"]["status"] == cell["time"]["status"] == "ok", cell
        assert cell["steps_per_second"] > 0
        assert cell["memory"]["peak_bytes"] < 2**28
    assert values["machine"]["threads"] == 1


def test_each_type_has_its_rows_and_onnx_one() -> None:
    pytest.importorskip("onnxruntime")
    mixers = ("pooling", "attention-windows", "pooling-onnx", "pooling-int8")
    plan = EfficiencyPlan("mini", (512,), mixers, dtypes=("float32", "bfloat16"))
    rows = {key: variant.name for key, variant in plan.chosen("inference").items()}
    assert rows == {
        "pooling": "PoNet, float32",
        "pooling:bfloat16": "PoNet, bfloat16",
        "attention-windows": "Transformer, SDPA, windows of 512, float32",
        "attention-windows:bfloat16": "Transformer, SDPA, windows of 512, bfloat16",
        "pooling-onnx": "PoNet, ONNX Runtime",
        "pooling-int8": "PoNet, ONNX Runtime, int8",
    }
    assert list(plan.chosen("training")) == ["pooling", "pooling:bfloat16"], "what can be trained"
    assert plan.cell("pooling:bfloat16", "inference", 512).dtype == "bfloat16"
    assert plan.cell("pooling", "inference", 512).dtype == "float32"
    single = EfficiencyPlan("mini", (512,), mixers, machine=Machine(dtype="bfloat16"))
    assert list(single.chosen("inference")) == list(mixers)
    assert single.cell("pooling", "inference", 512).dtype == "bfloat16"
    with pytest.raises(PoNetError, match="Did you mean 'bfloat16'"):
        EfficiencyPlan("mini", (512,), dtypes=("float32", "bfloat17"))


@pytest.mark.slow
def test_onnx_and_windows_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("ponet.benchmarks.encoders.READ_WINDOW", 8)
    mixers, lengths = ("pooling", "attention-windows", "pooling-onnx", "pooling-int8"), (16, 24)
    plan = EfficiencyPlan(
        "lra", lengths, mixers, ("inference",), 48, Machine(threads=1), ("float32", "bfloat16"), rounds=1, warm_tokens=8
    )
    values = measure_efficiency(plan, tmp_path / "a.json", estimate(plan, calibrate(plan)))
    assert values["setup"]["dtype"] == "float32 and bfloat16"
    assert list(values["variants"]) == list(plan.chosen("inference"))
    for variant in values["variants"].values():
        assert [cell["time"]["status"] for cell in variant["inference"].values()] == ["ok", "ok"]
