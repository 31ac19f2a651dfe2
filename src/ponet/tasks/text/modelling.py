"""The model and the tokenizer of a run: from scratch, from a checkpoint, or from a finished run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.config.text import TextOptions
from ponet.data.labels import LabelSpace
from ponet.tasks.models import (
    BY_TOKENIZER,
    check_memory,
    check_vocabulary,
    checkpoint_folder,
    extend_positions,
    finished_model,
    load_checkpoint,
    new_model,
    open_tokenizer,
    quiet,
    settle,
    vocabulary_size,
)
from ponet.tasks.text.corpus import Documents
from ponet.utils.errors import PoNetError, brief, suggest

if TYPE_CHECKING:
    import numpy as np

    from ponet.models.modeling_ponet import PoNetForSequenceClassification
    from ponet.models.tokenization_ponet import PoNetTokenizer


FROM_SCRATCH = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "classifier_pooling": "mean",
}
"""What a CPU trains in minutes; a recipe's `model` section overrides any of it."""
BY_DATA = ("num_labels", "id2label", "label2id", "problem_type")
BY_PAIRS = "classifier_pairs"
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
    from ponet.models.configuration_ponet import PoNetConfig

    known = [*FROM_INIT, *(name for name in PoNetConfig().to_dict() if name not in (*BY_DATA, BY_PAIRS))]
    for key in values:
        if key in BY_DATA:
            raise PoNetError(f"model.{key} follows from the labels: leave it out.")
        if key == BY_PAIRS:
            raise PoNetError(f"model.{key} follows from data.pairs: leave it out, and give that (pairs=separate).")
        if key not in known:
            raise PoNetError(f"There is no 'model.{key}'.{suggest(key, known)}")


def make_tokenizer(options: TextOptions, init: str | None, train: Documents, notices: list[str]) -> "PoNetTokenizer":
    """The tokenizer that is named, else the checkpoint's, else one trained on the training texts.

    Raises:
        PoNetError: none where one is named.
    """
    if options.tokenizer is not None:
        tokenizer = open_tokenizer(options.tokenizer)
    elif init is not None:
        tokenizer = open_tokenizer(init)
    else:
        from ponet.data.tokenizer_training import train_wordpiece

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


def build_model(
    values: dict[str, Any],
    tokenizer: "PoNetTokenizer",
    space: LabelSpace,
    labels: "np.ndarray",
    options: TextOptions,
    notices: list[str],
) -> "tuple[PoNetForSequenceClassification, frozenset[str]]":
    """The classifier that the recipe's `model` section describes, with positions for `max_length` tokens.

    Args:
        labels: of the training rows; a new regression head begins at their mean.

    Returns:
        The model, and the names of the weights that its checkpoint lacks; none where there is no checkpoint.

    Raises:
        PoNetError: an unreadable or unfitting checkpoint, or fields that don't go together.
    """
    fields = {key: value for key, value in values.items() if key not in FROM_INIT}
    by_data = {**space.config_fields(), BY_PAIRS: options.pairs == "separate"}
    if by_data[BY_PAIRS]:
        by_data["classifier_pair_difference"] = fields.pop("classifier_pair_difference", "absolute")
    init = values.get("init")
    if init is None:
        model = _from_scratch(fields, tokenizer, by_data, options)
        _begin_at_mean(model, space, labels, notices)
        return model, frozenset()
    vocabulary_advice = (
        "leave tokenizer out to take the checkpoint's own"
        if options.tokenizer is not None
        else "name the one that it was trained with (tokenizer=...)"
    )
    if not values.get("init_weights", True):
        model = _as_checkpoint(str(init), fields, by_data, options)
        check_vocabulary(tokenizer, model, str(init), vocabulary_advice)
        _begin_at_mean(model, space, labels, notices)
        return model, frozenset()
    model, new = _from_checkpoint(str(init), fields, by_data, notices)
    check_vocabulary(tokenizer, model, str(init), vocabulary_advice)
    if any(name.startswith("classifier.") for name in new):
        _begin_at_mean(model, space, labels, notices)
    notices += extend_positions(model, options.document_length())
    return model, new


