"""How far a job is: rows, rows a second and the time that is left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SAID_EVERY = 60.0
"""Seconds between the lines where no terminal shows a bar."""

Report = Callable[[int, int], None]
"""Takes the rows that are done, and the bytes of the source that were read for them."""


class Pace:
    """The rate of this process for a source of `size` bytes (None where nobody knows); what an earlier one did, `rows`,
    is no part of it."""

    def __init__(self, size: int | None, rows: int) -> None:
        self.size, self.rows, self.position = size, rows, 0
        self._first = (time.monotonic(), rows, None if rows else 0)

    def update(self, rows: int, position: int) -> None:
        """So much is done."""
        self.rows, self.position = rows, position
        if self._first[2] is None:  # what was passed over took no time
            self._first = (time.monotonic(), rows, position)

    def __str__(self) -> str:
        began, rows, position = self._first
        seconds = time.monotonic() - began
        text = f"{self.rows:,} rows"
        if seconds > 0 and self.rows > rows:
            text += f", {(self.rows - rows) / seconds:,.1f} rows/s"
        if self.size and position is not None and self.position > position:
            left = (self.size - self.position) * seconds / (self.position - position)
            text += f", {_duration(left)} left"
        return text


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60:02} min"


@contextmanager
def reporting(size: int | None, rows: int, say: Callable[[str], None]) -> Iterator[Report]:
    """Shows a bar where standard error is a terminal, else says a line each minute. Yields what to call with the rows
    and bytes that are done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    pace, said = Pace(size, rows), time.monotonic()
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f}%")) if size else ()
    with Progress(
        *columns, TextColumn("{task.description}"), console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        bar = bars.add_task(str(pace), total=size)

        def report(rows: int, position: int) -> None:
            nonlocal said
            pace.update(rows, position)
            bars.update(bar, completed=position, description=str(pace))
            if not console.is_terminal and time.monotonic() - said > SAID_EVERY:
                say(f"{pace}.")
                said = time.monotonic()

        yield report
