"""The training loop: forward, backward, clip, step; and where they are due, logs, evaluations and checkpoints.

Hugging Face's accelerate does what depends on the machine: devices, several processes (DDP, FSDP), half precision and
torch.compile.
"""

import copy
import itertools
import math
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from safetensors.torch import load_file
from transformers import set_seed
from transformers.trainer_pt_utils import safe_globals
from transformers.utils import SAFE_WEIGHTS_NAME

from ponet.config.recipe import Recipe
from ponet.tasks.base import BatchStream, Prepared
from ponet.training.batching import data_loader, training_stream
from ponet.training.display import Display
from ponet.training.distributed import (
    gathered,
    load_sharded_optimizer,
    load_sharded_weights,
    make_accelerator,
    prepare_training,
    process_count,
    process_index,
)
from ponet.training.evaluation import evaluate_split
from ponet.training.folder import CheckpointStore
from ponet.training.optimization import build_schedule, evaluation_interval, make_optimizer
from ponet.training.progress import MetricsFile, Progress
from ponet.training.result import peak_memory
from ponet.utils.allocator import return_free_memory
from ponet.utils.errors import PoNetError, suggest

PROGRESS_FILE = "progress.json"
TRIM_EVERY = 50
"""Steps on a CPU between returns of free memory: seldom enough to cost no time, often enough for a small heap."""
WARM_UP_STEPS, TIMED_STEPS, MOST_TIMED_STEPS = 3, 10, 200
"""Of `time_step`: steps before the clock starts, and the least and most steps in all."""


class DivergedError(PoNetError):
    """A training whose loss or gradient isn't finite any more."""


