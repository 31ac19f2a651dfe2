"""Prepared data in the cache: the manifest that makes a folder valid, and the checks before anything is read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.tasks.lra.parts import digest
from ponet.tasks.lra.plan import FORMAT, Plan
from ponet.tasks.lra.store import TokenStore
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, read_json, write_json

if TYPE_CHECKING:
    from ponet.config.lra import DataOptions
    from ponet.tasks.lra.data import LraData, LraTask

MANIFEST = "manifest.json"


def write_manifest(
    folder: Path,
    plan: Plan,
    columns: int,
    inputs: Mapping[str, int],
    examples: Mapping[str, int],
    notes: Mapping[str, int],
) -> None:
    """Says that a folder is complete: the last file to be written."""
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.*")):
        if path.is_file():
            files[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    hashes = "".join(entry["sha256"] for entry in files.values())
    manifest = {
        "format": FORMAT,
        "task": plan.task,
        "version": plan.version,
        "parameters": dict(plan.parameters),
        "source": plan.source,
        "inputs": dict(inputs),
        "texts": columns,
        "shift": plan.shift,
        "examples": dict(examples),
        "notes": dict(notes),
        "checksum": hashlib.sha256(hashes.encode()).hexdigest(),
        "files": files,
    }
    write_json(folder / MANIFEST, manifest)


def open_cache(folder: Path, plan: Plan, about: "LraTask", options: "DataOptions", verify: bool = False) -> "LraData":
    """The prepared data of a folder, once its manifest, its files and its source agree.

    Raises:
        PoNetError: where they don't: what is wrong, and what to do.
    """
    from ponet.tasks.lra.data import SPLITS, LraData

    manifest = read_json(folder / MANIFEST)
    _check_manifest(folder, manifest, plan)
    _check_inputs(folder, manifest)
    _check_files(folder, manifest, verify)
    splits = {}
    for split in SPLITS:
        stored = plan.aliases.get(split, split)
        if stored in manifest["examples"]:
            splits[split] = open_split(folder, stored, manifest).spread(plan.shown.get(split))
    examples = {split: len(store) for split, store in splits.items()}
    differences = plan.differences(examples, manifest["notes"])
    facts = {
        "task": about.name,
        "source": manifest["source"],
        "official": dict(about.official),
        "examples": examples,
        "differences": differences,
        "notes": manifest["notes"],
        "parameters": manifest["parameters"],
        "version": manifest["version"],
        "checksum": manifest["checksum"],
    }
    if "seed" in plan.parameters:
        facts["seed"] = plan.parameters["seed"]
    return LraData(about, splits, facts, folder, list(differences))


def open_split(folder: Path, split: str, manifest: Mapping[str, Any]) -> TokenStore:
    """The stored examples of one split."""
    lengths = np.load(folder / f"{split}.lengths.npy").astype(np.int64)
    labels = np.load(folder / f"{split}.labels.npy").astype(np.int64)
    columns = [np.ascontiguousarray(lengths[:, column]) for column in range(manifest["texts"])]
    files = [folder / f"{split}.tokens{column}.bin" for column in range(manifest["texts"])]
    starts = [np.cumsum(column) - column for column in columns]
    return TokenStore(files, starts, columns, labels, manifest["shift"])


def existing_keys(folder: Path) -> set[bytes]:
    """The digests of the training examples in a folder, none where nothing is prepared there."""
    if not (folder / MANIFEST).is_file():
        return set()
    return {digest(key) for key in open_split(folder, "train", read_json(folder / MANIFEST)).contents()}


def _check_manifest(folder: Path, manifest: Any, plan: Plan) -> None:
    needed = {"format", "task", "version", "parameters", "inputs", "texts", "shift", "examples", "notes", "files"}
    if not isinstance(manifest, dict) or not needed <= set(manifest):
        raise PoNetError(f"'{folder / MANIFEST}' is not a manifest of prepared data. {_anew(folder)}")
    identity = {"format": FORMAT, "task": plan.task, "version": plan.version, "parameters": dict(plan.parameters)}
    for key, expected in identity.items():
        if manifest[key] != expected:
            raise PoNetError(
                f"'{folder}' holds data of another {key.rstrip('s')} ({manifest[key]}, not {expected}). {_anew(folder)}"
            )


def _check_inputs(folder: Path, manifest: Mapping[str, Any]) -> None:
    """A source that has changed since; one that is gone is no matter."""
    for name, size in manifest["inputs"].items():
        path = Path(name)
        if path.is_file() and path.stat().st_size != size:
            raise PoNetError(
                f"'{folder}' was made when '{path}' had {size:,} bytes, and now it has {path.stat().st_size:,}. "
                f"{_anew(folder)}"
            )


def _check_files(folder: Path, manifest: Mapping[str, Any], verify: bool) -> None:
    for name, facts in manifest["files"].items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise PoNetError(f"'{path}' is missing from the prepared data. {_anew(folder)}") from error
        if size != facts["bytes"]:
            raise PoNetError(f"'{path}' is damaged: {size:,} bytes, not {facts['bytes']:,}. {_anew(folder)}")
        if verify and _sha256(path) != facts["sha256"]:
            raise PoNetError(f"'{path}' is damaged: its checksum is not that of the manifest. {_anew(folder)}")


def _anew(folder: Path) -> str:
    return f"Delete '{folder}', and it is made anew."


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise explain(error, path) from error
