"""Peak memory of this process, resident on a CPU and allocated on a GPU."""

import resource
import sys
from contextlib import suppress
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
