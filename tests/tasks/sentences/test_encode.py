"""Texts as tokens with their sentences, and batches of them in windows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ponet import PoNetForSentenceScoring, checkpoint
from ponet.tasks.models import open_tokenizer
from ponet.tasks.sentences.encode import INPUTS, SentenceCollator, SentenceEncoder, plan_windows, split_sentences

TEXT = "The river rose in spring. \u200b\u200e. A long walk, and then a longer one! And home."


@pytest.fixture(scope="module")
def tokenizer():
    return open_tokenizer(checkpoint("ponet-tiny"))


def encode(tokenizer, text, longest=None):
    return SentenceEncoder(tokenizer, longest)([text], [split_sentences(text)])[0]


def test_tokens_know_their_sentence(tokenizer) -> None:
    encoded = encode(tokenizer, TEXT)
    whole = tokenizer(TEXT)["input_ids"]
    assert encoded.input_ids.tolist() == whole
    assert encoded.sentence_ids[[0, -1]].tolist() == [-1, -1]
    for sentence, (start, end) in enumerate(encoded.spans):
        ids = encoded.input_ids[encoded.sentence_ids == sentence]
        assert ids.tolist() == tokenizer(TEXT[start:end], add_special_tokens=False)["input_ids"]
    assert encoded.counts.sum() == len(whole) - 2


def test_a_sentence_without_tokens_is_left_out(tokenizer) -> None:
    text = "One river.\n\n\x01\x02\n\nTwo hills."
    encoded = encode(tokenizer, text)
    assert [text[start:end] for start, end in encoded.spans] == ["One river.", "Two hills."]
    assert encoded.kept.tolist() == [0, 2]
    assert encode(tokenizer, " \n").spans == []


def test_long_sentences_are_cut_between_words(tokenizer) -> None:
    encoded = encode(tokenizer, TEXT, longest=4)
    assert encoded.counts.max() <= 4
    for (_, end), (start, _) in zip(encoded.spans, encoded.spans[1:], strict=False):
        assert end <= start
        assert end == start or TEXT[end:start].isspace()
        assert not (TEXT[start - 1].isalpha() and TEXT[start].isalpha())
    assert encode(tokenizer, "unbelievabilities" * 3, longest=1).counts.max() == 1


def test_cut_keeps_whole_sentences(tokenizer) -> None:
    encoded = encode(tokenizer, TEXT)
    first = int(encoded.counts[0])
    assert encoded.cut(first + 2).spans == encoded.spans[:1]
    assert encoded.cut(4).counts.tolist() == [2]
    assert encoded.cut(1000) is encoded


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(1, 30), st.floats(0, 0.9))
def test_each_sentence_is_scored_in_one_window(counts, room, overlap) -> None:
    windows = plan_windows(np.array(counts), room, overlap)
    assert [i for window in windows for i in range(window.first, window.last)] == list(range(len(counts)))
    for window in windows:
        assert window.begin <= window.first <= window.last <= window.end
        assert sum(counts[window.begin : window.end]) <= room or window.end - window.begin == 1


def test_windows_give_a_score_for_each_sentence(tokenizer, sentence_model) -> None:
    model = PoNetForSentenceScoring.from_pretrained(sentence_model, repeat_positions=True).eval()
    texts = ["The mill stood by the river. " * 9, "A short one. And more.", ""]
    examples = []
    for text in texts:
        encoded = encode(tokenizer, text)
        examples.append({"input_ids": encoded.input_ids, "sentence_ids": encoded.sentence_ids})
    for window in (None, 24, 5):
        batch = SentenceCollator(window, 0.5)(examples)
        assert batch["cu_seqlens"].diff().max() <= (window or 1000)
        logits = model(**{name: batch[name] for name in INPUTS}).logits
        assert logits[batch["owned"]].shape == (11,)
        assert batch["cu_sentences"].tolist() == [0, 9, 11, 11]
        alone = SentenceCollator(window, 0.5)(examples[1:2])
        expected = model(**{name: alone[name] for name in INPUTS}).logits[alone["owned"]]
        torch.testing.assert_close(logits[batch["owned"]][9:], expected, rtol=1e-4, atol=1e-5)
