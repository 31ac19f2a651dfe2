"""What a person sees while training: a bar with rate and time left, or plain lines where nobody looks at a terminal."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ponet.training.progress import Progress as Counts
from ponet.utils.errors import printable

QUIET_SECONDS = 30.0
"""Between plain lines."""


class Display(TrainerCallback):
    """Progress on stderr, as a callback and as a context manager around the training.

    Args:
        shown: whether anything is written.
    """

    def __init__(self, shown: bool = True) -> None:
        self.console = Console(stderr=True, quiet=not shown)
        self.live = shown and self.console.is_terminal
        self._bars: Progress | None = None
        self._training: TaskID | None = None
        self._evaluating: TaskID | None = None
        self._counts = Counts()
        self._metric = ""
        self._latest: dict[str, str] = {}
        self._begun = (0.0, 0, 0)  # when, at which step, with how many tokens
        self._said = 0.0

    def notice(self, text: str) -> None:
        """One sentence for the user."""
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def watch(self, counts: Counts, metric: str | None) -> None:
        """What to show: the counts of a training, and the validation metric that matters in it."""
        self._counts, self._metric = counts, metric or ""

    def __enter__(self) -> "Display":
        if self.live:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(compact=True, elapsed_when_finished=False),
                TextColumn("{task.fields[latest]}", markup=False),
                console=self.console,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._training = self._evaluating = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._begun = (time.monotonic(), state.global_step, self._counts.tokens)
        self._said = time.monotonic()
        if self._bars is not None:
            self._training = self._bars.add_task(
                "training", total=state.max_steps, completed=state.global_step, latest=""
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._bars is not None and self._training is not None:
            self._bars.update(self._training, completed=state.global_step)
        elif time.monotonic() - self._said >= QUIET_SECONDS:
            self._say(state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        seconds = time.monotonic() - self._begun[0]
        self._latest["loss"] = f"loss {logs['loss']:.4f}"
        self._latest["rate"] = f"{(self._counts.tokens - self._begun[2]) / max(seconds, 1e-9):,.0f} tokens/s"
        self._show()

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        if self._bars is None or eval_dataloader is None:
            return
        if self._evaluating is None:
            self._evaluating = self._bars.add_task("evaluating", total=len(eval_dataloader), latest="")
        self._bars.update(self._evaluating, advance=1)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._bars is not None and self._evaluating is not None:
            self._bars.remove_task(self._evaluating)
            self._evaluating = None
        value = (metrics or {}).get(f"eval_{self._metric}")
        if value is not None and self._training_started():
            name = "validation loss" if self._metric == "loss" else self._metric
            self._latest["metric"] = f"{name} {value:.4f}"
            self._show()
            if self._bars is None:
                self._say(state)

    def _training_started(self) -> bool:
        return self._begun[0] > 0

    def _show(self) -> None:
        if self._bars is not None and self._training is not None:
            self._bars.update(self._training, latest=printable("  ".join(self._latest.values())))

    def _say(self, state: TrainerState) -> None:
        self._said = time.monotonic()
        done = state.global_step - self._begun[1]
        left = (self._said - self._begun[0]) / max(done, 1) * (state.max_steps - state.global_step)
        parts = [f"step {state.global_step}/{state.max_steps}", f"epoch {self._counts.epoch:.2f}"]
        self.notice("  ".join([*parts, *self._latest.values(), f"{left:.0f} s left"]))
