"""The task `lra`: Long Range Arena's data sets with models of one encoder, for the training engine."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.config.lra import LraOptions
from ponet.tasks.base import Collate, Evaluation, Example, Prepared, Split
from ponet.tasks.lra.batches import ImageCollator, SequenceCollator, segment_rule
from ponet.tasks.lra.data import fresh_test, open_data
from ponet.tasks.lra.spec import LraTask, get_lra_task
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from torch import nn
    from transformers import EvalPrediction

    from ponet.config.recipe import Recipe
    from ponet.models.modeling_ponet import PoNetForSequenceClassification
    from ponet.tasks.lra.store import TokenStore
    from ponet.tasks.text.predict import Predictor

BY_TASK = ("vocab_size", "num_labels", "id2label", "label2id", "problem_type", "classifier_pairs", "pad_token_id")
"""Fields of the configuration that follow from the data set."""


class ArenaTask:
    """Classification of long sequences: one of six data sets, read from the cache or made on the first call."""

    def prepare(self, recipe: "Recipe") -> Prepared:
        """As `ponet.tasks.base.Task.prepare`."""
        from transformers import set_seed

        options: LraOptions = recipe.data
        task = get_lra_task(options.dataset)
        set_seed(recipe.seed)  # the weights of a run depend on its seed alone, not on what was drawn before
        model = build_model(recipe.model, task)  # before the data, which may take minutes to make
        init = recipe.model.get("init")
        facts = {} if init is None else {"self_pretraining": take_encoder(model, str(init))}
        new = [name for name, _ in model.named_parameters() if init is not None and name.startswith("classifier.")]
        data = open_data(task.name, options)
        return Prepared(
            model=model,
            processing_class=None,
            train=make_split(data.splits["train"], task),
            validation=make_split(data.splits["validation"], task),
            test=make_split(data.splits["test"], task),
            collate=collator(task, options, model.config.max_position_embeddings),
            compute_metrics=accuracy,
            best_metric="accuracy",
            notices=data.notices,
            facts=data.facts | facts,
            new_weights=frozenset(new),
        )

    def evaluation(
        self, run: Path, recipe: "Recipe", data: str | None, split: str, fresh_seed: int | None
    ) -> Evaluation:
        """As `ponet.tasks.base.Task.evaluation`; `data` is another source, as the recipe's `data.source`."""
        from ponet.models.configuration_ponet import PoNetConfig

        options: LraOptions = recipe.data
        task = get_lra_task(options.dataset)
        collate = collator(task, options, PoNetConfig.from_pretrained(run).max_position_embeddings)
        if fresh_seed is not None:
            if data is not None or split != "test":
                raise PoNetError("--fresh-test-seed makes test data: leave --data and --split out.")
            size = options.fresh_size or options.sizes(task.official)["test"]
            made = fresh_test(task.name, options, fresh_seed, size)
            return Evaluation(make_split(made, task), collate, accuracy)
        found, notices = open_split(task, options if data is None else replace(options, source=data), split)
        return Evaluation(found, collate, accuracy, notices)

    def predictor(self, run: Path, recipe: "Recipe", **options: Any) -> "Predictor":
        """Not for these models, which are there to be measured."""
        raise PoNetError(
            "A Long Range Arena model is there to be measured: `ponet evaluate RUN` does so, on a split or, with "
            "--fresh-test-seed, on new test data."
        )


class Labelled:
    """A store's examples under the names that the model knows."""

    def __init__(self, store: "TokenStore") -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Example:
        example = self.store[index]
        example["labels"] = example.pop("label")
        return example


def make_split(store: "TokenStore", task: LraTask) -> Split:
    """A store as a split. In images only pixels that aren't black count as tokens."""
    lengths = store.lengths
    if task.images:
        lengths = np.fromiter((np.count_nonzero(store[index]["input_ids"]) for index in range(len(store))), np.int64)
    return Split(Labelled(store), lengths)


def open_split(task: LraTask, options: LraOptions, split: str) -> tuple[Split, list[str]]:
    """A split of a task's data by name, and what to say about the data."""
    opened = open_data(task.name, options)
    if split not in opened.splits:
        raise PoNetError(f"There is no split '{split}': choose {', '.join(opened.splits)}.")
    return make_split(opened.splits[split], task), opened.notices


