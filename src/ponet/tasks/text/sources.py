"""Where the rows are: a file, a folder of splits, a set in the data folder, or the hub."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from ponet.errors import PoNetError, suggest
from ponet.files import data_folder, explain
from ponet.hub import why_not_data_set
from ponet.tasks.text.hub import HUB_NAME
from ponet.tasks.text.readers import features_class_names, read_table, read_text, suffixes
from ponet.tasks.text.table import Table

SPLITS = ("train", "validation", "test")
_ALIASES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_SPLIT_NAME = re.compile(rf"({'|'.join(_ALIASES)})(?:[-_.]?(\d+)(?:-of-(\d+))?)?", re.IGNORECASE)


@dataclass
class Source:
    """The splits found under one name, as read."""

    splits: dict[str, Table]
    """By `train`, `validation`, `test`; a single file is `train` alone."""
    is_file: bool = False
    """Whether it is one file, without splits of its own."""
    notices: list[str] = field(default_factory=list)


def open_source(path: str | None) -> Source:
    """All rows under a path, a name in the data folder, or a hub name, in this order.

    Raises:
        PoNetError: nothing there, nothing readable, or something wrong with a file.
    """
    if not path:
        raise PoNetError("No data is named: give a file, a folder of splits or a hub name as data.path.")
    local = _local(path)
    source = _from_hub(path) if local is None else _from_folder(local) if local.is_dir() else _from_file(local)
    source.notices.extend(notice for table in source.splits.values() for notice in table.notices)
    return source


def _local(path: str) -> Path | None:
    """The file or folder that is meant, or None where only the hub is left."""
    here = Path(path)
    if here.exists():
        return here
    data = data_folder()
    if data is not None and not here.is_absolute() and ".." not in here.parts and (data / here).exists():
        return data / here
    looks_local = here.suffix.lower() in (*suffixes(), ".txt", ".xlsx") or not HUB_NAME.fullmatch(
        path.partition(":")[0]
    )
    if looks_local:
        near = suggest(here.name, [entry.name for entry in here.parent.iterdir()]) if here.parent.is_dir() else ""
        raise PoNetError(f"There is no '{path}'.{near if 'Did you mean' in near else ' Check the path.'}")
    return None


def _from_file(path: Path) -> Source:
    return Source({"train": read_table(path)}, is_file=True)


def _from_folder(folder: Path) -> Source:
    try:
        files = _split_files(folder) or _split_files(folder / "data")  # the hub's layout has a folder `data`
    except OSError as error:
        raise explain(error, folder) from error
    if files:
        return Source({name: _read_shards(paths) for name, paths in files.items()})
    loose = [entry for entry in sorted(folder.iterdir()) if entry.is_file() and entry.suffix.lower() in suffixes()]
    if len(loose) == 1:
        return _from_file(loose[0])
    if loose:
        raise PoNetError(
            f"'{folder}' has {len(loose)} data files ({loose[0].name}, {loose[1].name}, ...) and none is called train: "
            "rename them to train, validation and test, or name one file."
        )
    classes = _class_folders(folder)
    if classes:
        return Source({"train": _read_classes(folder, classes)}, is_file=True)
    raise PoNetError(
        f"'{folder}' holds no data: it needs files such as train.csv or test.parquet ({', '.join(suffixes())})."
    )


def _split_files(folder: Path) -> dict[str, list[Path]]:
    """The files of each split: `train.csv`, `train-00000-of-00004.parquet`, `train/*.csv` or `train/<class>/*.txt`."""
    found: dict[str, list[Path]] = {}
    if not folder.is_dir():
        return found
    for entry in sorted(folder.iterdir()):
        match = _SPLIT_NAME.fullmatch(entry.name if entry.is_dir() else entry.stem)
        if match is None or (entry.is_file() and entry.suffix.lower() not in suffixes()):
            continue
        name = _ALIASES[match[1].lower()]
        if entry.is_dir():
            inside = [file for file in sorted(entry.iterdir()) if file.suffix.lower() in suffixes()]
            found.setdefault(name, []).extend(inside or ([entry] if _class_folders(entry) else []))
        else:
            found.setdefault(name, []).append(entry)
    found = {name: found[name] for name in SPLITS if found.get(name)}
    for name, paths in found.items():
        _check_shards(name, paths, folder)
    return found


def _check_shards(name: str, paths: list[Path], folder: Path) -> None:
    matches = [_SPLIT_NAME.fullmatch(path.stem) for path in paths]
    totals = {int(match[3]) for match in matches if match and match[3]}
    if totals and (len(totals) > 1 or len(paths) != totals.pop()):
        raise PoNetError(
            f"'{folder}' has {len(paths)} files of the {name} split, not as many as their names say: complete them."
        )
    if len(paths) > 1 and any(match and not match[2] for match in matches):
        names = " and ".join(f"'{path.name}'" for path in paths[:2])
        raise PoNetError(f"'{folder}' has both {names} for the {name} split: keep one of them.")


def _read_shards(paths: list[Path]) -> Table:
    import pyarrow as pa

    tables = [_read_classes(path, _class_folders(path)) if path.is_dir() else read_table(path) for path in paths]
    if len(tables) == 1:
        return tables[0]
    for table in tables[1:]:
        if set(table.columns) != set(tables[0].columns):
            raise PoNetError(
                f"'{table.origin}' has other columns than '{tables[0].origin}': all files of a split need the same."
            )
    try:
        data = pa.concat_tables([table.data for table in tables], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise PoNetError(
            f"The files from '{tables[0].origin}' to '{tables[-1].origin}' differ in their column types."
        ) from error
    names = {column: names for table in tables for column, names in table.class_names.items()}
    notices = [notice for table in tables for notice in table.notices]
    return Table(data, f"{paths[0].parent} ({len(paths)} files)", names, notices)


def _class_folders(folder: Path) -> list[Path]:
    """Sub-folders that hold .txt files and nothing else: one a class, as in the original IMDb archive."""
    inside = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    classes = [entry for entry in inside if entry.is_dir() and any(entry.glob("*.txt"))]
    return classes if len(classes) > 1 else []


def _read_classes(folder: Path, classes: list[Path]) -> Table:
    import pyarrow as pa

    texts, labels = [], []
    for entry in classes:
        for file in sorted(entry.glob("*.txt")):
            texts.append(read_text(file))
            labels.append(entry.name)
    return Table(pa.table({"text": texts, "label": labels}), str(folder))


def _from_hub(name: str) -> Source:
    """A data set of the Hugging Face hub, or its copy in the local cache."""
    import datasets

    missing, near = _not_here(name)
    repository, _, config = name.partition(":")
    reason = why_not_data_set(repository, near)
    if reason is not None:
        raise PoNetError(f"{missing}, and {reason}")
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(repository, config or None)
    except Exception as error:  # its errors have no common class
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise PoNetError(
            f"'{name}' on the hub can't be read ({reason}). A configuration is named owner/name:config."
        ) from error
    finally:
        if shown:
            datasets.enable_progress_bars()
    splits = {}
    for key, split in loaded.items():
        if str(key) in _ALIASES:
            data = split.with_format("arrow")[:]
            splits[_ALIASES[str(key)]] = Table(data, f"{name} ({key})", features_class_names(split.features.to_dict()))
    if not splits:
        raise PoNetError(f"'{name}' has no split train, validation or test; it has: {', '.join(map(str, loaded))}.")
    return Source(splits)


def _not_here(name: str) -> tuple[str, str]:
    """The start of a message, and a near name in the data folder where there is one."""
    data = data_folder()
    if data is None or not data.is_dir():
        return f"There is no file or folder '{name}'", ""
    near = suggest(name, [entry.name for entry in data.iterdir() if entry.is_dir()])
    return f"There is no '{name}' here or in '{data}'", near if "Did you mean" in near else ""
