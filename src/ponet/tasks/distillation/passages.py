"""Passages of prepared text: each a function of (seed, length, epoch, shard, row), and of nothing else."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ponet.config.distillation import SPECIAL_TOKENS
from ponet.tasks.base import Example
from ponet.tasks.pretraining.examples import ChunkPlan, Key, PlannedExamples, PretrainingExamples
from ponet.tasks.pretraining.shards import JoinedCorpus, ShardArrays, TokenCorpus
from ponet.tasks.pretraining.vocabulary import Vocabulary

SHORTEST = 4
"""Tokens of text that a short passage aims at, at least."""


@dataclass(frozen=True)
class PassagePlan:
    """The passages of one shard in one epoch, `[C]` int64 each."""

    begin: np.ndarray
    """The first token."""
    end: np.ndarray
    """The token behind the last."""
    sentence: np.ndarray
    """The sentence of the first token."""
    lengths: np.ndarray
    """Tokens in the passage, special ones included."""


def plan_passages(arrays: ShardArrays, max_length: int, short_share: float, key: tuple[int, ...]) -> PassagePlan:
    """Divides the documents of a shard: every token is in exactly one passage, which ends with a sentence if it can.

    Args:
        max_length: the most tokens in a passage, special ones included.
        short_share: the share of passages that aim at fewer, log-uniform between `SHORTEST` and the whole. Such a
            passage has a sentence at least.
        key: the numbers that the draws follow from.
    """
    rows: list[tuple[int, int, int]] = []
    offsets, documents = arrays.sentences.tolist(), arrays.documents.tolist()
    whole = max_length - SPECIAL_TOKENS
    shortest = min(SHORTEST, whole)
    span = math.log(whole / shortest)
    draws = np.random.default_rng(key)
    drawn: list[list[float]] = []
    for first, stop in pairwise(documents):
        begin, finish, sentence = offsets[first], offsets[stop], first
        while begin < finish:
            if not drawn:
                drawn = draws.random((1024, 2)).tolist()
            short, size = drawn.pop()
            goal = whole if short >= short_share else int(shortest * math.exp(size * span))
            # the last sentence end within the goal; else the first one, where it fits in the passage; else none
            last = bisect_right(offsets, begin + goal, sentence, stop + 1) - 1
            end = offsets[max(last, sentence + 1)]
            if end > begin + whole:
                end = begin + whole
            rows.append((begin, end, sentence))
            begin = end
            sentence = bisect_right(offsets, begin, sentence, stop + 1) - 1
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    begin, end, sentence = (np.ascontiguousarray(column) for column in table.T)
    return PassagePlan(begin, end, sentence, end - begin + SPECIAL_TOKENS)


class Passages(PlannedExamples[PassagePlan]):
    """The passages of a corpus, as `plan_passages` divides it, indexed by `ponet.tasks.pretraining.examples.Key`.

    An example has `input_ids` and `segment_ids` (each special token and each sentence a segment, in order) and
    `token_type_ids` (0), `[n]` int64.
    """

    def __init__(
        self, corpus: TokenCorpus | JoinedCorpus, vocabulary: Vocabulary, short_share: float, seed: int
    ) -> None:
        super().__init__(corpus, vocabulary, seed)
        self.short_share = short_share

    def make_plan(self, arrays: ShardArrays, length: int, key: tuple[int, int, int]) -> PassagePlan:
        """As `PlannedExamples.make_plan`."""
        return plan_passages(arrays, length, self.short_share, (self.seed, *key))

    def __getitem__(self, key: Any) -> Example:
        length, epoch, shard, row = key
        plan, arrays = self.plan(length, epoch, shard), self.corpus.shard(shard)
        begin, end, sentence = (int(column[row]) for column in (plan.begin, plan.end, plan.sentence))
        ids = np.empty(end - begin + SPECIAL_TOKENS, dtype=np.int64)
        ids[0], ids[1:-1], ids[-1] = self.vocabulary.cls, arrays.tokens[begin:end], self.vocabulary.sep
        segments = np.zeros(len(ids), dtype=np.int64)
        numbers = np.searchsorted(arrays.sentences[sentence:], np.arange(begin, end), side="right")
        segments[1:-1] = numbers - numbers[0] + 1
        segments[-1] = segments[-2] + 1
        return {"input_ids": ids, "segment_ids": segments, "token_type_ids": np.zeros_like(ids)}


class WithPairs:
    """Passages and masked pairs of spans of one corpus, each from a random part of the text, as one set of examples.

    The shards of the corpus stand there twice: first for passages, then for pairs, which get `share` of the text.
    """

    def __init__(self, passages: Passages, pairs: PretrainingExamples, share: float) -> None:
        self.parts: tuple[Passages, PretrainingExamples] = (passages, pairs)
        self.shares = (1 - share, share)
        self.seed = passages.seed
        self.corpus = _Twice(passages.corpus)

    def __len__(self) -> int:
        return len(self.parts[0])

    def plan(self, length: int, epoch: int, shard: int) -> PassagePlan | ChunkPlan:
        """The examples of a shard that an epoch takes."""
        kind, at = divmod(shard, len(self.corpus.corpus))
        plan = self.parts[kind].plan(length, epoch, at)
        rows = self._rows(len(plan.lengths), kind, (length, epoch, shard))
        return type(plan)(*(column[rows] for column in vars(plan).values()))

    def __getitem__(self, key: Any) -> Example:
        length, epoch, shard, row = key
        kind, at = divmod(shard, len(self.corpus.corpus))
        part = self.parts[kind]
        rows = self._rows(len(part.plan(length, epoch, at).lengths), kind, (length, epoch, shard))
        return part[Key(length, epoch, at, int(rows[row]))]

    def _rows(self, count: int, kind: int, key: tuple[int, ...]) -> np.ndarray:
        return np.flatnonzero(np.random.default_rng((self.seed, *key)).random(count) < self.shares[kind])


class _Twice:
    """A corpus whose shards stand there twice; its size is its own."""

    def __init__(self, corpus: TokenCorpus | JoinedCorpus) -> None:
        self.corpus, self.tokens = corpus, corpus.tokens

    def __len__(self) -> int:
        return 2 * len(self.corpus)
