"""Examples made when they are asked for: each a function of (seed, length, epoch, shard, row), and of nothing else."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from ponet.config.pretraining import Objectives
from ponet.tasks.base import Example
from ponet.tasks.models import cut_lengths
from ponet.tasks.pretraining.chunks import CLASSES, ELSEWHERE, SWAPPED, ChunkPlan, plan_chunks
from ponet.tasks.pretraining.corpus import JoinedCorpus, ShardArrays, TokenCorpus
from ponet.tasks.pretraining.masking import mask_tokens
from ponet.tasks.pretraining.vocabulary import Vocabulary

Plan = TypeVar("Plan")

_PLANS = 64
"""Plans of shards kept at a time; some megabytes each."""
_PLAN, _EXAMPLE = 1, 2
"""Keeps the draws of a plan and of an example apart."""


class Key(NamedTuple):
    """Names one example."""

    length: int
    """The most tokens, special ones included."""
    epoch: int
    shard: int
    row: int


@dataclass(frozen=True)
class Drawing:
    """What decides examples besides the corpus."""

    seed: int = 0
    objective: Objectives = "mlm+sso"
    mlm_rate: float = 0.15
    whole_words: bool = False
    short_share: float = 0.1


class PlannedExamples(ABC, Generic[Plan]):
    """Examples of a corpus, indexed by `Key`, whose lengths are planned shard by shard before any is made.

    Args:
        corpus: the prepared data.
        vocabulary: of its tokenizer.
        seed: decides the examples and their order.
    """

    def __init__(self, corpus: TokenCorpus | JoinedCorpus, vocabulary: Vocabulary, seed: int) -> None:
        self.corpus, self.vocabulary, self.seed = corpus, vocabulary, seed
        self._plans: OrderedDict[tuple[int, int, int], Plan] = OrderedDict()

    def __len__(self) -> int:
        return self.corpus.documents

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plans": OrderedDict()}

    def plan(self, length: int, epoch: int, shard: int) -> Plan:
        """The examples of a shard in an epoch."""
        key = (length, epoch, shard)
        if key not in self._plans:
            self._plans[key] = self.make_plan(self.corpus.shard(shard), length, key)
            while len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return self._plans[key]

    @abstractmethod
    def make_plan(self, arrays: ShardArrays, length: int, key: tuple[int, int, int]) -> Plan:
        """`plan`, computed: a function of the seed and the key."""

    @abstractmethod
    def __getitem__(self, key: Any, /) -> Example: ...


class PretrainingExamples(PlannedExamples[ChunkPlan]):
    """A split of a corpus, indexed by `Key`.

    An example has `input_ids`, `segment_ids` (each special token and each sentence a segment, in order),
    `token_type_ids` (0 to the first [SEP], then 1) and `labels` (word ids, -100 where nothing is to be said), `[n]`
    int64 each, and the class `sentence_label`.

    Args:
        corpus, vocabulary: as `PlannedExamples`'s.
        drawing: how examples are drawn.
    """

    def __init__(self, corpus: TokenCorpus | JoinedCorpus, vocabulary: Vocabulary, drawing: Drawing) -> None:
        super().__init__(corpus, vocabulary, drawing.seed)
        self.drawing = drawing
        self.labels = {kind: label for label, kind in enumerate(CLASSES[drawing.objective])}

    def make_plan(self, arrays: ShardArrays, length: int, key: tuple[int, int, int]) -> ChunkPlan:
        """As `PlannedExamples.make_plan`."""
        draws = self.drawing
        return plan_chunks(arrays, length, draws.short_share, draws.objective, (self.seed, _PLAN, *key))

    def __getitem__(self, key: Any) -> Example:
        length, epoch, shard, row = key
        plan, arrays = self.plan(length, epoch, shard), self.corpus.shard(shard)
        generator = np.random.default_rng((self.drawing.seed, _EXAMPLE, length, epoch, shard, row))
        first, second = _spans(arrays, plan, row)
        kind = int(plan.kind[row])
        if kind == SWAPPED:
            first, second = second, first
        goal = int(plan.goal[row])
        sizes = (len(first[0]), len(second[0]))
        kept = cut_lengths(*sizes, goal)
        first, second = (
            _drop(span, size - keep, generator) for span, size, keep in zip((first, second), sizes, kept, strict=True)
        )
        return self._assembled(first, second, self.labels[kind], generator)

    def _assembled(self, first: "Span", second: "Span", label: int, generator: np.random.Generator) -> Example:
        words = self.vocabulary
        one, two = len(first[0]), len(second[0])
        size = one + two + 3
        ids = np.empty(size, dtype=np.int64)
        starts = np.zeros(size, dtype=np.int64)  # where a segment begins
        ids[0], ids[one + 1], ids[-1] = words.cls, words.sep, words.sep
        ids[1 : one + 1], ids[one + 2 : -1] = first[0], second[0]
        starts[[1, one + 1, one + 2, size - 1]] = 1
        starts[2 : one + 1] = np.diff(first[1]) != 0
        starts[one + 3 : -1] = np.diff(second[1]) != 0
        text = np.ones(size, dtype=bool)
        text[[0, one + 1, size - 1]] = False
        draws = self.drawing
        seen, labels = mask_tokens(ids, text, words, draws.mlm_rate, draws.whole_words, generator)
        return {
            "input_ids": seen,
            "segment_ids": np.cumsum(starts),
            "token_type_ids": (np.arange(size) > one + 1).astype(np.int64),
            "labels": labels,
            "sentence_label": label,
        }


Span = tuple[np.ndarray, np.ndarray]
"""Token ids and, for each, the number of its sentence."""


def _spans(arrays: ShardArrays, plan: ChunkPlan, row: int) -> tuple[Span, Span]:
    """The two spans of a chunk in the order of the text, whole."""
    first, split, end = int(plan.first[row]), int(plan.split[row]), int(plan.end[row])
    if split == first:
        ids, numbers = _read(arrays, first, end)
        inside = int(plan.inside[row])
        one, two = (ids[:inside], numbers[:inside]), (ids[inside:], numbers[inside:])
    else:
        one, two = _read(arrays, first, split), _read(arrays, split, end)
    if plan.kind[row] == ELSEWHERE:
        two = _read(arrays, int(plan.other[row]), int(plan.other_end[row]))
    return one, two


def _read(arrays: ShardArrays, first: int, end: int) -> Span:
    offsets = arrays.sentences[first : end + 1]
    return arrays.tokens[offsets[0] : offsets[-1]], np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def _drop(span: Span, count: int, generator: np.random.Generator) -> Span:
    """A span without `count` tokens, each taken from either end with the same chance."""
    front = int(generator.binomial(count, 0.5)) if count else 0
    kept = slice(front, len(span[0]) - (count - front))
    return span[0][kept], span[1][kept]
