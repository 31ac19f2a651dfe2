"""Whole or not at all: every file that matters is written beside its place under a temporary name, then renamed."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ponet.errors import PoNetError

DEFAULT_DATA_FOLDER = Path("../shared/data")


def data_folder() -> Path | None:
    """The folder of real data sets: `$PONET_DATA`, else `../shared/data` where that exists, else None."""
    named = os.environ.get("PONET_DATA")
    if named:
        return Path(named)
    return DEFAULT_DATA_FOLDER if DEFAULT_DATA_FOLDER.is_dir() else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; renamed onto `path` if the block ends well, removed if it doesn't.

    Raises:
        PoNetError: where the folder can't be written to, or the disk is full.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        os.chmod(temporary, 0o666 & ~_umask())
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        PoNetError: where the file can't be read or isn't JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise explain(error, path) from error
    except (ValueError, RecursionError) as error:
        raise PoNetError(f"'{path}' is not valid JSON ({error}). It may be cut off: restore or delete it.") from error


def explain(error: OSError, path: Path | str) -> PoNetError:
    """The system's error as one sentence that says what to do."""
    if error.errno == errno.ENOSPC:
        return PoNetError(f"The disk is full: '{path}' could not be written. Free some space, then run it again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PoNetError(f"No permission for '{path}'. Choose another folder or change its permissions.")
    if error.errno == errno.ENOENT:
        return PoNetError(f"There is no '{path}'. Check the path.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return PoNetError(f"'{path}' needs a folder where a file stands. Choose another place.")
    if error.errno == errno.EISDIR:
        return PoNetError(f"'{path}' is a folder where a file was expected. Name the file.")
    return PoNetError(f"'{path}' can't be read or written: {error.strerror or error}.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
