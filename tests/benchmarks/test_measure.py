"""Known loads, measured."""

import os
import signal
import time
from collections.abc import Callable

import pytest
import torch

from ponet.benchmarks.measure import Timing, classify, interleave, peak_memory

MIB = 2**20


def hold(mebibytes: int) -> Callable[[], object]:
    """Set-up that itself takes and frees more than what is measured."""
    torch.ones(64 * MIB)
    return lambda: torch.ones(mebibytes * MIB // 4).sum()


def briefly(mebibytes: int) -> Callable[[], object]:
    """A peak in the middle of the run, gone at its end."""

    def run() -> None:
        torch.ones(mebibytes * MIB // 4)
        time.sleep(0.02)

    return run


def die(by: str) -> Callable[[], object]:
    def run() -> None:
        if by == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif by == "exit":
            os._exit(3)
        elif by == "sleep":
            time.sleep(60)
        elif by == "allocate":
            torch.empty(2**50)
        raise ValueError("a bug")

    return run


def test_turns_and_medians() -> None:
    calls: list[str] = []
    timings = interleave(
        {
            "slow": lambda: (calls.append("slow"), time.sleep(0.02)),
            "fast": lambda: (calls.append("fast"), time.sleep(0.002)),
        },
        rounds=5,
        warm_up=1,
    )
    assert calls == ["slow", "fast"] * 6
    assert len(timings["slow"].seconds) == 5
    assert timings["slow"].median > 0.02 > timings["fast"].median > 0.002
    low, high = timings["slow"].quartiles
    assert low <= timings["slow"].median <= high
    assert timings["slow"].to_dict()["rounds"] == 5


def test_median_and_quartiles_of_known_figures() -> None:
    timing = Timing([5.0, 1.0, 2.0, 4.0, 3.0])
    assert timing.median == 3.0
    assert timing.quartiles == (2.0, 4.0)
    assert Timing([7.0]).quartiles == (7.0, 7.0)


def test_budget_ends_measuring_after_a_round() -> None:
    timings = interleave({"a": lambda: time.sleep(0.03)}, rounds=100, warm_up=1, budget=0.1)
    assert 1 <= len(timings["a"].seconds) < 10


def test_impatience_and_errors_stop_one_candidate_only() -> None:
    def fail() -> None:
        raise RuntimeError("no\nluck")

    timings = interleave({"slow": lambda: time.sleep(0.05), "fail": fail, "fast": lambda: None}, 3, 1, patience=0.04)
    assert timings["slow"].status == "timeout"
    assert len(timings["slow"].seconds) == 1
    assert "more than 0.04 s" in timings["slow"].message
    assert timings["fail"].to_dict() == {"status": "error", "message": "no luck"}
    assert timings["fast"].status == "ok"
    assert len(timings["fast"].seconds) == 3


@pytest.mark.parametrize("setup", [hold, briefly])
def test_peak_memory_is_the_growth_alone(setup: Callable[[int], Callable[[], object]]) -> None:
    memory = peak_memory(setup, (96,))
    assert memory.status == "ok", memory.message
    assert memory.peak_bytes is not None
    assert 96 * MIB <= memory.peak_bytes < 112 * MIB


@pytest.mark.parametrize(
    ("by", "status", "message"),
    [
        ("kill", "out_of_memory", "the system ended"),
        ("exit", "error", "exit code 3"),
        ("sleep", "timeout", "not done after 1 s"),
        ("allocate", "out_of_memory", "allocate"),
        ("bug", "error", "a bug"),
    ],
)
def test_a_cell_that_fails_says_how(by: str, status: str, message: str) -> None:
    memory = peak_memory(die, (by,), timeout=1 if by == "sleep" else 60)
    assert (memory.status, memory.peak_bytes) == (status, None)
    assert message in memory.message
    assert set(memory.to_dict()) == {"status", "message"}


def test_a_cell_gives_up_at_its_limit() -> None:
    memory = peak_memory(briefly, (2048,), limit_bytes=700 * MIB)
    assert memory.status == "out_of_memory"
    assert "more than 0.7 GiB" in memory.message


def test_classify() -> None:
    assert classify(MemoryError()) == ("out_of_memory", "MemoryError")
    assert classify(torch.OutOfMemoryError("CUDA"))[0] == "out_of_memory"
    assert classify(KeyError("x"))[0] == "error"
