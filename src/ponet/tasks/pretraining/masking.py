"""Masked language modelling: which tokens are to be predicted, and what the model sees in their place (BERT)."""

import numpy as np

from ponet.tasks.pretraining.vocabulary import Vocabulary

IGNORED = -100
"""The label of a token that isn't to be predicted."""
MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens so many become [MASK], and so many another word; the rest stay."""


def mask_tokens(
    ids: np.ndarray,
    text: np.ndarray,
    vocabulary: Vocabulary,
    rate: float,
    whole_words: bool,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """What the model reads, and what it is to say.

    Args:
        ids: `[n]`.
        text: `[n]` bool, False at special tokens, which are never chosen.
        rate: the share of text tokens to choose; one at least.
        whole_words: choose words, with all their pieces, until so many tokens are chosen.

    Returns:
        `[n]` ids and `[n]` labels (`IGNORED` where nothing is to be said), both int64.
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
