"""Progress on a terminal: a bar with rate and time left, or plain lines where stderr isn't a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ponet.training.progress import Progress as Counts
from ponet.utils.errors import printable

QUIET_SECONDS = 30.0
"""Between plain lines."""


class Display:
    """Progress on stderr, where `shown`; a context manager around whatever moves the bars."""

    def __init__(self, shown: bool = True) -> None:
        self.console = Console(stderr=True, quiet=not shown)
        self.live = shown and self.console.is_terminal
        self._bars: Progress | None = None
        self._training: TaskID | None = None
        self._counts, self._steps, self._metric = Counts(), 0, ""
        self._latest: dict[str, str] = {}
        self._begun = (0.0, 0, 0)  # when, at which step, with how many tokens
        self._printed = 0.0

    def notice(self, text: str) -> None:
        """One sentence for the user."""
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

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

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._training = None

    def training(self, counts: Counts, steps: int, metric: str) -> None:
        """Begins the bar of a training of so many steps; `metric` is the validation metric to show."""
        self._counts, self._steps, self._metric = counts, steps, metric
        self._begun = (time.monotonic(), counts.step, counts.tokens)
        self._printed = time.monotonic()
        if self._bars is not None:
            self._training = self._bars.add_task("training", total=steps, completed=counts.step, latest="")

    def step(self) -> None:
        """Shows that a step is done."""
        if self._bars is not None and self._training is not None:
            self._bars.update(self._training, completed=self._counts.step)
        elif time.monotonic() - self._printed >= QUIET_SECONDS:
            self._print_line()

    def logged(self, loss: float) -> None:
        """Shows the loss of the last steps."""
        rate = (self._counts.tokens - self._begun[2]) / max(time.monotonic() - self._begun[0], 1e-9)
        self._latest |= {"loss": f"loss {loss:.4f}", "rate": f"{rate:,.0f} tokens/s"}
        self._update()

    def evaluated(self, metrics: dict[str, Any]) -> None:
        """Shows the metric of an evaluation during the training."""
        if self._metric in metrics:
            name = "validation loss" if self._metric == "loss" else self._metric
            self._latest["metric"] = f"{name} {metrics[self._metric]:.4f}"
            self._update()
            if self._bars is None:
                self._print_line()

    @contextmanager
    def evaluating(self, batches: int) -> Iterator[Callable[[], None]]:
        """A bar for an evaluation of so many batches; gives the function to call after each."""
        if self._bars is None:
            yield lambda: None
            return
        bars, task = self._bars, self._bars.add_task("evaluating", total=batches, latest="")
        try:
            yield lambda: bars.update(task, advance=1)
        finally:
            bars.remove_task(task)

    def _update(self) -> None:
        if self._bars is not None and self._training is not None:
            self._bars.update(self._training, latest=printable("  ".join(self._latest.values())))

    def _print_line(self) -> None:
        self._printed = time.monotonic()
        done = self._counts.step - self._begun[1]
        left = (self._printed - self._begun[0]) / max(done, 1) * (self._steps - self._counts.step)
        parts = [f"step {self._counts.step}/{self._steps}", f"epoch {self._counts.epoch:.2f}"]
        self.notice("  ".join([*parts, *self._latest.values(), f"{left:.0f} s left"]))
