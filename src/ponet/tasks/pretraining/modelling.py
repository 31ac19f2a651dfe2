"""The model of a pre-training: from scratch, or a checkpoint to go on with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.errors import PoNetError
from ponet.tasks.pretraining.chunks import CLASSES
from ponet.tasks.pretraining.options import PretrainingOptions
from ponet.tasks.pretraining.vocabulary import fingerprint
from ponet.tasks.text.table import brief

if TYPE_CHECKING:
    from ponet.models.modeling_ponet import PoNetForPreTraining
    from ponet.models.tokenization_ponet import PoNetTokenizer

BY_TOKENIZER = ("pad_token_id", "cls_token_id", "sep_token_id")
BY_DATA = ("vocab_size", "num_sentence_labels", *BY_TOKENIZER)


def build_model(
    values: dict[str, Any], tokenizer: "PoNetTokenizer", options: PretrainingOptions, notices: list[str]
) -> "PoNetForPreTraining":
    """What the recipe's `model` section describes, with a head for the objective's classes and room for its lengths.

    Raises:
        PoNetError: fields that don't go together or follow from the data, or a checkpoint that doesn't fit.
    """
    from huggingface_hub.errors import StrictDataclassError

    from ponet.models.configuration_ponet import PoNetConfig
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
        positions = model.config.max_position_embeddings
        if options.longest() > positions:
            model.resize_position_embeddings(options.longest())
            notices.append(f"The checkpoint's {positions:,} positions are repeated to {options.longest():,}.")
        return model
    settled = {
        "max_position_embeddings": options.longest(),
        **fields,
        "vocab_size": len(tokenizer),
        "num_sentence_labels": classes,
        **{name: getattr(tokenizer, name) for name in BY_TOKENIZER},
    }
    if settled["max_position_embeddings"] < options.longest():
        raise PoNetError(
            f"model.max_position_embeddings is {settled['max_position_embeddings']}, but examples may have "
            f"{options.longest()} tokens: leave it out, or make the data's lengths smaller."
        )
    try:
        return PoNetForPreTraining(PoNetConfig(**settled))
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise PoNetError(f"The model section doesn't describe a model: {brief(error)}.") from error


def _from_checkpoint(
    init: str, fields: dict[str, Any], tokenizer: "PoNetTokenizer", classes: int
) -> "PoNetForPreTraining":
    import torch

    from ponet.models.modeling_ponet import PoNetForPreTraining
    from ponet.tasks.text.hub import MODEL_FILES, model_folder
    from ponet.tasks.text.modelling import open_tokenizer, quiet

    place = Path(init)
    if not place.exists():
        place = model_folder(init, MODEL_FILES)
    if fingerprint(open_tokenizer(str(place))) != fingerprint(tokenizer):
        raise PoNetError(
            f"The checkpoint '{init}' has another vocabulary than the prepared data: prepare the text again with "
            f"--tokenizer {init}."
        )
    try:
        with quiet():
            loaded: Any = PoNetForPreTraining.from_pretrained(
                place,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                key_mapping={r"^bert\.": "ponet."},
                dtype=torch.float32,
                num_sentence_labels=classes,
                **fields,
            )
    except Exception as error:  # a cut or foreign file raises whatever its reader raises
        raise PoNetError(
            f"The checkpoint '{init}' can't be read ({brief(error)}): it is cut off, or of another kind."
        ) from error
    model: PoNetForPreTraining
    model, info = loaded
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
    import torch

    from ponet.models.modeling_ponet import PoNetForPreTraining
    from ponet.tasks.text.modelling import open_tokenizer, quiet

    if not (run / "config.json").is_file():
        raise PoNetError(f"'{run}' has no finished model (config.json): train it to its end first.")
    try:
        with quiet():
            model = PoNetForPreTraining.from_pretrained(run, dtype=torch.float32)
    except Exception as error:  # a cut or foreign file raises whatever its reader raises
        raise PoNetError(f"The model in '{run}' can't be read ({brief(error)}): train it again.") from error
    return model.eval(), fingerprint(open_tokenizer(str(run)))
