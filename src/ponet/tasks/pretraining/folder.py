"""The folder of prepared data: whose it is, that one process at a time writes to it, and its manifest."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponet.tasks.pretraining.shards import SPLITS, Counts, Shard
from ponet.utils.errors import PoNetError
from ponet.utils.files import check_utf8_name, explain, leftovers, read_json, write_json

FORMAT, VERSION = "ponet-pretraining", 1
SETTINGS, MANIFEST, TOKENIZER, SHARDS, LOCK = "prepare.json", "manifest.json", "tokenizer", "shards", ".lock"
_FINGERPRINT = "tokenizer_fingerprint"


@dataclass
class Manifest:
    """What `manifest.json` says; it is written last, so where it is, everything is."""

    tokenizer: str
    """The tokenizer's fingerprint."""
    vocab_size: int
    dtype: str
    shards: list[Shard]

    @property
    def splits(self) -> dict[str, Counts]:
        """What each split holds, over all shards."""
        totals = {split: Counts() for split in SPLITS}
        for shard in self.shards:
            for split, counts in shard.splits.items():
                totals[split].add(counts)
        return totals

    @property
    def left_out(self) -> dict[str, int]:
        """Documents left out, by reason."""
        reasons: dict[str, int] = {}
        for shard in self.shards:
            for reason, count in shard.left_out.items():
                reasons[reason] = reasons.get(reason, 0) + count
        return reasons

    def write(self, folder: Path) -> None:
        """Writes it whole or not at all."""
        values = {
            "format": FORMAT,
            "version": VERSION,
            "tokenizer": self.tokenizer,
            "vocab_size": self.vocab_size,
            "dtype": self.dtype,
            "splits": {split: vars(counts) for split, counts in self.splits.items()},
            "left_out": self.left_out,
            "shards": [shard.to_dict() for shard in self.shards],
        }
        write_json(folder / MANIFEST, values)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a folder.

        Raises:
            PoNetError: where there is none, or it isn't one.
        """
        if not (folder / MANIFEST).is_file():
            if (folder / SETTINGS).is_file():
                raise PoNetError(f"The data in '{folder}' isn't complete: run the same `ponet pretrain prepare` again.")
            raise PoNetError(f"'{folder}' holds no pre-training data: `ponet pretrain prepare` makes it.")
        values = read_json(folder / MANIFEST)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise PoNetError(f"'{folder / MANIFEST}' isn't the manifest of pre-training data.")
        if values.get("version") != VERSION:
            raise PoNetError(
                f"The data in '{folder}' has version {values.get('version')}, and this ponet reads {VERSION}: "
                "prepare it again."
            )
        try:
            shards = [Shard.from_dict(shard) for shard in values["shards"]]
            return cls(values["tokenizer"], values["vocab_size"], values["dtype"], shards)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PoNetError(f"'{folder / MANIFEST}' is incomplete: prepare the data again.") from error


@contextmanager
def opened(folder: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Makes the folder these settings' own, for this process alone; a new one that comes to nothing is removed.

    "Nothing" is: no shard was finished. What is finished stays for the next try.

    Raises:
        PoNetError: where it holds something else, was begun with other settings, or another process is at it.
    """
    check_utf8_name(folder)
    created = not folder.exists()
    try:
        if folder.exists() and not folder.is_dir():
            raise PoNetError(f"'{folder}' is a file: name a folder for the data.")
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / SETTINGS).is_file():
            _check_settings(folder)
        elif other := sorted(_others(folder)):
            raise PoNetError(f"'{folder}' holds other things, such as '{other[0]}': name a new folder.")
        with _alone(folder):
            begun = (folder / SETTINGS).is_file()
            if begun:
                _compare(folder, settings)
            else:
                write_json(folder / SETTINGS, settings)
            _clean(folder)
            try:
                yield
            except BaseException:
                if not begun and not any((folder / SHARDS).glob("[0-9]*/shard.json")):
                    discard(folder, whole=created)
                else:
                    _clean(folder)
                raise
    except OSError as error:
        raise explain(error, error.filename or folder) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """For this process alone. The lock ends with the process, however that ends."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise PoNetError(f"Another process is preparing data in '{folder}': wait for it, or stop it.") from error
    try:
        yield
    finally:
        lock.release()


def discard(folder: Path, whole: bool) -> None:
    """Removes what `opened` and its block made; the folder too where `whole` and nothing else is in it."""
    for name in (SHARDS, TOKENIZER):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (MANIFEST, SETTINGS, LOCK):
        (folder / name).unlink(missing_ok=True)
    if whole and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def keep_to(folder: Path, settings: dict[str, Any], tokenizer: str) -> None:
    """Notes the fingerprint of the tokenizer that shards are made with; none of another one may come beside them.

    Raises:
        PoNetError: where another one was noted before.
    """
    before = read_json(folder / SETTINGS).get(_FINGERPRINT)
    if before is None:
        write_json(folder / SETTINGS, {**settings, _FINGERPRINT: tokenizer})
    elif before != tokenizer:
        raise PoNetError(
            f"The tokenizer in '{folder / TOKENIZER}' isn't the one that the data was begun with: put it back, or name "
            "a new folder."
        )


def _compare(folder: Path, settings: dict[str, Any]) -> None:
    before = _check_settings(folder)
    now = json.loads(json.dumps(settings))
    keys = (before.keys() | now.keys()) - {_FINGERPRINT}
    different = sorted(key for key in keys if before.get(key) != now.get(key))
    if different:
        raise PoNetError(
            f"The data in '{folder}' was begun with other settings ({', '.join(different)}): repeat that command, or "
            "name a new folder."
        )


def _check_settings(folder: Path) -> dict[str, Any]:
    """What the folder was begun with.

    Raises:
        PoNetError: where another program's file has that name.
    """
    settings = read_json(folder / SETTINGS)
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        raise PoNetError(f"'{folder / SETTINGS}' isn't what this command writes: name a new folder.")
    return settings


def _others(folder: Path) -> set[str]:
    """What is in a folder and not left there by a process of ours, killed before it had begun."""
    names = {entry.name for entry in folder.iterdir()} - {entry.name for entry in _unfinished(folder)}
    lock = folder / LOCK
    return names - {LOCK} if lock.is_file() and lock.stat().st_size == 0 else names


def _unfinished(folder: Path) -> list[Path]:
    """What a killed process was writing."""
    shards = (folder / SHARDS).iterdir() if (folder / SHARDS).is_dir() else ()
    half = [entry for entry in shards if re.fullmatch(r"\.\d{6,}\.[a-z0-9_]{8}\.tmp", entry.name)]
    return [*leftovers(folder, (SETTINGS, MANIFEST, TOKENIZER)), *half]


def _clean(folder: Path) -> None:
    for entry in _unfinished(folder):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
