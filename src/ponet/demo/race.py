"""The comparison of `ponet demo`: encoders equal but for the mixer learn ListOps in turns, then time and memory by
length."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ponet.benchmarks import encoders
from ponet.benchmarks.measure import PeakMemory, Timing, interleave, peak_memory
from ponet.mixers import mixer_title
from ponet.models.modeling_ponet import PoNetForSequenceClassification
from ponet.tasks.lra.listops import CLASSES, TOKENS, VOCAB_SIZE, ListOps, Shape, generate

MODELS = {mixer: mixer_title(mixer) for mixer in ("pooling", "attention")}
"""Mixer -> the name of the model that has it."""
SEGMENT_LENGTH = 16
"""Tokens of a segment: runs of fixed length, as the published Arena set-up has them."""


def build(mixer: str, positions: int, seed: int) -> PoNetForSequenceClassification:
    """An untrained encoder of 2 layers, d 64, for documents of up to `positions` tokens."""
    dropout = {f"{name}_dropout_prob": 0.0 for name in ("hidden", "attention_probs", "activation")}
    sizes = {"vocab_size": VOCAB_SIZE, "num_labels": CLASSES}
    return encoders.build(encoders.SETUPS["lra"], encoders.Variant(mixer, mixer), positions, seed, **dropout, **sizes)


def batch(data: ListOps, indices: NDArray[np.int64]) -> dict[str, Tensor]:
    """Some expressions as one packed batch, with their `labels` `[B]`."""
    documents = [data[int(i)].astype(np.int64) for i in indices]
    return pack(documents) | {"labels": torch.from_numpy(data.labels[indices].astype(np.int64))}


def pack(documents: list[NDArray[np.int64]]) -> dict[str, Tensor]:
    """As `encoders.pack`, with segments of `SEGMENT_LENGTH` tokens."""
    return encoders.pack(documents, [encoders.fixed_ids(len(document), SEGMENT_LENGTH) for document in documents])


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

    def batches(self, indices: NDArray[np.int64]) -> Iterator[dict[str, Tensor]]:
        """`BATCH` expressions at a time."""
        return (batch(self.all, indices[start : start + BATCH]) for start in range(0, len(indices), BATCH))


def make_data(seed: int, steps: int, test: int = TEST_EXAMPLES) -> Data:
    """As many expressions as `steps` steps read, and `test` more."""
    count = steps * BATCH
    return Data(generate(seed, count + test, SHAPE), np.arange(count), np.arange(count, count + test))


def learn(data: Data, seed: int, advance: Callable[[dict[str, Learned]], object]) -> dict[str, Learned]:
    """Trains a model of each kind, its weights from the seed, in turns on the same batches, then tests both.

    `advance` is called after every step with the state so far.
    """
    models = {mixer: build(mixer, SHAPE.max_length - 1, seed).train() for mixer in MODELS}
    state = {mixer: Learned(model.num_parameters()) for mixer, model in models.items()}
    steps = {mixer: _stepper(model, state[mixer], len(data.train) // BATCH) for mixer, model in models.items()}
    for inputs in data.batches(data.train):
        for step in steps.values():
            step(inputs)
        advance(state)
    for mixer, model in models.items():
        state[mixer].accuracy = accuracy(model, data)
    return state


def accuracy(model: PoNetForSequenceClassification, data: Data) -> float:
    """The share of test expressions whose value the model predicts."""
    model.eval()
    right = 0
    with torch.no_grad():
        for inputs in data.batches(data.test):
            labels = inputs.pop("labels")
            right += int((model(**inputs).logits.argmax(1) == labels).sum())
    return right / len(data.test)


def _stepper(
    model: PoNetForSequenceClassification, learned: Learned, steps: int
) -> Callable[[dict[str, Tensor]], None]:
    """AdamW with a linear warm-up over a tenth of the steps and a linear decay, as the Arena's schedule is shaped."""
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.0)
    warm_up = max(steps // 10, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, (steps - step) / max(steps - warm_up, 1))
    )

    def step(inputs: dict[str, Tensor]) -> None:
        start = time.perf_counter()
        loss = model(**inputs).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        learned.losses.append(loss.item())
        learned.seconds += time.perf_counter() - start
        learned.tokens += inputs["input_ids"].shape[1]

    return step


PATIENCE = 20.0
"""Seconds that a step may take; a model that is slower isn't measured at greater lengths."""
ROUNDS = 10
WARM_LENGTH = 512


def training_step(mixer: str, length: int, seed: int) -> Callable[[], object]:
    """A model, one random document of `length` tokens, and what is measured: forward, backward, AdamW's update."""
    random = np.random.default_rng([seed, length])
    inputs = pack([random.integers(1, len(TOKENS) + 1, size=length)])
    inputs["labels"] = torch.from_numpy(random.integers(CLASSES, size=1))
    model = build(mixer, length, seed).train()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()

    return step


def warm_step(mixer: str, length: int, seed: int) -> Callable[[], object]:
    """As `training_step`, behind a small step, so that the libraries' own first allocations don't count.

    Small, but not so small that it is mixed without kernels: loading them is such an allocation.
    """
    training_step(mixer, WARM_LENGTH, seed)()
    return training_step(mixer, length, seed)


def time_by_length(
    lengths: Sequence[int], seed: int, seconds: float, advance: Callable[[str], object]
) -> dict[str, list[Timing]]:
    """The time of a training step of each model at each length, in turns.

    Args:
        lengths: in rising order.
        seed: of weights and documents.
        seconds: to spend on one length, all models together (one round at least).
        advance: called after each length with what was measured.
    """
    timings: dict[str, list[Timing]] = {mixer: [] for mixer in MODELS}
    for length in lengths:
        failed = {mixer: done[-1].status for mixer, done in timings.items() if done and done[-1].status != "ok"}
        steps = {mixer: training_step(mixer, length, seed) for mixer in MODELS if mixer not in failed}
        measured = interleave(steps, rounds=ROUNDS, warm_up=1, budget=seconds, patience=PATIENCE)
        for mixer, status in failed.items():
            measured[mixer] = Timing(status=status, message="left out: a smaller length was too much")
        for mixer, done in timings.items():
            done.append(measured[mixer])
        advance(f"time at {length:,} tokens")
    return timings


def memory_by_length(
    lengths: Sequence[int], seed: int, timings: dict[str, list[Timing]], advance: Callable[[str], object]
) -> dict[str, list[PeakMemory]]:
    """The peak memory of a training step of each model at each length that it could be timed at.

    The model and the document are there before; what grows is what the step keeps and computes.
    """
    memories: dict[str, list[PeakMemory]] = {mixer: [] for mixer in MODELS}
    for i, length in enumerate(lengths):
        for mixer, found in memories.items():
            timing = timings[mixer][i]
            memory = PeakMemory(status=timing.status, message=timing.message)
            if timing.seconds:
                memory = peak_memory(warm_step, (mixer, length, seed), preload=("ponet.demo.race",))
            found.append(memory)
            advance(f"memory at {length:,} tokens")
    return memories
