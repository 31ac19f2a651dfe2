"""The model and the tokenizer of a run that scores sentences: from a checkpoint, new, of a finished run, or an adapter.

An adapter is what a model with a frozen encoder has of its own, its head and low-rank differences, small to ship:
a folder with the name of the bundled checkpoint that it was trained on, and weights in float16.
"""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from ponet.artifacts import replacing_folder
from ponet.config.recipe import load_recipe
from ponet.config.sentences import SentenceOptions
from ponet.models.checkpoints import LONG_DOCUMENTS, find_checkpoint
from ponet.models.loading import WeightsError, check_weights
from ponet.models.modeling_ponet import PoNetForSentenceScoring
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.models import (
    BY_TOKENIZER,
    SMALL,
    check_vocabulary,
    checkpoint_folder,
    finished_model,
    lacking_weights,
    load_checkpoint,
    new_model,
    open_tokenizer,
    settle,
    untrained_model,
    vocabulary_size,
)
from ponet.utils.errors import PoNetError, brief
from ponet.utils.files import read_json, write_json, write_text
from ponet.utils.markdown import code

FROM_INIT = ("init", "init_weights")
HEAD = ("scorer.", "adapter.")
"""Begin the names of the weights that training makes: the head's, and differences of the encoder's."""


FILE, WEIGHTS = "adapter.json", "adapter.safetensors"
FIELDS = [f"sentence_{name}" for name in ("pooling", "hidden_size", "layers", "adapter_rank", "threshold")]
"""Of the configuration, beside the checkpoint's own."""


def make_tokenizer(options: SentenceOptions, init: str | None) -> PoNetTokenizer:
    """The tokenizer that is named, else the checkpoint's. Raises PoNetError: neither is named."""
    name = options.tokenizer or init
    if name is None:
        raise PoNetError(
            "A model from scratch needs a tokenizer: name one with data.tokenizer, or a checkpoint (init)."
        )
    tokenizer = open_tokenizer(str(name))
    settle(tokenizer, segments="sentences", segment_length=None, truncate_by_default=False)
    return tokenizer


def build_model(
    values: dict[str, Any], tokenizer: PoNetTokenizer, options: SentenceOptions, notices: list[str]
) -> tuple[PoNetForSentenceScoring, frozenset[str]]:
    """The model that the recipe's `model` section describes, and the names of the weights that its checkpoint lacks.

    Positions beyond the checkpoint's repeat the first ones, so that documents of any length are read in one pass.
    Raises PoNetError: an unreadable or unfitting checkpoint, or fields that don't go together."""
    fields = {key: value for key, value in values.items() if key not in FROM_INIT} | {"repeat_positions": True}
    init = values.get("init")
    new: frozenset[str] = frozenset()
    if init is None:
        settled = {**SMALL, "vocab_size": vocabulary_size(tokenizer)}
        settled |= {name: getattr(tokenizer, name) for name in BY_TOKENIZER} | fields
        model = new_model(PoNetForSentenceScoring, settled)
    elif not values.get("init_weights", True):
        model = untrained_model(PoNetForSentenceScoring, str(init), fields)
    else:
        model, new = _from_checkpoint(str(init), fields, notices)
    advice = "name the one that it was trained with (data.tokenizer), or leave data.tokenizer out"
    check_vocabulary(tokenizer, model, str(init or options.tokenizer), advice)
    if options.freeze_encoder:
        if not new:
            raise PoNetError("data.freeze_encoder keeps a checkpoint's encoder: name one with model.init.")
        if any(not name.startswith(HEAD) for name in new):
            raise PoNetError(f"data.freeze_encoder keeps an encoder, but '{init}' lacks weights of this one.")
        model.ponet.requires_grad_(False)
    return model, new


def _from_checkpoint(
    init: str, fields: dict[str, Any], notices: list[str]
) -> tuple[PoNetForSentenceScoring, frozenset[str]]:
    model, info = load_checkpoint(PoNetForSentenceScoring, init, fields)
    kind = read_json(checkpoint_folder(init) / "config.json")
    is_bert = isinstance(kind, dict) and kind.get("model_type") == "bert" and "clsgsepg" not in kind
    if is_bert and set(model.config.layer_mixers) == {"pooling"}:
        raise PoNetError(f"'{init}' is BERT's kind, without PoNet's mixers: add model.mixer_types=attention.")
    changed = set(fields) != {"repeat_positions"}
    try:
        check_weights(init, model, info, new_head=True, changed=changed)
    except WeightsError as error:
        raise PoNetError(
            f"{str(error).rstrip('.')}: it is damaged, or the model section has sizes of its own, which belong to a "
            "model from scratch."
        ) from error
    new = lacking_weights(info)
    body = [name for name in new if not name.startswith(HEAD)]
    if body:
        notices.append(f"{len(body)} of the encoder's weights aren't in '{init}' and start at random, as {body[0]}.")
    return model, frozenset(new)


