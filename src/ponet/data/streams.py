"""The bytes and the text of a file, decompressed as they are read, within bounds."""

import codecs
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ponet.utils.errors import PoNetError, brief
from ponet.utils.files import explain

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow")
TEXTS = (".txt", ".text", ".md")
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
ZIP = ".zip"
BLOCK = 1 << 20
"""Bytes read at once."""
LONGEST_ROW = 1 << 28
"""Characters of a row or line at most; what is longer is taken for damage."""
FREELY_UNFOLDED = 1 << 28
"""Bytes that a compressed file may unfold to whatever its size."""
MOST_UNFOLDED = 200
"""Times its size that a larger one may unfold to. Text shrinks to a tenth; a thousandth is a bomb."""


def split_name(path: Path) -> tuple[str, str, str]:
    """`train.csv.gz` -> `("train", ".csv", ".gz")`; what isn't known stays in the first part."""
    name = path.name
    compression = path.suffix.lower() if path.suffix.lower() in (*COMPRESSIONS, ZIP) else ""
    name = name[: len(name) - len(compression)]
    kind = os.path.splitext(name)[1].lower()
    if kind not in TABLES + TEXTS:
        kind = ""
    return name[: len(name) - len(kind)], kind, compression


def is_table(path: Path) -> bool:
    """Whether a name is one of a table; an archive's may be."""
    _, kind, compression = split_name(path)
    return kind in TABLES or (compression == ZIP and not kind)


def is_text(path: Path) -> bool:
    """Whether a name is one of a text file, compressed or not."""
    return split_name(path)[1] in TEXTS


class ByteStream:
    """A file, also one that is compressed, or an archive with one table in it, opened for reading. Raises PoNetError:
    missing or unreadable, or an archive that holds no table or more than one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _, self.kind, self.compression = split_name(path)
        self._unfolded = 0
        try:
            self._file = open(path, "rb")  # noqa: SIM115  # closed by __exit__
        except OSError as error:
            raise explain(error, path) from error
        self.size = os.fstat(self._file.fileno()).st_size
        try:
            self._bytes: Any = self._file
            if self.compression == ZIP:
                self._bytes = self._member()
            elif self.compression:
                kind = COMPRESSIONS[self.compression]
                self._bytes = pa.CompressedInputStream(pa.PythonFile(self._file, "r"), kind)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "ByteStream":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    @property
    def position(self) -> int:
        """Bytes of the file itself that have been read."""
        return self._file.tell()

    def read(self, size: int = BLOCK) -> bytes:
        """The next bytes, decompressed; none at the end. Raises PoNetError: unreadable, cut off, or unfolding beyond
        all measure."""
        try:
            data: bytes = self._bytes.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise self._damaged(error) from error
        except OSError as error:
            if error.errno is None:  # Arrow's word for damage within the file
                raise self._damaged(error) from error
            raise explain(error, self.path) from error
        self._unfolded += len(data)
        if self.compression:
            check_unfolded(self.path, self.size, self._unfolded)
        return data

    def whole(self) -> Any:
        """What Arrow can read from any place: the file, or what it unfolds to."""
        if not self.compression:
            return self._file
        return pa.BufferReader(b"".join(iter(self.read, b"")))

    def blocks(self) -> Iterator[str]:
        """The text in blocks, without a byte order mark. Raises PoNetError: not UTF-8, with the place and a way to
        convert it; or as `read`."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        position, block = 0, b"to begin with"
        while block:
            block = self.read(BLOCK)
            if not position and block[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise PoNetError(f"'{self.path}' is UTF-16. Convert it: iconv -f utf-16 -t utf-8 FILE > NEW.")
            begin = position - len(decoder.getstate()[0])  # bytes of a character that the block's end had cut
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise PoNetError(
                    f"'{self.path}' isn't UTF-8 text (byte {begin + error.start:,} is "
                    f"0x{error.object[error.start]:02x}). Convert it, for example: iconv -f latin1 -t utf-8 FILE > NEW."
                ) from error
            if not position:
                text = text.removeprefix("\ufeff")
            position += len(block)
            if text:
                yield text

    def lines(self) -> Iterator[str]:
        """The text's lines, without their ends. Raises PoNetError: a line of more than `LONGEST_ROW` characters; or as
        `blocks`."""
        pending: list[str] = []
        size = number = 0
        for block in self.blocks():
            *whole, rest = block.split("\n")
            for line in whole:
                number += 1
                yield "".join([*pending, line]).removesuffix("\r")
                pending, size = [], 0
            pending.append(rest)
            size += len(rest)
            if size > LONGEST_ROW:
                raise PoNetError(f"Line {number + 1:,} of '{self.path}' is longer than {LONGEST_ROW:,} characters.")
        last = "".join(pending)
        if last:
            yield last.removesuffix("\r")

    def _member(self) -> Any:
        try:
            archive = zipfile.ZipFile(self._file)
            hidden = ("__MACOSX/", ".")
            entries = [each for each in archive.infolist() if not (each.is_dir() or each.filename.startswith(hidden))]
            found = [each for each in entries if split_name(Path(each.filename))[1] in TABLES]
            found = found or [each for each in entries if split_name(Path(each.filename))[1] in TEXTS]
            _, kind, compression = split_name(Path(found[0].filename if found else ""))
            if len(found) != 1 or compression:
                names = ", ".join(each.filename for each in (found or entries)[:3])
                raise PoNetError(
                    f"'{self.path}' holds {len(found)} tables ({names or 'nothing'}), where one is needed: unpack it."
                )
            if found[0].flag_bits & 1:
                raise PoNetError(f"'{self.path}' is encrypted: unpack it first.")
            self.kind = kind
            return archive.open(found[0])
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> PoNetError:
        return PoNetError(f"'{self.path}' can't be unpacked ({brief(error)}): it is cut off or damaged, copy it again.")


def file_ends(path: Path, size: int) -> tuple[bytes, bytes]:
    """The first and the last `size` bytes of a file, which mostly identify it. Raises PoNetError: it can't be read."""
    try:
        with path.open("rb") as file:
            first = file.read(size)
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return first, file.read(size)
    except OSError as error:
        raise explain(error, path) from error


def check_unfolded(path: Path, size: int, unfolded: int) -> None:
    """Raises PoNetError where a file of `size` bytes has unfolded to more than any text does."""
    if size and unfolded > max(FREELY_UNFOLDED, MOST_UNFOLDED * size):
        raise PoNetError(
            f"'{path}' has {size:,} bytes and unfolds to more than {unfolded:,}, over {MOST_UNFOLDED} times as much: "
            "it isn't read. Write it uncompressed if it is meant."
        )
