"""Where the rows are: a file, a folder of splits, a saved data set, a set in the data folder, or the hub."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from ponet.data.arrow import features_class_names
from ponet.data.hub import HUB_NAME, load_data_set
from ponet.data.streams import TABLES, TEXTS, ByteStream, is_table, is_text, split_name
from ponet.data.tables import DataTable, read_table
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import data_folder, explain, read_json

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
_STATE, _SPLIT_LIST = "state.json", "dataset_dict.json"
"""What `save_to_disk` of the `datasets` library leaves beside the rows, and beside the folders of the splits."""


@dataclass
class TableSource:
    """The splits found under one name, as read."""

    splits: dict[str, DataTable]
    """By `train`, `validation`, `test`; a single file is `train` alone."""
    is_file: bool = False
    """Whether it is one table, without splits of its own."""
    notices: list[str] = field(default_factory=list)
    place: Path | None = None
    """The file or folder; None for the hub."""

    def fingerprint(self) -> str:
        """Identifies the rows, independently of place and format."""
        digest = hashlib.sha256()
        for name, table in self.splits.items():
            digest.update(f"{name} {len(table)} {sorted(table.columns)}".encode())
            for column in sorted(table.columns):
                for chunk in table.data.column(column).chunks:
                    for begin in range(0, len(chunk), 1000):
                        values = chunk.slice(begin, 1000).to_pylist()
                        digest.update("".join(f"{value!r}\n" for value in values).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def open_source(path: str | None) -> TableSource:
    """All rows under a path, a name in the data folder, or a hub name, in this order.

    Raises:
        PoNetError: nothing there, nothing readable, or something wrong with a file.
    """
    if not path:
        raise PoNetError("No data is named: give a file, a folder of splits or a hub name as data.path.")
    local = find(path, (*TABLES, *TEXTS, ".xlsx"))
    if local is None:
        source = _from_hub(path)
    else:
        source = _from_folder(local) if local.is_dir() else TableSource({"train": read_table(local)}, is_file=True)
        source.place = local
    source.notices.extend(notice for table in source.splits.values() for notice in table.notices)
    return source


def find(name: str, suffixes: tuple[str, ...]) -> Path | None:
    """The file or folder that is meant, or None where only the hub is left.

    Args:
        suffixes: endings that no data set of the hub has.

    Raises:
        PoNetError: a name that the hub can't have, of nothing that is here.
    """
    here, data = Path(name), data_folder()
    if here.exists():
        return here
    if data is not None and not here.is_absolute() and ".." not in here.parts and (data / here).exists():
        return data / here
    _, kind, compression = split_name(here)
    is_file = bool(kind or compression) or here.suffix.lower() in suffixes
    if not is_file and HUB_NAME.fullmatch(name.partition(":")[0]):
        return None
    near = suggest(here.name, [entry.name for entry in here.parent.iterdir()]) if here.parent.is_dir() else ""
    raise PoNetError(f"There is no '{name}'.{near if 'Did you mean' in near else ' Check the path.'}")


def not_here(name: str) -> tuple[str, str]:
    """The start of a message, and a near name in the data folder where there is one."""
    data = data_folder()
    if data is None or not data.is_dir():
        return f"There is no '{name}' here", ""
    near = suggest(name, [entry.name for entry in data.iterdir() if entry.is_dir()])
    return f"There is no '{name}' here or in '{data}'", near if "Did you mean" in near else ""


def split_called(name: str) -> str | None:
    """The split that a name such as `dev` means."""
    return _ALIASES.get(name.lower())


def split_files(folder: Path, texts: bool = False) -> dict[str, list[Path]]:
    """The files of each split: `train.csv`, `train-00000-of-00004.parquet`, `train/*.csv` or `train/<class>/*.txt`,
    in the folder itself, in `data` as on the hub, or as the `datasets` library saves them.

    Args:
        texts: whether text files are taken too.
    """
    if (folder / _SPLIT_LIST).is_file():
        return _saved_splits(folder)
    return _split_files(folder, texts) or _split_files(folder / "data", texts)


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of a data set that the `datasets` library saved in a folder; none where it didn't.

    Raises:
        PoNetError: one whose rows are picked by a list beside them, as old versions left it.
    """
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


