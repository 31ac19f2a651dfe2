"""Batches by token budget. A whole training is one stream, a function of (seed, epoch), so it can be resumed."""

import bisect
import math
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ponet.config.training import COUNTED_EPOCHS, check_steps
from ponet.utils.batching import cut

if TYPE_CHECKING:
    from ponet.config.training import TrainingOptions
    from ponet.tasks.base import BatchStream, Collate, Example, Prepared, Split

POOL_BATCHES = 32
"""Documents are sorted by length within random pools of about this many batches: like lengths meet, at random."""


def plan_epoch(
    lengths: np.ndarray,
    batch_tokens: int | None,
    batch_size: int | None,
    seed: int,
    epoch: int,
    drop_last: bool = False,
) -> list[np.ndarray]:
    """The batches of one pass over the data, each an array of example indices; every example is in exactly one.

    With a token budget (`batch_tokens`), documents of like length (`lengths [n]`) share a batch; a document over the
    budget gets one of its own. Without one, batches are `batch_size` examples at random, and with `drop_last` the
    examples that fill no batch are left out of this epoch; where they are all there is, they stay.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    if batch_tokens is None:
        size = batch_size or 1
        full = len(order) // size * size
        end = full if drop_last and full else len(order)
        return [order[start : start + size] for start in range(0, end, size)]
    batches: list[np.ndarray] = []
    tokens = np.cumsum(lengths[order], dtype=np.int64)
    start = 0
    while start < len(order):
        before = int(tokens[start - 1]) if start else 0
        end = int(np.searchsorted(tokens, before + POOL_BATCHES * batch_tokens, side="right"))
        pool = order[start : max(end, start + 1)]
        batches += cut(pool[np.argsort(lengths[pool], kind="stable")], lengths, batch_tokens, batch_size)
        start += len(pool)
    return [batches[index] for index in generator.permutation(len(batches))]


class TrainingStream(Sampler[list[int]]):
    """All batches of a training, over all its epochs, in order: a batch sampler.

    The number of batches may differ from epoch to epoch; the stream has exactly `steps * accumulation` of them, or
    as many as `epochs` need. It is a function of its arguments alone, so a training resumes by skipping the
    batches that it has had. With several processes each takes every `processes`-th batch, and the stream
    as a whole is the same as with one process that accumulates as much more.

    Args:
        lengths, batch_tokens, batch_size, seed, drop_last: as in `plan_epoch`.
        epochs: passes over the data; may end in the middle of one. Over `COUNTED_EPOCHS` their steps are an estimate.
        steps: optimizer steps; takes the place of `epochs`.
        accumulation: batches to a step, for each process.
        process, processes: the part of the stream that this process takes.

    Raises:
        PoNetError: where `epochs` make more steps than `MOST_STEPS`.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_tokens: int | None,
        batch_size: int | None,
        seed: int,
        epochs: float = 1.0,
        steps: int | None = None,
        accumulation: int = 1,
        process: int = 0,
        processes: int = 1,
        drop_last: bool = False,
    ) -> None:
        if len(lengths) == 0:
            raise ValueError("a stream needs at least one example")
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.batch_tokens, self.batch_size, self.seed, self.drop_last = batch_tokens, batch_size, seed, drop_last
        self.process, self.processes = process, processes
        self.group = accumulation * processes
        self._ends: list[int] = []  # batches up to and with each epoch
        self._tokens = [0]  # tokens up to and with each batch, as far as the stream has been read
        if steps is None:
            total = self._total(epochs)
            self.steps = math.ceil(total / self.group)
            self.batches = math.ceil(total / processes) * processes
        else:
            self.steps = steps
            self.batches = steps * self.group

    def __len__(self) -> int:
        return self.batches // self.processes

    def __iter__(self) -> Iterator[list[int]]:
        position, epoch = 0, 0
        group: list[np.ndarray] = []  # a batch for each process
        while position < self.batches:
            for batch in self._plan(epoch):
                if position == self.batches:
                    break
                position += 1
                if position == len(self._tokens):
                    self._tokens.append(self._tokens[-1] + int(self.lengths[batch].sum()))
                group.append(batch)
                if len(group) == self.processes:
                    yield group[self.process].tolist()
                    group = []
            epoch += 1

    def tokens_at(self, step: int) -> int:
        """Real tokens read after that many optimizer steps, over all processes, once the stream is there."""
        return self._tokens[min(step * self.group, self.batches, len(self._tokens) - 1)]

    def epoch_at(self, step: int) -> float:
        """Epochs completed after that many optimizer steps; epoch 1 is done when its last batch is."""
        batches = min(step * self.group, self.batches)
        epoch = self._epoch_of(batches)
        start = self._end(epoch - 1)
        return epoch + (batches - start) / (self._end(epoch) - start)

    def epoch_steps(self) -> Container[int]:
        """The steps at which an epoch is complete for the first time, and the last step; each is found when asked."""
        return _EpochSteps(self)

    def _plan(self, epoch: int) -> list[np.ndarray]:
        return plan_epoch(self.lengths, self.batch_tokens, self.batch_size, self.seed, epoch, self.drop_last)

    def _total(self, epochs: float) -> int:
        """The batches of so many epochs."""
        check_steps(epochs, self._end(0) * epochs / self.group)
        whole = math.floor(epochs)
        counted = min(whole, COUNTED_EPOCHS)
        total = self._end(counted - 1)
        if whole > counted:
            more = total * (whole - counted) // counted
            return total + more + math.ceil((epochs - whole) * (total / counted))
        if epochs > whole:
            total += math.ceil((epochs - whole) * (self._end(whole) - total))
        return total

    def _epoch_of(self, batches: int) -> int:
        """The epoch, from 0, that holds the last of so many batches."""
        if self.batch_tokens is None:
            return max(0, -(-batches // self._end(0)) - 1)
        while self._end(max(0, len(self._ends) - 1)) < batches:
            self._end(len(self._ends))
        return bisect.bisect_left(self._ends, batches)

    def _end(self, epoch: int) -> int:
        """Batches up to and with an epoch; 0 for the one before the first."""
        if epoch < 0:
            return 0
        if self.batch_tokens is None and self._ends:  # every epoch has as many
            return (epoch + 1) * self._ends[0]
        while len(self._ends) <= epoch:
            self._ends.append(len(self._plan(len(self._ends))) + (self._ends[-1] if self._ends else 0))
        return self._ends[epoch]


class _EpochSteps:
    """The steps at which a stream completes an epoch, and its last one: there may be more than a set can hold."""

    def __init__(self, stream: TrainingStream) -> None:
        self.stream = stream

    def __contains__(self, step: object) -> bool:
        assert isinstance(step, int)
        stream = self.stream
        if step == stream.steps:
            return True
        batches = min(step * stream.group, stream.batches)
        epoch = stream._epoch_of(batches)
        complete = stream._end(epoch if stream._end(epoch) == batches else epoch - 1)
        return max(0, step - 1) * stream.group < complete


def training_stream(
    prepared: "Prepared",
    options: "TrainingOptions",
    seed: int,
    steps: int | None = None,
    process: int = 0,
    processes: int = 1,
) -> "BatchStream":
    """The batches of a training, of so many optimizer steps or of `options.epochs`: the task's own stream where it has
    one, else a `TrainingStream` over its examples."""
    if prepared.stream is not None:
        return prepared.stream(options, steps, process, processes)
    return TrainingStream(
        prepared.train.lengths,
        options.batch_tokens,
        options.batch_size,
        seed,
        options.epochs,
        steps,
        options.gradient_accumulation,
        process,
        processes,
        options.drop_last,
    )


class EvaluationBatches(Sampler[list[int]]):
    """Every example once, longest first (so that a batch too large for the memory shows at once); `order [n]` are the
    indices of the examples as the batches hold them."""

    def __init__(self, lengths: np.ndarray, batch_tokens: int | None, batch_size: int | None) -> None:
        lengths = np.asarray(lengths, dtype=np.int64)
        self.order = np.arange(len(lengths)) if batch_tokens is None else np.argsort(-lengths, kind="stable")
        self._batches = cut(self.order, lengths, batch_tokens, batch_size)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self._batches)


def data_loader(
    split: "Split", batches: Iterable[list[int]], collate: "Collate", workers: int = 0
) -> "DataLoader[dict[str, Any]]":
    """Collated batches of a split, given the indices of each; `workers` processes collate ahead, which are started by
    spawn, since Numba's threads don't survive a fork."""
    return DataLoader(
        cast("Dataset[Example]", split.examples),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # a new loader draws a number: it must not be one of the training's
    )
