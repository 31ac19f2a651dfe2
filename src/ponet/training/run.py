"""`train`: a recipe in, a run folder out; taken up again where it was cut off."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from ponet.config.recipe import Recipe
from ponet.tasks.base import Prepared, Split
from ponet.tasks.registry import get_task
from ponet.training.batching import training_stream
from ponet.training.budget import fill_budget
from ponet.training.callbacks import Flow, Interruption, MetricsFile, finite
from ponet.training.card import model_card
from ponet.training.display import Display
from ponet.training.folder import RunFolder
from ponet.training.libraries import quiet_libraries
from ponet.training.memory import reset_peak
from ponet.training.peak import peak_flops
from ponet.training.progress import Progress
from ponet.training.result import commit, provenance
from ponet.training.schedules import warmup_steps
from ponet.training.setup import (
    check_environment,
    fingerprint,
    process_count,
    process_index,
    resolve_precision,
    training_arguments,
)
from ponet.training.trainer import PROGRESS_FILE, PoNetTrainer
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import explained

CHECKED_EXAMPLES = 8
LOST_PROCESS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
"""In what torch says when a process that it waits for is gone."""
SMALL_IS_GOOD = ("loss", "error", "mse", "mae", "perplexity")
"""Words in the names of metrics of which less is better."""


class TrainingInterruptedError(PoNetError):
    """A training that was asked to stop, and did, with a checkpoint to go on from.

    Attributes:
        signal: the number of the signal that asked.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


