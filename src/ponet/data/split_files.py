"""Which files of a folder are which split: by their names, or as the `datasets` library saved them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ponet.data.streams import is_table, is_text, split_name
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, read_json

SPLITS = ("train", "validation", "test")
ALIASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split may be called, in lower case -> the split."""
_STATE, _SPLIT_LIST = "state.json", "dataset_dict.json"
"""What `save_to_disk` of the `datasets` library leaves beside the rows, and beside the folders of the splits."""


def split_aliases(splits: Mapping[Any, str | None] | None = None) -> dict[str, str]:
    """`ALIASES`, with the splits that have other names: ours -> the data's, or None to leave it out. A name that is
    given here means nothing else."""
    given = splits or {}
    aliases = {name: split for name, split in ALIASES.items() if split not in given}
    return aliases | {name.lower(): split for split, name in given.items() if name is not None}


def split_files(folder: Path, texts: bool = False, aliases: Mapping[str, str] = ALIASES) -> dict[str, list[Path]]:
    """The files of each split: `train.csv`, `train-00000-of-00004.parquet`, `train/*.csv` or `train/<class>/*.txt`
    (with `texts`, text files too), in the folder itself, in `data` as on the hub, or as the `datasets` library saves
    them."""
    if (folder / _SPLIT_LIST).is_file():
        return _saved_splits(folder, aliases)
    return _split_files(folder, texts, aliases) or _split_files(folder / "data", texts, aliases)


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of a data set that the `datasets` library saved in a folder; none where it didn't. Raises
    PoNetError: one whose rows are picked by a list beside them, as old versions left it."""
    state = folder / _STATE
    if not (state.is_file() and (folder / "dataset_info.json").is_file()):
        return []
    values = read_json(state)
    try:
        if values.get("_indices_files") or values.get("_indices_data_files"):
            raise PoNetError(f"'{folder}' keeps its rows in another order than its files: save the data set again.")
        return [folder / str(entry["filename"]) for entry in values["_data_files"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise PoNetError(f"'{state}' doesn't say which files the data set has: save it again.") from error


def _saved_splits(folder: Path, aliases: Mapping[str, str]) -> dict[str, list[Path]]:
    names = read_json(folder / _SPLIT_LIST)
    names = names.get("splits") if isinstance(names, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PoNetError(f"'{folder / _SPLIT_LIST}' doesn't say which splits the data set has: save it again.")
    found: dict[str, list[Path]] = {}
    for name in names:
        if name.lower() in aliases:
            files = saved_files(folder / name)
            if not files:
                raise PoNetError(f"'{folder}' lacks its split {name}: save the data set again.")
            found[aliases[name.lower()]] = files
    if not found:
        raise PoNetError(f"'{folder}' has no split train, validation or test; it has: {', '.join(names)}.")
    return {name: found[name] for name in SPLITS if name in found}


def _split_files(folder: Path, texts: bool, aliases: Mapping[str, str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {name: [] for name in SPLITS}
    names = re.compile(rf"({'|'.join(map(re.escape, aliases))})(?:[-_.]?(\d+)(?:-of-(\d+))?)?", re.IGNORECASE)
    if not folder.is_dir():
        return {}

    def is_data(entry: Path) -> bool:
        return is_table(entry) or (texts and is_text(entry))

    try:
        for entry in sorted(folder.iterdir()):
            match = names.fullmatch(entry.name if entry.is_dir() else split_name(entry)[0])
            if match is None or not (entry.is_dir() or is_data(entry)):
                continue
            files = [entry]
            if entry.is_dir():
                files = saved_files(entry) or [file for file in sorted(entry.iterdir()) if is_data(file)]
                files = files or ([entry] if class_folders(entry) else [])
            found[aliases[match[1].lower()]] += files
    except OSError as error:
        raise explain(error, folder) from error
    found = {name: files for name, files in found.items() if files}
    for name, paths in found.items():
        _check_shards(name, [names.fullmatch(split_name(path)[0]) for path in paths], paths, folder)
    return found


def _check_shards(name: str, matches: list[re.Match[str] | None], paths: list[Path], folder: Path) -> None:
    totals = {int(match[3]) for match in matches if match and match[3]}
    if totals and (len(totals) > 1 or len(paths) != totals.pop()):
        raise PoNetError(
            f"'{folder}' has {len(paths)} files of the {name} split, not as many as their names say: complete them."
        )
    if len(paths) > 1 and any(match and not match[2] for match in matches):
        names = " and ".join(f"'{path.name}'" for path in paths[:2])
        raise PoNetError(f"'{folder}' has both {names} for the {name} split: keep one of them.")


def class_folders(folder: Path) -> list[Path]:
    """Sub-folders that hold .txt files and nothing else: one a class, as in the original IMDb archive."""
    inside = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    classes = [entry for entry in inside if entry.is_dir() and any(entry.glob("*.txt"))]
    return classes if len(classes) > 1 else []
