"""Masked words: how many, which, and what stands in their place."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponet.tasks.pretraining.examples import IGNORED, mask_tokens
from ponet.tasks.pretraining.vocabulary import Vocabulary

CLS, SEP, MASK, UNUSED = 90, 91, 7, 8
SIZE = 100
WORDS = np.array([index for index in range(SIZE) if index not in (CLS, SEP, MASK, UNUSED)])
CONTINUES = np.isin(np.arange(SIZE), np.arange(50, 90))
VOCABULARY = Vocabulary(SIZE, CLS, SEP, MASK, np.array([MASK, CLS, SEP]), WORDS, CONTINUES)


def row(generator: np.random.Generator, one: int, two: int) -> tuple[np.ndarray, np.ndarray]:
    """[CLS] A [SEP] B [SEP] with random words, and where the text is."""
    words = generator.choice(WORDS, one + two)
    ids = np.concatenate([[CLS], words[:one], [SEP], words[one:], [SEP]])
    text = np.ones(len(ids), dtype=bool)
    text[[0, one + 1, -1]] = False
    return ids, text


def words_of(ids: np.ndarray, text: np.ndarray) -> list[list[int]]:
    """Places of the words, found one token at a time."""
    found: list[list[int]] = []
    for place in range(len(ids)):
        if not text[place]:
            continue
        if found and found[-1][-1] == place - 1 and CONTINUES[ids[place]]:
            found[-1].append(place)
        else:
            found.append([place])
    return found


rows = st.tuples(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40))
rates = st.floats(0.001, 0.999)


@settings(max_examples=60)
@given(rows, rates, st.booleans())
def test_labels_say_what_was_there(what: tuple[int, int, int], rate: float, whole_words: bool) -> None:
    generator = np.random.default_rng(what[0])
    ids, text = row(generator, what[1], what[2])
    before = ids.copy()
    seen, labels = mask_tokens(ids, text, VOCABULARY, rate, whole_words, generator)
    np.testing.assert_array_equal(ids, before)
    assert seen.dtype == labels.dtype == np.int64
    assert seen.shape == labels.shape == ids.shape
    chosen = labels != IGNORED
    assert chosen.sum() >= 1
    assert not chosen[~text].any(), "no special token is to be predicted"
    np.testing.assert_array_equal(labels[chosen], ids[chosen])
    np.testing.assert_array_equal(seen[~chosen], ids[~chosen])
    assert np.isin(seen[chosen], [*WORDS, MASK]).all(), "replaced by a word, never by a special or a free piece"
    if not whole_words:
        assert chosen.sum() == max(1, round(rate * text.sum()))


@settings(max_examples=60)
@given(rows, rates)
def test_whole_words(what: tuple[int, int, int], rate: float) -> None:
    generator = np.random.default_rng(what[0])
    ids, text = row(generator, what[1], what[2])
    _, labels = mask_tokens(ids, text, VOCABULARY, rate, True, generator)
    chosen = labels != IGNORED
    words = words_of(ids, text)
    taken = [word for word in words if chosen[word].any()]
    assert all(chosen[word].all() for word in taken)
    wanted = max(1, round(rate * text.sum()))
    assert chosen.sum() <= wanted or len(taken) == 1
    if chosen.sum() < wanted:  # then no other word would fit
        assert min((len(word) for word in words if not chosen[word].any()), default=SIZE) > wanted - chosen.sum()


def test_a_word_begins_behind_a_special_token() -> None:
    """A piece that goes on with a word, first in its span after a cut, is no part of what the other span ends with."""
    ids = np.array([CLS, 60, SEP, 61, SEP])
    text = np.array([False, True, False, True, False])
    for seed in range(20):
        _, labels = mask_tokens(ids, text, VOCABULARY, 0.5, True, np.random.default_rng(seed))
        assert (labels != IGNORED).sum() == 1


@pytest.mark.parametrize("whole_words", [False, True])
def test_rate_and_fates(whole_words: bool) -> None:
    generator = np.random.default_rng(0)
    tokens = masked = same = other = 0
    for _ in range(400):
        ids, text = row(generator, 60, 40)
        seen, labels = mask_tokens(ids, text, VOCABULARY, 0.15, whole_words, generator)
        chosen = labels != IGNORED
        tokens += int(chosen.sum())
        masked += int((seen[chosen] == MASK).sum())
        same += int((seen[chosen] == ids[chosen]).sum())
        other += int(((seen != ids) & (seen != MASK)).sum())
    assert tokens == masked + same + other
    assert tokens == 400 * 15 if not whole_words else 0.97 * 400 * 15 <= tokens <= 400 * 15
    by_chance = 0.1 / len(WORDS)  # another word that happens to be the same
    for count, share in ((masked, 0.8), (other, 0.1 - by_chance), (same, 0.1 + by_chance)):
        assert abs(count / tokens - share) < 5 * math.sqrt(share * (1 - share) / tokens)


def test_every_place_and_every_word_alike() -> None:
    generator = np.random.default_rng(0)
    ids, text = row(generator, 12, 8)
    places = np.zeros(len(ids))
    words = np.zeros(SIZE)
    for _ in range(6000):
        seen, labels = mask_tokens(ids, text, VOCABULARY, 0.15, False, generator)
        places += labels != IGNORED
        words += np.bincount(seen[(seen != ids) & (seen != MASK)], minlength=SIZE)
    expected = 6000 * 3 / 20
    assert (np.abs(places[text] - expected) < 5 * math.sqrt(expected)).all()
    rest = np.setdiff1d(WORDS, ids)
    mean = words[rest].mean()
    assert mean > 10
    assert (np.abs(words[rest] - mean) < 6 * math.sqrt(mean)).all()
    assert words[[CLS, SEP, MASK, UNUSED]].sum() == 0


def test_the_generator_decides() -> None:
    ids, text = row(np.random.default_rng(1), 30, 30)
    for whole_words in (False, True):
        one, again, other = (
            mask_tokens(ids, text, VOCABULARY, 0.15, whole_words, np.random.default_rng(seed)) for seed in (2, 2, 3)
        )
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one[1], other[1])
