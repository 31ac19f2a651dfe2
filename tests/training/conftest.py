"""Recipes of the tiny task, and what compares runs of it."""

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.tiny import TinyOptions

from ponet.config.recipe import DATA_OPTIONS, Recipe, recipe_from_dict
from ponet.tasks import registry


class Crash(BaseException):
    """Nothing catches it: the process is as good as gone."""


@pytest.fixture(scope="session", autouse=True)
def _settled() -> None:
    """Each training begins with a garbage collection; the libraries' own objects needn't be walked every time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="package", autouse=True)
def _tiny_task() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._TASKS, "tiny", "tests.training.tiny:TinyTask")
        patch.setitem(DATA_OPTIONS, "tiny", TinyOptions)
        yield


def make_recipe(*overrides: str) -> Recipe:
    training = {"learning_rate": 1e-2, "batch_tokens": 64, "epochs": 3, "log_every": 2, "checkpoint_every": 1}
    return recipe_from_dict({"name": "tiny", "task": "tiny", "training": training}, overrides)


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Recipe]:
    """Makes a recipe of the tiny task: `tiny_recipe("max_steps=4", ...)`."""
    return make_recipe


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def history(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what a clock says."""
    train = {key: result["train"][key] for key in ("steps", "epochs", "tokens", "stopped_by")}
    return {**{key: result[key] for key in ("test", "validation", "best")}, "train": train}


def at_step(patch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Calls `act` just before the optimizer's `step`-th step from now."""
    original, calls = torch.optim.AdamW.step, 0

    def noted(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step:
            act()
        return original(self, *arguments, **named)

    patch.setattr(torch.optim.AdamW, "step", noted)


def crash() -> None:
    raise Crash
