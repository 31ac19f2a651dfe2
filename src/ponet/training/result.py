"""What a result says about where it comes from: commit, versions, machine, command."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

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
        "command": command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores": affinity,
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
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
