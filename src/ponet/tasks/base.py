"""What a task is to the training engine: data, model and metrics, and nothing about how training goes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase

    from ponet.recipe import Recipe

Example = dict[str, Any]
"""One example: `input_ids` and its companions as 1-D arrays or lists of one length, and `labels`."""

Collate = Callable[[list[Example]], "dict[str, Tensor]"]
Metrics = Callable[["EvalPrediction"], dict[str, float]]
ComputeLoss = Callable[..., "Tensor"]
"""`compute_loss(outputs, labels, num_items_in_batch=None)`, as the Trainer's `compute_loss_func`."""


@dataclass
class Split:
    """The examples of one split, and the number of real tokens in each (`[n]`, for batches by token budget)."""

    examples: Sequence[Example]
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.examples)


@dataclass
class Prepared:
    """Everything the engine needs to train: made by `Task.prepare`."""

    model: "PreTrainedModel"
    processing_class: "PreTrainedTokenizerBase | None"
    train: Split
    validation: Split | None
    test: Split | None
    collate: Collate
    compute_metrics: Metrics | None
    best_metric: str
    """The validation metric (without a prefix) that chooses the checkpoint unless the recipe names one."""
    greater_is_better: bool = True
    compute_loss: ComputeLoss | None = None
    """The loss, where it isn't the model's own (class weights)."""
    notices: list[str] = field(default_factory=list)
    """Sentences the user should read before training starts (texts cut, rows dropped, ...)."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the result should say about the data: rows, tokens, classes, texts cut, reductions."""


@dataclass
class Evaluation:
    """One split made ready for the saved model of a run."""

    split: Split
    collate: Collate
    compute_metrics: Metrics | None
    notices: list[str] = field(default_factory=list)


class Task(Protocol):
    """A kind of learning. Registered by name in `ponet.tasks`; a recipe names it under `task`."""

    options: type
    """The dataclass of the recipe's `data` section: a documented field for each key."""

    def prepare(self, recipe: "Recipe") -> Prepared:
        """Data, model and metrics for a new run.

        Raises:
            PoNetError: for anything wrong with the data or the options, in one sentence.
        """
        ...

    def evaluation(
        self, run: Path, recipe: "Recipe", data: str | None, split: str, fresh_seed: int | None
    ) -> Evaluation:
        """`split` of the recipe's data, or of `data`, or newly generated with `fresh_seed`, for the model in `run`."""
        ...

    def predict(self, run: Path, recipe: "Recipe", source: str, **options: Any) -> Iterator[dict[str, Any]]:
        """One JSON-able record an input, in order."""
        ...
