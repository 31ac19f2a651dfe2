"""Tokens, segments and cuts, recounted independently."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponet.config.text import TextOptions
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.models import cut_lengths
from ponet.tasks.text import encode
from ponet.tasks.text.corpus import Documents
from ponet.tasks.text.encode import CutCounts, Encoder, cut_documents, encode_documents, kept_range

TEXTS = [
    "A wonderful film. " * 12,
    "great fun",
    "",
    "I loved it. Superb! Bright and warm. Every minute.",
    "what a waste " * 30,
]
PAIRS = ["dull and cold. " * 3, "awful " * 40, "", "a", "great fun. " * 20]


def documents(texts: list[str], pairs: list[str] | None = None) -> Documents:
    made = None if pairs is None else pa.chunked_array([pa.array(pairs, pa.large_string())])
    return Documents(pa.chunked_array([pa.array(texts, pa.large_string())]), made, np.arange(len(texts)), "here")


def naive_cut(ids: list[int], types: list[int], length: int, keep: str) -> list[int]:
    """Token by token, as one would by hand: which ids stay."""
    first = [i for i, kind in zip(ids, types, strict=True) if kind == 0][1:-1]
    second = [i for i, kind in zip(ids, types, strict=True) if kind == 1][:-1]
    is_pair = 1 in types
    wanted = [len(first), len(second)]
    while sum(wanted) + (3 if is_pair else 2) > length:
        wanted[0 if wanted[0] > wanted[1] or (wanted[0] == wanted[1] and sum(wanted) % 2 == 0) else 1] -= 1
    parts = []
    for part, size in zip((first, second), wanted, strict=True):
        gone = len(part) - size
        if keep == "head":
            parts.append(part[:size])
        elif keep == "tail":
            parts.append(part[gone:])
        else:
            head = size - size // 2
            parts.append(part[:head] + part[head + gone :])
    cls, sep = ids[0], ids[-1]
    return [cls, *parts[0], sep, *([*parts[1], sep] if is_pair else [])]


@pytest.mark.parametrize("keep", ["head", "tail", "both"])
@pytest.mark.parametrize("pairs", [None, PAIRS])
@pytest.mark.parametrize("segments", ["sentences", "paragraphs", "fixed", "none"])
def test_cuts_and_their_counts_agree_with_a_count_by_hand(
    tokenizer: PoNetTokenizer, keep: Any, pairs: list[str] | None, segments: Any
) -> None:
    options = TextOptions(max_length=20, keep=keep, segments=segments, segment_length=6)
    split, counts = encode_documents(documents(TEXTS, pairs), tokenizer, options, "train")
    whole = tokenizer(TEXTS, pairs, truncation=False)
    expected = CutCounts(texts=len(TEXTS))
    for row, (ids, types) in enumerate(zip(whole["input_ids"], whole["token_type_ids"], strict=True)):
        by_hand = naive_cut(ids, types, 20, keep)
        assert split.examples[row]["input_ids"].tolist() == by_hand
        assert split.lengths[row] == len(by_hand)
        expected.tokens += len(ids)
        expected.dropped += len(ids) - len(by_hand)
        expected.cut += len(ids) > 20
    assert counts == expected
    assert counts.cut > 0
    for example in split.examples:
        check_segments(example, tokenizer)


def check_segments(example: Any, tokenizer: PoNetTokenizer) -> None:
    """Ids without gaps, never falling, [CLS] and [SEP] alone in theirs; types 0 then 1."""
    ids, segment = example["input_ids"], example["segment_ids"]
    assert len(ids) == len(segment) == len(example["token_type_ids"])
    steps = np.diff(segment)
    assert segment[0] == 0
    assert set(steps.tolist()) <= {0, 1}
    for position in np.flatnonzero((ids == tokenizer.cls_token_id) | (ids == tokenizer.sep_token_id)):
        assert np.count_nonzero(segment == segment[position]) == 1
    assert (np.diff(example["token_type_ids"].astype(int)) >= 0).all()


@pytest.mark.parametrize("segments", ["sentences", "paragraphs", "fixed"])
@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_keeping_the_head_is_what_the_tokenizer_s_own_truncation_does(
    tokenizer: PoNetTokenizer, segments: Any, pairs: list[str] | None
) -> None:
    options = TextOptions(max_length=21, segments=segments, segment_length=6)
    encoded = Encoder(tokenizer, options)(TEXTS, pairs)
    theirs = tokenizer(TEXTS, pairs, truncation=True, max_length=21, segments=segments, segment_length=6)
    for ours, ids, segment in zip(encoded, theirs["input_ids"], theirs["segment_ids"], strict=True):
        assert ours.input_ids.tolist() == ids
        assert ours.segment_ids.tolist() == segment


def test_undivided_texts_are_one_segment_each(tokenizer: PoNetTokenizer) -> None:
    encoder = Encoder(tokenizer, TextOptions(segments="none"))
    one = encoder(["great fun. awful"])[0]
    assert one.segment_ids.tolist() == [0, *[1] * (len(one.segment_ids) - 2), 2]
    two = encoder(["great fun"], ["awful"])[0]
    assert sorted(set(two.segment_ids.tolist())) == [0, 1, 2, 3, 4]
    assert encoder([""])[0].segment_ids.tolist() == [0, 1]
    assert encoder([""], [""])[0].segment_ids.tolist() == [0, 1, 2]


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 70))
def test_the_longer_text_is_cut_first(first: int, second: int, budget: int) -> None:
    a, b = cut_lengths(first, second, budget)
    assert a <= first
    assert b <= second
    assert a + b == min(first + second, budget)
    if first + second > budget:
        assert a == first or b == second or abs(a - b) <= 1
        assert a == first or a >= b - 1  # what was cut is no shorter than what wasn't
        assert b == second or b >= a


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from(["head", "tail", "both"]))
def test_kept_positions_are_in_order_and_from_the_right_end(length: int, kept: int, keep: str) -> None:
    kept = min(length, kept)
    positions = kept_range(length, kept, keep)
    assert len(positions) == kept
    assert (np.diff(positions) > 0).all()
    if kept and keep in ("head", "both"):
        assert positions[0] == 0
    if kept > 1 and keep in ("tail", "both"):
        assert positions[-1] == length - 1


def test_the_notice_gives_counts_and_shares() -> None:
    counts = CutCounts(texts=25_000, cut=312, tokens=10_000, dropped=410)
    assert counts.notice("train", TextOptions(max_length=2048)) == (
        "312 of 25,000 train texts (1.2%) are longer than 2,048 tokens: cut at the tail, 4.1% of all tokens dropped."
    )
    assert "cut at the head" in str(counts.notice("train", TextOptions(keep="tail")))
    assert "cut in the middle" in str(counts.notice("train", TextOptions(keep="both")))
    assert CutCounts(texts=5, tokens=9).notice("train", TextOptions()) is None
    assert counts.facts() == {"tokens": 9590, "texts_cut": 312, "tokens_dropped": 410}


def test_the_store_is_flat_and_gives_views(tokenizer: PoNetTokenizer) -> None:
    split, _ = encode_documents(documents(TEXTS), tokenizer, TextOptions(), "train")
    store: Any = split.examples
    total = int(split.lengths.sum())
    assert store.input_ids.nbytes + store.segment_ids.nbytes + store.token_type_ids.nbytes == 9 * total
    assert np.shares_memory(store[1]["input_ids"], store.input_ids)
    assert store[-1]["labels"] == 4
    assert [len(example["input_ids"]) for example in store] == split.lengths.tolist()
    assert [example["labels"] for example in store[1:3]] == [1, 2]
    with pytest.raises(IndexError):
        store[5]


@pytest.mark.parametrize("characters", [1, 30, 10_000])
def test_batches_change_nothing(tokenizer: PoNetTokenizer, monkeypatch: pytest.MonkeyPatch, characters: int) -> None:
    expected, _ = encode_documents(documents(TEXTS, PAIRS), tokenizer, TextOptions(), "train")
    monkeypatch.setattr(encode, "BATCH_CHARACTERS", characters)
    monkeypatch.setattr(encode, "BATCH_TEXTS", 2)
    split, _ = encode_documents(documents(TEXTS, PAIRS), tokenizer, TextOptions(), "train")
    for one, other in zip(expected.examples, split.examples, strict=True):
        assert one["input_ids"].tolist() == other["input_ids"].tolist()
        assert one["segment_ids"].tolist() == other["segment_ids"].tolist()


@pytest.mark.parametrize("keep", ["head", "tail", "both"])
@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_cut_texts_hold_just_the_kept_tokens(tokenizer: PoNetTokenizer, keep: Any, pairs: list[str] | None) -> None:
    options = TextOptions(max_length=20, keep=keep)
    made = documents([text.title() for text in TEXTS], pairs)
    split, counts = encode_documents(made, tokenizer, options, "train")
    cut, cut_counts = cut_documents(made, tokenizer, options, "train")
    assert cut_counts == counts
    again = tokenizer(cut.texts.to_pylist(), None if cut.pairs is None else cut.pairs.to_pylist(), truncation=False)
    words = [tokenizer.decode(ids).replace(" ##", "") for ids in again["input_ids"]]
    expected = [tokenizer.decode(example["input_ids"]).replace(" ##", "") for example in split.examples]
    # A word cut within is spelt by other pieces; the characters are the same.
    assert [word.replace(" ", "").replace("##", "") for word in words] == [
        word.replace(" ", "").replace("##", "") for word in expected
    ]
    assert cut.texts.to_pylist()[1] == "Great Fun"


@pytest.mark.parametrize("megabytes", [0.2, pytest.param(5, marks=pytest.mark.slow)])
def test_a_text_of_megabytes_is_encoded(tokenizer: PoNetTokenizer, megabytes: float) -> None:
    words = round(megabytes * 2**20) // 10
    text = "wonderful " * words  # on one line
    split, counts = encode_documents(documents([text]), tokenizer, TextOptions(max_length=100, keep="both"), "train")
    assert split.lengths.tolist() == [100]
    assert counts.tokens >= words + 2
    assert counts.dropped == counts.tokens - 100
