"""The teacher, opened as BERT on packed tokens; and the student, which begins with all that it shares with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ponet.config.distillation import DistillationOptions
from ponet.mixers import Mixer
from ponet.tasks.models import BY_TOKENIZER, checkpoint_folder, extend_positions, load_checkpoint, new_model
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json

if TYPE_CHECKING:
    from ponet.models.modeling_ponet import PoNetForPreTraining, PoNetModel

VALUE_SCALE, OUTPUT_BIAS = 0.3, 0.4
"""A pooling layer begins as a weak mean of the teacher's values: segment and local projections are the scaled value
projection, and the output gate is about constant. Chosen in trials on MiniLM."""


def open_teacher(name: str) -> "PoNetModel":
    """A BERT-architecture encoder as a `PoNetModel` with attention, which computes the same on packed tokens.

    In float32, in evaluation mode, without gradients.

    Raises:
        PoNetError: another architecture, a decoder, missing or damaged weights.
    """
    from ponet.models.modeling_ponet import PoNetModel

    config = read_json(checkpoint_folder(name) / "config.json")
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "bert":
        raise PoNetError(
            f"'{name}' is a model of type '{kind}'; a teacher is of BERT's architecture (model_type 'bert': BERT, "
            "MiniLM, bge, e5, gte)."
        )
    if config.get("is_decoder"):
        raise PoNetError(f"'{name}' is a decoder (is_decoder in its config.json); a teacher is an encoder.")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise PoNetError(f"'{name}' has {config['position_embedding_type']} positions; a teacher has absolute ones.")
    model, info = load_checkpoint(PoNetModel, name, {"mixer_types": "attention"})
    strange = sorted({entry[0] for entry in info["mismatched_keys"]} | set(info["missing_keys"]))
    strange = [each for each in strange if not each.startswith("pooler.")]
    strange += [key for key, value in model.state_dict().items() if not bool(value.isfinite().all())]
    if strange:
        raise PoNetError(
            f"The teacher '{name}' can't be used: {len(strange)} of its weights are missing, of another shape or not "
            f"finite (such as '{strange[0]}')."
        )
    return model.requires_grad_(False).eval()


def matched_layers(options: DistillationOptions, student_layers: int, teacher_layers: int) -> list[int]:
    """The teacher's layer, from 1, that each layer of the student matches. Raises a PoNetError where `data.layers`
    doesn't fit."""
    if options.layers is None:
        if student_layers > teacher_layers:
            raise PoNetError(
                f"The student has {student_layers} layers and the teacher {teacher_layers}: make num_hidden_layers "
                "smaller, or say with data.layers which layers match."
            )
        return [round((index + 1) * teacher_layers / student_layers) for index in range(student_layers)]
    layers = options.layers
    if len(layers) != student_layers or min(layers) < 1 or max(layers) > teacher_layers or sorted(layers) != layers:
        raise PoNetError(
            f"'data.layers' should name, in order, one of the teacher's layers 1 to {teacher_layers} for each of the "
            f"student's {student_layers}, not {layers}."
        )
    return layers


def build_student(
    values: dict[str, Any], teacher: "PoNetModel", options: DistillationOptions, notices: list[str]
) -> "PoNetForPreTraining":
    """The student that the recipe's `model` section describes: the teacher's shape but for what is given there.

    It begins with the teacher's weights wherever it has the same ones; `model.init` goes on with a student that has
    learned before. A narrower one has a linear map `teacher_projection` from its states to the teacher's. Dropout is
    switched off in the modules, since the target is a function of the text, and stays in the configuration for
    fine-tuning.

    Raises:
        PoNetError: fields that don't go together, or a checkpoint that doesn't fit.
    """
    from ponet.models.modeling_ponet import PoNetForPreTraining

    init = values.get("init")
    fields = {key: value for key, value in values.items() if key not in ("init", "init_weights")}
    if not values.get("init_weights", True):
        raise PoNetError("A student with new weights is one without model.init: leave init_weights out.")
    longest = max(*options.lengths, fields.pop("max_position_embeddings", 1))
    if init is not None:
        student, info = load_checkpoint(PoNetForPreTraining, str(init), fields)
        if student.config.hidden_size != teacher.config.hidden_size:
            raise PoNetError(f"'{init}' is narrower than the teacher: distil it in one run, from the teacher on.")
        strange = [entry[0] for entry in info["mismatched_keys"]] + list(info["missing_keys"])
        if strange:
            raise PoNetError(f"'{init}' is no student to go on with: it lacks '{strange[0]}' of this model section.")
    else:
        theirs = teacher.config.to_dict()
        shape = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        rest = ("hidden_act", "hidden_dropout_prob", "max_position_embeddings", "type_vocab_size", "layer_norm_eps")
        taken = {name: theirs[name] for name in (*shape, *rest, "initializer_range", *BY_TOKENIZER)}
        student = new_model(PoNetForPreTraining, {**taken, "num_sentence_labels": 3, **fields})
        width, theirs_width = student.config.hidden_size, teacher.config.hidden_size
        if width > theirs_width:
            raise PoNetError(
                f"The student's hidden_size is {width}, the teacher's {theirs_width}: a student is at most as wide."
            )
        layers = matched_layers(options, student.config.num_hidden_layers, teacher.config.num_hidden_layers)
        if width < theirs_width:
            student.teacher_projection = narrowed(student, teacher)
        taken_over = take_over(student, teacher, layers)
        total = student.num_parameters()
        notices.append(
            f"{taken_over:,} of the student's {total:,} weights begin as the teacher's, {total - taken_over:,} are new."
        )
    notices += extend_positions(student, longest, "The student's")
    switch_dropout_off(student)
    return student


