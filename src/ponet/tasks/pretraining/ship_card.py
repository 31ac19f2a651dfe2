"""The model card of a shipped checkpoint: what it is, what it has learned from, and how well, from its run's files."""

from typing import Any

from ponet.utils.markdown import code, plain

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


def card(name: str, result: dict[str, Any], evaluations: list[dict[str, Any]], data: str = "") -> str:
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
