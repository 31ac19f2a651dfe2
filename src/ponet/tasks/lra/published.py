"""What data sets are read from: the published archive, `lra_release.gz`, with its TSV files, and tables."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.config.lra import DataOptions
from ponet.tasks.lra.spec import DatasetSpec, ExampleSource
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError
from ponet.utils.files import data_folder, explained

if TYPE_CHECKING:
    from ponet.data.tables import DataTable

BLOCK = 32_000_000
"""Bytes of a file that one process reads at a time."""
ROWS = 2_500
"""Rows of a table that are read at a time."""


def find(source: str, name: str) -> Path:
    """A file or folder of the archive by its path within the innermost `lra_release`, where the user named the unpacked
    archive or any folder in it. Raises a PoNetError where it isn't there."""
    root = Path(source).expanduser()
    parts = Path(name).parts
    ends = [Path(*parts[start:]) for start in range(len(parts))]
    for folder in (root, root / "lra_release", root / "lra_release" / "lra_release"):
        for end in ends:
            if (folder / end).exists():
                return folder / end
    raise PoNetError(f"'{source}' has no '{name}': name the folder 'lra_release' of the published archive as source.")


def tsv_spec(
    task: str,
    version: int,
    source: str,
    options: DataOptions,
    read: Callable[["Block"], Examples],
    names: Mapping[str, str],
    header: bool = False,
    **more: Any,
) -> DatasetSpec:
    """A data set that is read from TSV files of the archive.

    Args:
        read: the examples of a block of lines.
        names: of each split's file.
        header: whether their first line is one.
    """

    def files() -> dict[str, Path]:
        return {split: find(source, name) for split, name in names.items()}

    def sources() -> list[ExampleSource]:
        found = files()
        for path in found.values():
            check_end(path)  # before hours are spent on what comes before the end
        return [
            ExampleSource(read, blocks(path, header), {split: None}, per_job=32, unit="MB")
            for split, path in found.items()
        ]

    return DatasetSpec(
        task,
        version,
        {"source": str(Path(source).expanduser().resolve())},
        "the published archive",
        sources,
        inputs=lambda: sizes(files().values()),
        shown=options.chosen,
        **more,
    )


def sizes(paths: Iterable[Path]) -> dict[str, int]:
    """The bytes of the files that are there, by path, as a data set's spec names its inputs."""
    return {str(path): path.stat().st_size for path in paths if path.is_file()}


def identity(source: str) -> str:
    """What names a source in the cache: the whole path of one that is on this machine, else the name itself."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def located(source: str) -> Path | None:
    """A path, or a name in the data folder; None for one of the hub."""
    data = data_folder()
    places = (Path(source).expanduser(), *([] if data is None else [data / source]))
    return next((path for path in places if path.exists()), None)


def source_sizes(source: str) -> dict[str, int]:
    """The bytes of each data file of a source on this machine."""
    path = located(source)
    files = [] if path is None else sorted(path.rglob("*")) if path.is_dir() else [path]
    return sizes(file for file in files if file.suffix in (".parquet", ".csv", ".tsv", ".jsonl", ".json"))


@dataclass(frozen=True)
class Block:
    """Whole lines of a file."""

    path: Path
    start: int
    stop: int
    """The byte behind the last one."""
    first_line: int
    """The number of the first line; a file begins with line 1."""

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Number and content of each line, without its end. Raises a PoNetError where the file can't be read."""
        with explained(self.path), self.path.open("rb") as file:
            file.seek(self.start)
            for number, line in enumerate(file, self.first_line):
                yield number, line.rstrip(b"\r\n")
                if file.tell() >= self.stop:
                    return


def blocks(path: Path, header: bool = False, size: int = BLOCK) -> list[Block]:
    """A text file in blocks of whole lines, about `size` bytes each, without its first line where that is a header."""
    found: list[Block] = []
    with explained(path), path.open("rb") as file:
        number = 1
        if header:
            file.readline()
            number += 1
        start = file.tell()
        while chunk := file.read(size):
            rest = file.readline()
            found.append(Block(path, start, file.tell(), number))
            number += chunk.count(b"\n") + rest.count(b"\n")
            start = file.tell()
    if not found:
        raise _empty(path)
    return found


def check_end(path: Path) -> None:
    """A look at the end of a file alone, since reading all before it may take long. Raises a PoNetError where the file
    is empty or its last line has no end: then it has been cut off."""
    with explained(path), path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            raise _empty(path)
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            raise cut_off(path, sum(1 for _ in file))


def _empty(path: Path) -> PoNetError:
    return PoNetError(f"'{path}' is empty: copy it from the published archive again.")


def wrong(path: Path, line: int, problem: str) -> PoNetError:
    """What is the matter with a line of a file."""
    return PoNetError(f"'{path}', line {line:,}, {problem}. Copy the file from its archive again.")


def cut_off(path: Path, line: int) -> PoNetError:
    """What is the matter with a file whose last line has no end."""
    return wrong(path, line, "has no end: the file has been cut off")


def left_out(notes: Mapping[str, int], what: str) -> list[str]:
    """The sentence that says how many examples were empty, none where none were."""
    return [f"{notes['empty']:,} {what} left out."] if notes.get("empty") else []


@dataclass(frozen=True)
class Rows:
    """Some rows of a table."""

    table: "DataTable"
    start: int
    stop: int

    def read(self, content: str) -> Iterator[tuple[str, Any, Any]]:
        """Where each row is, for messages, its content from that column, and its label."""
        rows = self.table.data.slice(self.start, self.stop - self.start)
        pairs = zip(rows[content].to_pylist(), rows["label"].to_pylist(), strict=True)
        for number, (value, label) in enumerate(pairs, self.start):
            yield f"'{self.table.origin}', row {number:,},", value, label


def open_tables(source: str, like: str) -> dict[str, "DataTable"]:
    """The training and test rows of a folder or hub data set that is as `like`."""
    from ponet.data.sources import open_source

    tables = open_source(source).splits
    for split in ("train", "test"):
        if split not in tables:
            raise PoNetError(f"'{source}' has no {split} split: it needs train and test, as {like} has.")
    return {split: tables[split] for split in ("train", "test")}


def table_source(split: str, rows: Rows, read: Callable[[Rows], Examples], unit: str) -> ExampleSource:
    """A split of rows of a table, read in this process."""
    starts = range(rows.start, rows.stop, ROWS)
    jobs = [Rows(rows.table, start, min(start + ROWS, rows.stop)) for start in starts]
    return ExampleSource(read, jobs, {split: None}, per_job=ROWS, unit=unit, parallel=False)
