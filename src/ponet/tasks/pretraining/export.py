"""A finished pre-training or distillation as a bundled checkpoint: half the bytes, a tokenizer, a model card."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.artifacts import replacing_folder
from ponet.models.checkpoints import POOLING_FOLDER, write_modules
from ponet.tasks.pretraining.export_card import Stage, export_card
from ponet.tasks.pretraining.task import open_run
from ponet.utils.errors import PoNetError
from ponet.utils.files import MODEL_FILES, check_utf8_name, explain, read_json, write_json, write_text

if TYPE_CHECKING:
    from ponet.models.modeling_ponet import PoNetForPreTraining

MOST_MB = 50.0
"""Megabytes (10^6 bytes) of a checkpoint in the package, everything counted."""
TASKS = ("pretraining", "distillation")
MOST_STAGES = 10
"""Runs that a card describes: folders that name each other would have no end."""
NOT_KEPT = ("auto_map", "is_local", "local_files_only", "max_length", "stride", "truncation_strategy", "never_split")
"""Keys of saved configurations: what names the code beside them, which a package that has the code doesn't carry, how
the tokenizer was opened, and a teacher's settings that nothing reads."""


def export(
    run: Path | str,
    folder: Path | str,
    data: str = "",
    overwrite: bool = False,
    most_mb: float = MOST_MB,
    notice: str = "",
) -> int:
    """Writes a run's model as a checkpoint, whole or not at all; returns the folder's bytes.

    Weights are rounded to half precision (fp16), and `config.json` says that they open as float32, in which everything
    is computed. `README.md` has data, steps, tokens, hardware, curves and held-out figures, from the run's own files.

    Args:
        run: a complete run of the task `pretraining` or `distillation`. The card also describes the runs that it
            continues (`model.init`), as far as their folders are there.
        folder: the checkpoint's folder; its name is the checkpoint's.
        data: what the corpus is, for people; the run knows no more than its size.
        overwrite: whether a folder that is there is replaced.
        most_mb: the most megabytes that the folder may have.
        notice: what the card has to say of the teacher's origin and licence.

    Raises:
        PoNetError: not a complete run of these tasks, weights that half precision can't hold, too many bytes, a folder
            that is there, or a full disk.
    """
    run, folder = Path(run), Path(folder)
    if not re.fullmatch(r"[\w.-]+", folder.name):
        raise PoNetError(f"'{folder.name}' can't be a checkpoint's name: use letters, digits, '-', '_' and '.'.")
    stages = _stages(run)
    check_utf8_name(folder)
    if folder.exists() and not overwrite:
        raise PoNetError(f"'{folder}' is there already. --overwrite replaces it.")
    _check_replaceable(folder)
    model, _ = open_run(run)
    _to_half(model, run)
    with replacing_folder(folder) as made:
        _write(model, run, made)
        write_text(made / "README.md", export_card(folder.name, stages, model.config, data, notice))
        size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
        if size > most_mb * 1e6:
            raise PoNetError(
                f"The checkpoint would have {size / 1e6:.1f} MB, more than {most_mb:g}: export a smaller model, or one "
                "with a smaller vocabulary."
            )
        made.chmod(run.stat().st_mode & 0o777)
    return size


def _check_replaceable(folder: Path) -> None:
    """Nothing is replaced but a checkpoint."""
    if not folder.exists():
        return
    pooling = folder / POOLING_FOLDER
    ours = {folder / "README.md", pooling, pooling / "config.json"}
    for path in folder.rglob("*") if folder.is_dir() else [folder]:
        if path not in ours and not (path.parent == folder and MODEL_FILES.fullmatch(path.name)):
            alone = f"'{folder}' isn't a checkpoint alone ('{path.name}')"
            raise PoNetError(f"{alone}: move it away, or choose another place.")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("model_type") != "ponet":
        raise PoNetError(f"'{folder}' isn't a checkpoint of PoNet: move it away, or choose another place.")


def _stages(run: Path) -> list[Stage]:
    """The run, and before it those that it continues."""
    stages: list[Stage] = []
    folder: Path | None = run
    while folder is not None and len(stages) < MOST_STAGES:
        result = _result(folder)
        stages.insert(0, Stage(result, _evaluations(folder)))
        init = (result["recipe"].get("model") or {}).get("init")
        folder = Path(init) if isinstance(init, str) and (Path(init) / "result.json").is_file() else None
    return stages


def _result(run: Path) -> dict[str, Any]:
    if not (run / "result.json").is_file():
        raise PoNetError(f"'{run}' is no complete run (result.json): train it to its end first.")
    result = read_json(run / "result.json")
    recipe = result.get("recipe") if isinstance(result, dict) else None
    if not isinstance(recipe, dict) or recipe.get("task") not in TASKS:
        raise PoNetError(f"'{run}' is no pre-training or distillation: only such a run can be exported.")
    assert isinstance(result, dict)
    return result


def _evaluations(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that are evaluations."""
    path = run / "metrics.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [values for values in map(json.loads, lines) if "validation" in values]
    except OSError as error:
        raise explain(error, path) from error
    except (ValueError, TypeError) as error:
        raise PoNetError(f"'{path}' isn't the metrics of a run ({error}): restore it.") from error


def _to_half(model: "PoNetForPreTraining", run: Path) -> None:
    """Rounds the weights, tied ones staying tied. Raises a PoNetError for one that isn't finite in half precision."""
    import torch

    for name, weight in model.named_parameters():
        if not torch.isfinite(weight.half()).all():
            raise PoNetError(f"'{name}' in '{run}' has numbers that aren't finite in half precision: train it again.")
    model.half()


def _write(model: "PoNetForPreTraining", run: Path, folder: Path) -> None:
    """Weights, configuration, tokenizer and what sentence-transformers opens, without the model's source files."""
    from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

    from ponet.tasks.models import open_tokenizer, quiet

    with quiet():
        model.save_pretrained(folder)
        open_tokenizer(str(run)).save_pretrained(folder)
    for path in folder.glob("*.py"):
        path.unlink()
    # without a limit of the model's there is none of the tokenizer's
    limit = {"model_max_length": VERY_LARGE_INTEGER, "truncate_by_default": False}
    reading = limit if model.config.repeat_positions else {}
    for name, changes in (("config.json", {"dtype": "float32"}), ("tokenizer_config.json", reading)):
        values = read_json(folder / name)
        write_json(folder / name, {key: value for key, value in values.items() if key not in NOT_KEPT} | changes)
    # saved with a line and two indents for each piece, and with the lengths that a teacher's tokenizer was saved with:
    # whoever opens the file with the tokenizers library alone would have texts cut and padded to these
    vocabulary = read_json(folder / "tokenizer.json") | {"truncation": None, "padding": None}
    write_text(folder / "tokenizer.json", json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")) + "\n")
    write_modules(folder)
    mode = (folder / "config.json").stat().st_mode & 0o777
    for path in filter(Path.is_file, folder.iterdir()):
        path.chmod(mode)  # safetensors writes for the owner alone
