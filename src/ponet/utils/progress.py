"""A progress bar with rate and time left where the terminal shows one; nothing where it doesn't."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def track(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Yields a function that says how many more of `total` are done; the bar is gone at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import Task as Bar
    from rich.text import Text

    class Rate(TextColumn):
        def render(self, task: Bar) -> Text:
            return Text("" if not task.speed else f"{task.speed:,.0f} {unit}/s")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(description, total=total)
        yield lambda count: progress.advance(bar, count)
