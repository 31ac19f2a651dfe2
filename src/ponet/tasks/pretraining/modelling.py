"""The model of a pre-training: from scratch, or a checkpoint to go on with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.config.pretraining import PretrainingOptions
from ponet.tasks.models import (
    BY_TOKENIZER,
    check_vocabulary,
    extend_positions,
    finished_model,
    load_checkpoint,
    new_model,
    open_tokenizer,
    vocabulary_size,
)
from ponet.tasks.pretraining.examples import CLASSES
from ponet.tasks.pretraining.vocabulary import fingerprint
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.models.modeling_ponet import PoNetForPreTraining
    from ponet.models.tokenization_ponet import PoNetTokenizer

BY_DATA = ("vocab_size", "num_sentence_labels", *BY_TOKENIZER)


def build_model(
    values: dict[str, Any], tokenizer: "PoNetTokenizer", options: PretrainingOptions, notices: list[str]
) -> "PoNetForPreTraining":
    """The model that the recipe's `model` section describes, with a head for the objective's classes.

    It has positions for the lengths of the data.

    Raises:
        PoNetError: fields that don't go together or follow from the data, or a checkpoint that doesn't fit.
    """
    from ponet.models.modeling_ponet import PoNetForPreTraining

    for name in BY_DATA:
        if name in values:
            raise PoNetError(f"model.{name} follows from the prepared data and the objective: leave it out.")
    if not values.get("init_weights", True):
        raise PoNetError("A pre-training with new weights is one from scratch: leave model.init and init_weights out.")
    init = values.get("init")
    fields = {key: value for key, value in values.items() if key not in ("init", "init_weights")}
    classes = max(2, len(CLASSES[options.objective]))
    if init is not None:
        model = _from_checkpoint(str(init), fields, tokenizer, classes)
        notices += extend_positions(model, options.longest())
        return model
    settled = {
        "max_position_embeddings": options.longest(),
        **fields,
        "vocab_size": vocabulary_size(tokenizer),
        "num_sentence_labels": classes,
        **{name: getattr(tokenizer, name) for name in BY_TOKENIZER},
    }
    if settled["max_position_embeddings"] < options.longest():
        raise PoNetError(
            f"model.max_position_embeddings is {settled['max_position_embeddings']}, but examples may have "
            f"{options.longest()} tokens: leave it out, or make the data's lengths smaller."
        )
    return new_model(PoNetForPreTraining, settled)


def _from_checkpoint(
    init: str, fields: dict[str, Any], tokenizer: "PoNetTokenizer", classes: int
) -> "PoNetForPreTraining":
    from ponet.models.modeling_ponet import PoNetForPreTraining

    if fingerprint(open_tokenizer(init)) != fingerprint(tokenizer):
        raise PoNetError(
            f"The checkpoint '{init}' has another vocabulary than the prepared data: prepare the text again with "
            f"--tokenizer {init}."
        )
    model, info = load_checkpoint(PoNetForPreTraining, init, {**fields, "num_sentence_labels": classes})
    check_vocabulary(tokenizer, model, init, "start from another checkpoint")
    strange = [entry[0] for entry in info["mismatched_keys"] if not entry[0].startswith("cls.seq_relationship")]
    missing = [name for name in info["missing_keys"] if not name.startswith("cls.")]
    if strange or missing:
        name = (strange or missing)[0]
        raise PoNetError(
            f"'{init}' doesn't fit the model section (such as '{name}'): leave sizes out when going on with a "
            "checkpoint."
        )
    return model


def open_run(run: Path) -> "tuple[PoNetForPreTraining, str]":
    """A run's model, and the fingerprint of its tokenizer.

    Raises:
        PoNetError: no finished model there, or a broken one.
    """
    from ponet.models.modeling_ponet import PoNetForPreTraining

    return finished_model(PoNetForPreTraining, run), fingerprint(open_tokenizer(str(run)))
