"""A shard's documents parted into pairs of spans: which sentences make up each example of one epoch.

The plan of a shard is a function of (seed, epoch, length, shard), made in one walk over sentence offsets without
reading a token. Every sentence is in exactly one example of an epoch, but for what is cut off to fit the length, for
the second spans of class 2, which are drawn anew, and for a last sentence that such a span leaves alone.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from ponet.config.pretraining import SHORTEST, SPECIAL_TOKENS, Objectives
from ponet.tasks.pretraining.corpus import ShardArrays

FOLLOWS, SWAPPED, ELSEWHERE = 0, 1, 2
CLASSES: dict[str, tuple[int, ...]] = {
    "mlm+sso": (FOLLOWS, SWAPPED, ELSEWHERE),
    "mlm+nsp": (FOLLOWS, ELSEWHERE),
    "mlm": (FOLLOWS,),
}
"""The kinds of pairs that each objective draws from, as often each. An objective's label is the place in its tuple."""


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
    arrays: ShardArrays,
    max_length: int,
    short_share: float,
    objective: Objectives,
    key: tuple[int, ...],
) -> ChunkPlan:
    """Parts the documents of a shard (paper, section 4 and appendix; StructBERT).

    Sentences are taken until they fill the length, and the chunk is parted at a random sentence end. Of class
    `ELSEWHERE` the second part is put back, and the next chunk begins with it, unless that is one last sentence, of
    which no example can be made.

    Args:
        arrays: the shard.
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
    count = len(documents) - 1
    for document in range(count):
        begin, stop = documents[document], documents[document + 1]
        first = begin
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
            rows.append(
                (first, split, end, kind, goal, other, other_end, inside, SPECIAL_TOKENS + min(goal, one + two))
            )
            first = following
    table = np.array(rows, dtype=np.int64).reshape(-1, 9)
    return ChunkPlan(*(np.ascontiguousarray(column) for column in table.T))


def _elsewhere(
    offsets: list[int],
    documents: list[int],
    document: int,
    chunk: tuple[int, int],
    room: int,
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
    return first, bisect_left(offsets, offsets[first] + max(room, 1), first + 1, stop)
