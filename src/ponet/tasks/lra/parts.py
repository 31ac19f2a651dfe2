"""One part of a data set in the making, as a file: an uncompressed zip of arrays, whose checksums numpy compares."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ponet.tasks.lra.store import Examples
from ponet.utils.files import replacing


def part_path(folder: Path, stream: int, place: int) -> Path:
    """Where a part lies until all are there."""
    return folder / f"{stream}-{place:06d}.npz"


def write_part(make: Callable[[Any], Examples], job: Any, path: Path) -> None:
    """Makes one part and writes it, whole or not at all. This is what a worker process runs."""
    part = make(job)
    arrays: dict[str, np.ndarray] = {"labels": part.labels}
    for column, (tokens, lengths) in enumerate(zip(part.tokens, part.lengths, strict=True)):
        arrays |= {f"tokens{column}": tokens, f"lengths{column}": lengths}
    arrays["notes"] = np.frombuffer(json.dumps(part.notes).encode(), np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_part(path: Path) -> Examples | None:
    """The part, or None where its file is missing or damaged; a damaged one is deleted, so that it is made again."""
    try:
        with np.load(path) as file:
            columns = sum(name.startswith("tokens") for name in file.files)
            return Examples(
                [file[f"tokens{column}"] for column in range(columns)],
                [file[f"lengths{column}"] for column in range(columns)],
                file["labels"],
                json.loads(file["notes"].tobytes()),
            )
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, FileNotFoundError):
        path.unlink(missing_ok=True)
        return None


def digest(key: bytes) -> bytes:
    """16 bytes that stand for an example."""
    return hashlib.blake2b(key, digest_size=16).digest()
