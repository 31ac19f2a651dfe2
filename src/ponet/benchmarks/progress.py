"""How far a long measurement is, with rate and time left: a bar on a terminal, now and then a line elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

QUIET_SECONDS = 15.0
"""Between lines where there is no terminal."""


class Advance(Protocol):
    """Called behind each piece of work, with a word on how it stands, and how much it was of the whole."""

    def __call__(self, word: str, amount: float = 1.0) -> None: ...


class _Rate(TextColumn):
    """Pieces of work a minute, since they are seconds long."""

    def render(self, task: Task) -> Text:
        return Text(f"{60 * task.speed:,.0f}/min" if task.speed else "")


@contextmanager
def stage(console: Console, name: str, total: float, weighted: bool = False) -> Iterator[Advance]:
    """Yields a function to call behind each piece of work, `total` of them.

    Args:
        console: where it shows.
        name: of the stage.
        total: how many pieces, or what their amounts come to.
        weighted: whether pieces have amounts (as expected seconds) in the place of a count.
    """
    start = said = time.monotonic()
    done = 0.0
    counts = (TaskProgressColumn(),) if weighted else (MofNCompleteColumn(), _Rate(""))
    bar_column, left = BarColumn(bar_width=24), (TimeRemainingColumn(), TextColumn("left"))
    columns = (TextColumn("{task.description}"), bar_column, *counts, *left)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(name, total=total)

        def advance(word: str, amount: float = 1.0) -> None:
            nonlocal done, said
            done += amount
            bars.update(bar, advance=amount, description=f"{name}: {word}")
            now = time.monotonic()
            if not console.is_terminal and done < total and now - said >= QUIET_SECONDS:
                said = now
                left = (now - start) / done * (total - done)
                far = f"{done / total:.0%}" if weighted else f"{done:g}/{total:g}"
                console.print(f"{name} {far}: {word}; {left:.0f} s left", markup=False, soft_wrap=True)

        yield advance
