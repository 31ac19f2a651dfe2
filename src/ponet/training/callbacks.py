"""When to log, evaluate, save and stop, and the lines of metrics.jsonl."""

import json
import math
import signal
import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ponet.config.training import TrainingOptions
from ponet.tasks.base import BatchStream
from ponet.training.progress import Progress
from ponet.training.schedules import evaluation_interval
from ponet.utils.files import explain

if TYPE_CHECKING:
    from ponet.training.trainer import PoNetTrainer


class Interruption:
    """Whether someone asked the training to stop (Ctrl-C, or SIGTERM from a scheduler)."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @contextmanager
    def watched(self, notice: Any) -> Iterator[None]:
        """Inside, the first signal only sets `signal`; the second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python sets signal handlers in the main thread only
            return

        def asked(number: int, frame: FrameType | None) -> None:
            if self.signal is not None:
                raise KeyboardInterrupt
            self.signal = number
            notice("Stopping behind this step, with a checkpoint. Ctrl-C again stops at once.")

        before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Flow(TrainerCallback):
    """Decides at the end of each step what happens there, from the plan, so that a resumed training decides alike.

    Args:
        stream, options, progress: of this training.
        evaluates: whether there is a validation split.
        interruption: asks for a checkpoint and the end.
    """

    trainer: "PoNetTrainer"
    """Set once the trainer is made."""

    def __init__(
        self,
        stream: BatchStream,
        options: TrainingOptions,
        progress: Progress,
        evaluates: bool,
        interruption: Interruption,
    ) -> None:
        self.stream, self.options, self.progress, self.interruption = stream, options, progress, interruption
        self.save_steps, self.save_seconds = options.checkpoint_interval()
        self.evaluation_steps: Container[int] = ()
        if evaluates and options.eval_every is None:
            self.evaluation_steps = stream.epoch_steps()
        elif evaluates and options.eval_every is not None:
            interval = evaluation_interval(options.eval_every, stream.steps)
            self.evaluation_steps = range(0, stream.steps, interval)
        self.evaluates = evaluates
        self.saved_at = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.saved_at = time.monotonic()
        self.trainer.take_up()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        step, progress = state.global_step, self.progress
        progress.step = step
        progress.epoch = self.stream.epoch_at(step)
        progress.tokens = self.stream.tokens_at(step)
        last = step >= self.stream.steps
        if last:
            progress.stopped = "steps"
        control.should_log = last or step % self.options.log_every == 0
        control.should_evaluate = self.evaluates and (last or step in self.evaluation_steps)
        due, interrupted = self._together(step, self._due(step), self.interruption.signal is not None)
        control.should_save = last or due or interrupted or control.should_evaluate
        control.should_training_stop = last or interrupted

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.saved_at = time.monotonic()

    def _due(self, step: int) -> bool:
        if self.save_seconds is not None:
            return time.monotonic() - self.saved_at >= self.save_seconds
        return self.save_steps is not None and step % self.save_steps == 0

    def _together(self, step: int, *wishes: bool) -> list[bool]:
        """What any process wishes, all do: clocks differ, and a checkpoint needs every process."""
        if self.trainer.args.world_size == 1:
            return list(wishes)
        if step % self.options.log_every and self.save_steps is None:
            return [False] * len(wishes)  # asking costs a round trip
        wished = torch.tensor([float(wish) for wish in wishes], device=self.trainer.args.device)
        return [bool(value) for value in self.trainer.accelerator.reduce(wished, "sum") > 0]


class MetricsFile(TrainerCallback):
    """Writes metrics.jsonl: one JSON line a logged step or evaluation, there as soon as it is known.

    Args:
        path, progress: of the run.
        peak_flops: operations a second that this machine can do, where the task counts the model's.
    """

    def __init__(self, path: Path, progress: Progress, peak_flops: float | None = None) -> None:
        self.path, self.progress, self.peak_flops = path, progress, peak_flops
        self._tokens, self._seconds, self._flops = progress.tokens, progress.seconds, progress.flops

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "loss" not in logs or not state.is_world_process_zero:
            return
        progress = self.progress
        seconds, tokens = progress.seconds - self._seconds, progress.tokens - self._tokens
        flops = progress.flops - self._flops
        self._tokens, self._seconds, self._flops = progress.tokens, progress.seconds, progress.flops
        line: dict[str, Any] = {key: value for key, value in logs.items() if key != "epoch"}
        line["tokens_per_second"] = round(tokens / seconds, 1) if seconds > 0 else 0.0
        if flops and seconds > 0:
            line["flops_per_second"] = float(f"{flops / seconds:.4g}")
            if self.peak_flops:
                line["utilisation"] = round(flops / seconds / self.peak_flops, 4)
        self._write(line)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero:
            self._write({"validation": {key.removeprefix("eval_"): value for key, value in (metrics or {}).items()}})

    def _write(self, values: dict[str, Any]) -> None:
        progress = self.progress
        head = {
            "step": progress.step,
            "epoch": round(progress.epoch, 6),
            "tokens": progress.tokens,
            "seconds": round(progress.seconds, 3),
        }
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite({**head, **values})) + "\n")
        except OSError as error:
            raise explain(error, self.path) from error


def finite(value: Any) -> Any:
    """The value with NaN and infinity as null: JSON has no name for them."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
