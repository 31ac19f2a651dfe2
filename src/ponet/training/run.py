"""`train`: a recipe in, a run folder out; resumed from the last checkpoint where it was interrupted."""

import hashlib
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import set_seed

from ponet.config.recipe import Recipe
from ponet.config.training import MOST_STEPS
from ponet.tasks.base import Prepared, Split
from ponet.tasks.registry import get_task
from ponet.training.batching import training_stream
from ponet.training.card import model_card
from ponet.training.display import Display
from ponet.training.distributed import check_environment, process_count, process_index
from ponet.training.evaluation import evaluate_split, load_for_evaluation, settled_precision
from ponet.training.folder import RunFolder
from ponet.training.loop import PROGRESS_FILE, TrainingLoop, time_step
from ponet.training.progress import MetricsFile, Progress, finite
from ponet.training.result import commit, peak_flops, provenance, reset_peak_memory
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import explained
from ponet.utils.libraries import quiet_libraries

CHECKED_EXAMPLES = 8
FINGERPRINT_EXAMPLES = 256
TIMED_SECONDS = 10.0
"""The least time to time steps for, for `training.budget`, but no more than a tenth of it."""
LOST_PROCESS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
"""In torch's messages when a process that it waits for is gone."""
SMALL_IS_GOOD = ("loss", "error", "mse", "mae", "perplexity")
"""Words in the names of metrics of which less is better."""


class TrainingInterruptedError(PoNetError):
    """A training that was asked to stop, by the signal of a `number`, and did, with a checkpoint to resume from."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


def train(
    recipe: Recipe, out: Path | str, overwrite: bool = False, show: bool = True, command: str | None = None
) -> dict[str, Any]:
    """Trains a recipe in the run folder `out`, or resumes the training that was interrupted there.

    The best checkpoint on the validation split (the last, without one) becomes the run's model, and is evaluated
    once on the test split. Resumed on the same CPU, a training reaches the weights, to the bit, that it would have
    reached without the interruption.

    Args:
        recipe: what to train.
        out: a new or empty folder, or one that holds this recipe's run; a complete run is returned as it is.
        overwrite: whether a run that is there is removed first.
        show: whether progress and notices are written to stderr.
        command: what the result names as the command; default: this process's.

    Returns:
        The content of `result.json`.

    Raises:
        TrainingInterruptedError: Ctrl-C or SIGTERM during the training.
        PoNetError: wrong data or options, another run's folder, a full disk, damaged checkpoints, a loss that
            isn't finite, too little memory.
    """
    check_environment()
    display, folder = Display(show and process_index() == 0), RunFolder(out)
    with folder.opened(recipe, overwrite, display.notice), quiet_libraries(), _explained_failures():
        complete = folder.result()
        if complete is not None:
            if not recipe.training.keep_checkpoints:
                folder.store.remove_all()
            display.notice(f"The run in '{out}' is complete; this is its result. --overwrite trains it again.")
            return complete
        task = get_task(recipe.task)
        if hasattr(task, "run"):  # it trains by itself, without a neural network
            figures = task.run(recipe)
            for notice in figures.get("notices", ()):
                display.notice(notice)
            result: dict[str, Any] = finite({**figures, **provenance(recipe, command)})
            folder.begin(recipe)
            folder.finish(result, model_card(recipe, result), keep_checkpoints=False)
            return result
        set_seed(recipe.seed)
        prepared = task.prepare(recipe)
        for notice in prepared.notices:
            display.notice(notice)
        return _train(recipe, folder, prepared, display, command)


def _train(
    recipe: Recipe, folder: RunFolder, prepared: Prepared, display: Display, command: str | None
) -> dict[str, Any]:
    """Trains what is left, chooses the checkpoint, evaluates it, and writes the run's files."""
    started_at = commit()  # by the end the checkout may be another
    store, main = folder.store, process_index() == 0
    if len(prepared.train) == 0:
        raise PoNetError("The training split is empty: there is nothing to learn from.")
    if recipe.training.patience is not None and prepared.validation is None:
        raise PoNetError("'training.patience' needs a validation split, and the data has none.")
    metric = recipe.training.metric or prepared.best_metric
    progress, checkpoint = _find_progress(folder, prepared, display)
    precision = progress.precision = settled_precision(recipe.training, progress.precision, display)
    if recipe.training.budget is not None and checkpoint is None:
        recipe, progress.step_seconds = _fill_budget(recipe, prepared, precision, display)
    elif recipe.training.budget is not None:
        recipe = replace(recipe, training=folder.recipe().training)  # with the steps planned when the run began
    options = recipe.training
    stream = training_stream(prepared, options, recipe.seed, options.max_steps, process_index(), process_count())
    if progress.step > stream.steps:
        raise PoNetError(
            f"The checkpoint in '{folder.path}' is of step {progress.step:,}, and this training has "
            f"{stream.steps:,}. Train again with --overwrite."
        )
    best_flops = None if prepared.objective is None else peak_flops(precision) * process_count()
    greater_is_better = not any(word in metric for word in SMALL_IS_GOOD)
    loop = TrainingLoop(
        recipe,
        prepared,
        stream,
        precision,
        progress,
        store,
        MetricsFile(folder.metrics_file, progress, best_flops) if main else None,
        display,
        metric,
        prepared.greater_is_better if metric == prepared.best_metric else greater_is_better,
    )
    if checkpoint is None:
        _check_metric(metric, prepared, loop, display)
        if main:
            folder.begin(recipe)
    else:
        if main:
            folder.cut_metrics(progress.step)
        display.notice(f"Resuming from step {progress.step:,} of {stream.steps:,}.")
    if progress.stopped is None:
        reset_peak_memory()
        with loop.interruption.watched(display.notice), display, explained(folder.path):
            loop.run(checkpoint)
        if progress.stopped is None:
            raise TrainingInterruptedError(
                f"Stopped at step {progress.step:,} of {stream.steps:,}, with a checkpoint. "
                "The same command resumes from there.",
                loop.interruption.signal or signal.SIGINT,
            )
    best = progress.best_step or progress.step
    chosen = store.path(best)
    if damage := store.damage(best):
        raise PoNetError(f"'{chosen}' is damaged ({damage}). Train again with --overwrite.")
    if options.sharded:
        prepared.model = load_for_evaluation(chosen, precision)
    else:
        loop.load_weights(chosen)
    loop.accelerator.wait_for_everyone()  # all have read it: the first process may remove it
    test, inference = None, None
    if prepared.test is not None:
        started = time.perf_counter()
        with display:
            test = evaluate_split(prepared.model, prepared.test, prepared, options, display)
        inference = {
            "seconds": round(time.perf_counter() - started, 3),
            "examples": len(prepared.test),
            "tokens": int(np.sum(prepared.test.lengths)),
        }
    figures = {**_figures(prepared, progress, metric, precision, best_flops, test), "inference": inference}
    result: dict[str, Any] = finite({**figures, **provenance(recipe, command), "commit": started_at})
    if main:
        folder.save_model(prepared.model, prepared.processing_class)
        folder.finish(result, model_card(recipe, result), options.keep_checkpoints)
    return result


