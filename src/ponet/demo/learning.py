"""First half of the demo: the models learn ListOps side by side."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ponet.demo.encoder import MODELS, batch, build
from ponet.models.modeling_ponet import PoNetForSequenceClassification
from ponet.tasks.lra.listops import ListOps, Shape, generate

SHAPE = Shape(min_length=63, max_length=257, max_depth=4, max_args=10)
LEARNING_RATE = 2e-3
TEST_EXAMPLES = 2000
BATCH = 32


@dataclass
class Learned:
    """One model after its training."""

    parameters: int
    accuracy: float = 0.0
    """On expressions that it didn't train on."""
    seconds: float = 0.0
    """In training steps, evaluation left out."""
    tokens: int = 0
    losses: list[float] = field(default_factory=list)
    """One a step."""


@dataclass
class Data:
    """Different expressions for training (each seen once) and for testing."""

    all: ListOps
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def guess(self) -> float:
        """Accuracy on the test expressions of always saying what is most frequent in training."""
        frequent = np.bincount(self.all.labels[self.train]).argmax()
        return float((self.all.labels[self.test] == frequent).mean())


def make_data(seed: int, steps: int, test: int = TEST_EXAMPLES) -> Data:
    """As many expressions as `steps` steps read, and `test` more."""
    count = steps * BATCH
    return Data(generate(seed, count + test, SHAPE), np.arange(count), np.arange(count, count + test))


def learn(data: Data, seed: int, advance: Callable[[dict[str, Learned]], object]) -> dict[str, Learned]:
    """Trains a model of each kind, in turns on the same batches, then tests both.

    Args:
        data: what to learn.
        seed: of the weights.
        advance: called after every step with the state so far.
    """
    trainers = {mixer: _Trainer(build(mixer, SHAPE.max_length - 1, seed), len(data.train) // BATCH) for mixer in MODELS}
    state = {mixer: trainer.learned for mixer, trainer in trainers.items()}
    for inputs in _batches(data.all, data.train):
        for trainer in trainers.values():
            trainer.step(inputs)
        advance(state)
    for trainer in trainers.values():
        trainer.learned.accuracy = accuracy(trainer.model, data)
    return state


def accuracy(model: PoNetForSequenceClassification, data: Data) -> float:
    """The share of test expressions whose value the model tells."""
    model.eval()
    right = 0
    with torch.no_grad():
        for inputs in _batches(data.all, data.test):
            labels = inputs.pop("labels")
            right += int((model(**inputs).logits.argmax(1) == labels).sum())
    return right / len(data.test)


class _Trainer:
    """AdamW with a linear warm-up over a tenth of the steps and a linear decay, as the Arena's schedule is shaped."""

    def __init__(self, model: PoNetForSequenceClassification, steps: int) -> None:
        self.model = model.train()
        self.optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.0)
        warm_up = max(steps // 10, 1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min((step + 1) / warm_up, (steps - step) / max(steps - warm_up, 1))
        )
        self.learned = Learned(parameters=model.num_parameters())

    def step(self, inputs: dict[str, Tensor]) -> None:
        start = time.perf_counter()
        loss = self.model(**inputs).loss
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.learned.losses.append(loss.item())
        self.learned.seconds += time.perf_counter() - start
        self.learned.tokens += inputs["input_ids"].shape[1]


def _batches(data: ListOps, indices: NDArray[np.int64]) -> Iterator[dict[str, Tensor]]:
    for start in range(0, len(indices), BATCH):
        yield batch(data, indices[start : start + BATCH])
