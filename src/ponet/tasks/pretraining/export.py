"""A finished pre-training as a bundled checkpoint: half the bytes, a tokenizer, a model card."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.artifacts import replacing_folder
from ponet.models.checkpoints import POOLING_FOLDER, write_modules
from ponet.tasks.pretraining.modelling import open_run
from ponet.utils.errors import PoNetError
from ponet.utils.files import MODEL_FILES, check_utf8_name, explain, read_json, write_json, write_text
from ponet.utils.markdown import code, plain

if TYPE_CHECKING:
    from ponet.models.modeling_ponet import PoNetForPreTraining

CURVE_ROWS = 12
"""Evaluations in the card's curve, at most."""
NAMES = {
    "mlm_accuracy": "masked words right (MLM)",
    "mlm_loss": "MLM loss",
    "sso_accuracy": "sentence order right (SSO)",
    "sso_loss": "SSO loss",
    "nsp_accuracy": "next sentence right (NSP)",
    "nsp_loss": "NSP loss",
}
MOST_MB = 25.0
"""Megabytes (10^6 bytes) of a checkpoint in the package, everything counted."""
NOT_KEPT = ("auto_map", "is_local", "local_files_only")
"""Keys of saved configurations: what names the code beside them, which a package that has the code doesn't carry, and
how the tokenizer was opened."""


def export(
    run: Path | str, folder: Path | str, data: str = "", overwrite: bool = False, most_mb: float = MOST_MB
) -> int:
    """Writes a run's model as a checkpoint, whole or not at all.

    Weights are rounded to half precision (fp16), and `config.json` says that they open as float32, in which everything
    is computed. `README.md` has data, steps, tokens, hardware, curves and held-out figures, from the run's own files.

    Args:
        run: a complete run of the task `pretraining`.
        folder: the checkpoint's folder; its name is the checkpoint's.
        data: what the corpus is, for people; the run knows no more than its size.
        overwrite: whether a folder that is there is replaced.
        most_mb: the most megabytes that the folder may have.

    Returns:
        The folder's bytes.

    Raises:
        PoNetError: not a complete pre-training, weights that half precision can't hold, too many bytes, a folder that
            is there, or a full disk.
    """
    run, folder = Path(run), Path(folder)
    if not re.fullmatch(r"[\w.-]+", folder.name):
        raise PoNetError(f"'{folder.name}' can't be a checkpoint's name: use letters, digits, '-', '_' and '.'.")
    result = _result(run)
    check_utf8_name(folder)
    if folder.exists() and not overwrite:
        raise PoNetError(f"'{folder}' is there already. --overwrite replaces it.")
    _check_replaceable(folder)
    model, _ = open_run(run)
    _to_half(model, run)
    with replacing_folder(folder) as made:
        _write(model, run, made)
        write_text(made / "README.md", export_card(folder.name, result, _evaluations(run), data))
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
    other = (
        [folder.name]
        if not folder.is_dir()
        else [
            path.name
            for path in folder.rglob("*")
            if path not in ours and not (path.parent == folder and MODEL_FILES.fullmatch(path.name))
        ]
    )
    if other:
        raise PoNetError(f"'{folder}' isn't a checkpoint alone ('{other[0]}'): move it away, or choose another place.")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("model_type") != "ponet":
        raise PoNetError(f"'{folder}' isn't a checkpoint of PoNet: move it away, or choose another place.")


def _result(run: Path) -> dict[str, Any]:
    if not (run / "result.json").is_file():
        raise PoNetError(f"'{run}' is no complete run (result.json): train it to its end first.")
    result = read_json(run / "result.json")
    recipe = result.get("recipe") if isinstance(result, dict) else None
    if not isinstance(recipe, dict) or recipe.get("task") != "pretraining":
        raise PoNetError(f"'{run}' isn't a pre-training: only such a run can be exported.")
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
    """Rounds the weights, tied ones staying tied.

    Raises:
        PoNetError: one isn't finite, in half precision or at all.
    """
    import torch

    for name, weight in model.named_parameters():
        if not torch.isfinite(weight.half()).all():
            raise PoNetError(f"'{name}' in '{run}' has numbers that aren't finite in half precision: train it again.")
    model.half()


