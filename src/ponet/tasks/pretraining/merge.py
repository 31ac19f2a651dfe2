"""The parts that several machines prepared, put together: what one process would have made, to the byte."""

import os
import re
import shutil
import time
from pathlib import Path

from ponet.artifacts import MANIFEST, building
from ponet.tasks.pretraining.prepare import PARTS, PreparedData, check_enough, notices_of
from ponet.tasks.pretraining.shards import SETTINGS, SHARDS, TOKENIZER, Manifest, Shard, check_files
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json

_NAME = re.compile(r"(\d+)-of-(\d+)")
SHOWN = 10
"""Missing parts that a message lists at most."""


def merge(out: str | Path) -> PreparedData:
    """Puts the parts of `ponet pretrain prepare --shard` together in `out`, and removes them.

    The arrays are linked where the file system can, so that they take no second place.

    Raises:
        PoNetError: parts that are missing, incomplete, damaged, or of different corpora or settings.
    """
    out = Path(out)
    started, folder = time.monotonic(), out.with_name(out.name + PARTS)
    if (out / MANIFEST).is_file():
        return _complete(out, folder, started)
    parts = _parts(folder)
    manifests = [Manifest.read(part, part=True) for part in parts]
    _check_settings(parts, manifests)
    shards = sorted((shard for manifest in manifests for shard in manifest.shards), key=lambda shard: shard.name)
    blocks = manifests[0].blocks
    if any(manifest.blocks != blocks for manifest in manifests) or not _all_there(shards, blocks):
        raise PoNetError(
            f"The parts in '{folder}' were cut from a corpus that changed: remove them, and prepare again."
        )
    for part, manifest in zip(parts, manifests, strict=True):
        check_files(part, manifest, contents=False)
    with building(out, f"Another process is preparing data in '{out}': wait for it, or stop it.") as made:
        if made is not None:
            first = manifests[0]
            whole = Manifest(first.tokenizer, first.vocab_size, first.dtype, shards)
            check_enough(whole)
            shutil.copyfile(parts[0] / SETTINGS, made / SETTINGS)
            shutil.copytree(parts[0] / TOKENIZER, made / TOKENIZER)
            (made / SHARDS).mkdir()
            for part, manifest in zip(parts, manifests, strict=True):
                for shard in manifest.shards:
                    shutil.copytree(part / SHARDS / shard.name, made / SHARDS / shard.name, copy_function=_link)
            whole.write(made)
    shutil.rmtree(folder)
    return _described(out, started)


def _complete(out: Path, folder: Path, started: float) -> PreparedData:
    """What is merged already; parts of it that are left, where a process was killed meanwhile, are removed."""
    settings = read_json(out / SETTINGS)
    for file in folder.glob(f"*/{SETTINGS}"):
        if read_json(file) != settings:
            raise PoNetError(f"'{out}' holds other data than '{file.parent}': move one of them away.")
    shutil.rmtree(folder, ignore_errors=True)
    return _described(out, started)


def _parts(folder: Path) -> list[Path]:
    """The folders of all parts, in order.

    Raises:
        PoNetError: none, some that aren't there, or of two divisions.
    """
    found = [(path, match) for path in sorted(folder.glob("*")) if (match := _NAME.fullmatch(path.name))]
    if not found:
        raise PoNetError(
            f"There are no parts in '{folder}': `ponet pretrain prepare ... --shard i/n` with this --out makes them."
        )
    counts = sorted({int(match[2]) for _, match in found})
    if len(counts) > 1:
        names = " and ".join(f"{count:,}" for count in counts)
        raise PoNetError(f"'{folder}' has parts of divisions into {names}: remove those of one.")
    complete = {int(match[1]) for path, match in found if (path / MANIFEST).is_file()}
    missing = [number for number in range(1, counts[0] + 1) if number not in complete]
    if missing:
        shown = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        raise PoNetError(
            f"{len(missing):,} of {counts[0]:,} parts in '{folder}' aren't complete: prepare --shard {shown} again."
        )
    return [path for path, _ in found]


def _check_settings(parts: list[Path], manifests: list[Manifest]) -> None:
    settings = read_json(parts[0] / SETTINGS)
    for part, manifest in zip(parts[1:], manifests[1:], strict=True):
        other = read_json(part / SETTINGS)
        if other != settings or manifest.tokenizer != manifests[0].tokenizer:
            names = [key for key in settings if not isinstance(other, dict) or other.get(key) != settings[key]]
            what = ", ".join(names) or "tokenizer"
            raise PoNetError(f"'{parts[0]}' and '{part}' differ in {what}: remove one, and prepare it again.")


def _all_there(shards: list[Shard], blocks: int) -> bool:
    return [shard.name for shard in shards] == [f"{number:06d}" for number in range(blocks)]


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _described(out: Path, started: float) -> PreparedData:
    manifest, settings = Manifest.read(out), read_json(out / SETTINGS)
    notices = tuple(notices_of(manifest, settings.get("validation_fraction", 0.0)))
    seconds = time.monotonic() - started
    return PreparedData(out, manifest.splits, manifest.vocab_size, len(manifest.shards), 0, seconds, 0.0, notices)