def switch_dropout_off(model: nn.Module) -> None:
    """Sets every probability of dropout in a model's modules to 0; the configuration keeps them."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, Mixer) and hasattr(module, "dropout"):  # of attention weights
            module.dropout = 0.0  # type: ignore[assignment]


def saved_projection(run: Path, student_width: int, teacher_width: int) -> nn.Module:
    """The map from a run's states to its teacher's: `teacher_projection` of a narrower student, else the identity.
    Raises a PoNetError where a narrower student's isn't in the run's weights."""
    if student_width == teacher_width:
        return nn.Identity()
    file = run / "model.safetensors"
    try:
        with safe_open(file, framework="pt") as weights:
            weight = weights.get_tensor("teacher_projection.weight")
    except Exception as error:  # the library raises its own for what is missing, and for what is no such file
        raise PoNetError(f"'{file}' lacks teacher_projection.weight, the map to the teacher's states.") from error
    projection = nn.Linear(student_width, teacher_width, bias=False)
    projection.weight = nn.Parameter(weight)
    return projection


@torch.no_grad()
def narrowed(student: "PoNetForPreTraining", teacher: "PoNetModel") -> nn.Linear:
    """Gives a narrower student the teacher's embeddings along their principal directions, and the map to its states."""
    words = teacher.embeddings.word_embeddings.weight.double()
    _, directions = torch.linalg.eigh(words.T @ words)
    chosen = directions[:, -student.config.hidden_size :].float()
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        source, target = (getattr(model.embeddings, name, None) for model in (teacher, student.ponet))
        if source is not None and target is not None and len(source.weight) == len(target.weight):
            target.weight.copy_(source.weight @ chosen)
    projection = nn.Linear(chosen.shape[1], chosen.shape[0], bias=False)
    projection.weight.copy_(chosen)
    return projection


@torch.no_grad()
def take_over(student: "PoNetForPreTraining", teacher: "PoNetModel", layers: list[int]) -> int:
    """Copies the teacher's weights to wherever the student has the same, layer by layer as matched; a pooling mixer's
    projections begin as described at `VALUE_SCALE`. Returns how many numbers are or follow from the teacher's."""
    sources = dict(teacher.named_parameters())
    derived: dict[str, Tensor] = {}
    for index, layer in enumerate(layers):
        mixer = f"encoder.layer.{layer - 1}.attention.self."
        place = f"encoder.layer.{index}.attention.self."
        if student.config.layer_mixers[index] != "pooling":
            continue
        for part in ("weight", "bias"):
            value = sources[f"{mixer}value.{part}"]
            derived[f"{place}dense_q.{part}"] = sources[f"{mixer}query.{part}"]
            derived[f"{place}dense_k.{part}"] = value
            derived[f"{place}dense_segment.{part}"] = derived[f"{place}dense_local.{part}"] = VALUE_SCALE * value
        derived[f"{place}dense_o.bias"] = torch.full_like(sources[f"{mixer}value.bias"], OUTPUT_BIAS)
    count = 0
    for name, parameter in student.ponet.named_parameters():
        source = derived.get(name)
        if source is None:
            head, dot, rest = name.removeprefix("encoder.layer.").partition(".")
            theirs = f"encoder.layer.{layers[int(head)] - 1}{dot}{rest}" if name.startswith("encoder.layer.") else name
            source = sources.get(theirs)
        if source is not None and source.shape == parameter.shape:
            parameter.copy_(source)
            count += parameter.numel()
    return count
