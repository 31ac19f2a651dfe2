"""Passages: every token once, whole sentences where they fit, the same whoever asks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tasks.pretraining.stream_fixtures import (
    CLS,
    SEP,
    VOCABULARY,
    MemoryCorpus,
    random_shape,
    shapes,
    shard_arrays,
)

from ponet.config.distillation import SPECIAL_TOKENS
from ponet.tasks.distillation.passages import Passages, plan_passages
from ponet.tasks.pretraining.examples import Key


@settings(max_examples=60)
@given(shape=shapes, length=st.integers(3, 80), short=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 9))
def test_every_token_is_in_one_passage(shape, length, short, seed) -> None:
    arrays = shard_arrays(shape)
    plan = plan_passages(arrays, length, short, (seed,))
    assert plan.begin[0] == 0
    assert plan.end[-1] == arrays.sentences[-1]
    assert (plan.begin[1:] == plan.end[:-1]).all()
    assert (plan.lengths == plan.end - plan.begin + SPECIAL_TOKENS).all()
    assert (plan.lengths > SPECIAL_TOKENS).all()
    assert (plan.lengths <= length).all()
    ends = set(arrays.sentences.tolist())
    for begin, end, sentence in zip(plan.begin, plan.end, plan.sentence, strict=True):
        assert arrays.sentences[sentence] <= begin < arrays.sentences[sentence + 1]
        # what doesn't end with a sentence is as long as a passage may be
        assert end in ends or end - begin == length - SPECIAL_TOKENS
    starts = arrays.sentences[arrays.documents]
    for start in starts[1:-1]:  # no passage goes over the end of a document
        assert start in plan.begin


def test_short_passages_are_single_sentences_too() -> None:
    arrays = shard_arrays([[12] * 400])
    lengths = plan_passages(arrays, 200, 0.5, (3,)).lengths - SPECIAL_TOKENS
    assert 0.1 < (lengths == 12).mean() < 0.6
    assert lengths.max() == 192  # 16 sentences, of which one more wouldn't fit
    whole = plan_passages(arrays, 200, 0.0, (3,)).lengths - SPECIAL_TOKENS
    assert set(whole.tolist()) == {192}


def test_an_example_has_its_sentences_as_segments() -> None:
    corpus = MemoryCorpus([[[3, 4, 5], [6]], random_shape(5, seed=1)])
    passages = Passages(corpus, VOCABULARY, 0.0, seed=0)  # type: ignore[arg-type]
    example = passages[Key(100, 0, 0, 0)]
    tokens = corpus.shard(0).tokens[:12]
    assert example["input_ids"].tolist() == [CLS, *tokens.tolist(), SEP]
    assert example["segment_ids"].tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4]
    cut = passages[Key(7, 0, 0, 1)]  # begins with a sentence, and ends in the middle of another or with it
    assert cut["segment_ids"][0] == 0
    assert cut["segment_ids"][1] == 1
    assert np.diff(cut["segment_ids"]).max() == 1


@pytest.mark.parametrize("key", [Key(64, 0, 0, 3), Key(64, 2, 1, 0)])
def test_a_passage_is_a_function_of_its_key(key) -> None:
    made = [
        Passages(MemoryCorpus([random_shape(30, seed=1), random_shape(9, seed=2)]), VOCABULARY, 0.5, seed)[key]  # type: ignore[arg-type]
        for seed in (0, 0, 1)
    ]
    assert made[0]["input_ids"].tolist() == made[1]["input_ids"].tolist()
    plans = [
        Passages(MemoryCorpus([random_shape(30, seed=1)]), VOCABULARY, 0.5, 0).plan(64, epoch, 0).end.tolist()  # type: ignore[arg-type]
        for epoch in (0, 1)
    ]
    assert plans[0] != plans[1]
