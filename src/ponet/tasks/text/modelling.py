"""The model and the tokenizer of a run: from scratch, from a checkpoint, or from a finished run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ponet.config.text import TextOptions
from ponet.data.labels import LabelSpace
from ponet.data.tokenizer_training import train_wordpiece
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.loading import WeightsError, check_weights
from ponet.models.modeling_ponet import PoNetForSequenceClassification
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.models import (
    BY_TOKENIZER,
    SMALL,
    check_vocabulary,
    checkpoint_config,
    extend_positions,
    finished_model,
    lacking_weights,
    load_checkpoint,
    new_model,
    open_tokenizer,
    settle,
    untrained_model,
    vocabulary_size,
)
from ponet.tasks.text.corpus import Documents
from ponet.utils.errors import PoNetError, suggest

FROM_SCRATCH: dict[str, Any] = {**SMALL, "classifier_pooling": "mean"}
"""What a CPU trains in minutes; a recipe's `model` section overrides any of it."""
BY_DATA = ("num_labels", "id2label", "label2id", "problem_type")
BY_PAIRS = "classifier_pairs"
AUTO = "auto"
CLASSIFIER = PoNetForSequenceClassification.__name__
FROM_INIT = ("init", "init_weights")
"""Keys of the `model` section that aren't fields of the configuration."""
SPREADS = (0.05, 20.0)
"""Standard deviations of regression labels that usual learning rates cope with."""
HEAD = ("classifier.", "ponet.pooler.")
"""Begin the names of weights that training makes for a checkpoint without them."""
MISSING_SHARE = 0.25
"""A checkpoint that lacks more of the encoder's weights than this is of another kind."""


def check_model_keys(values: dict[str, Any]) -> None:
    """Raises PoNetError for a key of the `model` section that is neither of FROM_INIT nor a configuration's field."""
    known = [*FROM_INIT, *(name for name in PoNetConfig().to_dict() if name not in (*BY_DATA, BY_PAIRS))]
    for key in values:
        if key in BY_DATA:
            raise PoNetError(f"model.{key} follows from the labels: leave it out.")
        if key == BY_PAIRS:
            raise PoNetError(f"model.{key} follows from data.pairs: leave it out, and give that (pairs=separate).")
        if key not in known:
            raise PoNetError(f"There is no 'model.{key}'.{suggest(key, known)}")


def make_tokenizer(options: TextOptions, init: str | None, train: Documents, notices: list[str]) -> PoNetTokenizer:
    """The tokenizer that is named, else the checkpoint's, else one trained on the training texts. Raises PoNetError:
    none where one is named."""
    named = options.tokenizer if options.tokenizer is not None else init
    if named is not None:
        tokenizer = open_tokenizer(named)
    else:
        columns = [train.texts, *([] if train.pairs is None else [train.pairs])]
        texts = (text.as_py() for column in columns for text in column)
        tokenizer = train_wordpiece(texts, options.vocab_size)
        notices.append(f"A WordPiece vocabulary of {len(tokenizer):,} pieces is trained on the training texts.")
    settle(
        tokenizer,
        segments=None if options.segments == "none" else options.segments,
        segment_length=options.segment_length if options.segments == "fixed" else None,
        model_max_length=options.document_length(),
        truncation_side="left" if options.keep == "tail" else "right",
        truncate_by_default=True,
    )
    return tokenizer


def starting_recipe(init: str | None, pairs: bool = False) -> str:
    """The recipe of fine-tuning for a checkpoint, or without one: for pairs of texts there is one of its own for those
    that were distilled and have no classifier yet. Raises PoNetError: no such checkpoint."""
    if init is None:
        return "finetune/base-scratch"
    config = checkpoint_config(init) if pairs else {}
    student = config.get("distillation") and CLASSIFIER not in str(config.get("architectures"))
    return "finetune/student-pairs" if student else "finetune/base"


def settle_pairs(
    options: TextOptions, values: dict[str, Any], documents: Documents, notices: list[str]
) -> tuple[TextOptions, dict[str, Any]]:
    """The options with `auto` decided for a training, and the recipe's `model` section with what follows from it: a
    distilled checkpoint learned mean vectors, so these are compared. Raises PoNetError: no such checkpoint."""
    if options.pairs != AUTO:
        return options, values
    init = values.get("init")
    if init is None or documents.pairs is None:
        return replace(options, pairs="joined"), values
    config = checkpoint_config(init)
    if config.get("distillation"):
        values = {"classifier_pooling": "mean", **values}
    elif not config.get(BY_PAIRS):
        return replace(options, pairs="joined"), values
    notices.append(f"Two texts are two documents, as '{init}' knows them (pairs=joined makes one of them).")
    return replace(options, pairs="separate"), values


def as_trained(options: TextOptions, model: PoNetForSequenceClassification) -> TextOptions:
    """The options with `auto` as it was decided for a run's model."""
    if options.pairs != AUTO:
        return options
    return replace(options, pairs="separate" if model.config.classifier_pairs else "joined")


