"""Summaries: the best sentences in text order, without repetitions."""

import numpy as np
import pytest

import ponet
from ponet.summarizing import Summarizer, choose
from ponet.utils.errors import PoNetError

TEXT = "The mill stood by the river. It was old! Who built it? Nobody knew. A train came through the valley. It left."


def test_the_best_sentences_in_text_order(sentence_model) -> None:
    [chosen] = ponet.summarize([TEXT], sentence_model, sentences=3)
    assert len(chosen) == 3
    assert [each.start for each in chosen] == sorted(each.start for each in chosen)
    assert all(each.text == TEXT[each.start : each.end] for each in chosen)
    [everything] = ponet.summarize([TEXT], sentence_model, ratio=1.0)
    assert len(everything) == 6
    best = sorted(everything, key=lambda each: -each.score)[:3]
    assert sorted(each.start for each in best) == [each.start for each in chosen]
    assert [len(each) for each in ponet.summarize([TEXT, "", "One", " "], sentence_model, ratio=0.1)] == [1, 0, 1, 0]


def test_repetitions_are_left_out() -> None:
    sentences = ["The old mill burned down.", "Yes, the old mill burned.", "It rained.", "The old song."]
    scores = np.array([0.9, 0.8, 0.1, 0.7])
    assert choose(scores, sentences, 2) == [0, 3]
    assert choose(scores, sentences, 2, blocking=False) == [0, 1]
    assert choose(scores, sentences, 9) == [0, 2, 3]


def test_one_sentence_for_bad_calls(sentence_model) -> None:
    with pytest.raises(PoNetError, match="list of texts"):
        ponet.summarize("text")
    for options in ({"sentences": 0}, {"ratio": 0.0}, {"ratio": 1.5}, {"sentences": 1, "ratio": 0.5}):
        with pytest.raises(PoNetError):
            Summarizer(sentence_model, **options)
