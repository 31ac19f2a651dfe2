"""Exports a complete run to the measured results: what a repository keeps of it, and `ponet evaluate` can open."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from ponet.artifacts import replacing_folder
from ponet.config.recipe import Recipe, recipe_from_dict
from ponet.training.card import model_card
from ponet.training.folder import CARD, FRESH, GRID_FILE, METRICS, RECIPE, RESULT, RunFolder
from ponet.utils.errors import PoNetError
from ponet.utils.files import data_folder, read_json, write_json, write_text

MODEL = ("config.json", "model.safetensors")
TRAINING_LINES = 200
"""Lines of metrics.jsonl that are kept of the training steps, at even distances; every evaluation is kept."""
LOCAL_KEYS = ("cache", "workers")
"""Keys of the data section that name places or settings of this machine, and change nothing in the data."""
LOCAL_PATHS = (("data", "path"), ("data", "tokenizer"), ("model", "init"))
"""Keys that may name a folder of this machine, of which a result has the last part only."""


def export_run(
    run: Path | str, results: Path = Path("results"), weights_mb: float = 2.0, overwrite: bool = False
) -> Path:
    """Copies a run to `results/<suite>/<task>/<mixer>/seed<k>`, after its recipe's name.

    A pre-training, whose recipe names a size alone, goes to `pretraining/<size>/<mixers>`, with its objective behind a
    hyphen where that isn't the paper's.

    Recipe, result, card, thinned metrics; the model with its configuration where its weights are small enough; a
    tokenizer where there is one; and beside the runs the grid that their settings were chosen from. Neither checkpoints
    nor the model's source code, which `ponet` has.

    Args:
        run: a complete run's folder.
        weights_mb: the most megabytes of weights that are copied.
        overwrite: whether a result that is there is replaced.

    Raises:
        PoNetError: not a complete run, a name that isn't suite/task/mixer, or a result that is there.
    """
    folder = RunFolder(run)
    trained = folder.require_complete()
    local, place, values = _local_names(trained), _place(trained), trained.to_dict()
    values["data"] = {key: value for key, value in values["data"].items() if key not in LOCAL_KEYS}
    recipe = recipe_from_dict(_renamed(values, local))
    if len(place.parts) != 3 or place.is_absolute() or ".." in place.parts:
        raise PoNetError(
            f"The run in '{run}' is called '{recipe.name}': a result's place is suite/task/mixer, so train it from a "
            "recipe of such a name, or with name=suite/task/mixer."
        )
    target = Path(results) / place / f"seed{recipe.seed}"
    if target.resolve() == folder.path.resolve():
        raise PoNetError(f"'{run}' is a result already: name the run that was trained elsewhere.")
    _check_target(target, overwrite)
    result = folder.result()
    assert result is not None
    result |= {"recipe": recipe.to_dict(), "command": _plain_command(result["command"])}
    (result.get("data") or {}).pop("file", None)
    result = _renamed(result, local)
    with replacing_folder(target) as made:
        fresh = folder.path / FRESH
        for file in [*_files(folder.path, weights_mb), *([fresh] if fresh.is_file() else [])]:
            shutil.copyfile(file, made / file.name)
        write_text(made / METRICS, _thinned(folder.metrics_file))
        write_text(made / RECIPE, recipe.to_yaml())
        write_text(made / CARD, model_card(recipe, result))
        write_json(made / RESULT, result)
        made.chmod(folder.path.stat().st_mode & 0o777)
    grid = folder.path.parent / GRID_FILE
    if grid.is_file():
        found = _renamed(read_json(grid), local)
        write_json(target.parent / GRID_FILE, found | {"command": _plain_command(found.get("command") or "")})
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    """Nothing is replaced but a result, and that only if asked for."""
    if target.exists() and not target.is_dir():
        raise PoNetError(f"'{target}' is a file, where the result's folder should be. Choose another place.")
    if not target.exists() or not any(target.iterdir()):
        return
    if not overwrite:
        raise PoNetError(f"'{target}' isn't empty. --overwrite replaces what is there.")
    other = RunFolder(target).others()
    if other or not RunFolder(target).is_run():
        what = f"holds other things too, such as '{other[0]}'" if other else "isn't a result"
        raise PoNetError(f"'{target}' {what}: move it away, or choose another place with --results.")


def _place(recipe: Recipe) -> Path:
    """Suite, task and mixer."""
    name = Path(recipe.name)
    if recipe.task != "pretraining" or len(name.parts) != 2:
        return name
    mixers = recipe.model.get("mixer_types") or "pooling"
    mixer = mixers if isinstance(mixers, str) else "+".join(dict.fromkeys(mixers))
    objective = recipe.data.objective
    suffix = "" if objective == "mlm+sso" else f"-{objective}"
    return Path("pretraining", name.parts[1], mixer + suffix)


def _local_names(recipe: Recipe) -> dict[str, str]:
    """The folders of this machine that a recipe or its data's files name, longest first, and what takes their place."""
    values = recipe.to_dict()
    named = [str(values[section].get(key) or "") for section, key in LOCAL_PATHS]
    private = {name: Path(name).name for name in named if Path(name).is_absolute() or ".." in Path(name).parts}
    data = data_folder()
    if data is not None:
        private[f"{data}/"] = ""
    return {name: private[name] for name in sorted(private, key=len, reverse=True)}


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part, names) for part in value]
    if isinstance(value, str):
        for name, short in names.items():
            value = value.replace(name, short)
    return value


def _plain_command(command: str) -> str:
    """The command without the folders of this machine."""
    parts, kept = iter(shlex.split(command)), []
    for part in parts:
        if part == "--out":
            next(parts, None)
        elif not part.startswith("--out=") and part.partition("=")[0].rpartition(".")[2] not in LOCAL_KEYS:
            kept.append(part)
    return shlex.join(kept)


def _files(run: Path, weights_mb: float) -> list[Path]:
    """The model and its tokenizer, or nothing where the weights are too many."""
    weights = run / MODEL[1]
    if not weights.exists() or weights.stat().st_size > weights_mb * 1e6:
        return []
    tokenizer = [path for path in sorted(run.iterdir()) if path.suffix in (".json", ".txt") and path.is_file()]
    return [*(path for path in tokenizer if path.name not in (RESULT, MODEL[0])), *(run / name for name in MODEL)]


def _thinned(metrics: Path) -> str:
    """Every evaluation, and of the training steps `TRAINING_LINES` at most, the last one among them."""
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
    steps = [index for index, line in enumerate(lines) if "validation" not in json.loads(line)]
    every = -(-len(steps) // TRAINING_LINES) or 1
    left_out = set(steps).difference(steps[::-1][::every])
    return "".join(f"{line}\n" for index, line in enumerate(lines) if index not in left_out)
