"""The batches of a pre-training: packed to a token budget, in an order that follows from the seed alone."""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, count, islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch.utils.data import Sampler

from ponet.config.training import COUNTED_EPOCHS, check_steps
from ponet.tasks.base import Indexed, Split
from ponet.tasks.pretraining.examples import Key

if TYPE_CHECKING:
    from ponet.config.training import TrainingOptions
    from ponet.tasks.base import MakeStream

POOL_SHARDS = 16
"""Examples are shuffled within so many shards, drawn at random: some hundred MB of text."""
_SHARDS, _ROWS = 3, 4
"""Keeps the draws of the orders apart."""
EVALUATIONS = 10
"""Of a training that doesn't say how often."""


class Planned(Indexed, Protocol):
    """Examples, by `Key`, whose lengths are known before they are made, shard by shard."""

    corpus: Any
    """Has `tokens`, and as many shards as its `len`."""
    seed: int
    """Decides the order."""

    def plan(self, length: int, epoch: int, shard: int) -> Any:
        """Has `lengths [C]`: the tokens of each example that the shard gives in this epoch, at most `length` each."""
        ...


def stream_maker(examples: Planned, phases: Sequence[tuple[int, float]]) -> "MakeStream":
    """What `ponet.tasks.base.Prepared.stream` wants: a function from a recipe's training options to the stream."""

    def make(options: "TrainingOptions", steps: int | None, process: int, processes: int) -> "PretrainingStream":
        sizes, accumulation = (options.batch_tokens, options.batch_size), options.gradient_accumulation
        return PretrainingStream(examples, phases, *sizes, steps, options.epochs, accumulation, process, processes)

    return make


def first_examples(examples: Planned, length: int, count: int) -> Split:
    """The first examples of a pass over the corpus, made once: the same ones for every evaluation."""
    order = PretrainingStream(examples, [(length, 1.0)], None, 1, steps=count).epoch(length, 0)
    made = [examples[key] for (key,), _ in islice(order, count)]
    return Split(made, np.array([len(example["input_ids"]) for example in made], dtype=np.int64))


class PretrainingStream(Sampler[list[Key]]):
    """All batches of a training, as `ponet.training.batching.TrainingStream`: the same in every process.

    The order of examples is a function of (seed, length, epoch); batches are cut from it as they fill the token budget,
    and dealt out to the processes in turn. Each phase has an order of its own.

    Args:
        examples: what is drawn from.
        phases: the most tokens in an example, and the share of the steps for which that holds; shares sum to 1.
        batch_tokens: the most tokens in a batch; a longer example is alone.
        batch_size: the most examples in a batch.
        steps: optimizer steps; takes the place of `epochs`.
        epochs: passes over the corpus's tokens.
        accumulation: batches to a step, for each process.
        process, processes: the part of the stream that this process takes.
    """

    def __init__(
        self,
        examples: Planned,
        phases: Sequence[tuple[int, float]],
        batch_tokens: int | None,
        batch_size: int | None,
        steps: int | None = None,
        epochs: float = 1.0,
        accumulation: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.examples = examples
        self.batch_tokens, self.batch_size = batch_tokens, batch_size
        self.process, self.processes = process, processes
        self.group = accumulation * processes
        self._tokens = [0]  # tokens up to and with each batch, as far as the stream has been read
        self.steps = steps if steps is not None else self._steps_of(epochs, phases[0][0])
        self.batches = self.steps * self.group
        self.phases: list[tuple[int, int]] = []  # lengths, and the batch with which each phase ends
        for (length, _), share in zip(phases, accumulate(share for _, share in phases), strict=True):
            if self.phases and self.phases[-1][0] == length:
                self.phases.pop()  # of the same length it would be the first examples once more
            self.phases.append((length, round(self.steps * share) * self.group))

    def __len__(self) -> int:
        return self.batches // self.processes

    def __iter__(self) -> Iterator[list[Key]]:
        position = 0
        group: list[list[Key]] = []
        for length, end in self.phases:
            if position >= end:
                continue
            for batch, tokens in self._endless(length):
                position += 1
                if position == len(self._tokens):
                    self._tokens.append(self._tokens[-1] + tokens)
                group.append(batch)
                if len(group) == self.processes:
                    yield group[self.process]
                    group = []
                if position == end:
                    break

    def tokens_at(self, step: int) -> int:
        """As `ponet.tasks.base.BatchStream.tokens_at`, once the stream is there."""
        return self._tokens[min(step * self.group, self.batches, len(self._tokens) - 1)]

    def epoch_at(self, step: int) -> float:
        """Passes over the corpus after that many optimizer steps, by tokens."""
        return self.tokens_at(step) / max(1, self.examples.corpus.tokens)

    def epoch_steps(self) -> list[int]:
        """Where to evaluate by default: a training has few epochs, so at each tenth of the steps."""
        return sorted({-(-self.steps * part // EVALUATIONS) for part in range(1, EVALUATIONS + 1)})

    def _endless(self, length: int) -> Iterator[tuple[list[Key], int]]:
        return chain.from_iterable(self.epoch(length, epoch) for epoch in count())

    def epoch(self, length: int, epoch: int) -> Iterator[tuple[list[Key], int]]:
        """The batches of one pass over the corpus, each with its tokens."""
        batch: list[Key] = []
        held = 0
        for key, size in self._order(length, epoch):
            full = self.batch_tokens is not None and held + size > self.batch_tokens
            if batch and (full or len(batch) == self.batch_size):
                yield batch, held
                batch, held = [], 0
            batch.append(key)
            held += size
        if batch:
            yield batch, held

    def _order(self, length: int, epoch: int) -> Iterator[tuple[Key, int]]:
        seed = self.examples.seed
        shards = np.random.default_rng((seed, _SHARDS, length, epoch)).permutation(len(self.examples.corpus))
        for start in range(0, len(shards), POOL_SHARDS):
            pool = [int(shard) for shard in shards[start : start + POOL_SHARDS]]
            sizes = [self.examples.plan(length, epoch, shard).lengths for shard in pool]
            lengths = np.concatenate(sizes)
            owner = np.repeat(np.arange(len(pool)), [len(each) for each in sizes])
            row = np.concatenate([np.arange(len(each)) for each in sizes])
            for at in np.random.default_rng((seed, _ROWS, length, epoch, start)).permutation(len(lengths)).tolist():
                yield Key(length, epoch, pool[owner[at]], int(row[at])), int(lengths[at])

    def _steps_of(self, epochs: float, length: int) -> int:
        """Steps for so many passes: counted, since batches differ from one to the next, up to `COUNTED_EPOCHS`."""
        counted = min(epochs, COUNTED_EPOCHS)
        wanted, batches, tokens = counted * self.examples.corpus.tokens, 0, 0
        for _, held in self._endless(length):
            batches += 1
            tokens += held
            check_steps(epochs, epochs / counted * wanted / max(1, tokens) * batches / self.group)
            if tokens >= wanted:
                break
        return max(1, -(-math.ceil(batches * (epochs / counted)) // self.group))
