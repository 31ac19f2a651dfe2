"""What a task is to the training engine: data, model and metrics, and nothing about how training goes."""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ponet.config.recipe import Recipe
from ponet.config.training import TrainingOptions

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase

    from ponet.tasks.text.predict import Predictor

Example = dict[str, Any]
"""One example: `input_ids` and its companions as 1-D arrays or lists of one length, and `labels`."""

Collate = Callable[[list[Example]], "dict[str, Tensor]"]
Metrics = Callable[["EvalPrediction"], dict[str, float]]
ComputeLoss = Callable[..., "Tensor"]
"""`compute_loss(outputs, labels, num_items_in_batch=None)`, as the `compute_loss_func` of Hugging Face's Trainer."""


class Indexed(Protocol):
    """Examples that are there to be asked for: a list of them, or whatever makes them when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Example: ...


@dataclass
class Split:
    """The examples of one split, and the number of real tokens in each (`[n]`, for batches by token budget)."""

    examples: Indexed
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.examples)


class Objective(Protocol):
    """A loss of several parts, each a mean over something else, and their figures, which replace the model's own: sums,
    so that a step's loss and an evaluation's figures are the same however examples are spread over batches and
    processes.
    """

    def counts(self, batch: "dict[str, Tensor]") -> "Tensor":
        """`[k]`, what each part's mean is over, in this batch."""
        ...

    def __call__(self, model: "nn.Module", batch: "dict[str, Tensor]", totals: "Tensor") -> "tuple[Tensor, Tensor]":
        """The batch's share of the loss, given the counts of everything that it is a share of, `[k]`; and the sums
        `[m]` that figures are made of, without a graph."""
        ...

    def figures(self, sums: "Tensor") -> dict[str, float]:
        """Figures by name, such as the loss and accuracy of each part, from sums over any number of batches."""
        ...

    def flops(self, batch: "dict[str, Tensor]") -> float:
        """Floating-point operations that a training step needs for this batch; 0 where they aren't known."""
        ...


class BatchStream(Protocol):
    """The batches of a whole training, for `torch.utils.data.DataLoader`; as `ponet.training.batching.TrainingStream`,
    where the attributes and methods are described."""

    steps: int
    batches: int

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...

    def tokens_at(self, step: int) -> int: ...

    def epoch_at(self, step: int) -> float: ...

    def epoch_steps(self) -> Container[int]: ...


MakeStream = Callable[[TrainingOptions, int | None, int, int], BatchStream]
"""Makes the stream of a training from the recipe's options, the number of optimizer steps (None: `options.epochs`), and
which of how many processes it is for."""


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
    objective: Objective | None = None
    """The loss and the metrics, in the place of `compute_loss` and `compute_metrics`."""
    stream: MakeStream | None = None
    """Makes the batches, where they aren't drawn from `train.lengths`."""
    fingerprint: str | None = None
    """Identifies the training data, where `train` can't be read through."""
    new_weights: frozenset[str] = frozenset()
    """The names of the model's weights that `model.init` lacks; empty where it has all, or the model has no init."""


@dataclass
class Evaluation:
    """One split made ready for the saved model of a run."""

    split: Split
    collate: Collate
    compute_metrics: Metrics | None
    notices: list[str] = field(default_factory=list)
    objective: Objective | None = None


class Task(Protocol):
    """A kind of learning. Registered by name in `ponet.tasks`; a recipe names it under `task`, and has a `data` section
    of the type that `ponet.config.recipe.DATA_OPTIONS` has for it."""

    def prepare(self, recipe: Recipe) -> Prepared:
        """Data, model and metrics for a new run.

        Raises:
            PoNetError: for anything wrong with the data or the options, in one sentence.
        """
        ...

    def evaluation(self, run: Path, recipe: Recipe, data: str | None, split: str, fresh_seed: int | None) -> Evaluation:
        """`split` of the recipe's data, or of `data`, or newly generated with `fresh_seed`, for the model in `run`."""
        ...

    def predictor(self, run: Path, recipe: Recipe, **options: Any) -> "Predictor":
        """What answers new documents with the run's model; the options are the task's.

        Raises:
            PoNetError: a model that is there for something else.
        """
        ...
