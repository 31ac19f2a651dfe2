"""The batches of a pre-training: packed to a token budget, in an order that follows from the seed alone."""

import math
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from ponet.tasks.pretraining.examples import Key, PretrainingExamples
from ponet.training_options import COUNTED_EPOCHS, check_steps

POOL_SHARDS = 16
"""Examples are shuffled within so many shards, drawn at random: some hundred MB of text."""
_SHARDS, _ROWS = 3, 4
"""Keeps the draws of the orders apart."""
EVALUATIONS = 10
"""Of a training that doesn't say how often."""


class PretrainingStream(Sampler[list[Key]]):
    """All batches of a training, as `ponet.training.batching.TrainingStream`: the same whoever asks.

    The order of examples is a function of (seed, length, epoch); batches are cut from it as they fill the token budget,
    and dealt out to the processes in turn. With `last_length` the last steps have longer examples, from an order of
    their own.

    Args:
        examples: what is drawn from.
        length: the most tokens in an example.
        batch_tokens: the most tokens in a batch; a longer example is alone.
        batch_size: the most examples in a batch.
        steps: optimizer steps; takes the place of `epochs`.
        epochs: passes over the corpus's tokens.
        accumulation: batches to a step, for each process.
        process, processes: the part of the stream that this process takes.
        last_length, last_share: the length of the last phase, and its share of the steps.
    """

    def __init__(
        self,
        examples: PretrainingExamples,
        length: int,
        batch_tokens: int | None,
        batch_size: int | None,
        steps: int | None = None,
        epochs: float = 1.0,
        accumulation: int = 1,
        process: int = 0,
        processes: int = 1,
        last_length: int | None = None,
        last_share: float = 0.0,
    ) -> None:
        self.examples = examples
        self.length, self.batch_tokens, self.batch_size = length, batch_tokens, batch_size
        self.process, self.processes = process, processes
        self.group = accumulation * processes
        # Of the same length it would be no phase of its own, but the first examples once more.
        self.last_length = last_length = None if last_length == length else last_length
        self._tokens = [0]  # tokens up to and with each batch, as far as the stream has been read
        self.steps = steps if steps is not None else self._steps_of(epochs)
        self.batches = self.steps * self.group
        first = self.steps if last_length is None else round(self.steps * (1 - last_share))
        self.turn = first * self.group
        """The batch with which the last phase begins."""

    def __len__(self) -> int:
        return self.batches // self.processes

    def __iter__(self) -> Iterator[list[Key]]:
        position = 0
        group: list[list[Key]] = []
        phases = [(self.length, self.turn)]
        if self.last_length is not None:
            phases.append((self.last_length, self.batches))
        for length, end in phases:
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
        """Tokens behind us after that many optimizer steps, over all processes, once the stream is there."""
        return self._tokens[min(step * self.group, self.batches, len(self._tokens) - 1)]

    def epoch_at(self, step: int) -> float:
        """Passes over the corpus behind us, by tokens."""
        return self.tokens_at(step) / max(1, self.examples.corpus.tokens)

    def epoch_steps(self) -> list[int]:
        """Where to evaluate unless told: a training has few epochs, so at each tenth of the steps."""
        return sorted({-(-self.steps * part // EVALUATIONS) for part in range(1, EVALUATIONS + 1)})

    def _endless(self, length: int) -> Iterator[tuple[list[Key], int]]:
        epoch = 0
        while True:
            yield from self.epoch(length, epoch)
            epoch += 1

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
        seed = self.examples.drawing.seed
        shards = np.random.default_rng((seed, _SHARDS, length, epoch)).permutation(len(self.examples.corpus))
        for start in range(0, len(shards), POOL_SHARDS):
            pool = [int(shard) for shard in shards[start : start + POOL_SHARDS]]
            sizes = [self.examples.plan(length, epoch, shard).lengths for shard in pool]
            lengths = np.concatenate(sizes)
            owner = np.repeat(np.arange(len(pool)), [len(each) for each in sizes])
            row = np.concatenate([np.arange(len(each)) for each in sizes])
            for at in np.random.default_rng((seed, _ROWS, length, epoch, start)).permutation(len(lengths)).tolist():
                yield Key(length, epoch, pool[owner[at]], int(row[at])), int(lengths[at])

    def _steps_of(self, epochs: float) -> int:
        """Steps for so many passes: counted, since batches differ from one to the next, up to `COUNTED_EPOCHS`."""
        counted = min(epochs, COUNTED_EPOCHS)
        wanted, batches, tokens = counted * self.examples.corpus.tokens, 0, 0
        for _, held in self._endless(self.length):
            batches += 1
            tokens += held
            check_steps(epochs, epochs / counted * wanted / max(1, tokens) * batches / self.group)
            if tokens >= wanted:
                break
        return max(1, -(-math.ceil(batches * (epochs / counted)) // self.group))