class Interruption:
    """Whether the training was asked to stop (Ctrl-C, or SIGTERM from a scheduler)."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @contextmanager
    def watched(self, notice: Callable[[str], None]) -> Iterator[None]:
        """Inside, the first signal only sets `signal`; the second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python sets signal handlers in the main thread only
            return

        def asked(number: int, frame: FrameType | None) -> None:
            if self.signal is not None:
                raise KeyboardInterrupt
            self.signal = number
            notice("Stopping after this step, with a checkpoint. Ctrl-C again stops at once.")

        before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class TrainingLoop:
    """Trains the model of `prepared` in place, from where `progress` stands to the end of the stream.

    Args:
        recipe: its training section and its seed.
        prepared: model, data and loss.
        stream: the batches of the whole training.
        precision: float32, bf16 or fp16.
        progress: the counts, updated at every step.
        store, metrics_file: where checkpoints and logged lines are written; None in a trial, and the latter in all
            processes but the first.
        metric, greater_is_better: the validation metric that chooses the best checkpoint.
    """

    def __init__(
        self,
        recipe: Recipe,
        prepared: Prepared,
        stream: BatchStream,
        precision: str,
        progress: Progress,
        store: CheckpointStore | None = None,
        metrics_file: MetricsFile | None = None,
        display: Display | None = None,
        metric: str = "loss",
        greater_is_better: bool = False,
    ) -> None:
        self.options, self.prepared, self.stream, self.progress = recipe.training, prepared, stream, progress
        self.store, self.metrics_file, self.display = store, metrics_file, display or Display(shown=False)
        self.interruption = Interruption()
        self.metric, self.greater_is_better = metric, greater_is_better
        options = self.options
        set_seed(recipe.seed)
        self.accelerator = make_accelerator(
            precision, options.sharded, options.compile, find_unused_parameters=prepared.objective is None
        )
        self.device, self.processes, self.first = self.accelerator.device, process_count(), process_index() == 0
        optimizer = make_optimizer(options, prepared.model, prepared.new_weights)
        # `model` is the module itself, for evaluations and checkpoints; `wrapped` is what trains it
        self.model = prepared.model
        self.wrapped, self.optimizer = prepare_training(self.accelerator, self.model, optimizer)
        self.schedule = build_schedule(options, self.optimizer, stream.steps)
        self.save_steps, self.save_seconds = options.checkpoint_interval()
        self.evaluation_steps: Container[int] = stream.epoch_steps()
        if options.eval_every is not None:
            self.evaluation_steps = range(0, stream.steps, evaluation_interval(options.eval_every, stream.steps))
        self.loss_sum = torch.zeros((), device=self.device)  # since the last logged step, as the next two
        self.figure_sums: torch.Tensor | None = None
        self.flops = 0.0  # of this process, not in the progress yet
        self.saved_at = time.monotonic()
        self._kept = self._needed()

    def run(self, checkpoint: Path | None = None, after_step: Callable[[], bool] | None = None) -> None:
        """Trains to the last step, or until patience or an interruption ends it.

        Args:
            checkpoint: the one to resume from, which `progress` belongs to.
            after_step: called after every optimizer step; True ends the training.

        Raises:
            DivergedError: a loss or gradient that isn't finite.
            PoNetError: an unknown metric.
        """
        options, progress, stream, accelerator = self.options, self.progress, self.stream, self.accelerator
        remaining = itertools.islice(stream, progress.step * options.gradient_accumulation, None)
        batches = iter(data_loader(self.prepared.train, remaining, self.prepared.collate, options.workers))
        if checkpoint is not None:
            self.load(checkpoint)
        self.display.training(progress, stream.steps, self.metric)
        self.saved_at = time.monotonic()
        self.wrapped.train()
        self.wrapped.zero_grad()
        started = time.perf_counter()
        while progress.stopped is None:
            # one optimizer step: its loss is a mean over all its batches, on all processes
            step_batches = list(itertools.islice(batches, options.gradient_accumulation))
            totals = self._count(step_batches)
            for index, batch in enumerate(step_batches):
                last_batch = index == len(step_batches) - 1
                with nullcontext() if last_batch else accelerator.no_sync(self.wrapped):
                    loss = self._loss(send_to_device(batch, self.device), totals)
                    accelerator.backward(loss)
                self.loss_sum += loss.detach()
            gradient_norm = accelerator.clip_grad_norm_(self.wrapped.parameters(), options.max_grad_norm or math.inf)
            self.optimizer.step()
            learning_rate = max(group["lr"] for group in self.optimizer.param_groups)
            if not accelerator.optimizer_step_was_skipped:  # in fp16, where the gradient overflowed
                self.schedule.step()
            self.wrapped.zero_grad()

            step = progress.step = progress.step + 1
            progress.epoch, progress.tokens = stream.epoch_at(step), stream.tokens_at(step)
            if step >= stream.steps:
                progress.stopped = "steps"
            logs = progress.stopped is not None or step % options.log_every == 0
            evaluates = self.prepared.validation is not None and (
                progress.stopped is not None or step in self.evaluation_steps
            )
            due, interrupted = self._any_process(self._checkpoint_due(), self.interruption.signal is not None)
            saves = progress.stopped is not None or evaluates or due or interrupted
            progress.seconds += time.perf_counter() - started
            if logs or saves or self.device.type == "cpu":  # on a GPU, to look is to wait
                self._check_finite(gradient_norm)
                progress.peak_memory_bytes = max(progress.peak_memory_bytes, peak_memory())
            if self.device.type == "cpu" and step % TRIM_EVERY == 0:
                return_free_memory()
            self.display.step()
            if logs:
                self._log({"grad_norm": float(gradient_norm), "learning_rate": learning_rate})
            if evaluates:
                self._evaluate()
            if saves and self.store is not None:
                self.save()
            if interrupted or (after_step is not None and after_step()):
                break
            started = time.perf_counter()

    # ---- the loss

    def _count(self, batches: list[dict[str, Any]]) -> torch.Tensor:
        """What the means of a step's loss are over, on all processes: `[k]`, an objective's counts, or else labels or
        examples."""
        objective = self.prepared.objective
        if objective is not None:
            totals = torch.stack([objective.counts(batch) for batch in batches]).sum(0)
            self.flops += sum(objective.flops(batch) for batch in batches)
        elif self.prepared.compute_loss is not None:
            totals = torch.stack([batch["labels"].ne(-100).sum() for batch in batches]).sum(0)
        else:
            totals = torch.tensor(sum(len(batch["labels"]) for batch in batches))
        if objective is not None or self.processes > 1:
            totals = totals.to(self.device)
        return self._sum_over_processes(totals)

    def _loss(self, batch: dict[str, Any], totals: torch.Tensor) -> torch.Tensor:
        """A batch's share of the loss of its step; times the processes, over which gradients are averaged."""
        if self.prepared.objective is not None:
            with self.accelerator.autocast():  # for what an objective computes itself, such as a teacher's states
                loss, sums = self.prepared.objective(self.wrapped, batch, totals)
            self.figure_sums = sums if self.figure_sums is None else self.figure_sums + sums
            return loss * self.processes
        if self.prepared.compute_loss is not None:
            labels = batch.pop("labels")
            return self.prepared.compute_loss(self.wrapped(**batch), labels, totals) * self.processes
        share: float = len(batch["labels"]) * self.processes / int(totals)
        loss = self.wrapped(**batch)["loss"]
        return loss * share

    def _sum_over_processes(self, values: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = self.accelerator.reduce(values, "sum") if self.processes > 1 else values
        return total

    def _check_finite(self, gradient_norm: torch.Tensor) -> None:
        lost = not math.isfinite(float(self.loss_sum))
        if not lost and (self.accelerator.scaler is not None or math.isfinite(float(gradient_norm))):
            return  # fp16 skips steps whose gradient isn't finite
        steps = [] if self.store is None else self.store.steps()
        last = f" (the last checkpoint is of step {steps[-1]})" if steps else ""
        raise DivergedError(
            f"The {'loss' if lost else 'gradient'} stopped being a finite number at step {self.progress.step}{last}. "
            f"Lower training.learning_rate (now {self.options.learning_rate:g}), or look for extreme values in the "
            "data, then start again with --overwrite."
        )

    # ---- logs and evaluations

    def _log(self, figures: dict[str, float]) -> None:
        progress, objective = self.progress, self.prepared.objective
        loss = float(self._sum_over_processes(self.loss_sum)) / self.processes
        loss /= progress.step - progress.logged_step
        self.loss_sum.zero_()
        progress.logged_step = progress.step
        if objective is not None:
            self._settle_flops()
            if self.figure_sums is not None:
                named = objective.figures(self._sum_over_processes(self.figure_sums))
                figures |= {name: value for name, value in named.items() if name != "loss"}
            self.figure_sums = None
        if self.metrics_file is not None:
            self.metrics_file.log({"loss": loss, **figures})
        self.display.logged(loss)

    def _settle_flops(self) -> None:
        """Adds the operations of all processes to the progress: seldom, for it waits for the device."""
        flops = torch.tensor(self.flops, dtype=torch.float64, device=self.device)
        self.progress.flops += float(self._sum_over_processes(flops))
        self.flops = 0.0

    def _evaluate(self) -> None:
        """Evaluates the validation split, and decides whether this is the best evaluation, or patience is over."""
        assert self.prepared.validation is not None
        started = time.perf_counter()
        with self.accelerator.autocast():
            metrics = evaluate_split(self.model, self.prepared.validation, self.prepared, self.options, self.display)
        self.wrapped.train()
        self.progress.evaluation_seconds += time.perf_counter() - started
        if self.metrics_file is not None:
            self.metrics_file.evaluated(metrics)
        self.display.evaluated(metrics)
        if self.metric not in metrics:
            what = f"has no metric '{self.metric}' for 'training.metric'.{suggest(self.metric, metrics)}"
            raise PoNetError(f"The validation split {what}")
        self.progress.evaluated(metrics, self.metric, self.greater_is_better)
        if self.options.patience is not None and self.progress.waited >= self.options.patience:
            self.progress.stopped = self.progress.stopped or "patience"

    # ---- checkpoints

    def _checkpoint_due(self) -> bool:
        if self.save_seconds is not None:
            return time.monotonic() - self.saved_at >= self.save_seconds
        return self.save_steps is not None and self.progress.step % self.save_steps == 0

    def _any_process(self, *flags: bool) -> list[bool]:
        """Each flag, true for all processes if it is for one: clocks differ, and a checkpoint needs every process."""
        if self.processes == 1:
            return list(flags)
        if self.progress.step % self.options.log_every and self.save_steps is None:
            return [False] * len(flags)  # communication takes time: only now and then
        counts = self._sum_over_processes(torch.tensor([float(flag) for flag in flags], device=self.device))
        return [bool(count) for count in counts > 0]

    def save(self) -> None:
        """Writes a checkpoint of this step: weights, optimizer, schedule, random states and progress."""
        assert self.store is not None
        progress, folder = self.progress, self.store.staging(self.progress.step)
        progress.loss_sum = float(self._sum_over_processes(self.loss_sum)) / self.processes
        progress.figure_sums = []
        if self.prepared.objective is not None:
            self._settle_flops()
        if self.figure_sums is not None:  # from here the first process has the sums of all
            sums = self._sum_over_processes(self.figure_sums)
            progress.figure_sums = sums.tolist()
            self.figure_sums = sums if self.first else torch.zeros_like(sums)
        optimizer, weights = self.optimizer.state_dict(), None
        if self.options.sharded:
            optimizer, weights = gathered(optimizer), gathered(self.model.state_dict())
        with self.store.writing(progress.step) if self.first else nullcontext():
            self.accelerator.wait_for_everyone()  # the folder is there
            torch.save(_random_states(), folder / _random_states_file())
            if self.first:
                self.model.save_pretrained(folder, state_dict=weights)
                if self.prepared.processing_class is not None:
                    self.prepared.processing_class.save_pretrained(folder)
                torch.save(optimizer, folder / "optimizer.pt")
                torch.save(self.schedule.state_dict(), folder / "scheduler.pt")
                if self.accelerator.scaler is not None:
                    torch.save(self.accelerator.scaler.state_dict(), folder / "scaler.pt")
                (folder / PROGRESS_FILE).write_text(progress.to_json(), encoding="utf-8")
            self.accelerator.wait_for_everyone()  # all have written
        if self.first:  # the one before stays, with the best one it knows: nothing is lost should this one be damaged
            self.store.keep_only(self._needed() | self._kept)
        self.accelerator.wait_for_everyone()  # the checkpoint is in its place, which others may read next
        self._kept = self._needed()
        self.saved_at = time.monotonic()

    def load(self, checkpoint: Path) -> None:
        """Restores everything that `save` writes, so that the training continues to the bit."""
        optimizer = torch.load(checkpoint / "optimizer.pt", map_location="cpu", weights_only=True)
        if self.options.sharded:
            load_sharded_weights(self.wrapped, checkpoint / SAFE_WEIGHTS_NAME)
            load_sharded_optimizer(self.optimizer, optimizer)
        else:
            self.load_weights(checkpoint)
            self.optimizer.load_state_dict(optimizer)
        self.schedule.load_state_dict(torch.load(checkpoint / "scheduler.pt", weights_only=True))
        if self.accelerator.scaler is not None and (checkpoint / "scaler.pt").exists():
            self.accelerator.scaler.load_state_dict(torch.load(checkpoint / "scaler.pt", weights_only=True))
        if (checkpoint / _random_states_file()).exists():  # not where another number of processes wrote it
            _set_random_states(checkpoint / _random_states_file())
        self.loss_sum += self.progress.loss_sum
        if self.progress.figure_sums and self.first:  # they are over all processes
            self.figure_sums = torch.tensor(self.progress.figure_sums, dtype=torch.float64, device=self.device)

    def load_weights(self, checkpoint: Path) -> None:
        """A checkpoint's weights into the model; tied ones are in it once."""
        self.model.load_state_dict(load_file(checkpoint / SAFE_WEIGHTS_NAME), strict=False)

    def _needed(self) -> set[int]:
        """The steps whose checkpoints a resume from the present one needs."""
        return {step for step in (self.progress.step, self.progress.best_step) if step is not None}


def _random_states_file() -> str:
    return "rng_state.pth" if process_count() == 1 else f"rng_state_{process_index()}.pth"


def _random_states() -> dict[str, Any]:
    states = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all() if process_count() > 1 else torch.cuda.get_rng_state()
    return states


def _set_random_states(file: Path) -> None:
    with safe_globals():  # allows numpy's arrays
        states = torch.load(file, weights_only=True)
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        set_states = torch.cuda.set_rng_state_all if process_count() > 1 else torch.cuda.set_rng_state
        set_states(states["cuda"])


def time_step(recipe: Recipe, prepared: Prepared, precision: str, at_least: float) -> float:
    """The median seconds of one optimizer step, loading of its batch included, on a copy of the model: timed for so
    many seconds `at_least`, but no more than `MOST_TIMED_STEPS` steps."""
    ends: list[float] = []

    def enough() -> bool:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        timed = ends[WARM_UP_STEPS - 1 :]
        return len(timed) > TIMED_STEPS and timed[-1] - timed[0] >= at_least

    recipe = replace(recipe, training=replace(recipe.training, warmup=0.0))  # which may be longer than the trial
    trial = replace(prepared, model=copy.deepcopy(prepared.model), validation=None)
    stream = training_stream(prepared, recipe.training, recipe.seed, MOST_TIMED_STEPS)
    TrainingLoop(recipe, trial, stream, precision, Progress()).run(after_step=enough)
    timed = ends[WARM_UP_STEPS - 1 :]
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(timed))