def collator(task: LraTask, options: LraOptions, padded_length: int) -> Collate:
    """Makes batches of a task's examples for a model with `padded_length` positions."""
    rule = segment_rule(task, options, padded_length)
    return ImageCollator(rule) if task.images else SequenceCollator(rule)


def accuracy(prediction: "EvalPrediction") -> dict[str, float]:
    """The share of examples whose highest logit is their label's."""
    output = prediction.predictions
    logits = np.asarray(output[0] if isinstance(output, tuple) else output)
    return {"accuracy": float((logits.argmax(-1) == np.asarray(prediction.label_ids)).mean())}


def build_model(values: dict[str, Any], task: LraTask) -> "PoNetForSequenceClassification":
    """The classifier that the recipe's `model` section describes, with new weights. Raises a PoNetError as
    `check_fields`."""
    from ponet.models.modeling_ponet import PoNetForSequenceClassification
    from ponet.tasks.models import new_model

    fields = check_fields(values, task) | {"problem_type": "single_label_classification"}
    fields |= {"vocab_size": task.vocab_size, "num_labels": task.classes, "classifier_pairs": task.pairs}
    model = new_model(PoNetForSequenceClassification, fields)
    begin_as_published(model)
    return model


def check_fields(values: dict[str, Any], task: LraTask) -> dict[str, Any]:
    """The configuration's fields in a recipe's `model` section, with positions for the data. Raises a PoNetError:
    fields that the data set decides, or too few positions."""
    for name in BY_TASK:
        if name in values:
            raise PoNetError(f"model.{name} follows from the data set '{task.name}': leave it out.")
    fields = {key: value for key, value in values.items() if key not in ("init", "init_weights")}
    positions = fields.get("max_position_embeddings", task.max_length)
    if positions < task.max_length:
        raise PoNetError(
            f"model.max_position_embeddings is {positions}, but '{task.name}' has up to {task.max_length:,} tokens: "
            "leave it out, or raise it."
        )
    return {**fields, "max_position_embeddings": positions}


def take_encoder(model: "PoNetForSequenceClassification", init: str) -> dict[str, Any]:
    """Copies the encoder's weights from a run of the task `lra-masked` on the same data set.

    Returns:
        What that run took, for the result: its recipe's name and seed, steps, and seconds in training steps.

    Raises:
        PoNetError: no complete run, or one of another model.
    """
    from safetensors.torch import load_file

    from ponet.models.loading import WeightsError, check_finite
    from ponet.utils.files import read_json

    run = Path(init)
    if not ((run / "result.json").is_file() and (run / "model.safetensors").is_file()):
        raise PoNetError(
            f"'{init}' is no complete run: Long Range Arena's models begin with new weights, or with the encoder of a "
            "self-pre-training (`ponet train self-pretraining/TASK-inputs/MIXER`)."
        )
    try:
        weights = load_file(run / "model.safetensors")
    except Exception as error:  # a cut or foreign file raises whatever its reader raises
        raise PoNetError(f"The weights in '{init}' can't be read: train that run again with --overwrite.") from error
    for name, parameter in model.named_parameters():
        if not name.startswith("ponet."):
            continue
        if name not in weights or weights[name].shape != parameter.shape:
            raise PoNetError(f"'{init}' is of another model: its '{name}' is missing or of another shape.")
        parameter.data.copy_(weights[name])
    try:
        check_finite(init, model)
    except WeightsError as error:
        raise PoNetError(f"{error} Train that run again with --overwrite.") from error
    result = read_json(run / "result.json")
    wanted = {"name": "recipe", "seed": "recipe", "steps": "train", "seconds": "train"}
    return {name: (result.get(section) or {}).get(name) for name, section in wanted.items()}


def begin_as_published(model: "nn.Module") -> None:
    """Draws all linear maps as PyTorch does by itself, uniformly within `1 / sqrt(inputs)`, biases too.

    So do the published Arena models (their golden tensors show it), and Nystromformer's convolution; BERT's start,
    normal with deviation 0.02 and biases 0, is several times smaller at this width. Embeddings have BERT's in both
    (Linformer's matrix along the tokens is one), and External Attention's memories, which the Arena hasn't, keep it.
    """
    from torch import nn

    from ponet.mixers.external import ExternalMixer

    mixers = [module for module in model.modules() if isinstance(module, ExternalMixer)]
    memories = {memory for mixer in mixers for memory in (mixer.memory_key, mixer.memory_value)}
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and module not in memories:
            module.reset_parameters()