def _from_scratch(
    fields: dict[str, Any], tokenizer: "PoNetTokenizer", by_data: dict[str, Any], options: TextOptions
) -> "PoNetForSequenceClassification":
    from ponet.models.modeling_ponet import PoNetForSequenceClassification

    size = vocabulary_size(tokenizer)
    settled = {
        **FROM_SCRATCH,
        "vocab_size": size,
        "max_position_embeddings": options.document_length(),
        **{name: getattr(tokenizer, name) for name in BY_TOKENIZER},
        **fields,
        **by_data,
    }
    if settled["max_position_embeddings"] < options.document_length():
        raise PoNetError(
            f"model.max_position_embeddings is {settled['max_position_embeddings']}, but texts may have max_length="
            f"{options.document_length()} tokens: leave it out, or make max_length smaller."
        )
    if settled["vocab_size"] < size:
        raise PoNetError(
            f"model.vocab_size is {settled['vocab_size']}, but the tokenizer has {size} pieces: leave it out."
        )
    return new_model(PoNetForSequenceClassification, settled)


def _from_checkpoint(
    init: str, fields: dict[str, Any], by_data: dict[str, Any], notices: list[str]
) -> "tuple[PoNetForSequenceClassification, frozenset[str]]":
    """The model, and the names of its head's weights that the checkpoint lacks."""
    from ponet.models.modeling_ponet import PoNetForSequenceClassification

    model, info = load_checkpoint(PoNetForSequenceClassification, init, {**fields, **by_data})
    _check_loaded(init, model, info, bool(fields), notices)
    new = sorted({*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])})
    new = [name for name in new if name.startswith(HEAD)]
    if new:
        notices.append(f"{len(new)} weights are new, since '{init}' has none that fit: {', '.join(new)}.")
    return model, frozenset(new)


def _as_checkpoint(
    init: str, fields: dict[str, Any], by_data: dict[str, Any], options: TextOptions
) -> "PoNetForSequenceClassification":
    """The checkpoint's architecture with new weights: what a comparison of pre-trained with scratch needs."""
    from ponet.models.configuration_ponet import PoNetConfig
    from ponet.models.modeling_ponet import PoNetForSequenceClassification

    place = checkpoint_folder(init)
    try:
        with quiet():
            config = PoNetConfig.from_pretrained(place, **fields, **by_data)
        config.max_position_embeddings = max(config.max_position_embeddings, options.document_length())
        check_memory(config)
        return PoNetForSequenceClassification(config)
    except PoNetError:
        raise
    except Exception as error:  # a foreign configuration raises whatever its reader raises
        raise PoNetError(
            f"The configuration of '{init}' with the model section's fields describes no model: {brief(error)}."
        ) from error


def _begin_at_mean(model: Any, space: LabelSpace, labels: "np.ndarray", notices: list[str]) -> None:
    """Starts a regression head at the labels' mean, which small steps would take long to reach."""
    import torch

    if space.kind != "regression":
        return
    last = [module for module in model.classifier.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.bias.fill_(float(labels.mean()))
    spread = float(labels.std())
    if not SPREADS[0] <= spread <= SPREADS[1]:
        notices.append(
            f"The labels' standard deviation is {spread:.3g}: scale them to about 1, or training will be slow."
        )


def _check_loaded(init: str, model: Any, info: dict[str, Any], changed: bool, notices: list[str]) -> None:
    from ponet.models.loading import WeightsError, check_weights

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


def open_run(run: Path) -> "tuple[PoNetForSequenceClassification, PoNetTokenizer, LabelSpace]":
    """The model, tokenizer and label space of a run folder.

    Raises:
        PoNetError: the run has no model yet, or a broken one.
    """
    from ponet.models.modeling_ponet import PoNetForSequenceClassification

    model, tokenizer = finished_model(PoNetForSequenceClassification, run), open_tokenizer(str(run))
    check_vocabulary(tokenizer, model, str(run), "bring back the one that it was trained with")
    return model, tokenizer, LabelSpace.from_config(model.config)