def _write(model: "PoNetForPreTraining", run: Path, folder: Path) -> None:
    """Weights, configuration, tokenizer and what sentence-transformers opens, without the model's source files."""
    from ponet.tasks.models import open_tokenizer, quiet

    with quiet():
        model.save_pretrained(folder)
        open_tokenizer(str(run)).save_pretrained(folder)
    for path in folder.glob("*.py"):
        path.unlink()
    for name, changes in (("config.json", {"dtype": "float32"}), ("tokenizer_config.json", {})):
        values = read_json(folder / name)
        write_json(folder / name, {key: value for key, value in values.items() if key not in NOT_KEPT} | changes)
    write_modules(folder)
    mode = (folder / "config.json").stat().st_mode & 0o777
    for path in filter(Path.is_file, folder.iterdir()):
        path.chmod(mode)  # safetensors writes for the owner alone


def export_card(name: str, result: dict[str, Any], evaluations: list[dict[str, Any]], data: str = "") -> str:
    """Markdown with the head that the Hugging Face hub reads.

    Args:
        name: the checkpoint's.
        result: the run's result.json.
        evaluations: those lines of metrics.jsonl.
        data: what the corpus is.
    """
    model, train = result["recipe"]["model"], result["train"]
    parts = [
        *("---", "library_name: transformers", "pipeline_tag: fill-mask", "tags: [ponet]", "---", ""),
        *(f"# {plain(name)}", ""),
        f"PoNet, pre-trained with {_objective(result)}: {_shape(result, model)}. It reads texts of up to "
        f"{_positions(result):,} tokens. Weights are stored as fp16 and open as float32.",
        *("", "## Held-out figures", "", *_figures(result), ""),
        *("## Training", "", *_training(result, train, data), ""),
    ]
    if evaluations:
        parts += ["## Curves", "", *_curve(train, evaluations), ""]
    return "\n".join([*parts, *_use(name), "", *_origin(result), ""])


def _objective(result: dict[str, Any]) -> str:
    objective = result["recipe"]["data"].get("objective", "mlm+sso")
    return {
        "mlm+sso": "masked words (MLM) and the order of two spans (SSO)",
        "mlm+nsp": "masked words (MLM) and next sentence prediction (NSP)",
        "mlm": "masked words (MLM)",
    }.get(objective, plain(objective))


def _shape(result: dict[str, Any], model: dict[str, Any]) -> str:
    layers, width = model.get("num_hidden_layers"), model.get("hidden_size")
    parameters = (result.get("model") or {}).get("parameters")
    known = [f"{layers} layers" if layers else "", f"d {width}" if width else ""]
    known += [f"{parameters / 1e6:.1f} million weights" if parameters else ""]
    vocabulary = (result.get("data") or {}).get("vocab_size")
    known += [f"{vocabulary:,} word pieces" if vocabulary else ""]
    return ", ".join(part for part in known if part)


def _positions(result: dict[str, Any]) -> int:
    data, model = result["recipe"]["data"], result["recipe"]["model"]
    lengths = [data.get(name) or 0 for name in ("max_length", "last_length", "validation_length")]
    return int(max(*lengths, model.get("max_position_embeddings") or 0))


def _figures(result: dict[str, Any]) -> list[str]:
    validation = result.get("validation")
    if not validation:
        return ["No document was held out."]
    lines = ["| figure | held-out documents |", "|---|---:|"]
    for key, name in NAMES.items():
        if key in validation:
            value = validation[key]
            lines.append(f"| {name} | {f'{100 * value:.1f} %' if key.endswith('accuracy') else f'{value:.3f}'} |")
    examples = ((result.get("data") or {}).get("validation") or {}).get("examples")
    best = result.get("best") or {}
    said = [f"Over {examples:,} examples." if examples else ""]
    said += [f"The checkpoint is that of step {best['step']:,}." if best.get("step") else ""]
    return [*lines, *(["", " ".join(part for part in said if part)] if any(said) else [])]


