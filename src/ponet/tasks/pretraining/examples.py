"""Examples made when they are asked for: each a function of (seed, length, epoch, shard, row), and of nothing else.

The chunks of a shard are planned in one walk over sentence offsets without reading a token: which sentences make up
the two spans of each example of one epoch. Every sentence is in exactly one example of an epoch, but for what is cut
off to fit the length, for the second spans of class 2, which are drawn again, and for a last sentence that such a span
leaves alone. Then the spans are read, put together, and masked.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from ponet.tasks.base import Example
from ponet.tasks.models import cut_lengths
from ponet.tasks.pretraining.shards import JoinedCorpus, ShardArrays, TokenCorpus
from ponet.tasks.pretraining.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

Objective = Literal["mlm+sso", "mlm+nsp", "mlm"]

FOLLOWS, SWAPPED, ELSEWHERE = 0, 1, 2
CLASSES: dict[str, tuple[int, ...]] = {
    "mlm+sso": (FOLLOWS, SWAPPED, ELSEWHERE),
    "mlm+nsp": (FOLLOWS, ELSEWHERE),
    "mlm": (FOLLOWS,),
}
"""The kinds of pairs that each objective draws from, as often each. An objective's label is the place in its tuple."""

SPECIAL_TOKENS = 3
"""[CLS] first [SEP] second [SEP]."""
SHORTEST = 2
"""Tokens of text in an example at least: one in each span."""

