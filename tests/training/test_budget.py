"""A time instead of a number of steps: planned once, written down, and nothing of the timing in the training."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ponet.config.recipe import load_recipe
from ponet.config.training import TrainingOptions
from ponet.training import budget
from ponet.training.run import train
from ponet.utils.errors import PoNetError

Make = Callable[..., Any]


def test_a_time_is_a_number_and_a_unit() -> None:
    seconds = [TrainingOptions(budget=text).budget_seconds() for text in ("90s", "25m", "1.5h", " 2 m ")]
    assert seconds == [90, 1500, 5400, 120]
    assert TrainingOptions().budget_seconds() is None
    for text in ("25", "0s", "m", "1e3s", "1 day", "-2m"):
        with pytest.raises(PoNetError, match=re.escape(f"such as 90s, 25m or 2h, not '{text}'")):
            TrainingOptions(budget=text)


def test_as_many_steps_as_fill_it(tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "time_step", lambda *_: 0.3)
    result = train(tiny_recipe("budget=2s", "eval_every=0.5"), tmp_path / "run", show=False)
    assert result["train"]["steps"] == 6
    assert result["train"]["timed_step_seconds"] == 0.3
    assert load_recipe(tmp_path / "run" / "recipe.yaml").training.max_steps == 6
    assert result["recipe"]["training"]["max_steps"] == 6


def test_a_known_step_is_not_timed(tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "time_step", lambda *_: pytest.fail("timed"))
    result = train(tiny_recipe("budget=2s", "training.step_seconds=0.4"), tmp_path / "run", show=False)
    assert result["train"]["steps"] == 5
    assert result["train"]["timed_step_seconds"] == 0.4
    with pytest.raises(PoNetError, match=r"training\.step_seconds.*greater than 0"):
        TrainingOptions(step_seconds=0.0)
    with pytest.raises(PoNetError, match=r"training\.step_seconds.*give that too"):
        TrainingOptions(step_seconds=0.4)


def test_one_step_at_least(tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "time_step", lambda *_: 60.0)
    assert train(tiny_recipe("budget=1s"), tmp_path / "run", show=False)["train"]["steps"] == 1


def test_the_timing_leaves_no_trace_in_the_weights(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are really timed, and the model is the one that the same number of steps gives without a budget."""
    timed = []
    time_step = budget.time_step

    def five_steps(*arguments: Any) -> float:
        timed.append(time_step(*arguments))
        return 0.2

    monkeypatch.setattr(budget, "time_step", five_steps)
    changes = ("training.schedule=onecycle", "training.warmup=0.4")
    train(tiny_recipe("budget=1s", *changes), tmp_path / "timed", show=False)
    train(tiny_recipe("max_steps=5", *changes), tmp_path / "plain", show=False)
    assert len(timed) == 1
    assert timed[0] > 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("timed", "plain"))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_taken_up_again_it_keeps_the_steps_that_were_planned(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ponet.training.callbacks import Flow

    monkeypatch.setattr(budget, "time_step", lambda *_: 0.25)
    on_step_end = Flow.on_step_end

    def interrupted(self: Flow, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 3:
            self.interruption.signal = 2
        on_step_end(self, args, state, control, **kwargs)

    monkeypatch.setattr(Flow, "on_step_end", interrupted)
    with pytest.raises(PoNetError, match="Stopped at step 3 of 8"):
        train(tiny_recipe("budget=2s"), tmp_path / "run", show=False)
    monkeypatch.setattr(Flow, "on_step_end", on_step_end)
    monkeypatch.setattr(budget, "time_step", lambda *_: pytest.fail("timed again"))
    result = train(tiny_recipe("budget=2s"), tmp_path / "run", show=False)
    assert result["train"]["steps"] == 8
    assert result["train"]["timed_step_seconds"] == 0.25
    assert train(tiny_recipe("budget=2s"), tmp_path / "run", show=False) == result, "complete: returned as it is"


def test_several_processes_have_several_clocks(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "process_count", lambda: 2)
    with pytest.raises(PoNetError, match=r"give training\.step_seconds too, or training\.max_steps"):
        train(tiny_recipe("budget=2s"), tmp_path / "run", show=False)
