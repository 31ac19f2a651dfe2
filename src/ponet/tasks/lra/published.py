"""The files of the published archive, `lra_release.gz`: where they are, and its TSV files line by line."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ponet.utils.errors import PoNetError
from ponet.utils.files import data_folder, explain

BLOCK = 32_000_000
"""Bytes of a file that one process reads at a time."""


def find(source: str, name: str) -> Path:
    """A file or folder of the archive: `source` itself, or below it or below the `lra_release` folders in it.

    Args:
        source: what the user named: the unpacked archive, or any folder in it.
        name: the path within the archive's innermost `lra_release`.

    Raises:
        PoNetError: where it isn't there.
    """
    root = Path(source).expanduser()
    parts = Path(name).parts
    ends = [Path(*parts[start:]) for start in range(len(parts))]
    for folder in (root, root / "lra_release", root / "lra_release" / "lra_release"):
        for end in ends:
            if (folder / end).exists():
                return folder / end
    raise PoNetError(f"'{source}' has no '{name}': name the folder 'lra_release' of the published archive as source.")


def sizes(paths: Iterable[Path]) -> dict[str, int]:
    """The bytes of the files that are there, by path, as a data set's spec names its inputs."""
    return {str(path): path.stat().st_size for path in paths if path.is_file()}


def identity(source: str) -> str:
    """What names a source in the cache: the whole path of one that is on this machine, else the name itself."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def source_sizes(source: str) -> dict[str, int]:
    """The bytes of each data file under a path or a name in the data folder; none for a hub name."""
    data = data_folder()
    for path in (Path(source).expanduser(), *([] if data is None else [data / source])):
        if path.exists():
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            return sizes(file for file in files if file.suffix in (".parquet", ".csv", ".tsv", ".jsonl", ".json"))
    return {}


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
        """Number and content of each line, without its end.

        Raises:
            PoNetError: where the file can't be read, or its last line has no end: then it has been cut off.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                for number, line in enumerate(file, self.first_line):
                    if not line.endswith(b"\n"):
                        raise wrong(self.path, number, "has no end: the file has been cut off")
                    yield number, line.rstrip(b"\r\n")
                    if file.tell() >= self.stop:
                        return
        except OSError as error:
            raise explain(error, self.path) from error


def blocks(path: Path, header: bool = False, size: int = BLOCK) -> list[Block]:
    """A text file in blocks of whole lines, about `size` bytes each, without its first line where that is a header."""
    found: list[Block] = []
    try:
        with path.open("rb") as file:
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
    except OSError as error:
        raise explain(error, path) from error
    if not found:
        raise _empty(path)
    return found


def check_end(path: Path) -> None:
    """A look at the end of a file alone, since reading all before it may take long.

    Raises:
        PoNetError: where the file is empty or its last line has no end: then it has been cut off.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            size = file.tell()
            if not size:
                raise _empty(path)
            file.seek(size - 1)
            if file.read(1) == b"\n":
                return
            file.seek(0)
            lines = 1
            while chunk := file.read(BLOCK):
                lines += chunk.count(b"\n")
    except OSError as error:
        raise explain(error, path) from error
    raise wrong(path, lines, "has no end: the file has been cut off")


def _empty(path: Path) -> PoNetError:
    return PoNetError(f"'{path}' is empty: copy it from the published archive again.")


def wrong(path: Path, line: int, problem: str) -> PoNetError:
    """What is the matter with a line of a file."""
    return PoNetError(f"'{path}', line {line:,}, {problem}. Copy the file from its archive again.")


def left_out(notes: Mapping[str, int], what: str) -> list[str]:
    """The sentence that says how many examples were empty, none where none were."""
    return [f"{notes['empty']:,} {what} left out."] if notes.get("empty") else []
