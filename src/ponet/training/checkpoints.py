"""Checkpoints that are whole or absent: written under a temporary name with a list of checksums, then renamed."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ponet.artifacts import MANIFEST, checksums, damage
from ponet.utils.errors import PoNetError
from ponet.utils.files import explained


class CheckpointStore:
    """The checkpoints of one run, `checkpoint-<step>` folders.

    A folder whose name starts with a dot was being written or removed when the process died; it is never read.

    Args:
        folder: the run's `checkpoints` folder; made when the first checkpoint is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, step: int) -> Path:
        """Where the checkpoint of that step is, or would be."""
        return self.folder / f"checkpoint-{step}"

    def staging(self, step: int) -> Path:
        """Where the checkpoint of that step is written until it is whole."""
        return self.folder / f".writing-{step}"

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in order."""
        if not self.folder.is_dir():
            return []
        found = (re.fullmatch(r"checkpoint-([0-9]+)", path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def sweep(self) -> None:
        """Removes what a process that died left half-written or half-removed."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if re.fullmatch(r"\.(writing|removing)-[0-9]+", path.name):
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """An empty folder for the files of a checkpoint, which becomes the checkpoint if the block ends well.

        Raises:
            PoNetError: where the disk is full or the folder can't be written to; earlier checkpoints stay as they are.
        """
        staging = self.staging(step)
        try:
            with explained(self.folder):
                shutil.rmtree(staging, ignore_errors=True)
                staging.mkdir(parents=True)
                yield staging
                listed = {name: list(facts.values()) for name, facts in checksums(staging).items()}
                (staging / MANIFEST).write_text(json.dumps(listed), encoding="utf-8")
                self._remove(step)
                os.replace(staging, self.path(step))
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def keep_only(self, steps: set[int]) -> None:
        """Removes the checkpoints of all other steps."""
        for step in self.steps():
            if step not in steps:
                self._remove(step)

    def remove_all(self) -> None:
        """Removes every checkpoint, and the folder unless something else is in it."""
        self.sweep()
        self.keep_only(set())
        with suppress(OSError):
            self.folder.rmdir()

    def damage(self, step: int) -> str | None:
        """What is wrong with a checkpoint, as part of a sentence; None where it is whole."""
        folder = self.path(step)
        if folder.is_symlink():
            return "it is a link"
        try:
            listed = _listed(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            return f"its {MANIFEST} is missing or broken"
        there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
        for name, path in there.items():
            if name not in listed and name != MANIFEST:
                return f"{name} isn't in its {MANIFEST}"
            if path.is_symlink():
                return f"{name} is a link"
        for name, (size, digest) in listed.items():
            if name not in there:  # nor is a path out of the folder
                return f"{name} is missing or can't be read"
            if found := damage(there[name], size, digest):
                return f"{name} {found}"
        return None

    def latest(self) -> tuple[int | None, list[str]]:
        """The step of the newest whole checkpoint, and a sentence for each newer one that is damaged.

        Raises:
            PoNetError: where there are checkpoints and none is whole.
        """
        notices: list[str] = []
        for step in reversed(self.steps()):
            damage = self.damage(step)
            if damage is None:
                return step, notices
            notices.append(f"'{self.path(step)}' is damaged ({damage}) and left out.")
        if notices:
            raise PoNetError(
                f"No checkpoint in '{self.folder}' is whole: {notices[0]} Start again with --overwrite, or elsewhere."
            )
        return None, []

    def _remove(self, step: int) -> None:
        if self.path(step).exists():  # renamed first: a checkpoint half-removed must not look like one
            doomed = self.folder / f".removing-{step}"
            shutil.rmtree(doomed, ignore_errors=True)
            os.replace(self.path(step), doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def _listed(manifest: Any) -> dict[str, tuple[int, str]]:
    """Names with their bytes and checksums; ValueError where the manifest holds something else, or nothing."""
    entries = list(manifest.items()) if isinstance(manifest, dict) else []
    for _, entry in entries:
        if not isinstance(entry, list) or [type(part) for part in entry] != [int, str]:
            raise ValueError("no entry of a manifest")
    if not entries:
        raise ValueError("an empty manifest")
    return dict(entries)