def _saved_splits(folder: Path) -> dict[str, list[Path]]:
    names = read_json(folder / _SPLIT_LIST)
    names = names.get("splits") if isinstance(names, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PoNetError(f"'{folder / _SPLIT_LIST}' doesn't say which splits the data set has: save it again.")
    found: dict[str, list[Path]] = {}
    for name in names:
        if name in _ALIASES:
            files = saved_files(folder / name)
            if not files:
                raise PoNetError(f"'{folder}' lacks its split {name}: save the data set again.")
            found[_ALIASES[name]] = files
    if not found:
        raise PoNetError(f"'{folder}' has no split train, validation or test; it has: {', '.join(names)}.")
    return {name: found[name] for name in SPLITS if name in found}


def _split_files(folder: Path, texts: bool) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    if not folder.is_dir():
        return found
    try:
        entries = sorted(folder.iterdir())
        for entry in entries:
            match = _SPLIT_NAME.fullmatch(entry.name if entry.is_dir() else split_name(entry)[0])
            if match is None or not (entry.is_dir() or is_table(entry) or (texts and is_text(entry))):
                continue
            name = _ALIASES[match[1].lower()]
            if entry.is_dir():
                inside = saved_files(entry) or [
                    file for file in sorted(entry.iterdir()) if is_table(file) or (texts and is_text(file))
                ]
                found.setdefault(name, []).extend(inside or ([entry] if _class_folders(entry) else []))
            else:
                found.setdefault(name, []).append(entry)
    except OSError as error:
        raise explain(error, folder) from error
    found = {name: found[name] for name in SPLITS if found.get(name)}
    for name, paths in found.items():
        _check_shards(name, paths, folder)
    return found


def _check_shards(name: str, paths: list[Path], folder: Path) -> None:
    matches = [_SPLIT_NAME.fullmatch(split_name(path)[0]) for path in paths]
    totals = {int(match[3]) for match in matches if match and match[3]}
    if totals and (len(totals) > 1 or len(paths) != totals.pop()):
        raise PoNetError(
            f"'{folder}' has {len(paths)} files of the {name} split, not as many as their names say: complete them."
        )
    if len(paths) > 1 and any(match and not match[2] for match in matches):
        names = " and ".join(f"'{path.name}'" for path in paths[:2])
        raise PoNetError(f"'{folder}' has both {names} for the {name} split: keep one of them.")


def _from_folder(folder: Path) -> TableSource:
    files = split_files(folder)
    if files:
        return TableSource({name: _read_shards(paths) for name, paths in files.items()})
    saved = saved_files(folder)
    if saved:
        return TableSource({"train": _read_shards(saved)}, is_file=True)
    try:
        loose = [entry for entry in sorted(folder.iterdir()) if entry.is_file() and is_table(entry)]
        loose = [entry for entry in loose if split_name(entry)[1]] or loose  # an archive beside what was in it
        classes = _class_folders(folder)
    except OSError as error:
        raise explain(error, folder) from error
    if len(loose) == 1:
        return TableSource({"train": read_table(loose[0])}, is_file=True)
    if loose:
        raise PoNetError(
            f"'{folder}' has {len(loose)} data files ({loose[0].name}, {loose[1].name}, ...) and none is called train: "
            "rename them to train, validation and test, or name one file."
        )
    if classes:
        return TableSource({"train": _read_classes(folder, classes)}, is_file=True)
    raise PoNetError(
        f"'{folder}' holds no data: it needs files such as train.csv or test.parquet ({', '.join(TABLES)})."
    )


def _read_shards(paths: list[Path]) -> DataTable:
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
    comma = all(table.decimal_comma for table in tables)
    return DataTable(data, f"{paths[0].parent} ({len(paths)} files)", names, notices, comma)


def _class_folders(folder: Path) -> list[Path]:
    """Sub-folders that hold .txt files and nothing else: one a class, as in the original IMDb archive."""
    inside = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    classes = [entry for entry in inside if entry.is_dir() and any(entry.glob("*.txt"))]
    return classes if len(classes) > 1 else []


def _read_classes(folder: Path, classes: list[Path]) -> DataTable:
    import pyarrow as pa

    texts, labels = [], []
    for entry in classes:
        for file in sorted(entry.glob("*.txt")):
            texts.append(read_text(file))
            labels.append(entry.name)
    return DataTable(pa.table({"text": texts, "label": labels}), str(folder))


def read_text(path: Path) -> str:
    """A whole text file, compressed or not.

    Raises:
        PoNetError: missing, unreadable or not UTF-8.
    """
    with ByteStream(path) as stream:
        return "".join(stream.blocks())


def _from_hub(name: str) -> TableSource:
    """A data set of the Hugging Face hub, or its copy in the local cache."""
    loaded = load_data_set(name, *not_here(name))
    splits = {}
    for key, split in loaded.items():
        if str(key) in _ALIASES:
            data = split.with_format("arrow")[:]
            splits[_ALIASES[str(key)]] = DataTable(
                data, f"{name} ({key})", features_class_names(split.features.to_dict())
            )
    if not splits:
        raise PoNetError(f"'{name}' has no split train, validation or test; it has: {', '.join(map(str, loaded))}.")
    return TableSource(splits)
