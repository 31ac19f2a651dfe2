"""The run folder: what is in it, whose it is, and that one process at a time writes to it."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.artifacts import LOCK, locked
from ponet.config.recipe import Recipe, differences, load_recipe
from ponet.training.checkpoints import CheckpointStore
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


class RunFolder:
    """`recipe.yaml`, `metrics.jsonl`, `checkpoints/`, then the model, `README.md`, and `result.json` at the very end.

    Args:
        path: the folder; made by `opened`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.store = CheckpointStore(self.path / "checkpoints")

    @property
    def metrics_file(self) -> Path:
        return self.path / METRICS

    def recipe(self) -> Recipe:
        """The recipe of the run.

        Raises:
            PoNetError: where this isn't a run folder.
        """
        if not self.path.exists():
            raise PoNetError(f"There is no '{self.path}'. Check the path.")
        if not (self.path / RECIPE).is_file():
            raise PoNetError(f"'{self.path}' isn't a run folder: it has no {RECIPE}. `ponet train` makes one.")
        return load_recipe(self.path / RECIPE)

    def result(self) -> dict[str, Any] | None:
        """The final figures; None where the run isn't complete.

        Raises:
            PoNetError: where the file can't be read.
        """
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
        """The recipe of a complete run.

        Raises:
            PoNetError: where it isn't a run, or one that isn't complete.
        """
        recipe = self.recipe()
        if self.result() is None:
            raise PoNetError(
                f"The run in '{self.path}' isn't complete: train it to its end with the same command first."
            )
        return recipe

    @contextmanager
    def opened(self, recipe: Recipe, overwrite: bool, notice: Callable[[str], None]) -> Iterator[None]:
        """Makes the folder this recipe's, for this process alone; a new folder is removed if the training can't begin.

        Args:
            overwrite: whether another or a complete run there is removed first.

        Raises:
            PoNetError: another run's folder, another process at work, something else there, or no permission.
        """
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
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # cut off in the middle when the process died
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
