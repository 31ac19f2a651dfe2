"""The model card of a run: what it is, what it learned from, how well it does, and how to use it."""

from typing import Any

from ponet.config.recipe import Recipe
from ponet.utils.markdown import code, plain

_PIPELINES = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForPreTraining": "fill-mask",
}
_COMMANDS = {"segmentation": "segment", "summarization": "summarize"}
"""That use the models of these tasks."""


def model_card(recipe: Recipe, result: dict[str, Any]) -> str:
    """README.md of a run folder, from its result."""
    model = result.get("model") or {}
    # a pipeline reads one document at a time, and not two, nor one in windows
    several = getattr(recipe.data, "pairs", "joined") == "separate" or getattr(recipe.data, "window", None) is not None
    pipeline = next((task for suffix, task in _PIPELINES.items() if str(model.get("class")).endswith(suffix)), None)
    head = ["---", "library_name: transformers", "tags: [ponet]"]
    if pipeline and recipe.task not in ("lra", "lra-masked"):
        head.insert(2, f"pipeline_tag: {pipeline}")
    body = [
        *head,
        "---",
        "",
        f"# {plain(recipe.name)}",
        "",
        plain(recipe.description) or f"A model for the task '{recipe.task}'.",
        "",
    ]
    body += _figures(result)
    body += _training(recipe, result)
    body += _list("Data", {name: fact for name, fact in (result.get("data") or {}).items() if name != "file"})
    if result.get("notices"):
        body += ["## To know", "", *[f"- {plain(notice)}" for notice in result["notices"]], ""]
    if recipe.task == "lra":
        body += [
            "## Use",
            "",
            "`ponet evaluate path/to/this/folder` measures it again; with `--fresh-test-seed 123` ListOps and",
            "Pathfinder on newly made data.",
            "",
        ]
    elif several:
        body += ["## Use", "", "`ponet predict path/to/this/folder documents.csv`.", ""]
    elif recipe.task in _COMMANDS:
        body += ["## Use", "", f"`ponet {_COMMANDS[recipe.task]} document.txt --model path/to/this/folder`", ""]
    elif pipeline and recipe.task != "lra-masked":
        body += [
            "## Use",
            "",
            "```python",
            "import ponet",
            "from transformers import pipeline",
            "",
            f'pipe = pipeline("{pipeline}", model="path/to/this/folder")',
            "```",
            "",
            "or `ponet predict path/to/this/folder documents.csv`.",
            "",
        ]
    body += [
        "## Where it comes from",
        "",
        f"- command: {code(result['command'])}",
        f"- commit: {plain(result['commit'] or 'unknown')}",
    ]
    body += [f"- {plain(name)}: {plain(number)}" for name, number in result["versions"].items() if number]
    return "\n".join([*body, ""])


def _figures(result: dict[str, Any]) -> list[str]:
    splits = [split for split in ("validation", "test") if result.get(split)]
    names = list(dict.fromkeys(name for split in splits for name in result[split]))
    if not names:
        return []
    lines = ["## Results", "", "| metric | " + " | ".join(splits) + " |", "|---" * (len(splits) + 1) + "|"]
    lines += [
        f"| {plain(name)} | " + " | ".join(_metric(result[split].get(name)) for split in splits) + " |"
        for name in names
    ]
    best = result.get("best")
    if best:
        lines += [
            "",
            f"The checkpoint is the one with the best validation {plain(best['metric'])}, of step {best['step']:,}.",
        ]
    return [*lines, ""]


def _training(recipe: Recipe, result: dict[str, Any]) -> list[str]:
    train, model, machine = result["train"], result.get("model") or {}, result["machine"]
    facts = {
        "initialised from": _start(recipe.model),
        "parameters": model.get("parameters"),
        "mixers": ", ".join(model.get("mixers") or []) or None,
        "steps": train.get("steps"),
        "epochs": train.get("epochs"),
        "seconds in training steps": train.get("seconds"),
        "tokens per second": train.get("tokens_per_second"),
        "peak memory, bytes": train.get("peak_memory_bytes"),
        "precision": train.get("precision"),
        "seed": recipe.seed,
        "machine": machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores",
    }
    return _list("Training", facts)


def _start(model: dict[str, Any]) -> str:
    init = model.get("init")
    if init is None:
        return "scratch"
    return str(init) if model.get("init_weights", True) else f"scratch, with the architecture of {init}"


def _list(title: str, facts: dict[str, Any] | None) -> list[str]:
    lines = _items(facts or {}, "")
    return [f"## {title}", "", *lines, ""] if lines else []


def _items(facts: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            if parts := _items(value, indent + "  "):
                lines += [f"{indent}- {_words(name)}:", *parts]
        elif value not in (None, []):
            lines.append(f"{indent}- {_words(name)}: {_number(value)}")
    return lines


def _words(name: Any) -> str:
    return plain(str(name).replace("_", " "))


def _number(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_number(part) for part in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(value)
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}"
    return f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def _metric(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "–"
