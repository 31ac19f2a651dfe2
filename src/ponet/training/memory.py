"""Memory of this process: its peak, resident on a CPU and allocated on a GPU, and what is free in it given back."""

import ctypes
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch


def reset_peak() -> None:
    """Forgets the peak so far, so that preparing the data doesn't count as training. On a CPU this needs Linux."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most bytes held at once since `reset_peak`: allocated on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@lru_cache
def _trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):  # another system's, or another C library
        return None
    return trim


def return_free_memory() -> None:
    """Gives memory that is free inside the C library's heap back to the system, where that is possible.

    Batches of ever other sizes leave holes that fit nothing later: without this, a training on a CPU that needs 1 GB
    comes to hold 8 GB in some thousand steps.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
