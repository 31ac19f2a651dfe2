"""Known loads, measured."""

import os
import signal
import time
from collections.abc import Callable

import pytest
import torch

from ponet.benchmarks import measure
from ponet.benchmarks.measure import Timing, classify, interleave, peak_memory

MIB = 2**20


def hold(mebibytes: int) -> Callable[[], object]:
    """Set-up that itself takes and frees more than what is measured."""
    torch.ones(32 * MIB)
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


class Clock:
    """Time that passes only where a candidate says so, so that a busy machine changes nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, *seconds: float) -> Callable[[], object]:
        """A function that takes so long: the first call, the second, ..., and from then on as the last."""
        turns = iter(seconds)

        def run() -> None:
            self.now += next(turns, seconds[-1])

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(measure, "clock", made)
    return made


def test_turns_and_medians(clock: Clock) -> None:
    timings = interleave({"a": clock.wait(9, 4, 1, 2, 3, 5), "b": clock.wait(8, 0.5)}, rounds=5, warm_up=1)
    assert timings["a"].seconds == [4, 1, 2, 3, 5]
    assert timings["a"].median == 3
    assert timings["b"].seconds == [0.5] * 5
    assert timings["a"].to_dict() == {"status": "ok", "median_seconds": 3, "quartiles_seconds": [2, 4], "rounds": 5}


def test_candidates_take_turns() -> None:
    calls: list[str] = []
    interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, warm_up=1)
    assert calls == ["a", "b"] * 3


def test_the_real_clock_counts_seconds() -> None:
    timings = interleave({"sleep": lambda: time.sleep(0.02)}, rounds=3, warm_up=0, synchronize=lambda: None)
    assert timings["sleep"].median >= 0.02


def test_median_and_quartiles_of_known_figures() -> None:
    timing = Timing([5.0, 1.0, 2.0, 4.0, 3.0])
    assert timing.median == 3.0
    assert timing.quartiles == (2.0, 4.0)
    assert Timing([7.0]).quartiles == (7.0, 7.0)


def test_budget_ends_measuring_after_a_round(clock: Clock) -> None:
    timings = interleave({"a": clock.wait(2), "b": clock.wait(1)}, rounds=100, warm_up=1, budget=10)
    assert [len(timing.seconds) for timing in timings.values()] == [3, 3]
    assert len(interleave({"a": clock.wait(20)}, rounds=100, warm_up=1, budget=10)["a"].seconds) == 1


def test_impatience_and_errors_stop_one_candidate_only(clock: Clock) -> None:
    def fail() -> None:
        raise RuntimeError("no\nluck")

    candidates = {"slow": clock.wait(50), "slow at first": clock.wait(50, 1), "fail": fail, "fast": clock.wait(1)}
    timings = interleave(candidates, rounds=3, warm_up=1, patience=40)
    assert timings["slow"].status == "timeout"
    assert timings["slow"].seconds == [50]
    assert timings["slow"].message == "one call took 50.0 s, more than 40 s"
    assert timings["slow at first"].status == "ok"
    assert timings["fail"].to_dict() == {"status": "error", "message": "no luck"}
    assert timings["fast"].status == "ok"
    assert len(timings["fast"].seconds) == 3


@pytest.mark.parametrize("setup", [hold, briefly])
def test_peak_memory_is_the_growth_alone(setup: Callable[[int], Callable[[], object]]) -> None:
    memory = peak_memory(setup, (96,), timeout=300)
    assert memory.status == "ok", memory.message
    assert memory.peak_bytes is not None
    assert 96 * MIB <= memory.peak_bytes < 112 * MIB


def free_some(mebibytes: int) -> Callable[[], object]:
    """Set-up that frees much in pieces, which an allocator likes to keep and to use again."""
    for _ in range(3):
        pieces = [torch.ones(MIB // 4) for _ in range(mebibytes)]
        del pieces
    return lambda: [torch.ones(MIB // 4) for _ in range(mebibytes)]


def test_freed_memory_is_not_kept_for_the_run() -> None:
    memory = peak_memory(free_some, (64,), timeout=300)
    assert memory.peak_bytes is not None
    assert 64 * MIB <= memory.peak_bytes < 72 * MIB


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
    memory = peak_memory(die, (by,), timeout=1 if by == "sleep" else 300)
    assert (memory.status, memory.peak_bytes) == (status, None)
    assert message in memory.message
    assert set(memory.to_dict()) == {"status", "message"}


def test_a_cell_gives_up_at_its_limit() -> None:
    memory = peak_memory(briefly, (1024,), limit_bytes=600 * MIB)
    assert memory.status == "out_of_memory"
    assert "more than 0.6 GiB" in memory.message


def test_classify() -> None:
    assert classify(MemoryError()) == ("out_of_memory", "MemoryError")
    assert classify(torch.OutOfMemoryError("CUDA"))[0] == "out_of_memory"
    assert classify(KeyError("x"))[0] == "error"
