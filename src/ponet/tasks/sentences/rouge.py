"""The overlap of words and pairs of words with a reference, and the sentences that have most of it together."""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np

_WORD = re.compile(r"[a-z0-9]+")


def words(text: str) -> list[str]:
    """Words of a text in lower case, as ROUGE counts them: without stemming, runs of Latin letters and digits."""
    return _WORD.findall(text.lower())


def oracle(sentences: Sequence[str], reference: str, most: int) -> list[int]:
    """The sentences that together are most like the reference, by the mean F1 of ROUGE-1 and ROUGE-2, in text order.

    They are chosen greedily, one by one, as long as the next one adds to it (Nallapati et al. 2017,
    arXiv:1611.04230).

    Args:
        sentences: of the document.
        reference: the summary.
        most: how many to choose, at most.
    """
    target, offered = words(reference), [words(sentence) for sentence in sentences]
    single = _Overlap(offered, target)
    double = _Overlap([list(pairwise(each)) for each in offered], list(pairwise(target)))
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < min(most, len(sentences)):
        scores = (single.f1() + double.f1()) / 2
        scores[chosen] = -1
        top = int(scores.argmax())
        if scores[top] <= best:
            break
        best = float(scores[top])
        chosen.append(top)
        single.add(top)
        double.add(top)
    return sorted(chosen)


class _Overlap:
    """What sentences, each on its own beside those that are chosen, have in common with a reference.

    Args:
        sentences: the words (or pairs) of each.
        reference: its words (or pairs).
    """

    def __init__(self, sentences: Sequence[Sequence[Hashable]], reference: Sequence[Hashable]) -> None:
        wanted = Counter(reference)
        place = {gram: index for index, gram in enumerate(wanted)}
        self.wanted = np.array(list(wanted.values()), dtype=np.int64)
        self.size = len(reference)
        self.lengths = np.array([len(each) for each in sentences], dtype=np.int64)
        self.counts = np.zeros((len(sentences), len(place)), dtype=np.int64)
        for row, sentence in enumerate(sentences):
            for gram in sentence:
                if gram in place:
                    self.counts[row, place[gram]] += 1
        self.chosen, self.length = np.zeros(len(place), dtype=np.int64), 0

    def f1(self) -> np.ndarray:
        """`[k]`, with each sentence added to those that are chosen."""
        common = np.minimum(self.counts + self.chosen, self.wanted).sum(1)
        f1: np.ndarray = 2 * common / np.maximum(self.lengths + self.length + self.size, 1)
        return f1

    def add(self, index: int) -> None:
        """Chooses a sentence."""
        self.chosen += self.counts[index]
        self.length += int(self.lengths[index])
