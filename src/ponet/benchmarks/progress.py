"""How far a long measurement is, with rate and time left: a bar on a terminal, now and then a line elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

QUIET_SECONDS = 15.0
"""Between lines where there is no terminal."""

Advance = Callable[[str], None]


class _Rate(TextColumn):
    """Pieces of work a minute, since they are seconds long."""

    def render(self, task: Task) -> Text:
        return Text(f"{60 * task.speed:,.0f}/min" if task.speed else "")


@contextmanager
def stage(console: Console, name: str, total: int) -> Iterator[Advance]:
    """Yields a function to call behind each of `total` pieces of work, with a word on how it stands."""
    start = said = time.monotonic()
    done = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(""),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(name, total=total)

        def advance(word: str) -> None:
            nonlocal done, said
            done += 1
            bars.update(bar, advance=1, description=f"{name}: {word}")
            now = time.monotonic()
            if not console.is_terminal and done < total and now - said >= QUIET_SECONDS:
                said = now
                left = (now - start) / done * (total - done)
                console.print(f"{name} {done}/{total}: {word}; {left:.0f} s left", markup=False, soft_wrap=True)

        yield advance