def _find_progress(folder: RunFolder, prepared: Prepared, display: Display) -> tuple[Progress, Path | None]:
    """Where to begin: the progress, and the checkpoint that it comes from if there is one."""
    data = prepared.fingerprint or fingerprint(prepared.train)
    step, notices = folder.store.latest()
    for notice in notices:
        display.notice(notice)
    if step is None:
        return Progress(data=data), None
    checkpoint = folder.store.path(step)
    try:
        progress = Progress.from_json((checkpoint / PROGRESS_FILE).read_text(encoding="utf-8"))
        problem = None if progress.step == step else f"its {PROGRESS_FILE} is of step {progress.step}"
    except (OSError, ValueError, PoNetError) as error:
        problem = str(error).split("\n")[0].rstrip(".")
    if problem is not None:
        raise PoNetError(
            f"'{checkpoint}' isn't a checkpoint of step {step} that ponet wrote ({problem}). Start again with "
            "--overwrite, or elsewhere."
        )
    if progress.data != data:
        raise PoNetError(
            f"The training data isn't what the run in '{folder.path}' began with. "
            "Bring it back, or train again with --overwrite."
        )
    return progress, checkpoint


def fingerprint(split: Split) -> str:
    """Identifies a training split: all lengths, and the tokens and labels of examples all over it."""
    digest = hashlib.sha256(np.asarray(split.lengths, dtype=np.int64).tobytes())
    for index in np.unique(np.linspace(0, len(split) - 1, FINGERPRINT_EXAMPLES).astype(np.int64)).tolist():
        example = split.examples[index]
        for key in ("input_ids", "segment_ids", "labels"):
            if example.get(key) is not None:
                digest.update(np.ascontiguousarray(np.asarray(example[key], dtype=np.float64)).tobytes())
    return digest.hexdigest()


