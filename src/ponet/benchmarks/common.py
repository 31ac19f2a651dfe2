"""What all benchmarks share: their options, their progress, and the result file that is written group by group."""

import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Protocol

import torch
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

from ponet.training.distributed import check_environment
from ponet.training.result import origin
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import explain, is_stream, write_json

MOST_THREADS = 1024
DTYPES = ("float32", "bfloat16", "float16")


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Raises a PoNetError, with the nearest one, for what isn't known; `what` says of which kind it is."""
    known = list(known)
    if name not in known:
        raise PoNetError(f"There is no {what}'{name}' to measure.{suggest(name, known)}")


def numbers(text: str, option: str) -> tuple[int, ...]:
    """`512,1024,4k` as whole numbers in the given order; `k` stands for 1024.

    Raises:
        PoNetError: for anything else, naming the option.
    """
    found = []
    for part in map(str.strip, text.split(",")):
        word = part.lower().replace("_", "")
        digits = word.removesuffix("k")
        if not digits.isdecimal() or int(digits) < 1:
            raise PoNetError(f"{option} should be whole numbers, as in 512,1024 or 4k; '{part}' isn't one.")
        found.append(int(digits) * (1 if digits == word else 1024))
    return tuple(found)


@dataclass(frozen=True)
class Machine:
    """Where and in what precision to measure; raises a PoNetError for a device or precision that isn't there."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    """Threads of torch; None for its own choice."""

    def __post_init__(self) -> None:
        if self.device not in ("cpu", "cuda"):
            raise PoNetError(f"There is no device '{self.device}' to measure on: give cpu or cuda.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise PoNetError("There is no GPU here: use --device cpu.")
        if self.dtype not in DTYPES:
            raise PoNetError(f"There is no precision '{self.dtype}' to measure in.{suggest(self.dtype, DTYPES)}")
        if self.dtype == "float16" and self.device == "cpu":
            raise PoNetError("float16 is for a GPU: use float32 or bfloat16 on a CPU.")
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise PoNetError(f"--threads must be from 1 to {MOST_THREADS:,}, not {self.threads}.")
        check_environment()

    @property
    def synchronize(self) -> Callable[[], object] | None:
        """What `interleave` calls before it reads the clock."""
        return torch.cuda.synchronize if self.device == "cuda" else None

    @contextmanager
    def threaded(self) -> Iterator[None]:
        """Within the block torch uses that many threads."""
        before = torch.get_num_threads()
        try:
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            yield
        finally:
            torch.set_num_threads(before)


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

    With `weighted`, pieces have amounts (as expected seconds) in the place of a count, which come to `total`.
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


KERNELS = ("numba", "triton")
"""Packages whose version decides how fast the ops are."""


def check_writable(folder: Path, named: Path) -> None:
    """Makes the folder, before minutes of work; raises a PoNetError, of `named`, where it can't be written to. Nothing
    where `named` is a device or an open file."""
    try:
        if not is_stream(named):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise explain(error, named) from error


class BenchmarkInterruptedError(PoNetError):
    """A benchmark that was stopped by hand, by the signal of this number."""

    signal = int(signal.SIGINT)


class Record:
    """What a benchmark has measured so far, and where it comes from.

    Args:
        path: the JSON file; its folder is made where it isn't there, a PoNetError where it can't be written to.
        seed: of weights and inputs.
        values: what is known before measuring; more is put into `values` as it comes.
    """

    def __init__(self, path: Path, seed: int, values: dict[str, Any]) -> None:
        self.path = path
        self.values = values
        check_writable(path.parent, path)
        self._origin = origin(seed)
        found = {name: next((each.version for each in distributions(name=name)), None) for name in KERNELS}
        self._origin["versions"] |= found
        self._complete = self._saved = False

    @property
    def content(self) -> dict[str, Any]:
        """What the file holds."""
        return {"complete": self._complete, **self.values, **self._origin}

    def save(self, complete: bool = False) -> None:
        """Writes everything measured so far, whole or not at all."""
        self._complete = complete
        write_json(self.path, self.content)
        self._saved = True

    @contextmanager
    def keeping(self) -> Iterator["Record"]:
        """Around the measuring, behind which the file is complete; Ctrl-C becomes a BenchmarkInterruptedError that says
        where the figures so far are."""
        try:
            yield self
            self.save(complete=True)
        except KeyboardInterrupt as error:
            kept = f"What was measured until then is in '{self.path}'." if self._saved else "Nothing was measured yet."
            raise BenchmarkInterruptedError(f"Stopped. {kept}") from error