def open_run(run: Path) -> tuple[PoNetForSentenceScoring, PoNetTokenizer]:
    """The model and tokenizer of a run folder (or of any folder that holds such a model), for documents of any length.

    Its `sentence_threshold` is the best one of the run's validation where `result.json` has one. Raises PoNetError: the
    run has no model yet, another kind of model, or a broken one."""
    config = read_json(run / "config.json") if (run / "config.json").is_file() else {}
    saved = config.get("architectures") if isinstance(config, dict) else None
    if saved and PoNetForSentenceScoring.__name__ not in saved:
        raise PoNetError(
            f"The model in '{run}' is a {saved[0]}, which doesn't score sentences: name a run of `ponet train "
            "segmentation/wikipedia/pooling` or `ponet train summarization/wikipedia/pooling`."
        )
    model = finished_model(PoNetForSentenceScoring, run, **LONG_DOCUMENTS)
    tokenizer = open_tokenizer(str(run))
    check_vocabulary(tokenizer, model, str(run), "bring back the one that it was trained with")
    best = best_threshold(run)
    if best is not None:
        model.config.sentence_threshold = best
    return model, tokenizer


def best_threshold(run: Path) -> float | None:
    """The threshold with the best F1 on a run's validation split; None where its result doesn't say."""
    file = run / "result.json"
    result = read_json(file) if file.is_file() else {}
    validation = result.get("validation") if isinstance(result, dict) else None
    best = validation.get("best_threshold") if isinstance(validation, dict) else None
    return float(best) if isinstance(best, (int, float)) else None


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / FILE).is_file()


def save_adapter(run: Path, out: Path) -> dict[str, Any]:
    """Writes the adapter of a run that was trained on a bundled checkpoint with its encoder frozen to a new or empty
    folder. Returns what `adapter.json` holds: `base`, `task`, `bytes`, and the fields of the configuration. Raises
    PoNetError: not such a run, or a folder that isn't empty."""

    if not (run / "recipe.yaml").is_file():
        raise PoNetError(f"'{run}' isn't a run folder: it has no recipe.yaml. `ponet train` makes one.")
    recipe = load_recipe(run / "recipe.yaml")
    base = str(recipe.model.get("init"))
    if recipe.task not in ("segmentation", "summarization"):
        raise PoNetError(
            f"'{run}' is a run of the task '{recipe.task}': adapters are of segmentation or summarization."
        )
    if not recipe.data.freeze_encoder or find_checkpoint(base) is None:
        raise PoNetError(
            f"'{run}' has an encoder of its own: an adapter is of a run on a bundled checkpoint with "
            f"data.freeze_encoder=true, such as `ponet train {recipe.task}/wikipedia/adapter`."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PoNetError(f"'{out}' isn't empty: name a new folder.")
    model, _ = open_run(run)
    kept = {name: value.half() for name, value in model.state_dict().items() if name.startswith(HEAD)}
    facts = {"base": base, "task": recipe.task} | {name: getattr(model.config, name) for name in FIELDS}
    facts |= {"window": recipe.data.window, "overlap": recipe.data.overlap}
    with replacing_folder(out) as made:
        save_file(kept, made / WEIGHTS)
        facts["bytes"] = (made / WEIGHTS).stat().st_size
        write_json(made / FILE, facts)
        (made / WEIGHTS).chmod((made / FILE).stat().st_mode & 0o777)  # safetensors writes for the owner alone
        card = (run / "README.md").read_text(encoding="utf-8") if (run / "README.md").is_file() else ""
        write_text(made / "README.md", card + f"\nThis folder holds what the model has beside {code(base)}.\n")
    return facts


def open_adapter(folder: Path, task: str) -> tuple[PoNetForSentenceScoring, PoNetTokenizer]:
    """The model that an adapter makes of its checkpoint, for documents of any length, and the checkpoint's tokenizer.
    Raises PoNetError: an adapter for another task, a damaged one, or one of a checkpoint that isn't there."""
    facts = read_json(folder / FILE)
    if not isinstance(facts, dict) or facts.get("task") != task:
        raise PoNetError(f"The adapter in '{folder}' isn't one for {task}: name another with --model.")
    try:
        fields = {name: facts[name] for name in FIELDS}
        weights = load_file(folder / WEIGHTS)
        model, _ = load_checkpoint(PoNetForSentenceScoring, str(facts["base"]), fields | LONG_DOCUMENTS)
        wanted = {name for name in model.state_dict() if name.startswith(HEAD)}
        if wanted != set(weights):
            odd = min(wanted ^ set(weights))
            raise PoNetError(f"The adapter in '{folder}' doesn't fit its own description (such as '{odd}').")
        model.load_state_dict({name: value.float() for name, value in weights.items()}, strict=False)
    except PoNetError:
        raise
    except Exception as error:  # a cut or foreign file raises whatever its reader raises
        raise PoNetError(f"The adapter in '{folder}' can't be read ({brief(error)}): copy it again.") from error
    return model.eval(), open_tokenizer(str(facts["base"]))