def _fill_budget(recipe: Recipe, prepared: Prepared, precision: str, display: Display) -> tuple[Recipe, float]:
    """The recipe with the `max_steps` that its `training.budget` has time for, and the seconds of one step.

    So mixers of unequal cost can be compared at equal cost: each has a schedule made for exactly the steps that it can
    afford, which a training stopped by the clock would not have.
    """
    budget, seconds = recipe.training.budget_seconds(), recipe.training.step_seconds
    assert budget is not None
    if seconds is None:
        if process_count() > 1:
            raise PoNetError(
                "training.budget times the steps of one process: with torchrun, give training.step_seconds too, or "
                "training.max_steps."
            )
        display.notice(f"Timing some steps, to plan as many as {recipe.training.budget} have time for.")
        seconds = time_step(recipe, prepared, precision, min(TIMED_SECONDS, budget / 10))
    if budget / seconds > MOST_STEPS:
        raise PoNetError(
            f"'training.budget' of {recipe.training.budget} is more than {MOST_STEPS:,} steps of {seconds:.3g} s. "
            "Lower it."
        )
    steps = max(1, math.floor(budget / seconds))
    display.notice(f"A step takes {seconds:.3g} s: {steps:,} steps fill {recipe.training.budget}.")
    return replace(recipe, training=replace(recipe.training, max_steps=steps)), seconds


def _check_metric(metric: str, prepared: Prepared, loop: TrainingLoop, display: Display) -> None:
    """Refuses an unknown metric before the training, by a few examples, rather than at the first evaluation."""
    validation = prepared.validation
    if metric in (prepared.best_metric, "loss") or validation is None:
        return
    if prepared.compute_metrics is None and prepared.objective is None:
        return
    count = min(CHECKED_EXAMPLES, len(validation))
    few = Split([validation.examples[index] for index in range(count)], validation.lengths[:count])
    known = evaluate_split(loop.model, few, prepared, loop.options, display)
    if metric not in known:
        raise PoNetError(f"There is no metric '{metric}' for 'training.metric'.{suggest(metric, known)}")


def _figures(
    prepared: Prepared,
    progress: Progress,
    metric: str,
    precision: str,
    best_flops: float | None,
    test: dict[str, Any] | None,
) -> dict[str, Any]:
    """What a result says of the training, but for where it comes from."""
    model, operations = prepared.model, {}
    best: dict[str, Any] | None = None
    if progress.flops and progress.seconds:
        rate = progress.flops / progress.seconds
        operations = {
            "flops": progress.flops,
            "flops_per_second": rate,
            "peak_flops_per_second": best_flops,
            "utilisation": rate / best_flops if best_flops else None,
        }
    if progress.best_step is not None:
        best = {"step": progress.best_step, "epoch": progress.best_epoch}
        best |= {"metric": metric, "value": progress.best_value}
    return {
        "test": test,
        "validation": progress.best_metrics or None,
        "best": best,
        "train": {
            "steps": progress.step,
            "epochs": round(progress.epoch, 6),
            "tokens": progress.tokens,
            "seconds": round(progress.seconds, 3),
            "timed_step_seconds": progress.step_seconds,
            "tokens_per_second": round(progress.tokens / progress.seconds, 1) if progress.seconds else None,
            "evaluation_seconds": round(progress.evaluation_seconds, 3),
            "peak_memory_bytes": progress.peak_memory_bytes,
            **operations,
            "precision": precision,
            "stopped_by": progress.stopped,
        },
        "model": {
            "class": type(model).__name__,
            "parameters": model.num_parameters(),
            "layers": getattr(model.config, "num_hidden_layers", None),
            "hidden_size": getattr(model.config, "hidden_size", None),
            "mixers": getattr(model.config, "layer_mixers", None),
        },
        "data": prepared.facts,
        "notices": prepared.notices,
    }


@contextmanager
def _explained_failures() -> Iterator[None]:
    """Turns too little memory and a lost process into one sentence each."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # a GPU's OutOfMemoryError is a RuntimeError too
        if process_count() > 1 and any(word in str(error) for word in LOST_PROCESS):
            raise PoNetError(
                "Another of the processes that train together has ended; its own message says why. The same command "
                "resumes from the last checkpoint."
            ) from error
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "can't allocate memory" not in str(error):
            raise
        raise PoNetError(
            "The memory isn't enough for this model and batch. Lower training.batch_tokens (and raise "
            "training.gradient_accumulation by as much), or data.max_length."
        ) from error
