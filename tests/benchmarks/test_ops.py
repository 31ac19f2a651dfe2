"""The ops' benchmark: what an op needs, and a run on tiny batches."""

import json
from pathlib import Path

import pytest
import torch

from ponet.benchmarks import ops
from ponet.benchmarks.common import Machine
from ponet.benchmarks.ops import CASES, DIRECTIONS, OPS, Case, OpsPlan, count_rows, measure_ops, need
from ponet.utils.errors import PoNetError

SMALL = Case("small", documents=2, length=10, width=4, heads=2, segments="pairs")


@pytest.mark.parametrize(
    ("op", "direction", "numbers", "extra"),
    [
        ("mean_aggregation", "forward", 20 * 4 + 2 * 4, 0),
        ("mean_aggregation", "backward", 2 * 4 + 20 * 4, 0),
        ("softmax_aggregation", "forward", 20 * 4 + 2 * (2 * 2 * 4), 0),  # x; queries, z
        ("softmax_aggregation", "backward", 2 * 20 * 4 + 4 * (2 * 2 * 4), 0),  # x, dx; queries, z, dz, dqueries
        ("segment_local_fusion", "forward", 4 * 20 * 4 + 2 * 4, 0),  # o, s, l, y; g
        ("segment_local_fusion", "backward", 6 * 20 * 4 + 2 * 2 * 4 + 10 * 4, 10 * 4 * 4),  # ... and maxima, holders
    ],
)
def test_the_bytes_that_must_move(op: str, direction: str, numbers: int, extra: int) -> None:
    assert need(op, direction, SMALL, num_segments=10, size=4).bytes == 4 * numbers + extra
    assert need(op, direction, SMALL, num_segments=10, size=2).bytes == 2 * numbers + extra


def test_operations_by_hand() -> None:
    """One score and one weighted sum a head are a multiplication and an addition each for every number of x."""
    assert need("softmax_aggregation", "forward", SMALL, 10, 4).operations == 20 * 2 * (2 * 4 + 2 * 4)
    assert need("segment_local_fusion", "forward", SMALL, 10, 4).operations == 20 * 4 * (1 + 2 + 3)


@pytest.mark.parametrize(("segments", "count"), [("pairs", 10), ("one", 2), ("sentences", None)])
def test_layouts(segments: str, count: int | None) -> None:
    case = Case("small", 2, 10, 4, 2, segments)
    layout = case.layout(seed=0)
    assert layout.lengths == (10, 10)
    assert layout.segment_order is None
    if count is None:
        assert layout.special is not None
        assert layout.special.nonzero().squeeze(1).tolist() == [0, 9, 10, 19]
    else:
        assert layout.special is None
        assert layout.num_segments == count


def test_the_cases_are_larger_than_a_cache_where_it_matters() -> None:
    assert CASES["base"].tokens * CASES["base"].width * 4 * 4 > 64 * 2**20
    assert CASES["one-segment"].documents == 1


def test_a_run_on_tiny_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "QUICK_CASES", {"lra-text": SMALL, "base": Case("b", 1, 12, 8, 2, "sentences")})
    monkeypatch.setattr(ops, "QUICK_MIXER_TOKENS", 16)
    plan = OpsPlan(Machine(threads=1), quick=True, rounds=2)
    said: list[str] = []
    values = measure_ops(plan, tmp_path / "ops.json", lambda word, amount=1.0: said.append(word))
    assert len(said) == count_rows(plan)
    assert json.loads((tmp_path / "ops.json").read_text()) == json.loads(json.dumps(values))
    for key in ("lra-text", "base"):
        rows = values["groups"][key]
        assert set(rows) == {f"{op} {direction}" for op in OPS for direction in DIRECTIONS}
        for row in rows.values():
            for column in ("copy", "fresh", *values["backends"]):
                assert row[column]["status"] == "ok", row[column]
                assert row[column]["median_seconds"] > 0
    for rows in values["groups"]["mixer"].values():
        assert {name: cell["status"] for name, cell in rows.items()} == dict.fromkeys(
            ("ours", "published", "product"), "ok"
        )


def test_half_precision_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "QUICK_CASES", {"lra-text": SMALL})
    # kernels of a second type take long to compile: so few numbers are left to the reference
    monkeypatch.setattr(ops, "QUICK_MIXER_TOKENS", 7)
    monkeypatch.setattr(ops, "backends", lambda: ("auto", "reference"))
    values = measure_ops(OpsPlan(Machine(dtype="bfloat16", threads=1), quick=True, rounds=1), tmp_path / "ops.json")
    states = {
        cell["status"]
        for rows in values["groups"].values()
        for row in rows.values()
        for cell in row.values()
        if isinstance(cell, dict)
    }
    assert states == {"ok"}


def test_the_way_back_makes_its_graph_once() -> None:
    calls = 0
    x = torch.ones(3)

    def run() -> torch.Tensor:
        nonlocal calls
        calls += 1
        return x * 2

    back = ops._backward(run, (x,))
    first, second = back(), back()
    assert calls == 1
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert torch.equal(first[0], second[0])


def test_bad_rounds() -> None:
    with pytest.raises(PoNetError, match="--rounds"):
        OpsPlan(rounds=0)
