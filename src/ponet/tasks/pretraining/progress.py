"""The bar of `ponet pretrain prepare`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(show: bool, description: str, total: int, completed: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error over the bytes of the files, with MB/s of text and the time left.

    Yields a function that is told bytes of files that were read, and bytes of text that were tokenized.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    started, text = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not show) as progress:
        task = progress.add_task(description, total=total, completed=completed, rate="")

        def advance(read: int, size: int) -> None:
            nonlocal text
            text += size
            rate = f"{text / 1e6 / max(time.monotonic() - started, 1e-9):.1f} MB/s of text" if text else ""
            progress.update(task, advance=read, rate=rate)

        yield advance