def train(
    recipe: Recipe, out: Path | str, overwrite: bool = False, show: bool = True, command: str | None = None
) -> dict[str, Any]:
    """Trains a recipe in the run folder `out`, or takes up the training that was cut off there.

    The best checkpoint on the validation split (the last, without one) becomes the run's model, and is evaluated
    once on the test split. Taken up again on the same CPU, a training reaches the weights, to the bit, that it
    would have reached without the interruption.

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
    with folder.opened(recipe, overwrite, display.notice), quiet_libraries(), _memory_told():
        complete = folder.result()
        if complete is not None:
            if not recipe.training.keep_checkpoints:
                folder.store.remove_all()
            display.notice(f"The run in '{out}' is complete; this is its result. --overwrite trains it again.")
            return complete
        task = get_task(recipe.task)
        if hasattr(task, "run"):  # it trains by itself, without a neural network
            return _finish(recipe, folder, task.run(recipe), display, command)
        set_seed(recipe.seed)
        prepared = task.prepare(recipe)
        for notice in prepared.notices:
            display.notice(notice)
        return Training(recipe, folder, prepared, display).run(command)


def _finish(
    recipe: Recipe, folder: RunFolder, figures: dict[str, Any], display: Display, command: str | None
) -> dict[str, Any]:
    for notice in figures.get("notices", ()):
        display.notice(notice)
    result: dict[str, Any] = finite({**figures, **provenance(recipe, command)})
    folder.begin(recipe)
    folder.finish(result, model_card(recipe, result), keep_checkpoints=False)
    return result


class Training:
    """One prepared training in its folder: the parts are made here, and put together in `run`."""

    def __init__(self, recipe: Recipe, folder: RunFolder, prepared: Prepared, display: Display) -> None:
        self.recipe, self.folder, self.prepared, self.display = recipe, folder, prepared, display
        self.commit = commit()  # now: by the end the checkout may be another
        options = recipe.training
        if len(prepared.train) == 0:
            raise PoNetError("The training split is empty: there is nothing to learn from.")
        if options.patience is not None and prepared.validation is None:
            raise PoNetError("'training.patience' needs a validation split, and the data has none.")
        self.precision = resolve_precision(options.precision)
        self.metric = options.metric or prepared.best_metric
        self.progress, self.resumed = self._progress()
        if options.budget is not None:
            self.recipe = self._within_budget()
            options = self.recipe.training
        self.stream = training_stream(
            prepared, options, recipe.seed, options.max_steps, process_index(), process_count()
        )
        self.peak_flops = None if prepared.objective is None else peak_flops(self.precision) * process_count()
        if self.progress.step > self.stream.steps:
            raise PoNetError(
                f"The checkpoint in '{self.folder.path}' is of step {self.progress.step:,}, and this training has "
                f"{self.stream.steps:,}. Train again with --overwrite."
            )
        warmup_steps(options.warmup, self.stream.steps)  # too long a warm-up is told before anything is written
        self.interruption = Interruption()
        self.trainer = self._trainer()

    def run(self, command: str | None) -> dict[str, Any]:
        """Trains what is left, chooses the checkpoint, evaluates, and writes the run's files."""
        store, progress = self.folder.store, self.progress
        if self.resumed is None:
            self._check_metric()
            if process_index() == 0:
                self.folder.begin(self.recipe)
        else:
            if process_index() == 0:
                self.folder.cut_metrics(progress.step)
            self.display.notice(f"Going on from step {progress.step:,} of {self.stream.steps:,}.")
        if progress.stopped is None:
            reset_peak()
            with self.interruption.watched(self.display.notice), self.display, explained(self.folder.path):
                self.trainer.train(resume_from_checkpoint=self.resumed)
            if progress.stopped is None:
                raise TrainingInterruptedError(
                    f"Stopped at step {progress.step:,} of {self.stream.steps:,}, with a checkpoint. "
                    "The same command goes on from there.",
                    self.interruption.signal or signal.SIGINT,
                )
        chosen = progress.best_step or progress.step
        damage = store.damage(chosen)
        if damage is not None:
            raise PoNetError(f"'{store.path(chosen)}' is damaged ({damage}). Train again with --overwrite.")
        evaluator = self._choose(store.path(chosen))
        with self.display:
            test = None if self.prepared.test is None else evaluator.evaluate_split(self.prepared.test)
        result = finite({**self._figures(test), **provenance(self.recipe, command), "commit": self.commit})
        if self.trainer.args.should_save:
            self.folder.save_model(self.prepared.model, self.prepared.processing_class)
            card = model_card(self.recipe, result)
            self.folder.finish(result, card, self.recipe.training.keep_checkpoints)
        return result

    def _choose(self, checkpoint: Path) -> PoNetTrainer:
        """Makes the checkpoint's weights those of the run's model, and gives a trainer to evaluate it with."""
        if not self.recipe.training.sharded:
            self.trainer.state.best_model_checkpoint = str(checkpoint)
            self.trainer._load_best_model()
            return self.trainer
        from ponet.training.evaluation import load_model

        self.prepared.model = load_model(checkpoint)
        options = replace(self.recipe.training, sharded=False)
        return PoNetTrainer(
            model=self.prepared.model,
            args=training_arguments(options, self.folder.store.folder, self.recipe.seed, 1, self.precision),
            options=options,
            collate=self.prepared.collate,
            compute_metrics=self.prepared.compute_metrics,
            compute_loss_func=self.prepared.compute_loss,
            objective=self.prepared.objective,
            callbacks=[self.display],
        )

    def _progress(self) -> tuple[Progress, str | None]:
        """Where to begin: the progress, and the checkpoint it stands in if there is one."""
        data = self.prepared.fingerprint or fingerprint(self.prepared.train)
        step, notices = self.folder.store.latest()
        for notice in notices:
            self.display.notice(notice)
        if step is None:
            return Progress(data=data), None
        path = self.folder.store.path(step)
        progress = _read_progress(path, step)
        if progress.data != data:
            raise PoNetError(
                f"The training data isn't what the run in '{self.folder.path}' began with. "
                "Bring it back, or train again with --overwrite."
            )
        return progress, str(path)

    def _within_budget(self) -> Recipe:
        """The recipe with the steps that fill its budget: timed now, or as chosen when the training began."""
        recipe, budget = self.recipe, self.recipe.training.budget
        if self.resumed is not None:
            return replace(recipe, training=self.folder.recipe().training)
        if recipe.training.step_seconds is None:
            self.display.notice(f"Timing some steps, to plan as many as {budget} have time for.")
        filled, self.progress.step_seconds = fill_budget(recipe, self.prepared, self.precision)
        self.display.notice(
            f"A step takes {self.progress.step_seconds:.3g} s: {filled.training.max_steps:,} steps fill {budget}."
        )
        return filled

    def _trainer(self) -> PoNetTrainer:
        recipe, prepared, options = self.recipe, self.prepared, self.recipe.training
        flow = Flow(self.stream, options, self.progress, prepared.validation is not None, self.interruption)
        self.display.watch(self.progress, self.metric)
        metrics_file = MetricsFile(self.folder.metrics_file, self.progress, self.peak_flops)
        callbacks: list[TrainerCallback] = [flow, metrics_file, self.display]
        flow.trainer = PoNetTrainer(
            model=prepared.model,
            args=training_arguments(
                options,
                self.folder.store.folder,
                recipe.seed,
                self.stream.steps,
                self.precision,
                may_leave_unused=prepared.objective is None,
            ),
            options=options,
            collate=prepared.collate,
            compute_metrics=prepared.compute_metrics,
            processing_class=prepared.processing_class,
            compute_loss_func=prepared.compute_loss,
            train=prepared.train,
            validation=prepared.validation,
            stream=self.stream,
            objective=prepared.objective,
            store=self.folder.store,
            progress=self.progress,
            metric=self.metric,
            greater_is_better=self._greater_is_better(),
            callbacks=callbacks,
        )
        return flow.trainer

    def _greater_is_better(self) -> bool:
        if self.metric == self.prepared.best_metric:
            return self.prepared.greater_is_better
        return not any(word in self.metric for word in SMALL_IS_GOOD)

    def _check_metric(self) -> None:
        """Tells an unknown metric before the training, from a few examples, rather than at the first evaluation."""
        validation, compute_metrics = self.prepared.validation, self.prepared.compute_metrics
        if self.metric in (self.prepared.best_metric, "loss") or validation is None:
            return
        if compute_metrics is None and self.prepared.objective is None:
            return
        count = min(CHECKED_EXAMPLES, len(validation))
        few = Split([validation.examples[index] for index in range(count)], validation.lengths[:count])
        known = self.trainer.evaluate_split(few)
        if self.metric not in known:
            raise PoNetError(f"There is no metric '{self.metric}' for 'training.metric'.{suggest(self.metric, known)}")

    def _figures(self, test: dict[str, float] | None) -> dict[str, Any]:
        progress, model = self.progress, self.prepared.model
        best, operations = None, {}
        if progress.flops and progress.seconds:
            rate = progress.flops / progress.seconds
            operations = {
                "flops": progress.flops,
                "flops_per_second": rate,
                "peak_flops_per_second": self.peak_flops,
                "utilisation": rate / self.peak_flops if self.peak_flops else None,
            }
        if progress.best_step is not None:
            best = {
                "step": progress.best_step,
                "epoch": progress.best_epoch,
                "metric": self.metric,
                "value": progress.best_value,
            }
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
                "precision": self.precision,
                "stopped_by": progress.stopped,
            },
            "model": {
                "class": type(model).__name__,
                "parameters": model.num_parameters(),
                "mixers": getattr(model.config, "layer_mixers", None),
            },
            "data": self.prepared.facts,
            "notices": self.prepared.notices,
        }


def _read_progress(checkpoint: Path, step: int) -> Progress:
    """What a checkpoint of that step says of its training; two files of it do."""
    try:
        progress = Progress.from_dict(json.loads((checkpoint / PROGRESS_FILE).read_text(encoding="utf-8")))
        state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        if step == progress.step == state.global_step:
            return progress
        problem = f"its files are of the steps {progress.step} and {state.global_step}"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, PoNetError) as error:
        problem = str(error).split("\n")[0].rstrip(".")
    raise PoNetError(
        f"'{checkpoint}' isn't a checkpoint of step {step} that we wrote ({problem}). Start again with --overwrite, "
        "or elsewhere."
    )


@contextmanager
def _memory_told() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # a GPU's OutOfMemoryError is a RuntimeError too
        if process_count() > 1 and any(word in str(error) for word in LOST_PROCESS):
            raise PoNetError(
                "Another of the processes that train together has ended; its own message says why. The same command "
                "goes on from the last checkpoint."
            ) from error
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "can't allocate memory" not in str(error):
            raise
        raise PoNetError(
            "The memory isn't enough for this model and batch. Lower training.batch_tokens (and raise "
            "training.gradient_accumulation by as much), or data.max_length."
        ) from error