IGNORED = -100
"""The label of a token that isn't to be predicted."""
MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens so many become [MASK], and so many another word; the rest stay."""

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
    objective: Objective = "mlm+sso"
    mlm_rate: float = 0.15
    whole_words: bool = False
    short_share: float = 0.1


@dataclass(frozen=True)
class ChunkPlan:
    """The examples of one shard in one epoch, `[C]` int64 each.

    The first span is sentences `first` to `split - 1`, the second `split` to `end - 1`, or of class `ELSEWHERE` the
    sentences `other` to `other_end - 1`. Where `split == first` the chunk is a single sentence, cut behind its first
    `inside` tokens.
    """

    first: np.ndarray
    split: np.ndarray
    end: np.ndarray
    kind: np.ndarray
    goal: np.ndarray
    """The most tokens of text."""
    other: np.ndarray
    other_end: np.ndarray
    inside: np.ndarray
    lengths: np.ndarray
    """Tokens in the example, special ones included."""

    def __len__(self) -> int:
        return len(self.lengths)


def plan_chunks(
    arrays: ShardArrays, max_length: int, short_share: float, objective: Objective, key: tuple[int, ...]
) -> ChunkPlan:
    """Parts the documents of a shard (paper, section 4 and appendix; StructBERT).

    Sentences are taken until they fill the length, and the chunk is parted at a random sentence end. Of class
    `ELSEWHERE` the second part is put back, and the next chunk begins with it, unless that is one last sentence, of
    which no example can be made.

    Args:
        max_length: the most tokens in an example, special ones included.
        short_share: the share of chunks with a shorter goal, uniform between 2 and the whole.
        objective: decides the classes.
        key: the numbers that the draws follow from.
    """
    rows: list[tuple[int, ...]] = []
    offsets, documents = arrays.sentences.tolist(), arrays.documents.tolist()
    whole = max_length - SPECIAL_TOKENS
    kinds = CLASSES[objective]
    draws = np.random.default_rng(key).random((max(1, len(offsets) - 1), 6)).tolist()  # a chunk has a sentence or more
    for document, (first, stop) in enumerate(pairwise(documents)):
        while first < stop:
            short, size, at, which, where, start = draws[len(rows)]
            goal = whole if short >= short_share else SHORTEST + int(size * (whole - SHORTEST + 1))
            end = bisect_left(offsets, offsets[first] + goal, first + 1, stop)
            if end == first + 1 and end < stop:
                end += 1  # two spans need two sentences
            if stop - end == 1:
                end = stop  # one sentence alone would be left
            kind = kinds[int(which * len(kinds))]
            sentences = end - first
            inside = 0
            if sentences > 1:
                split = first + 1 + int(at * (sentences - 1))
                one = offsets[split] - offsets[first]
            else:
                split, inside = first, 1 + int(at * (offsets[end] - offsets[first] - 1))
                one = inside
            other = other_end = 0
            if kind == ELSEWHERE:
                found = _elsewhere(offsets, documents, document, (first, end), goal - one, where, start)
                if found is None:  # nothing else in this shard
                    kind = kinds[int(where * (len(kinds) - 1))]  # `ELSEWHERE` is the last one
                else:
                    other, other_end = found
            if kind == ELSEWHERE:
                two = offsets[other_end] - offsets[other]
                following = split if sentences > 1 and stop - split > 1 else end
            else:
                two = offsets[end] - offsets[first] - one
                following = end
            length = SPECIAL_TOKENS + min(goal, one + two)
            rows.append((first, split, end, kind, goal, other, other_end, inside, length))
            first = following
    table = np.array(rows, dtype=np.int64).reshape(-1, 9)
    return ChunkPlan(*(np.ascontiguousarray(column) for column in table.T))


def _elsewhere(
    offsets: list[int],
    documents: list[int],
    document: int,
    chunk: tuple[int, int],
    size: int,
    where: float,
    start: float,
) -> tuple[int, int] | None:
    """Sentences of another document, or where there is one only, of it but outside the chunk; None where none are."""
    count = len(documents) - 1
    if count > 1:
        other = int(where * (count - 1))
        other += other >= document
        begin, stop = documents[other], documents[other + 1]
        first = begin + int(start * (stop - begin))
    else:
        begin, stop = documents[document], documents[document + 1]
        outside = (stop - begin) - (chunk[1] - chunk[0])
        if outside == 0:
            return None
        first = begin + int(start * outside)
        if first >= chunk[0]:
            first += chunk[1] - chunk[0]
        else:
            stop = chunk[0]
    return first, bisect_left(offsets, offsets[first] + max(size, 1), first + 1, stop)


def mask_tokens(
    ids: np.ndarray,
    text: np.ndarray,
    vocabulary: Vocabulary,
    rate: float,
    whole_words: bool,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """What the model reads, and what it is to say (`IGNORED` where nothing): ids and labels `[n]`, both int64.

    Args:
        ids: `[n]`.
        text: `[n]` bool, False at special tokens, which are never chosen.
        rate: the share of text tokens to choose; one at least.
        whole_words: choose words, with all their pieces, until so many tokens are chosen.
    """
    places = np.flatnonzero(text)
    wanted = max(1, round(rate * len(places)))
    if whole_words:
        chosen = _words(places, vocabulary.continues[ids[places]], wanted, generator)
    else:
        chosen = generator.choice(places, wanted, replace=False, shuffle=False)
    seen = ids.astype(np.int64)
    labels = np.full(len(ids), IGNORED, dtype=np.int64)
    labels[chosen] = seen[chosen]
    fate = generator.random(len(chosen))
    words = vocabulary.words[generator.integers(0, len(vocabulary.words), len(chosen))]
    seen[chosen] = np.where(fate < MASKED, vocabulary.mask, np.where(fate < MASKED + REPLACED, words, seen[chosen]))
    return seen, labels


def _words(places: np.ndarray, continues: np.ndarray, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """Places `[m]` of whole words in random order as long as they fit; a word that is too long for what is left is
    passed over, but the first one is taken in any case."""
    starts = np.flatnonzero(~continues | (np.diff(places, prepend=-2) > 1))
    ends = np.append(starts[1:], len(places))
    chosen: list[np.ndarray] = []
    left = wanted
    for word in generator.permutation(len(starts)):
        size = int(ends[word] - starts[word])
        if size <= left or not chosen:
            chosen.append(places[starts[word] : ends[word]])
            left -= size
        if left <= 0:
            break
    return np.concatenate(chosen)


class PlannedExamples(ABC, Generic[Plan]):
    """Examples of a corpus, indexed by `Key`, whose lengths are planned shard by shard before any is made; the seed
    decides them and their order."""

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
        one, two = len(first[0]), len(second[0])
        left, right = cut_lengths(one, two, goal)
        first, second = _drop(first, one - left, generator), _drop(second, two - right, generator)
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


@dataclass(frozen=True)
class PretrainingCollator:
    """Lays examples end to end.

    Gives `input_ids`, `segment_ids` and, for a model with token types, `token_type_ids` `[1, T]` int64, `cu_seqlens`
    `[B + 1]` int32; `prediction_positions` `[M]` int64, where in `T` a word is to be said, and which, `labels` `[M]`;
    `sentence_labels` `[B]` int64.
    """

    token_types: bool = True

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        batch = {"sentence_labels": torch.tensor([example["sentence_label"] for example in examples])}
        for name in ("input_ids", "segment_ids", *(["token_type_ids"] if self.token_types else [])):
            batch[name] = torch.from_numpy(np.concatenate([example[name] for example in examples])).unsqueeze(0)
        ends = np.cumsum([len(example["input_ids"]) for example in examples])
        batch["cu_seqlens"] = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32))
        labels = np.concatenate([example["labels"] for example in examples])
        positions = np.flatnonzero(labels != IGNORED)
        batch["prediction_positions"] = torch.from_numpy(positions)
        batch["labels"] = torch.from_numpy(labels[positions])
        return batch
