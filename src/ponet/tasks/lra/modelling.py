"""The model of an `lra` recipe."""

from typing import TYPE_CHECKING, Any

from ponet.tasks.lra.data import LraTask
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from torch import nn

    from ponet.models.modeling_ponet import PoNetForSequenceClassification

BY_TASK = ("vocab_size", "num_labels", "id2label", "label2id", "problem_type", "classifier_pairs", "pad_token_id")
"""Fields of the configuration that follow from the data set."""


def build_model(values: dict[str, Any], task: LraTask) -> "PoNetForSequenceClassification":
    """The classifier that the recipe's `model` section describes, from scratch.

    Raises:
        PoNetError: fields that don't go together, that the data set decides, or too few positions.
    """
    from ponet.models.modeling_ponet import PoNetForSequenceClassification
    from ponet.tasks.models import new_model

    for name in BY_TASK:
        if name in values:
            raise PoNetError(f"model.{name} follows from the data set '{task.name}': leave it out.")
    if values.get("init") is not None:
        raise PoNetError("Long Range Arena's models are trained from scratch: leave model.init out.")
    fields = {key: value for key, value in values.items() if key != "init"}
    positions = fields.get("max_position_embeddings", task.max_length)
    if positions < task.max_length:
        raise PoNetError(
            f"model.max_position_embeddings is {positions}, but '{task.name}' has up to {task.max_length:,} tokens: "
            "leave it out, or raise it."
        )
    settled = {
        **fields,
        "max_position_embeddings": positions,
        "vocab_size": task.vocab_size,
        "num_labels": task.classes,
        "classifier_pairs": task.pairs,
        "problem_type": "single_label_classification",
    }
    model = new_model(PoNetForSequenceClassification, settled)
    begin_as_published(model)
    return model


def begin_as_published(model: "nn.Module") -> None:
    """Draws all linear maps as PyTorch does by itself, uniformly within `1 / sqrt(inputs)`, biases too.

    So do the published Arena models (their golden tensors show it), and Nystromformer's convolution; BERT's start,
    normal with deviation 0.02 and biases 0, is several times smaller at this width. Embeddings have BERT's in both
    (Linformer's matrix along the tokens is one), and External Attention's memories, which the Arena hasn't, keep it.
    """
    from torch import nn

    from ponet.mixers.external import ExternalMixer

    memories = {
        memory
        for mixer in model.modules()
        if isinstance(mixer, ExternalMixer)
        for memory in (mixer.memory_key, mixer.memory_value)
    }
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and module not in memories:
            module.reset_parameters()
