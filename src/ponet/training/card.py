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
_MEASURED = """\
`ponet evaluate path/to/this/folder` measures it again; with `--fresh-test-seed 123` ListOps and
Pathfinder on newly made data."""
_PREDICTED = "`ponet predict path/to/this/folder documents.csv`."
_PIPELINE = """\
```python
import ponet
from transformers import pipeline

pipe = pipeline("{}", model="path/to/this/folder")
```

or """


def model_card(recipe: Recipe, result: dict[str, Any]) -> str:
    """README.md of a run folder, from its result."""
    model = result.get("model") or {}
    # a pipeline reads one document at a time, and not two, nor one in windows
    pairs = (result.get("data") or {}).get("pairs", getattr(recipe.data, "pairs", "joined"))
    several = pairs == "separate" or getattr(recipe.data, "window", None) is not None
    pipeline = next((task for suffix, task in _PIPELINES.items() if str(model.get("class")).endswith(suffix)), None)
    tag = [f"pipeline_tag: {pipeline}"] if pipeline and recipe.task not in ("lra", "lra-masked") else []
    description = plain(recipe.description) or f"A model for the task '{recipe.task}'."
    body = ["---", "library_name: transformers", *tag, "tags: [ponet]", "---", ""]
    body += [f"# {plain(recipe.name)}", "", description, "", *_figures(result), *_training(recipe, result)]
    body += _list("Data", {name: fact for name, fact in (result.get("data") or {}).items() if name != "file"})
    if result.get("notices"):
        body += ["## To know", "", *[f"- {plain(notice)}" for notice in result["notices"]], ""]
    use = None
    if recipe.task == "lra":
        use = _MEASURED
    elif several:
        use = _PREDICTED
    elif recipe.task in _COMMANDS:
        use = f"`ponet {_COMMANDS[recipe.task]} document.txt --model path/to/this/folder`"
    elif pipeline and recipe.task != "lra-masked":
        use = _PIPELINE.format(pipeline) + _PREDICTED
    body += ["## Use", "", use, ""] if use else []
    body += ["## Where it comes from", "", f"- command: {code(result['command'])}"]
    facts = {"commit": result["commit"] or "unknown", **result["versions"]}
    body += [f"- {plain(name)}: {plain(number)}" for name, number in facts.items() if number]
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
    if best := result.get("best"):
        chosen = f"the best validation {plain(best['metric'])}, of step {best['step']:,}"
        lines += ["", f"The checkpoint is the one with {chosen}."]
    return [*lines, ""]


def _training(recipe: Recipe, result: dict[str, Any]) -> list[str]:
    train, model, machine = result["train"], result.get("model") or {}, result["machine"]
    init = recipe.model.get("init")
    if init is None or not recipe.model.get("init_weights", True):
        init = "scratch" if init is None else f"scratch, with the architecture of {init}"
    facts = {
        "initialised from": init,
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
