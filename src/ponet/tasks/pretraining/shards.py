"""Shards: what one block of the corpus becomes on disk, whole by one rename or not there at all.

A shard is a folder. For each split that it holds documents of there are four arrays, which `numpy.load` opens:

    train.tokens.npy     [T] ids, uint16 where the vocabulary allows, else uint32; no special tokens
    train.sentences.npy  [S + 1] uint32: sentence i is tokens[sentences[i]:sentences[i + 1]]
    train.documents.npy  [D + 1] uint32: document i is the sentences documents[i] to documents[i + 1] - 1
    train.hashes.npy     [D] uint64, of each document's text

`shard.json` has the counts, the size and SHA-256 of each array, and where in the corpus the block ended.
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, read_json

TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)
ARRAYS = ("tokens", "sentences", "documents", "hashes")
SUMMARY = "shard.json"


@dataclass
class Counts:
    """What a split holds."""

    documents: int = 0
    paragraphs: int = 0
    """Headings included."""
    sentences: int = 0
    tokens: int = 0
    unknown: int = 0
    """Tokens that are [UNK]."""
    bytes: int = 0
    """Of UTF-8 text."""

    def add(self, other: "Counts") -> None:
        """Adds another's counts to these."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Encoded:
    """The documents of one split in one block, as flat arrays."""

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    hashes: np.ndarray
    counts: Counts


@dataclass
class Shard:
    """What `shard.json` says."""

    name: str
    end: tuple[int, int]
    """Where the next block begins: the file's number and how many of its documents come before."""
    splits: dict[str, Counts] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By file name: `bytes` and `sha256`."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Documents without text, of fewer than two tokens, or also in the validation corpus."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Shard":
        """From JSON."""
        splits = {name: Counts(**counts) for name, counts in values["splits"].items()}
        start, end = values["end"]
        return cls(values["name"], (start, end), splits, values["files"], values["left_out"])


def write_shard(
    folder: Path, name: str, splits: dict[str, Encoded], end: tuple[int, int], left_out: dict[str, int]
) -> Shard:
    """Writes a shard to `folder/name`, whole or not at all.

    Raises:
        PoNetError: where the disk is full or the folder can't be written to.
    """
    shard = Shard(name, end, left_out=left_out)
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".tmp", dir=folder))
        os.chmod(temporary, 0o755)
        for split, encoded in splits.items():
            shard.splits[split] = encoded.counts
            for array in ARRAYS:
                path = temporary / f"{split}.{array}.npy"
                with open(path, "wb") as file:
                    np.save(file, getattr(encoded, array))
                    _settle(file)
                shard.files[path.name] = {"bytes": path.stat().st_size, "sha256": digest(path)}
        with open(temporary / SUMMARY, "w", encoding="utf-8") as text:
            json.dump(shard.to_dict(), text, indent=1)
            _settle(text)
        os.rename(temporary, folder / name)
        temporary = None
    except OSError as error:
        raise explain(error, folder / name) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return shard


def read_shard(folder: Path) -> Shard:
    """What a shard says of itself.

    Raises:
        PoNetError: where it says nothing, or nonsense.
    """
    values = read_json(folder / SUMMARY)
    try:
        return Shard.from_dict(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PoNetError(f"The shard '{folder}' is corrupt: its {SUMMARY} isn't one. {ADVICE}") from error


ADVICE = "Delete it and prepare again with the same command: only it is made anew."


def check(folder: Path, name: str, facts: dict[str, Any], contents: bool = True) -> None:
    """Checks one array's file against what was written.

    Args:
        contents: also by its SHA-256, not by its size alone.

    Raises:
        PoNetError: where it is missing, cut off or changed; it names the shard.
    """
    path = folder / name
    try:
        size = path.stat().st_size
        whole = size == facts["bytes"] and (not contents or digest(path) == facts["sha256"])
    except FileNotFoundError as error:
        raise PoNetError(f"The shard '{folder}' lacks '{name}'. {ADVICE}") from error
    except OSError as error:
        raise explain(error, path) from error
    if not whole:
        raise PoNetError(f"The shard '{folder}' is corrupt: '{name}' isn't what was written. {ADVICE}")


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(file: Any) -> None:
    """On the disk before the rename, so that a power cut leaves no whole-looking shard of zeros."""
    file.flush()
    os.fsync(file.fileno())
