"""What `CORPUS` may name: files, folders, sets in the data folder, one split of them, data sets of the hub."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ponet.corpus import SUFFIXES, Corpus, Row
from ponet.errors import PoNetError, suggest
from ponet.files import data_folder, explain
from ponet.hub import why_not_data_set

DOCUMENT_CHARACTERS = 4_000_000
"""A longer text is cut at line ends into several documents: what is in memory stays bounded."""

_SPLITS = {"train": "train|training", "validation": "validation|valid|val|dev", "test": "test|testing"}
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(:[\w.-]+)?")
_BATCH = 64
_END_BYTES = 1 << 20


class Source(Protocol):
    """One place that texts come from."""

    @property
    def files(self) -> Sequence[Path | str]:
        """What it is read from, in order."""

    def size(self, index: int) -> int:
        """Bytes of `files[index]`."""

    def identity(self, index: int) -> dict[str, Any]:
        """What tells `files[index]` from another one, without reading all of it and without a path of this machine."""

    def documents(self, index: int) -> Iterator[Row]:
        """The texts of `files[index]` in order, each with the bytes read so far."""


class FileSource:
    """Files as `ponet.corpus.Corpus` reads them.

    Args:
        paths: files or folders.
        column: the column that holds the text, in all but text files.
    """

    def __init__(self, paths: Sequence[Path], column: str) -> None:
        self.corpus = Corpus(paths, column)
        self.files = self.corpus.files

    def size(self, index: int) -> int:
        return self.files[index].stat().st_size

    def identity(self, index: int) -> dict[str, Any]:
        path, size = self.files[index], self.size(index)
        try:
            with open(path, "rb") as file:
                ends = hashlib.sha256(file.read(_END_BYTES))
                file.seek(max(size - _END_BYTES, 0))
                ends.update(file.read(_END_BYTES))
        except OSError as error:
            raise explain(error, path) from error
        return {"name": path.name, "bytes": size, "sha256_of_ends": ends.hexdigest()}

    def documents(self, index: int) -> Iterator[Row]:
        for text, position in self.corpus.documents(self.files[index], DOCUMENT_CHARACTERS):
            yield _sound(text), position


class HubSource:
    """The training split of a data set of the Hugging Face hub, memory-mapped by the library from its cache.

    Args:
        name: `owner/name` or `owner/name:configuration`.
        column: the column that holds the text.

    Raises:
        PoNetError: no such data set, no connection and nothing in the cache, or no such column.
    """

    def __init__(self, name: str, column: str, split: str = "train") -> None:
        import datasets

        repository, _, configuration = name.partition(":")
        reason = why_not_data_set(repository)
        if reason is not None:
            raise PoNetError(f"There is no '{name}' here, and {reason}")
        try:
            self.data = datasets.load_dataset(repository, configuration or None, split=split)
        except Exception as error:  # its errors have no common class
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise PoNetError(
                f"There is no '{name}' here, and as a data set of the hub it can't be read ({reason})."
            ) from error
        if column not in self.data.column_names:
            raise PoNetError(f"'{name}' has no column '{column}'.{suggest(column, self.data.column_names)}")
        kind = getattr(self.data.features[column], "dtype", "no text")
        if kind not in ("string", "large_string"):
            raise PoNetError(f"'{name}': the column '{column}' holds {kind}, not text.")
        self.files = [name]
        self.column = column

    def size(self, index: int) -> int:
        return int(self.data.dataset_size or self.data.data.nbytes)

    def identity(self, index: int) -> dict[str, Any]:
        return {"name": self.files[index], "bytes": self.size(index), "rows": len(self.data)}

    def documents(self, index: int) -> Iterator[Row]:
        size, rows, done = self.size(index), max(len(self.data), 1), 0
        for batch in self.data.select_columns([self.column]).iter(_BATCH):
            for text in batch[self.column]:
                done += 1
                text = _sound(text or "")
                for start in range(0, len(text) or 1, DOCUMENT_CHARACTERS):
                    yield text[start : start + DOCUMENT_CHARACTERS], size * done // rows


def open_sources(names: Sequence[str], column: str = "text") -> list[Source]:
    """The sources that are named, in order.

    A name is a file, a folder, either of them in the data folder, `FOLDER/SPLIT` for one split of a folder that has
    `train*`, `validation*` or `test*` files (without a split its training files are meant, so that held-out text
    stays held out), or `owner/name` on the hub.

    Raises:
        PoNetError: for a name under which nothing is found, or nothing that can be read.
    """
    sources: list[Source] = []
    for name in names:
        paths = _local(name)
        sources.append(FileSource(paths, column) if paths is not None else HubSource(name, column))
    return sources


def _local(name: str) -> list[Path] | None:
    """The files or folders that are meant, or None where only the hub is left."""
    data = data_folder()
    places = [Path(name)]
    if data is not None and not Path(name).is_absolute() and ".." not in Path(name).parts:
        places.append(data / name)
    for place in places:
        if place.is_dir():
            return _split_files(place, "train") or [place]
        if place.exists():
            return [place]
        for split in _SPLITS:
            if re.fullmatch(_SPLITS[split], place.name) and place.parent.is_dir():
                files = _split_files(place.parent, split)
                if files:
                    return files
    if _HUB_NAME.fullmatch(name) and Path(name).suffix.lower() not in SUFFIXES:
        return None
    near = suggest(name, [entry.name for entry in data.iterdir()]) if data is not None and data.is_dir() else ""
    where = f" here or in '{data}'" if data is not None else ""
    raise PoNetError(f"There is no '{name}'{where}.{near if 'Did you mean' in near else ' Check the path.'}")


def _split_files(folder: Path, split: str) -> list[Path]:
    """The files of one split: `train.parquet`, `train-00000-of-00004.parquet`, ..., also in a folder `data`."""
    pattern = re.compile(rf"({_SPLITS[split]})(?:[-_.]?\d+(?:-of-\d+)?)?", re.IGNORECASE)
    for place in (folder, folder / "data"):
        if place.is_dir():
            found = sorted(
                entry
                for entry in place.iterdir()
                if entry.is_file() and entry.suffix.lower() in SUFFIXES and pattern.fullmatch(entry.stem)
            )
            if found:
                return found
    return []


def _sound(text: str) -> str:
    """A text that can be encoded: half of a surrogate pair, which JSON may hold, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