def build_model(
    values: dict[str, Any],
    tokenizer: PoNetTokenizer,
    space: LabelSpace,
    labels: np.ndarray,
    options: TextOptions,
    notices: list[str],
) -> tuple[PoNetForSequenceClassification, frozenset[str]]:
    """The classifier that the recipe's `model` section describes, with positions for `max_length` tokens, and the names
    of the weights that its checkpoint lacks. A new regression head begins at the mean of the training rows' labels.
    Raises PoNetError: an unreadable or unfitting checkpoint, or fields that don't go together."""
    fields = {key: value for key, value in values.items() if key not in FROM_INIT}
    changed = bool(fields.keys() - {"classifier_pair_difference"}) if options.pairs == "separate" else bool(fields)
    fields |= {**space.config_fields(), BY_PAIRS: options.pairs == "separate"}
    if fields[BY_PAIRS]:
        fields.setdefault("classifier_pair_difference", "absolute")
    init, length = values.get("init"), options.document_length()
    new: list[str] = []
    if init is None:
        model = _from_scratch(fields, tokenizer, length)
    elif not values.get("init_weights", True):
        model = untrained_model(PoNetForSequenceClassification, str(init), fields, length)
    else:
        model, info = load_checkpoint(PoNetForSequenceClassification, str(init), fields)
        _check_loaded(init, model, info, changed, notices)
        new = [name for name in lacking_weights(info) if name.startswith(HEAD)]
        if new:
            notices.append(f"{len(new)} weights are new, since '{init}' has none that fit: {', '.join(new)}.")
    if init is not None:
        own = "leave tokenizer out to take the checkpoint's own"
        advice = own if options.tokenizer is not None else "name the one that it was trained with (tokenizer=...)"
        check_vocabulary(tokenizer, model, str(init), advice)
    loaded = init is not None and values.get("init_weights", True)
    if space.kind == "regression" and (not loaded or any(name.startswith("classifier.") for name in new)):
        _begin_at_mean(model, labels, notices)
    if loaded:
        notices += extend_positions(model, length)
    return model, frozenset(new)


def _from_scratch(fields: dict[str, Any], tokenizer: PoNetTokenizer, length: int) -> PoNetForSequenceClassification:
    size = vocabulary_size(tokenizer)
    settled = {**FROM_SCRATCH, "vocab_size": size, "max_position_embeddings": length}
    settled |= {name: getattr(tokenizer, name) for name in BY_TOKENIZER} | fields
    if settled["max_position_embeddings"] < length:
        raise PoNetError(
            f"model.max_position_embeddings is {settled['max_position_embeddings']}, but texts may have max_length="
            f"{length} tokens: leave it out, or make max_length smaller."
        )
    if settled["vocab_size"] < size:
        raise PoNetError(
            f"model.vocab_size is {settled['vocab_size']}, but the tokenizer has {size} pieces: leave it out."
        )
    return new_model(PoNetForSequenceClassification, settled)


def _begin_at_mean(model: Any, labels: np.ndarray, notices: list[str]) -> None:
    """Starts a regression head at the labels' mean, which small steps would take long to reach."""
    last = [module for module in model.classifier.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.bias.fill_(float(labels.mean()))
    spread = float(labels.std())
    if not SPREADS[0] <= spread <= SPREADS[1]:
        notices.append(
            f"The labels' standard deviation is {spread:.3g}: scale them to about 1, or training will be slow."
        )


def _check_loaded(init: str, model: Any, info: dict[str, Any], changed: bool, notices: list[str]) -> None:
    strange = [entry for entry in info["mismatched_keys"] if not entry[0].startswith(HEAD)]
    if strange and changed:
        name, theirs, ours = strange[0]
        raise PoNetError(
            f"'{init}' has '{name}' of shape {list(theirs)} where the model section makes it {list(ours)}: "
            "leave sizes out of the model section when starting from a checkpoint."
        )
    body = [name for name, _ in model.named_parameters() if not name.startswith(HEAD)]
    missing = sorted(set(info["missing_keys"]) & set(body))
    kind = "it is a checkpoint of another kind (BERT's needs model.mixer_types=attention)"
    try:
        check_weights(init, model, info, new_head=True, changed=changed)
    except WeightsError as error:
        raise PoNetError(f"{str(error).rstrip('.')}: it is damaged, or {kind.removeprefix('it is ')}.") from error
    if len(missing) > MISSING_SHARE * len(body):
        raise PoNetError(
            f"'{init}' lacks {len(missing)} of the encoder's {len(body)} weights (such as '{missing[0]}'): {kind}."
        )
    if missing:
        notices.append(f"{len(missing)} of the encoder's {len(body)} weights aren't in '{init}' and start at random.")


def open_run(run: Path) -> tuple[PoNetForSequenceClassification, PoNetTokenizer, LabelSpace]:
    """The model, tokenizer and label space of a run folder. Raises PoNetError: the run has no model yet, or a broken
    one."""
    model, tokenizer = finished_model(PoNetForSequenceClassification, run), open_tokenizer(str(run))
    check_vocabulary(tokenizer, model, str(run), "bring back the one that it was trained with")
    return model, tokenizer, LabelSpace.from_config(model.config)
