"""Time and memory of functions, measured side by side: what every benchmark here is made of.

Time: the candidates take turns within each round, so that a busy neighbour or a warming processor falls on all of them
alike, and the median of the rounds counts. Memory on a CPU: each cell in a process of its own, as growth over what that
process held when the cell was set up, with an allocator that keeps nothing back. Memory on a GPU: the most that torch
allocated.
"""

import gc
import os
import signal
import statistics
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_all_start_methods, get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil

from ponet.utils.allocator import keep_nothing_back

Name = TypeVar("Name")
Status = Literal["ok", "timeout", "out_of_memory", "error"]

clock = time.perf_counter

_OVER_LIMIT = 77  # exit code of a cell that stopped itself
HELD = "held"
"""What `peak_memory` measures, for a result file: memory that is held, without what an allocator keeps back."""
_SAMPLE_SECONDS = 0.002


@dataclass
class Timing:
    """Repeated measurements of one function."""

    seconds: list[float] = field(default_factory=list)
    """One entry a round, warm-up left out."""
    status: Status = "ok"
    message: str = ""
    """What went wrong, where something did."""

    @property
    def median(self) -> float:
        """Seconds; NaN if nothing was measured."""
        return statistics.median(self.seconds) if self.seconds else float("nan")

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile in seconds: the spread. NaN if nothing was measured."""
        if len(self.seconds) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    def to_dict(self) -> dict[str, Any]:
        """For a result file; figures that were not measured are left out."""
        if not self.seconds:
            return {"status": self.status, "message": self.message}
        low, high = self.quartiles
        figures = {"median_seconds": self.median, "quartiles_seconds": [low, high], "rounds": len(self.seconds)}
        return {"status": self.status, **figures, **({"message": self.message} if self.message else {})}


@dataclass
class PeakMemory:
    """Peak memory of one cell."""

    peak_bytes: int | None = None
    """On a CPU the most resident memory held at any time, less what was held before the cell ran; on a GPU the most
    allocated at any time, weights and inputs included."""
    baseline_bytes: int | None = None
    """Held after set-up, before the cell ran."""
    seconds: float | None = None
    """What the one run took in which memory was watched."""
    status: Status = "ok"
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For a result file; figures that were not measured are left out."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}


def interleave(
    candidates: Mapping[Name, Callable[[], object]],
    rounds: int = 10,
    warm_up: int = 2,
    budget: float | None = None,
    patience: float | None = None,
    synchronize: Callable[[], object] | None = None,
    least: int = 1,
) -> dict[Name, Timing]:
    """Times each candidate once a round, in turns; one that raises is left out of further rounds, and reported.

    Args:
        candidates: functions by name.
        rounds: measured rounds.
        warm_up: rounds before them that don't count.
        budget: seconds for everything; measuring ends after the first round that passes it.
        patience: seconds a single call may take, the first of the warm-up apart; a candidate that takes longer isn't
            called again and is reported as `timeout`, with what was measured until then.
        synchronize: called before the clock is read; a GPU needs `torch.cuda.synchronize`.
        least: rounds that are measured whatever the budget.
    """
    timings = {name: Timing() for name in candidates}
    start = clock()
    for count in range(warm_up + rounds):
        for name, timing in timings.items():
            if timing.status != "ok":
                continue
            try:
                seconds = _seconds(candidates[name], synchronize)
            except Exception as error:
                timing.status, timing.message = classify(error)
                timing.seconds.clear()
                continue
            if count >= warm_up:
                timing.seconds.append(seconds)
            if patience is not None and seconds > patience and (count > 0 or warm_up == 0):
                timing.status = "timeout"
                timing.message = f"one call took {seconds:.1f} s, more than {patience:g} s"
        if budget is not None and count + 1 >= warm_up + least and clock() - start > budget:
            break
    return timings


def peak_memory(
    setup: Callable[..., Callable[[], object]],
    args: Sequence[Any] = (),
    timeout: float = 600.0,
    limit_bytes: int | None = None,
    preload: Sequence[str] = ("torch",),
) -> PeakMemory:
    """Peak growth of resident memory while `setup(*args)()` runs in a process of its own.

    Args:
        setup: an importable function that returns what is to be measured; what it holds itself doesn't count.
        args: its arguments; they are pickled.
        timeout: seconds for the process, set-up included.
        limit_bytes: the process gives up when it holds more; by default nine tenths of what is available now.
        preload: modules that all such processes share, so that each one starts at once.
    """
    import torch

    limit = limit_bytes or int(psutil.virtual_memory().available * 0.9)
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(list(preload))
    receiver, sender = context.Pipe(duplex=False)
    cell = (sender, setup, tuple(args), limit, torch.get_num_threads())
    process = context.Process(target=_cell, args=cell, daemon=True)  # type: ignore[attr-defined]
    with _deaf_children():
        process.start()
    sender.close()
    try:
        if not receiver.poll(timeout):
            return PeakMemory(status="timeout", message=f"not done after {timeout:g} s")
        memory: PeakMemory = receiver.recv()
        return memory
    except EOFError:
        process.join()
        return _died(process.exitcode, limit)
    finally:
        process.kill()
        process.join()
        receiver.close()


def allocated_peak(setup: Callable[..., Callable[[], object]], args: Sequence[Any] = ()) -> PeakMemory:
    """The most memory that torch allocated on the GPU while `setup(*args)()` ran: weights, inputs and all.

    Runs in this process, which should hold nothing else on the GPU; what it does hold already is subtracted.
    """
    import torch

    before = torch.cuda.memory_allocated()
    try:
        run = setup(*args)
        torch.cuda.synchronize()
        baseline = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        start = clock()
        run()
        torch.cuda.synchronize()
        took = clock() - start
        return PeakMemory(torch.cuda.max_memory_allocated() - before, baseline - before, took)
    except Exception as error:
        status, message = classify(error)
        return PeakMemory(status=status, message=message)
    finally:
        run = None  # type: ignore[assignment] # its weights go before the cache is emptied
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that are started within the block don't hear Ctrl-C, which would have them print where they were.

    This process hears it behind the block, and ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would unblock the signal again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def classify(error: BaseException) -> tuple[Status, str]:
    """Out of memory or another error, and its message in one line."""
    import torch

    message = " ".join((str(error) or type(error).__name__).split())[:300]
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in message
    return ("out_of_memory" if out_of_memory else "error"), message


def _seconds(function: Callable[[], object], synchronize: Callable[[], object] | None) -> float:
    if synchronize is not None:
        synchronize()
    start = clock()
    function()
    if synchronize is not None:
        synchronize()
    return clock() - start


def _cell(
    sender: Connection, setup: Callable[..., Callable[[], object]], args: tuple[Any, ...], limit: int, threads: int
) -> None:
    """The child of `peak_memory`."""
    import torch

    torch.set_num_threads(threads)
    try:
        keep_nothing_back()
        run = setup(*args)
        gc.collect()
        sender.send(_watched(run, limit))
    except KeyboardInterrupt:
        pass  # the parent got it too, and says so
    except Exception as error:
        status, message = classify(error)
        if status == "error":
            traceback.print_exc()
        sender.send(PeakMemory(status=status, message=message))
    finally:
        sender.close()


def _watched(run: Callable[[], object], limit: int) -> PeakMemory:
    """Runs it once, and this process's peak resident memory while it does.

    Linux keeps the exact peak and lets it be reset; where it doesn't, samples every 2 ms have to do. They are taken in
    any case, to stop the process at the limit.
    """
    process, done = psutil.Process(), threading.Event()
    exact = _reset_peak()
    baseline = peak = process.memory_info().rss

    def sample() -> None:
        nonlocal peak
        while not done.wait(_SAMPLE_SECONDS):
            peak = max(peak, process.memory_info().rss)
            if peak > limit:
                os._exit(_OVER_LIMIT)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        start = clock()
        run()
        took = clock() - start
    finally:
        done.set()
        sampler.join()
    peak = max(peak, _kernel_peak() if exact else 0)
    return PeakMemory(peak - baseline, baseline, took)


def _reset_peak() -> bool:
    """Sets the kernel's record of this process's peak to what it holds now; says whether that worked."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _kernel_peak() > 0
    except OSError:
        return False


def _kernel_peak() -> int:
    """The kernel's record in bytes, 0 if there is none."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _died(exit_code: int | None, limit: int) -> PeakMemory:
    """A cell that ended without a word."""
    if exit_code == _OVER_LIMIT:
        return PeakMemory(status="out_of_memory", message=f"more than {limit / 2**30:.1f} GiB")
    if exit_code == -9:
        return PeakMemory(status="out_of_memory", message="the system ended the process")
    return PeakMemory(status="error", message=f"the process ended with exit code {exit_code}")
