"""What a step, an evaluation and a budget are, seen from the run folder."""

import json
import math
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import at_step, history
from tests.training.tiny import TinyTask, make_split
from transformers import EvalPrediction

from ponet.config.recipe import load_recipe
from ponet.config.training import TrainingOptions
from ponet.training.display import Display
from ponet.training.evaluation import evaluate_split
from ponet.training.progress import Progress
from ponet.training.run import TrainingInterruptedError, train
from ponet.utils.errors import PoNetError


@pytest.mark.parametrize("own_loss", ["false", "true"])
def test_the_loss_of_accumulated_batches_is_the_mean_over_all_their_examples(
    own_loss: str, tiny_recipe: Any, tmp_path: Path
) -> None:
    """Batches of 20, 20 and 8 examples are one step as a batch of 48 is."""
    lines = []
    for size, accumulation in ((48, 1), (20, 3)):
        recipe = tiny_recipe(
            f"batch_size={size}",
            "batch_tokens=null",
            f"gradient_accumulation={accumulation}",
            "max_steps=1",
            "log_every=1",
            "data.dropout=0",
            f"data.own_loss={own_loss}",
        )
        train(recipe, tmp_path / str(size), show=False)
        lines.append(history(tmp_path / str(size))[0])
    assert lines[0]["loss"] == pytest.approx(lines[1]["loss"], rel=1e-5)
    assert lines[0]["grad_norm"] == pytest.approx(lines[1]["grad_norm"], rel=1e-4)
    assert lines[0]["tokens"] == lines[1]["tokens"]
    assert lines[0]["grad_norm"] > 1e-3


@pytest.mark.parametrize(
    "limits", [("batch_tokens=20",), ("batch_tokens=null", "batch_size=5"), ("batch_tokens=9999",)]
)
def test_evaluation_restores_the_order_and_weighs_examples_alike(limits: tuple[str, ...], tiny_recipe: Any) -> None:
    seen: dict[str, Any] = {}

    def keep(prediction: EvalPrediction) -> dict[str, float]:
        seen["logits"], seen["labels"] = prediction.predictions, prediction.label_ids
        return {}

    recipe, split = tiny_recipe(*limits), make_split(16, 1)
    prepared = TinyTask().prepare(recipe)
    prepared.compute_metrics = keep
    before = torch.get_rng_state()
    metrics = evaluate_split(prepared.model, split, prepared, recipe.training, Display(shown=False))
    assert torch.equal(before, torch.get_rng_state()), "the random numbers are the training's"
    with torch.no_grad():
        each = [prepared.model(**prepared.collate([example])) for example in split.examples]  # type: ignore[attr-defined]
    assert seen["labels"].tolist() == [example["labels"] for example in split.examples]  # type: ignore[attr-defined]
    np.testing.assert_allclose(seen["logits"], torch.cat([output.logits for output in each]).numpy(), atol=1e-5)
    assert metrics["loss"] == pytest.approx(float(torch.stack([output.loss for output in each]).mean()), abs=1e-5)


def test_progress_knows_the_best_whatever_better_means() -> None:
    progress = Progress(step=1)
    assert progress.evaluated({"loss": 2.0}, "loss", False)
    progress.step = 2
    assert not progress.evaluated({"loss": float("nan")}, "loss", False)
    progress.step = 3
    assert not progress.evaluated({"loss": 2.0}, "loss", False), "the first of equals stays"
    assert progress.waited == 2
    progress.step = 4
    assert progress.evaluated({"loss": 1.0}, "loss", False)
    assert (progress.best_step, progress.best_value, progress.waited) == (4, 1.0, 0)
    text = json.dumps({**json.loads(progress.to_json()), "of another version": 1})
    assert Progress.from_json(text) == progress


# ---- a budget of time


def test_a_time_is_a_number_and_a_unit() -> None:
    seconds = [TrainingOptions(budget=text).budget_seconds() for text in ("90s", "25m", "1.5h", " 2 m ")]
    assert seconds == [90, 1500, 5400, 120]
    assert TrainingOptions().budget_seconds() is None
    for text in ("25", "0s", "m", "1e3s", "1 day", "-2m"):
        with pytest.raises(PoNetError, match=re.escape(f"such as 90s, 25m or 2h, not '{text}'")):
            TrainingOptions(budget=text)
    with pytest.raises(PoNetError, match=r"training\.step_seconds.*greater than 0"):
        TrainingOptions(step_seconds=0.0)
    with pytest.raises(PoNetError, match=r"training\.step_seconds.*give that too"):
        TrainingOptions(step_seconds=0.4)


def test_steps_are_timed_and_as_many_planned_as_fill_the_budget(tiny_recipe: Any, tmp_path: Path) -> None:
    """And the timing leaves no trace in the weights, though the warm-up is longer than the trial."""
    changes = ("training.schedule=onecycle", "training.warmup=0.4")
    result = train(tiny_recipe("budget=0.1s", *changes), tmp_path / "timed", show=False)
    steps, seconds = result["train"]["steps"], result["train"]["timed_step_seconds"]
    assert seconds > 0
    assert steps == max(1, math.floor(0.1 / seconds))
    assert load_recipe(tmp_path / "timed" / "recipe.yaml").training.max_steps == steps
    assert result["recipe"]["training"]["max_steps"] == steps
    train(tiny_recipe(f"max_steps={steps}", *changes), tmp_path / "plain", show=False)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("timed", "plain"))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_known_step_is_not_timed_and_a_resumed_run_keeps_its_plan(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = ("budget=2s", "training.step_seconds=0.25")
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(TrainingInterruptedError, match="Stopped at step 3 of 8"):
            train(tiny_recipe(*budget), tmp_path / "run", show=False)
    result = train(tiny_recipe(*budget), tmp_path / "run", show=False)
    assert result["train"]["steps"] == 8
    assert result["train"]["timed_step_seconds"] == 0.25
    assert train(tiny_recipe(*budget), tmp_path / "run", show=False) == result, "complete: returned as it is"
    short = tiny_recipe("budget=1s", "training.step_seconds=60")
    assert train(short, tmp_path / "short", show=False)["train"]["steps"] == 1, "at least"


def test_several_processes_have_several_clocks(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ponet.training.run.process_count", lambda: 2)
    with pytest.raises(PoNetError, match=r"give training\.step_seconds too, or training\.max_steps"):
        train(tiny_recipe("budget=2s"), tmp_path / "run", show=False)
