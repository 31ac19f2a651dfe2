"""The run folder: what is in it, whose it is, and that one process at a time writes to it; and its checkpoints, which
are whole or absent."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.artifacts import LOCK, MANIFEST, checksums, damage, locked
from ponet.config.recipe import Recipe, differences, load_recipe
from ponet.training.distributed import process_index, wait_for_all
from ponet.utils.errors import PoNetError
from ponet.utils.files import MODEL_FILES, check_utf8_name, explain, explained, leftovers, write_json, write_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RECIPE, METRICS, RESULT, CARD = "recipe.yaml", "metrics.jsonl", "result.json", "README.md"
FILES = (RECIPE, METRICS, RESULT, CARD)
GRID_FILE = "grid.json"
"""Beside the runs of one recipe: the figures of `ponet train --grid` and its choice."""
FRESH = "fresh.json"
"""In a run's folder: what `ponet evaluate --fresh-test-seed --file` measured on newly generated data."""
STAGING = ".model.tmp"
"""The folder in a run's that holds its model until all of that is written."""
MARK = "# The recipe of the run in this folder, as `ponet` wrote it.\n"
"""The first line of a run's recipe: by it a folder is known to be a run's, which a recipe of that name alone isn't."""
MAY_CHANGE = (
    "name",
    "description",
    "data.cache",
    "data.workers",
    "training.checkpoint_every",
    "training.keep_checkpoints",
    "training.log_every",
    "training.workers",
)
"""What a resumed training may have different: nothing that changes its weights."""


class CheckpointStore:
    """The checkpoints of one run, `checkpoint-<step>` folders.

    A folder whose name starts with a dot was being written or removed when the process died; it is never read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step}"

    def staging(self, step: int) -> Path:
        """Where it is written until it is whole."""
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
        """An empty folder for the files of a checkpoint, which becomes the checkpoint if the block ends well. Raises
        PoNetError where the disk is full or the folder can't be written to; earlier checkpoints stay as they are."""
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
        """The step of the newest whole checkpoint, and a sentence for each newer one that is damaged. Raises PoNetError
        where there are checkpoints and none is whole."""
        notices: list[str] = []
        for step in reversed(self.steps()):
            found = self.damage(step)
            if found is None:
                return step, notices
            notices.append(f"'{self.path(step)}' is damaged ({found}) and left out.")
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
    entries: dict[str, Any] = manifest if isinstance(manifest, dict) else {}
    if not entries or any(not isinstance(each, list) or [*map(type, each)] != [int, str] for each in entries.values()):
        raise ValueError("no manifest")
    return entries


