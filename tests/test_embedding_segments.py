"""Vectors of a text and of its segments, from one pass."""

import numpy as np
import pytest
import torch

import ponet
from ponet.embedding import Embedder
from ponet.utils.errors import PoNetError

TEXT = "The river rose in spring. A long walk, and then a longer one! Then home."
TEXTS = [TEXT, "", "One sentence"]


def test_sentences_have_vectors_beside_the_whole() -> None:
    found = ponet.embed(TEXTS, segments=True)
    np.testing.assert_allclose(np.stack([each.vector for each in found]), ponet.embed(TEXTS), atol=1e-5)
    assert [[TEXT[start:end] for start, end in each.spans] for each in found[:1]] == [
        ["The river rose in spring.", "A long walk, and then a longer one!", "Then home."]
    ]
    assert [each.segments.shape[0] for each in found] == [3, 0, 1]
    np.testing.assert_allclose(np.linalg.norm(found[0].segments, axis=1), 1, atol=1e-5)


def test_a_segment_is_the_mean_of_its_tokens() -> None:
    embedder = Embedder(normalize=False)
    [whole] = embedder.stream_segments([TEXT], [[(0, len(TEXT))]])
    inputs = embedder.tokenizer(TEXT, return_tensors="pt")
    tokens = inputs["input_ids"].shape[1]
    with torch.inference_mode():
        states = embedder.model(**inputs).last_hidden_state[0, 1:-1]
    np.testing.assert_allclose(whole.segments[0], states.mean(0), atol=1e-5)
    [edges] = embedder.stream_segments([TEXT], [[(0, 25), (26, 61), (62, len(TEXT))]])
    sizes = [len(embedder.tokenizer(TEXT[a:b])["input_ids"]) - 2 for a, b in edges.spans]
    assert sum(sizes) == tokens - 2
    np.testing.assert_allclose(np.average(edges.segments, axis=0, weights=sizes), whole.segments[0], atol=1e-5)


def test_segments_may_leave_text_out_and_hold_no_words() -> None:
    [found] = ponet.embed([TEXT], segments=[[(4, 9), (25, 26), (62, 66)]])
    assert found.spans == [(4, 9), (62, 66)]
    assert found.segments.shape[0] == 2
    chunks = [(0, 25), (25, len(TEXT))]
    assert ponet.embed([TEXT], segments=[chunks])[0].spans == chunks


def test_one_sentence_for_spans_that_do_not_fit() -> None:
    for spans in ([[(5, 2)]], [[(0, 999)]], [[(4, 9), (6, 12)]]):
        with pytest.raises(PoNetError, match="in order, disjoint"):
            ponet.embed([TEXT], segments=spans)
    with pytest.raises(PoNetError, match="one a text"):
        ponet.embed([TEXT, TEXT], segments=[[(0, 4)]])
    with pytest.raises(PoNetError, match="whole text"):
        list(Embedder(max_length=8).stream_segments([TEXT]))
