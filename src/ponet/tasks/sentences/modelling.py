"""The model and the tokenizer of a run that scores sentences: from a checkpoint, new, or of a finished run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.config.sentences import SentenceOptions
from ponet.models.checkpoints import LONG_DOCUMENTS
from ponet.tasks.models import (
    BY_TOKENIZER,
    check_memory,
    check_vocabulary,
    checkpoint_folder,
    finished_model,
    load_checkpoint,
    new_model,
    open_tokenizer,
    quiet,
    settle,
    vocabulary_size,
)
from ponet.utils.errors import PoNetError, brief
from ponet.utils.files import read_json

if TYPE_CHECKING:
    from ponet.models.modeling_ponet import PoNetForSentenceScoring
    from ponet.models.tokenization_ponet import PoNetTokenizer

FROM_SCRATCH = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
"""What a CPU trains in minutes; a recipe's `model` section overrides any of it."""
FROM_INIT = ("init", "init_weights")
HEAD = ("scorer.", "adapter.")
"""Begin the names of the weights that training makes: the head's, and differences of the encoder's."""


def make_tokenizer(options: SentenceOptions, init: str | None) -> "PoNetTokenizer":
    """The tokenizer that is named, else the checkpoint's.

    Raises:
        PoNetError: neither is named.
    """
    name = options.tokenizer or init
    if name is None:
        raise PoNetError(
            "A model from scratch needs a tokenizer: name one with data.tokenizer, or a checkpoint (init)."
        )
    tokenizer = open_tokenizer(str(name))
    settle(tokenizer, segments="sentences", segment_length=None, truncate_by_default=False)
    return tokenizer


def build_model(
    values: dict[str, Any], tokenizer: "PoNetTokenizer", options: SentenceOptions, notices: list[str]
) -> "tuple[PoNetForSentenceScoring, frozenset[str]]":
    """The model that the recipe's `model` section describes, and the names of the weights that its checkpoint lacks.

    Positions beyond the checkpoint's repeat the first ones, so that documents of any length are read in one pass.

    Raises:
        PoNetError: an unreadable or unfitting checkpoint, or fields that don't go together.
    """
    from ponet.models.modeling_ponet import PoNetForSentenceScoring

    fields = {key: value for key, value in values.items() if key not in FROM_INIT} | {"repeat_positions": True}
    init = values.get("init")
    new: frozenset[str] = frozenset()
    if init is None:
        settled = {**FROM_SCRATCH, "vocab_size": vocabulary_size(tokenizer)}
        settled |= {name: getattr(tokenizer, name) for name in BY_TOKENIZER} | fields
        model = new_model(PoNetForSentenceScoring, settled)
    elif not values.get("init_weights", True):
        model = _as_checkpoint(str(init), fields)
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
) -> "tuple[PoNetForSentenceScoring, frozenset[str]]":
    from ponet.models.loading import WeightsError, check_weights
    from ponet.models.modeling_ponet import PoNetForSentenceScoring

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
    new = sorted({*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])})
    body = [name for name in new if not name.startswith(HEAD)]
    if body:
        notices.append(f"{len(body)} of the encoder's weights aren't in '{init}' and start at random, as {body[0]}.")
    return model, frozenset(new)


def _as_checkpoint(init: str, fields: dict[str, Any]) -> "PoNetForSentenceScoring":
    """The checkpoint's architecture with new weights."""
    from ponet.models.configuration_ponet import PoNetConfig
    from ponet.models.modeling_ponet import PoNetForSentenceScoring

    place = checkpoint_folder(init)
    try:
        with quiet():
            config = PoNetConfig.from_pretrained(place, **fields)
        check_memory(config)
        return PoNetForSentenceScoring(config)
    except PoNetError:
        raise
    except Exception as error:  # a foreign configuration raises whatever its reader raises
        raise PoNetError(
            f"The configuration of '{init}' with the model section's fields describes no model: {brief(error)}."
        ) from error


def open_run(run: Path) -> "tuple[PoNetForSentenceScoring, PoNetTokenizer]":
    """The model and tokenizer of a run folder (or of any folder that holds such a model), for documents of any length.

    Its `sentence_threshold` is the best one of the run's validation where `result.json` has one.

    Raises:
        PoNetError: the run has no model yet, another kind of model, or a broken one.
    """
    from ponet.models.modeling_ponet import PoNetForSentenceScoring

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