class RunFolder:
    """`recipe.yaml`, `metrics.jsonl`, `checkpoints/`, then the model, `README.md`, and `result.json` at the end."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.store = CheckpointStore(self.path / "checkpoints")

    @property
    def metrics_file(self) -> Path:
        return self.path / METRICS

    def recipe(self) -> Recipe:
        """The recipe of the run; PoNetError where this isn't a run folder."""
        if not self.path.exists():
            raise PoNetError(f"There is no '{self.path}'. Check the path.")
        if not (self.path / RECIPE).is_file():
            raise PoNetError(f"'{self.path}' isn't a run folder: it has no {RECIPE}. `ponet train` makes one.")
        return load_recipe(self.path / RECIPE)

    def result(self) -> dict[str, Any] | None:
        """The final figures; None where the run isn't complete, PoNetError where the file can't be read."""
        file = self.path / RESULT
        if not file.exists():
            return None
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise explain(error, file) from error
        except (ValueError, RecursionError) as error:
            raise PoNetError(f"'{file}' isn't valid JSON. Train again with --overwrite.") from error
        if not isinstance(result, dict) or not isinstance(result.get("train"), dict):
            raise PoNetError(f"'{file}' isn't the result of a run. Train again with --overwrite.")
        return result

    def require_complete(self) -> Recipe:
        """The recipe of a run; PoNetError where it isn't a run, or one that isn't complete."""
        recipe = self.recipe()
        if self.result() is None:
            what = "isn't complete: train it to its end with the same command first"
            raise PoNetError(f"The run in '{self.path}' {what}.")
        return recipe

    @contextmanager
    def opened(self, recipe: Recipe, overwrite: bool, notice: Callable[[str], None]) -> Iterator[None]:
        """Makes the folder this recipe's, for this process alone; a new folder is removed if the training can't begin.
        With `overwrite`, another or a complete run there is removed first. Raises PoNetError for another run's folder,
        another process at work, something else there, or no permission."""
        main = process_index() == 0
        check_utf8_name(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise PoNetError(f"'{self.path}' is a file. Choose another folder with --out.")
        if main:
            self._refuse_others()
        busy = f"Another process is training in '{self.path}'. Wait for it, or choose another folder with --out."
        with locked(self.path, busy) if main else nullcontext():
            if main:
                self._claim(recipe, overwrite, notice)
            wait_for_all()  # the others must not see what was there before
            try:
                yield
            finally:
                if main:
                    with suppress(OSError):  # not empty: the run has begun
                        self.store.folder.rmdir()

    def begin(self, recipe: Recipe) -> None:
        """Writes the resolved recipe: from here on the folder is a run's."""
        with explained(self.path):
            self.metrics_file.unlink(missing_ok=True)
        write_text(self.path / RECIPE, MARK + recipe.to_yaml())

    def cut_metrics(self, step: int) -> None:
        """Leaves the lines of metrics.jsonl up to a step: a training resumed there writes the later ones again."""
        if not self.metrics_file.exists():
            return
        kept = []
        with explained(self.path):
            lines = self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            with suppress(ValueError, KeyError, TypeError, RecursionError):  # cut off when the process died
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        write_text(self.metrics_file, "".join(kept))

    def save_model(self, model: "PreTrainedModel", processing_class: "PreTrainedTokenizerBase | None") -> None:
        """Writes the model, and the tokenizer beside it, in `save_pretrained` form."""
        staging = self.path / STAGING
        try:
            with explained(self.path):
                shutil.rmtree(staging, ignore_errors=True)
                model.save_pretrained(staging)
                if processing_class is not None:
                    processing_class.save_pretrained(staging)
                mode = (self.path / RECIPE).stat().st_mode & 0o777
                for file in sorted(staging.iterdir()):
                    if file.is_file():
                        file.chmod(mode)  # as our other files: safetensors writes for the owner alone
                    os.replace(file, self.path / file.name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def finish(self, result: dict[str, Any], card: str, keep_checkpoints: bool) -> None:
        """Writes the card and the result, and removes the checkpoints unless they are to stay."""
        write_text(self.path / CARD, card)
        write_json(self.path / RESULT, result)
        if not keep_checkpoints:
            self.store.remove_all()

    def is_run(self) -> bool:
        """Whether the files prove that a run was trained here: a marked recipe, or one with the figures of a run."""
        try:
            with (self.path / RECIPE).open(encoding="utf-8", errors="replace") as file:
                if file.readline() == MARK:
                    return True
            if (self.path / RESULT).is_file():  # of a run of an earlier version, as the one below
                result = json.loads((self.path / RESULT).read_text(encoding="utf-8"))
                return isinstance(result, dict) and {"recipe", "command", "versions"} <= result.keys()
            with self.metrics_file.open(encoding="utf-8") as file:
                values = json.loads(file.readline())
                return isinstance(values, dict) and {"step", "epoch", "seconds"} <= values.keys()
        except (OSError, ValueError, RecursionError):
            return False

    def remove_files(self) -> list[str]:
        """Removes all that a run writes, but not the folder. Returns the names of what else is in it, which stays."""
        with explained(self.path):
            (self.path / RESULT).unlink(missing_ok=True)  # first: a run without it isn't taken for complete
            self._sweep()
            self.store.remove_all()
            for path in self.path.iterdir():
                if MODEL_FILES.fullmatch(path.name) or path.name in (METRICS, CARD, FRESH):
                    path.unlink()
            (self.path / RECIPE).unlink(missing_ok=True)  # last: it says whose folder this is
            return sorted(path.name for path in self.path.iterdir() if path.name != LOCK)

    def others(self) -> list[str]:
        """The names of what is in the folder and isn't of a run."""
        ours = (*FILES, FRESH, STAGING, LOCK, self.store.folder.name)
        names = {path.name for path in self.path.iterdir()} - {path.name for path in leftovers(self.path, FILES)}
        return sorted(name for name in names if name not in ours and not MODEL_FILES.fullmatch(name))

    def _refuse_others(self) -> None:
        """Raises a PoNetError where the folder can't be written to, or holds what isn't a run."""
        if not self.path.exists():
            return
        with explained(self.path):
            entries = {path for path in self.path.iterdir() if path.name != LOCK} - set(leftovers(self.path, FILES))
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise PoNetError(f"No permission to write in '{self.path}'. Choose another folder with --out.")
        if entries and not self.is_run():
            raise PoNetError(f"'{self.path}' isn't empty and isn't a run folder. Choose another folder with --out.")

    def _claim(self, recipe: Recipe, overwrite: bool, notice: Callable[[str], None]) -> None:
        if not self.is_run():
            return
        if overwrite:
            notice(f"Removing the run in '{self.path}'.")
            if kept := self.remove_files():
                notice(f"What isn't the run's stays there: {', '.join(kept[:3])}{', ...' if len(kept) > 3 else ''}.")
            return
        with explained(self.path):
            self._sweep()
        may_change = MAY_CHANGE if recipe.training.budget is None else (*MAY_CHANGE, "training.max_steps")
        differing = differences(self.recipe(), recipe, may_change)
        if differing:
            more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
            raise PoNetError(
                f"'{self.path}' holds another run: {'; '.join(differing[:3])}{more}. "
                "Choose another folder with --out, or replace that run with --overwrite."
            )

    def _sweep(self) -> None:
        """Removes what a process that died left half-written."""
        self.store.sweep()
        shutil.rmtree(self.path / STAGING, ignore_errors=True)
        for path in leftovers(self.path, FILES):
            path.unlink(missing_ok=True)
