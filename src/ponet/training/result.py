"""Where a result comes from: commit, versions, machine, command; and what the machine can do and had to hold."""

import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from ponet.artifacts import available_cores
from ponet.config.recipe import Recipe
from ponet.utils.allocator import keeps_freed_memory

PACKAGES = ("ponet", "torch", "transformers", "tokenizers", "datasets", "scikit-learn", "numpy")

SETTINGS = ("PONET_BACKEND", "OMP_NUM_THREADS")
"""Environment variables that may change a figure in its last digits."""


def provenance(recipe: Recipe, command: str | None = None) -> dict[str, Any]:
    """The part of a result that doesn't depend on how well the run went."""
    return {"recipe": recipe.to_dict(), **origin(recipe.seed, command)}


def origin(seed: int, command: str | None = None) -> dict[str, Any]:
    """Where any figure comes from, with or without a recipe: seed, commit, versions, machine, settings, command."""
    return {
        "seed": seed,
        "commit": commit(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "machine": machine(),
        "keeps_freed_memory": keeps_freed_memory(),
        "environment": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "command": command or command_line(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def command_line() -> str:
    """This process's, as one would type it; `python -c` stands for the `ponet` that it calls."""
    program = Path(sys.argv[0]).name
    return shlex.join(["ponet" if program in ("-c", "-m") else program, *sys.argv[1:]])


def commit() -> str | None:
    """The commit of the checkout this package runs from, with "-dirty" if its files were changed; None elsewhere."""
    package = Path(__file__).resolve().parent.parent
    here = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    head = _git(package, "rev-parse", "HEAD") if here is not None else None
    if head is None:
        return None
    return f"{head}-dirty" if _git(package, "status", "--porcelain", "--", ".") else head


def machine() -> dict[str, Any]:
    """The processor, its cores, the threads used, memory in bytes, and the GPU if there is one."""
    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def reset_peak_memory() -> None:
    """Starts the peak of `peak_memory` again, so that preparing the data doesn't count. On a CPU this needs Linux."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The most bytes held at once since `reset_peak_memory`: allocated on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_flops(precision: str, repeats: int = 5) -> float:
    """Floating-point operations a second of a large matrix product on the device that trains, the best of `repeats`.

    Measured, not from a data sheet: on shared or throttled hardware the sheet says nothing.
    """
    gpu = torch.cuda.is_available()
    size = 8192 if gpu else 1024
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    matrix = torch.ones(size, size, dtype=dtype, device="cuda" if gpu else "cpu")
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        if gpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _cpu_model() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
