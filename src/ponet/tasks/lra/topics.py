"""Which texts are of like topic: neighbours by the words of their openings (TF-IDF), each taken once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NEAREST = 200
"""Neighbours that are known of each text."""
_CHUNK = 500
_WORDS = 50_000

Integers = NDArray[np.int64]


def neighbours(openings: Sequence[str]) -> Integers:
    """`[n, min(n - 1, NEAREST)]` the numbers of the texts nearest to each one, the nearest first, itself left out."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    count = len(openings)
    words = TfidfVectorizer(stop_words="english", sublinear_tf=True, max_features=_WORDS, dtype=np.float32)
    vectors = words.fit_transform(openings)
    kept = min(count - 1, NEAREST)
    found = np.empty((count, kept), np.int64)
    for start in range(0, count, _CHUNK):
        likeness = (vectors[start : start + _CHUNK] @ vectors.T).toarray()
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -1
        # by number where two are as near, so that the order is the same everywhere
        found[start : start + _CHUNK] = np.argsort(-likeness.round(4), axis=1, kind="stable")[:, :kept]
    return found


def partners(nearest: Integers, chosen: Integers, random: np.random.Generator) -> Integers:
    """`[m]` for each of the `chosen` texts another one of them, of like topic; every one is taken exactly once.

    In random order, each takes the nearest that is left. That no text is taken more often than another one matters:
    else a model could tell pairs by one of their texts alone.

    Args:
        nearest: as `neighbours` gives them.
        chosen: `[m]` two or more different numbers.
        random: where the order comes from.
    """
    free = np.zeros(len(nearest), bool)
    free[chosen] = True
    partner: dict[int, int] = {}
    for text in random.permutation(chosen):
        near = nearest[text][free[nearest[text]]]
        if len(near):
            other = int(near[0])
        else:
            left = np.flatnonzero(free)
            left = left[left != text]
            if not len(left):  # only the text itself is left: it takes what another one had, which takes it
                giver = next(iter(partner))
                partner[int(text)], partner[giver] = partner[giver], int(text)
                break
            other = int(random.choice(left))
        partner[int(text)] = other
        free[other] = False
    return np.array([partner[int(text)] for text in chosen])
