"""The model card of a bundled checkpoint, from the files of the runs that made it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ponet.utils.markdown import code, plain

if TYPE_CHECKING:
    from ponet.models.configuration_ponet import PoNetConfig

CURVE_ROWS = 12
"""Evaluations in a curve, at most."""
NAMES = {
    "cosine": "cosine with the teacher's vector of a passage",
    "hidden_loss": "error of hidden states, relative to their variance",
    "last_loss": "the same, of the last layer",
    "mlm_accuracy": "masked words right (MLM)",
    "mlm_loss": "MLM loss",
    "sso_accuracy": "sentence order right (SSO)",
    "sso_loss": "SSO loss",
    "nsp_accuracy": "next sentence right (NSP)",
    "nsp_loss": "NSP loss",
}
SHORT = {"cosine": "cosine", "hidden_loss": "hidden states", "last_loss": "last layer"}
"""Heads of the curve's columns; of the others the name's first letters."""


@dataclass(frozen=True)
class Stage:
    """A run, and those lines of its metrics.jsonl that are evaluations."""

    result: dict[str, Any]
    evaluations: list[dict[str, Any]]

    @property
    def distilled(self) -> bool:
        """Whether it learned from a teacher."""
        return bool(self.result["recipe"]["task"] == "distillation")


def export_card(name: str, stages: list[Stage], config: "PoNetConfig", data: str = "", notice: str = "") -> str:
    """Markdown with the head that the Hugging Face hub reads.

    Args:
        stages: the runs, the last of which has the checkpoint's weights.
        data: what the corpus is.
        notice: of the teacher's origin and licence.
    """
    result, distilled = stages[-1].result, any(stage.distilled for stage in stages)
    tag = "feature-extraction" if distilled else "fill-mask"
    parts = [
        *("---", "library_name: transformers", f"pipeline_tag: {tag}", "tags: [ponet]", "---", ""),
        *(f"# {plain(name)}", ""),
        f"PoNet, {_objective(stages)}: {_shape(result, config)}. It reads {_reach(result, config)}. Weights are stored "
        "as fp16 and open as float32.",
        *("", "## Held-out figures", "", *_figures(result), ""),
    ]
    if notice:
        parts += ["## Teacher", "", plain(notice), ""]
    for number, stage in enumerate(stages, 1):
        title = "## Training" if len(stages) == 1 else f"## Training, run {number} of {len(stages)}"
        parts += [title, "", *_training(stage.result, data), ""]
        if stage.evaluations:
            parts += [*_curve(stage), ""]
    return "\n".join([*parts, *_use(name, distilled), "", *_origin(stages), ""])


def _objective(stages: list[Stage]) -> str:
    heads = {
        "mlm+sso": "masked words (MLM) and the order of two spans (SSO)",
        "mlm+nsp": "masked words (MLM) and next sentence prediction (NSP)",
        "mlm": "masked words (MLM)",
    }
    recipe = stages[-1].result["recipe"]["data"]
    if not stages[-1].distilled:
        kind = recipe.get("objective", "mlm+sso")
        return f"pre-trained with {heads.get(kind, plain(kind))}"
    teacher = plain(recipe["teacher"].rstrip("/").rpartition("/")[2])
    return f"distilled from {teacher}" + (f", with {heads['mlm+sso']}" if recipe.get("pair_share") else "")


def _shape(result: dict[str, Any], config: "PoNetConfig") -> str:
    parameters = (result.get("model") or {}).get("parameters")
    weights = f"{parameters / 1e6:.1f} million weights, " if parameters else ""
    return f"{config.num_hidden_layers} layers, d {config.hidden_size}, {weights}{config.vocab_size:,} word pieces"


def _reach(result: dict[str, Any], config: "PoNetConfig") -> str:
    if config.repeat_positions:
        return f"texts of any length; positions restart after {config.max_position_embeddings:,} tokens"
    return f"texts of up to {config.max_position_embeddings:,} tokens"


def _figures(result: dict[str, Any]) -> list[str]:
    validation = result.get("validation")
    if not validation:
        return ["No document was held out."]
    lines = ["| figure | held-out documents |", "|---|---:|"]
    lines += [f"| {name} | {_number(key, validation[key], ' %')} |" for key, name in NAMES.items() if key in validation]
    examples = ((result.get("data") or {}).get("validation") or {}).get("examples")
    best = result.get("best") or {}
    said = [f"Over {examples:,} examples."] if examples else []
    said += [f"The checkpoint is that of step {best['step']:,}."] if best.get("step") else []
    return [*lines, *(["", " ".join(said)] if said else [])]


def _number(name: str, value: float | None, unit: str = "") -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}{unit}" if name.endswith("accuracy") else f"{value:.3f}"


def _lengths(data: dict[str, Any]) -> str:
    if "lengths" in data:
        lengths = data["lengths"]
        shares = data.get("shares") or [1 / len(lengths)] * len(lengths)
        each = [f"{length} in {100 * share:.0f} % of the steps" for length, share in zip(lengths, shares, strict=True)]
        return ", then ".join(each) if len(each) > 1 else str(lengths[0])
    if not (last := data.get("last_length")):
        return str(data["max_length"])
    return f"{data['max_length']}, then {last} in the last {100 * data['last_share']:.0f} % of the steps"


def _training(result: dict[str, Any], data: str) -> list[str]:
    train, machine, options = result["train"], result["machine"], result["recipe"]["training"]
    corpus = (result.get("data") or {}).get("corpus") or {}
    size = [f"{corpus[key]:,} {key}" for key in ("documents", "tokens") if corpus.get(key)]
    facts = {
        "data": "; ".join([*([data] if data else []), ", ".join(size)]),
        "steps": f"{train['steps']:,}",
        "tokens": f"{train['tokens']:,}",
        "passes over the data": f"{train['epochs']:.2f}" if train.get("epochs") is not None else None,
        "tokens an example, at most": _lengths(result["recipe"]["data"]),
        "share of masked pairs": f"{pairs:g}" if (pairs := result["recipe"]["data"].get("pair_share")) else None,
        "tokens a batch": f"{options['batch_tokens']:,}" if options.get("batch_tokens") else None,
        "learning rate": f"{options['learning_rate']:g}, {options['schedule']}, warm-up {options['warmup']:g}",
        "hardware": machine.get("gpu") or f"{machine['cpu']}, threads: {machine.get('threads', machine.get('cores'))}",
        "time in training steps": f"{train['seconds'] / 60:,.0f} min",
        "tokens a second": f"{train['tokens_per_second']:,.0f}" if train.get("tokens_per_second") else None,
        "arithmetic": train.get("precision"),
        "seed": str(result["recipe"].get("seed", 0)),
    }
    return [f"- {name}: {plain(value)}" for name, value in facts.items() if value]


def _curve(stage: Stage) -> list[str]:
    """A table of evaluations at even distances, the last one among them."""
    train, evaluations = stage.result["train"], stage.evaluations
    every = -(-len(evaluations) // CURVE_ROWS)
    kept = evaluations[::-1][::every][::-1]
    names = [name for name in NAMES if name in kept[-1]["validation"]]
    heads = ["step", "million tokens", "minutes"]
    heads += [SHORT.get(name) or f"{name[:3].upper()} {'%' if name.endswith('accuracy') else 'loss'}" for name in names]
    lines = [f"| {' | '.join(heads)} |", "|" + "---:|" * len(heads)]
    for line in kept:
        tokens = line["step"] / train["steps"] * train["tokens"]  # batches are filled to one budget
        cells = [f"{line['step']:,}", f"{tokens / 1e6:.1f}", f"{line['seconds'] / 60:.1f}"]
        cells += [_number(name, line["validation"].get(name)) for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _use(name: str, embeds: bool) -> list[str]:
    vectors = [f'vectors = ponet.embed(["a text", "another"], model="{name}")', ""]
    return [
        *("## Use", "", "```python", "import ponet", "from transformers import pipeline", ""),
        *(vectors if embeds else []),
        f'fill = pipeline("fill-mask", model=ponet.checkpoint("{name}"))',
        *('fill("The capital of France is [MASK].")', "```", ""),
        f"or `ponet finetune DATA --model {name} --out RUN`, and `model.init={name}` in a recipe. What its "
        "corpus says of people, it may say too.",
    ]


def _origin(stages: list[Stage]) -> list[str]:
    result = stages[-1].result
    versions = {name: number for name, number in result["versions"].items() if number}
    names = ", ".join(code(stage.result["recipe"]["name"]) for stage in stages)
    return [
        *("## Where it comes from", "", f"- {'recipe' if len(stages) == 1 else 'recipes'}: {names}"),
        f"- commit: {plain(result.get('commit') or 'unknown')}",
        f"- versions: {', '.join(plain(f'{name} {number}') for name, number in versions.items())}",
    ]
