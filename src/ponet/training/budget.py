"""A training that has a time instead of a number of steps: some steps are timed first, then as many as fill it planned.

So that mixers of unequal cost can be compared at equal cost: each gets a schedule made for exactly the steps that it
can afford, which a training that is stopped by the clock would not have.
"""

import copy
import math
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ponet.config.recipe import Recipe
from ponet.config.training import MOST_STEPS
from ponet.tasks.base import Prepared
from ponet.training.batching import training_stream
from ponet.training.setup import process_count, training_arguments
from ponet.training.trainer import PoNetTrainer
from ponet.utils.errors import PoNetError

WARM_UP_STEPS = 3
TIMED_STEPS = 10
"""At least."""
TIMED_SECONDS = 10.0
"""At least, but no more than a tenth of the budget (and `MOST_TIMED_STEPS`)."""
MOST_TIMED_STEPS = 200


def fill_budget(recipe: Recipe, prepared: Prepared, precision: str) -> tuple[Recipe, float]:
    """The recipe with the `max_steps` that its `training.budget` has time for, and the seconds that one step takes.

    Times real steps on the run's first batches, with the trainer that will train, on a copy of the model; nothing
    of that is seen in the training. Where `training.step_seconds` is given, nothing is timed.

    Raises:
        PoNetError: with several processes, whose clocks differ.
    """
    budget = recipe.training.budget_seconds()
    assert budget is not None
    seconds = recipe.training.step_seconds
    if seconds is None:
        if process_count() > 1:
            raise PoNetError(
                "training.budget times the steps of one process: with torchrun, give training.step_seconds too, or "
                "training.max_steps."
            )
        seconds = time_step(recipe, prepared, precision, min(TIMED_SECONDS, budget / 10))
    if budget / seconds > MOST_STEPS:
        raise PoNetError(
            f"'training.budget' of {recipe.training.budget} is more than {MOST_STEPS:,} steps of {seconds:.3g} s. "
            "Lower it."
        )
    steps = max(1, math.floor(budget / seconds))
    return replace(recipe, training=replace(recipe.training, max_steps=steps)), seconds


def time_step(recipe: Recipe, prepared: Prepared, precision: str, at_least: float = TIMED_SECONDS) -> float:
    """The median seconds of one optimizer step, loading of its batch included.

    Args:
        at_least: seconds to go on timing for.
    """
    options = replace(recipe.training, warmup=0.0, max_steps=MOST_TIMED_STEPS)
    clock = _Clock(at_least)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = PoNetTrainer(
            model=copy.deepcopy(prepared.model),
            args=training_arguments(options, Path(scratch), recipe.seed, MOST_TIMED_STEPS, precision),
            options=options,
            collate=prepared.collate,
            compute_metrics=None,
            processing_class=prepared.processing_class,
            compute_loss_func=prepared.compute_loss,
            train=prepared.train,
            objective=prepared.objective,
            stream=training_stream(prepared, options, recipe.seed, MOST_TIMED_STEPS),
            callbacks=[clock],
        )
        trainer.train()
    return clock.step_seconds()


class _Clock(TrainerCallback):
    """Notes when each step ends, and ends the trial."""

    def __init__(self, at_least: float) -> None:
        self.at_least = at_least
        self.ends: list[float] = []

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        timed = self.ends[WARM_UP_STEPS - 1 :]
        control.should_training_stop = len(timed) > TIMED_STEPS and timed[-1] - timed[0] >= self.at_least

    def step_seconds(self) -> float:
        timed = self.ends[WARM_UP_STEPS - 1 :]
        return statistics.median(later - earlier for earlier, later in pairwise(timed))