def _training(result: dict[str, Any], train: dict[str, Any], data: str) -> list[str]:
    corpus = (result.get("data") or {}).get("corpus") or {}
    size = [f"{corpus[key]:,} {key}" for key in ("documents", "tokens") if corpus.get(key)]
    machine, options, recipe = result["machine"], result["recipe"]["training"], result["recipe"]["data"]
    lengths = [f"{recipe['max_length']}"]
    if recipe.get("last_length"):
        lengths.append(f"{recipe['last_length']} in the last {100 * recipe['last_share']:.0f} % of the steps")
    facts = {
        "data": "; ".join([*([data] if data else []), ", ".join(size)]),
        "steps": f"{train['steps']:,}",
        "tokens": f"{train['tokens']:,}",
        "passes over the data": f"{train['epochs']:.2f}" if train.get("epochs") is not None else None,
        "tokens an example, at most": ", then ".join(lengths),
        "tokens a batch": f"{options['batch_tokens']:,}" if options.get("batch_tokens") else None,
        "learning rate": f"{options['learning_rate']:g}, {options['schedule']}, warm-up {options['warmup']:g}",
        "hardware": machine.get("gpu") or f"{machine['cpu']}, threads: {machine.get('threads', machine.get('cores'))}",
        "time in training steps": f"{train['seconds'] / 60:,.0f} min",
        "tokens a second": f"{train['tokens_per_second']:,.0f}" if train.get("tokens_per_second") else None,
        "arithmetic": train.get("precision"),
        "seed": str(result["recipe"].get("seed", 0)),
    }
    return [f"- {name}: {plain(value)}" for name, value in facts.items() if value]


def _curve(train: dict[str, Any], evaluations: list[dict[str, Any]]) -> list[str]:
    """A table of evaluations at even distances, the last one among them."""
    every = -(-len(evaluations) // CURVE_ROWS)
    kept = evaluations[::-1][::every][::-1]
    names = [name for name in NAMES if name in kept[-1]["validation"]]
    heads = ["step", "million tokens", "minutes"]
    heads += [f"{name[:3].upper()} {'%' if name.endswith('accuracy') else 'loss'}" for name in names]
    lines = [f"| {' | '.join(heads)} |", "|" + "---:|" * len(heads)]
    for line in kept:
        tokens = line["step"] / train["steps"] * train["tokens"]  # batches are filled to one budget
        cells = [f"{line['step']:,}", f"{tokens / 1e6:.1f}", f"{line['seconds'] / 60:.1f}"]
        for name in names:
            value = line["validation"].get(name)
            cells.append("–" if value is None else f"{100 * value:.1f}" if "accuracy" in name else f"{value:.3f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _use(name: str) -> list[str]:
    return [
        *("## Use", "", "```python", "import ponet", "from transformers import pipeline", ""),
        f'fill = pipeline("fill-mask", model=ponet.checkpoint("{name}"))',
        *('fill("The capital of France is [MASK].")', "```", ""),
        f"or `ponet finetune DATA --model {name} --out RUN`, and `model.init={name}` in a recipe. What its "
        "corpus says of people, it may say too.",
    ]


def _origin(result: dict[str, Any]) -> list[str]:
    versions = {name: number for name, number in result["versions"].items() if number}
    return [
        *("## Where it comes from", "", f"- recipe: {code(result['recipe']['name'])}"),
        f"- commit: {plain(result.get('commit') or 'unknown')}",
        f"- versions: {', '.join(plain(f'{name} {number}') for name, number in versions.items())}",
    ]
