"""Whole or not at all: every file that matters is written beside its place under a temporary name, then renamed."""

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ponet.utils.errors import UNPRINTABLE, PoNetError

MODEL_FILES = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|model\.safetensors\.index|"
    r"modules|config_sentence_transformers|sentence_bert_config)\.json|vocab\.txt|model(-[0-9]+-of-[0-9]+)?\.safetensors|(ponet_\w+|(configuration|modeling|tokenization)_ponet)\.py"
)
"""The names of what `save_pretrained` writes of a model and its tokenizer, and `write_modules` beside them."""
TORCH_CANT_WRITE = ("PytorchStreamWriter", "inline_container", "file write failed", "iostream error")
MOST_LINKS = 40
"""As the kernel: a longer chain of symbolic links is a loop."""
DEFAULT_DATA_FOLDER = Path("data")


def data_folder() -> Path | None:
    """The folder of real data sets: `$PONET_DATA`, else `data` where that exists, else None."""
    named = os.environ.get("PONET_DATA")
    if named:
        return Path(named)
    return DEFAULT_DATA_FOLDER if DEFAULT_DATA_FOLDER.is_dir() else None


def hub_copy(name: str) -> Path | None:
    """What the data folder has of a data set or model of the hub: `owner/name:config` is `name/config` there.

    So one recipe works with the hub and, where there is no connection, with a copy.
    """
    data, (repository, _, config) = data_folder(), name.partition(":")
    owner, slash, last = repository.partition("/")
    if data is None or not (owner and slash and last) or "/" in last or ".." in (last, config):
        return None
    place = data / last / config
    return place if place.is_dir() else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; renamed onto `path` if the block ends well, removed if it doesn't.

    Through symbolic links the file that they lead to is replaced, and keeps its permissions; a hard link elsewhere
    keeps the old content. A device, a FIFO or an open file (`/dev/stdout`) is written to once the block has ended well.

    Raises:
        PoNetError: where `path` is a folder or may not be written to, or the disk is full.
    """
    path = Path(path)
    temporary: Path | None = None
    stream: int | None = None
    made: list[Path] = []
    try:
        place, found = _destination(path)
        stream = _stream(place, found)
        if stream is None:
            if found is not None and not os.access(place, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            made = [folder for folder in place.parents if not folder.exists()]
            place.parent.mkdir(parents=True, exist_ok=True)
        folder = place.parent if stream is None else None
        prefix = f".{place.name[:50]}."  # 255 bytes at most, with what is added
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=folder)
        os.close(handle)
        temporary = Path(name)
        mask = os.umask(0)
        os.umask(mask)  # there is no way only to read it
        os.chmod(temporary, 0o666 & ~mask if found is None else stat.S_IMODE(found.st_mode))
        yield temporary
        if stream is None:
            os.replace(temporary, place)
            made = []
        else:
            with temporary.open("rb") as source, os.fdopen(stream, "wb", closefd=False) as target:
                shutil.copyfileobj(source, target)
    except BrokenPipeError:
        raise
    except OSError as error:
        elsewhere = error.filename not in (None, str(temporary), str(path))
        raise explain(error, error.filename if elsewhere else path) from error
    finally:
        if stream is not None:
            os.close(stream)
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # another process has put something there
                folder.rmdir()


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """Yields a stream of UTF-8 text: a file is written as by `replacing`, a device, FIFO or open file at once. Raises
    PoNetError: as `replacing`."""
    try:
        stream = _stream(*_destination(Path(path)))
        if stream is not None:
            with os.fdopen(stream, "w", encoding="utf-8") as file:
                yield file
            return
    except BrokenPipeError:
        raise
    except OSError as error:
        raise explain(error, path if error.filename is None else error.filename) from error
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file


def check_utf8_name(path: Path) -> None:
    """Before any work: the libraries that save models and tokenizers take no other names. Raises PoNetError: for a path
    with bytes that aren't UTF-8."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise PoNetError(f"'{path}' isn't UTF-8: choose another name, in letters that are.") from error


def leftovers(folder: Path, names: Iterable[str]) -> list[Path]:
    """The temporary files that `replacing` left in a folder for files of these names, when its process was killed."""
    pattern = re.compile(rf"\.(?:{'|'.join(map(re.escape, names))})\.[a-z0-9_]{{8}}\.tmp")
    return [path for path in folder.iterdir() if pattern.fullmatch(path.name)] if folder.is_dir() else []


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON whole or not at all."""
    write_text(path, to_json(value, indent=2) + "\n")


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON with letters of every script as they are, and what a terminal would obey (`errors.printable`) escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises PoNetError where the file can't be read or isn't JSON."""
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


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what the system, safetensors, tokenizers and torch raise when they can't write into one sentence.

    It names `path`, or the file that the system names where that is outside of it.

    Raises:
        PoNetError: for every OSError, and for the others where they are about the disk.
    """
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else str(path)
        raise explain(error, path if Path(named).is_relative_to(path) else named) from error
    except Exception as error:  # safetensors has an exception of its own, torch a RuntimeError, tokenizers none at all
        code = _disk_error(str(error), path)
        if code is None:
            raise
        raise explain(OSError(code, os.strerror(code)), path) from error


def _disk_error(message: str, path: Path) -> int | None:
    """The errno behind an exception that only has a message: Rust's libraries name it, torch's zip writer doesn't."""
    if match := re.search(r"os error ([0-9]+)", message):
        return int(match[1])
    if any(sign in message for sign in TORCH_CANT_WRITE):
        existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        return errno.ENOSPC if shutil.disk_usage(existing).free < 2**24 else errno.EIO
    return None


def _destination(path: Path) -> tuple[Path, os.stat_result | None]:
    """Where a path's symbolic links lead, and what is there; the link of an open file (`/dev/stdout`) stays itself."""
    place = path
    for _ in range(MOST_LINKS):
        if not place.is_symlink():
            break
        folder = place.parent.resolve()
        if folder.is_relative_to("/proc"):
            break
        place = folder / os.readlink(place)
    try:
        return place, os.stat(place)
    except FileNotFoundError:
        return place, None


def is_stream(path: Path) -> bool:
    """Whether a path is written to and never replaced: a device, a FIFO, an open file (`/dev/stdout`)."""
    place, found = _destination(path)
    return _is_stream(place, found) and not place.is_dir()


def _is_stream(place: Path, found: os.stat_result | None) -> bool:
    return found is not None and (place.is_symlink() or not stat.S_ISREG(found.st_mode))


def _stream(place: Path, found: os.stat_result | None) -> int | None:
    """A file descriptor for a stream; None where there is none."""
    if not _is_stream(place, found):
        return None
    if place.parent.resolve() == Path("/proc/self/fd").resolve():
        return os.dup(int(place.name))  # opened by its name, a file would be written from its beginning
    return os.open(place, os.O_WRONLY | os.O_APPEND)  # a folder is refused here
