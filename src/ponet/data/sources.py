"""Where the rows are: a file, a folder of splits, a saved data set, a set in the data folder, or the hub."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ponet.data.arrow import features_class_names
from ponet.data.hub import HUB_NAME, load_data_set
from ponet.data.split_files import class_folders, saved_files, split_aliases, split_files
from ponet.data.streams import TABLES, TEXTS, ByteStream, is_table, split_name
from ponet.data.tables import DataTable, read_table
from ponet.utils.errors import PoNetError, suggest
from ponet.utils.files import data_folder, explain, hub_copy


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


def open_source(path: str | None, splits: Mapping[Any, str | None] | None = None) -> TableSource:
    """All rows under a path, a name in the data folder (of the hub's `owner/name:config`, a copy, `name/config`), or a
    hub name, in this order. Raises PoNetError: nothing there, nothing readable, or something wrong with a file.

    `splits`: ours -> what the data calls it, where that isn't a usual name, or None to leave it out."""
    if not path:
        raise PoNetError("No data is named: give a file, a folder of splits or a hub name as data.path.")
    local = find(path, (*TABLES, *TEXTS, ".xlsx"))
    aliases = split_aliases(splits)
    if local is None:
        source = _from_hub(path, aliases)
    else:
        source = _from_folder(local, aliases) if local.is_dir() else _one_table(read_table(local))
        source.place = local
    for split, name in (splits or {}).items():
        if name is not None and (source.is_file or split not in source.splits):
            raise PoNetError(f"'{path}' has no split '{name}', which is to be its {split} split. Correct data.splits.")
    source.notices.extend(notice for table in source.splits.values() for notice in table.notices)
    return source


def find(name: str, suffixes: tuple[str, ...]) -> Path | None:
    """The file or folder that is meant, or None where only the hub is left, which has nothing with one of the
    `suffixes`. Raises PoNetError: a name that the hub can't have, of nothing that is here."""
    here, data = Path(name), data_folder()
    if here.exists():
        return here
    if data is not None and not here.is_absolute() and ".." not in here.parts:
        if (data / here).exists():
            return data / here
        if (copy := hub_copy(name)) is not None:
            return copy
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


def _one_table(table: DataTable) -> TableSource:
    return TableSource({"train": table}, is_file=True)


def _from_folder(folder: Path, aliases: Mapping[str, str]) -> TableSource:
    files = split_files(folder, aliases=aliases)
    if files:
        return TableSource({name: _read_shards(paths) for name, paths in files.items()})
    saved = saved_files(folder)
    if saved:
        return _one_table(_read_shards(saved))
    try:
        loose = [entry for entry in sorted(folder.iterdir()) if entry.is_file() and is_table(entry)]
        loose = [entry for entry in loose if split_name(entry)[1]] or loose  # an archive beside what was in it
        classes = class_folders(folder)
    except OSError as error:
        raise explain(error, folder) from error
    if len(loose) == 1:
        return _one_table(read_table(loose[0]))
    if loose:
        raise PoNetError(
            f"'{folder}' has {len(loose)} data files ({loose[0].name}, {loose[1].name}, ...) and none is called train: "
            "rename them to train, validation and test, or name one file."
        )
    if classes:
        return _one_table(_read_classes(folder, classes))
    raise PoNetError(
        f"'{folder}' holds no data: it needs files such as train.csv or test.parquet ({', '.join(TABLES)})."
    )


def _read_shards(paths: list[Path]) -> DataTable:
    tables = [_read_classes(path, class_folders(path)) if path.is_dir() else read_table(path) for path in paths]
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


def _read_classes(folder: Path, classes: list[Path]) -> DataTable:
    files = [file for entry in classes for file in sorted(entry.glob("*.txt"))]
    columns = {"text": [read_text(file) for file in files], "label": [file.parent.name for file in files]}
    return DataTable(pa.table(columns), str(folder))


def read_text(path: Path) -> str:
    """A whole text file, compressed or not. Raises PoNetError: missing, unreadable or not UTF-8."""
    with ByteStream(path) as stream:
        return "".join(stream.blocks())


def _from_hub(name: str, aliases: Mapping[str, str]) -> TableSource:
    """A data set of the Hugging Face hub, or its copy in the local cache."""
    loaded = load_data_set(name, *not_here(name))
    splits = {}
    for key, split in loaded.items():
        if ours := aliases.get(str(key).lower()):
            names = features_class_names(split.features.to_dict())
            splits[ours] = DataTable(split.with_format("arrow")[:], f"{name} ({key})", names)
    if not splits:
        raise PoNetError(f"'{name}' has no split train, validation or test; it has: {', '.join(map(str, loaded))}.")
    return TableSource(splits)
