"""PoNetTokenizer: BERT's tokenizer in everything but `segment_ids`, and those as the published code lays them out."""

import string

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    pipeline,
)

import ponet
from ponet.models.segmentation import paragraph_spans, sentence_spans
from ponet.models.tokenization_ponet import PoNetTokenizer

UNHURRIED = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])

CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *CHARACTERS,
    *(f"##{c}" for c in CHARACTERS[:36]),
    "hello",
    "the",
]
VOCABULARY = {piece: i for i, piece in enumerate(PIECES)}
TOKENIZER = PoNetTokenizer(vocab=VOCABULARY)
BERT = BertTokenizer(vocab=VOCABULARY)
TEXT = "Hello, you. How?  Fine!"
HELLO = [1, 1, 1, 1, 1]  # hello , y ##o ##u -- and the stop follows


def expected_ids(encoding, spans) -> list[int]:
    """Segment ids by the book, token by token: `spans` holds one list for each of the one or two texts."""
    ids, before, current = [], None, -1
    for source, (start, _), real in zip(encoding.sequence_ids, encoding.offsets, encoding.attention_mask, strict=True):
        if not real:
            ids.append(None)
            continue
        if source is None:
            where = object()  # a special token is a segment of its own
        else:
            where = (source, max(sum(begin <= start for begin, _ in spans[source]), 1))
        if before is None and source is not None:
            current = 0
        current += where != before
        before = where
        ids.append(current)
    return [current + 1 if i is None else i for i in ids]


words = st.sampled_from(
    ["hello", "the", "cat", "Mr.", "end.", "What?", "no!", "3.5", "...", "\n\n", "\u2603", '"Go."', ""]
)
texts = st.lists(words, max_size=14).map(" ".join)


@st.composite
def calls(draw, overflow: bool = False) -> dict:
    """Arguments of a call that BERT's tokenizer takes too."""
    batch = draw(st.lists(texts, min_size=1, max_size=3))
    # BERT's takes "" as no second text at all when it stands alone
    pairs = [draw(texts) or "a" for _ in batch] if draw(st.booleans()) else None
    if draw(st.booleans()):
        batch, pairs = batch[0], pairs and pairs[0]
    call = {"text": batch, "text_pair": pairs, "add_special_tokens": draw(st.booleans())}
    call["padding"] = draw(st.sampled_from([False, True, "max_length"]))
    call["padding_side"] = draw(st.sampled_from(["left", "right"]))
    call["max_length"] = draw(st.integers(5, 20))
    call["truncation"] = draw(st.sampled_from([True, "only_first", "longest_first"]))
    if overflow:
        call["truncation"] = "only_first"
        # the library panics where a stride leaves no tokens, which it may after a long second text
        call |= {"return_overflowing_tokens": True, "stride": 0 if pairs else draw(st.integers(0, 2))}
    for name in ("return_special_tokens_mask", "return_offsets_mapping", "return_length"):
        call[name] = draw(st.booleans())
    return call


def encode(tokenizer, call, side="right"):
    """The call's result, or the library's message where there is an error (no tokens left for the first text, ...)."""
    tokenizer.truncation_side = side
    try:
        return tokenizer(**call)
    except Exception as error:
        if "Truncation error" in str(error) or "Unable to create tensor" in str(error):
            return str(error)
        raise
    finally:
        tokenizer.truncation_side = "right"


def as_rows(output) -> list[list[int]]:
    rows = output["segment_ids"]
    return rows if len(output.encodings) > 1 or (rows and isinstance(rows[0], list)) else [rows]


@UNHURRIED
@given(calls() | calls(overflow=True), st.sampled_from(["left", "right"]), st.sampled_from([None, "np", "pt"]))
def test_everything_but_segment_ids_is_berts(call, side, tensors):
    call = {**call, "return_tensors": tensors}
    ours, theirs = encode(TOKENIZER, call, side), encode(BERT, call, side)
    if isinstance(theirs, str):
        assert ours == theirs
        return
    if tensors == "np" and theirs["input_ids"].dtype == object:
        return  # unpadded rows of different lengths, of which one is empty
    for name in theirs:
        assert type(ours[name]) is type(theirs[name])
        if tensors is None:
            assert ours[name] == theirs[name]
        else:
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].tolist() == theirs[name].tolist()
    assert set(ours) - set(theirs) == {"segment_ids"}
    assert [e.ids for e in ours.encodings] == [e.ids for e in theirs.encodings]
    if tensors is not None:
        assert ours["segment_ids"].shape == ours["input_ids"].shape


@UNHURRIED
@given(calls() | calls(overflow=True), st.sampled_from(["left", "right"]), st.sampled_from(["sentences", "paragraphs"]))
def test_ids_agree_with_the_spans_that_offsets_fall_in(call, side, segments):
    output = encode(TOKENIZER, {**call, "segments": segments}, side)
    assume(not isinstance(output, str))
    batch = [call["text"]] if isinstance(call["text"], str) else call["text"]
    pairs = [call["text_pair"]] if isinstance(call["text_pair"], str) else call["text_pair"] or [""] * len(batch)
    spans_of = sentence_spans if segments == "sentences" else paragraph_spans
    owners = output.get("overflow_to_sample_mapping", range(len(batch)))
    for encoding, owner, row in zip(output.encodings, owners, as_rows(output), strict=True):
        assert row == expected_ids(encoding, [spans_of(batch[owner]), spans_of(pairs[owner])])


@UNHURRIED
@given(calls() | calls(overflow=True), st.sampled_from(["left", "right"]), st.sampled_from(["sentences", "fixed"]))
def test_ids_are_contiguous_and_never_fall(call, side, segments):
    output = encode(TOKENIZER, {**call, "segments": segments, "segment_length": 2}, side)
    assume(not isinstance(output, str))
    for encoding, row in zip(output.encodings, as_rows(output), strict=True):
        real = [i for i, m in zip(row, encoding.attention_mask, strict=True) if m]
        first = 0 if call["add_special_tokens"] else 1
        assert real[:1] in ([first], [])
        assert set(np.diff(real)) <= {0, 1}
        last = max(real, default=-1)
        assert {i for i, m in zip(row, encoding.attention_mask, strict=True) if not m} <= {last + 1}
        special = [i for i, s in zip(row, encoding.sequence_ids, strict=True) if s is None]
        assert all(real.count(i) == 1 for i in special if i <= last)


@UNHURRIED
@given(st.lists(texts, min_size=1, max_size=4), st.booleans(), st.integers(6, 20))
def test_a_batch_is_its_texts_one_by_one_and_padding_changes_nothing(batch, paired, length):
    pairs = [text + " end." for text in reversed(batch)] if paired else None
    limits = {"truncation": True, "max_length": length}
    alone = [TOKENIZER(text, pairs[i] if pairs else None, **limits)["segment_ids"] for i, text in enumerate(batch)]
    assert TOKENIZER(batch, pairs, **limits)["segment_ids"] == alone
    for side in ("left", "right"):
        padded = TOKENIZER(batch, pairs, padding=True, padding_side=side, return_tensors="np", **limits)
        for row, mask, one in zip(padded["segment_ids"], padded["attention_mask"], alone, strict=True):
            assert row[mask == 1].tolist() == one
            assert set(row[mask == 0].tolist()) <= {one[-1] + 1}


def test_layout_of_one_text():
    output = TOKENIZER([TEXT], padding="max_length", max_length=18)
    ids = output["segment_ids"][0]
    assert output.encodings[0].tokens[:7] == ["[CLS]", "hello", ",", "y", "##o", "##u", "."]
    assert ids == [0, *HELLO, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 5]
    assert TOKENIZER(TEXT)["segment_ids"] == ids[:-1]
    assert TOKENIZER(TEXT, add_special_tokens=False)["segment_ids"] == ids[1:-2]


def test_layout_of_a_pair():
    output = TOKENIZER(["the end! the"], ["the. a! b"], padding="max_length", max_length=15, padding_side="left")
    tokens = ["[PAD]", "[CLS]", "the", "e", "##n", "##d", "!", "the", "[SEP]", "the", ".", "a", "!", "b", "[SEP]"]
    assert output.encodings[0].tokens == tokens
    assert output["segment_ids"] == [[8, 0, 1, 1, 1, 1, 1, 2, 3, 4, 4, 5, 5, 6, 7]]
    whole = TOKENIZER("the end! the", "the. a! b")["segment_ids"]
    assert TOKENIZER([("the end! the", "the. a! b")])["segment_ids"] == [whole]
    assert TOKENIZER("the a! the", "the. a", add_special_tokens=False)["segment_ids"] == [1, 1, 1, 2, 3, 3, 4]


def test_truncation_renumbers_what_is_left():
    tokenizer = PoNetTokenizer(vocab=VOCABULARY, truncation_side="left")
    assert tokenizer("a! b! c! d!", truncation=True, max_length=5)["segment_ids"] == [0, 1, 2, 2, 3]
    assert TOKENIZER("a b! c!", "a! b!", truncation="only_second", max_length=9)["segment_ids"] == [
        *(0, 1, 1, 1, 2, 2, 3),
        *(4, 5),
    ]
    windows = TOKENIZER(["a x! b! c!", "d!"], truncation=True, max_length=5, stride=1, return_overflowing_tokens=True)
    assert windows["overflow_to_sample_mapping"] == [0, 0, 0, 1]
    assert windows["segment_ids"] == [[0, 1, 1, 1, 2], [0, 1, 2, 2, 3], [0, 1, 2, 2, 3], [0, 1, 1, 2]]


def test_segments_of_a_fixed_length_count_tokens_of_each_text():
    assert TOKENIZER("a b! c d e", segments="fixed", segment_length=4)["segment_ids"] == [0, 1, 1, 1, 1, 2, 2, 3]
    ids = TOKENIZER("a b c", "d e f", segments="fixed", segment_length=2)["segment_ids"]
    assert ids == [0, 1, 1, 2, 3, 4, 4, 5, 6]
    tokenizer = PoNetTokenizer(vocab=VOCABULARY, segments="fixed", segment_length=1)
    assert tokenizer("a b")["segment_ids"] == [0, 1, 2, 3]
    assert tokenizer("a b", segment_length=2)["segment_ids"] == [0, 1, 1, 2]
    assert tokenizer("a! b", segments="sentences")["segment_ids"] == [0, 1, 1, 2, 3]


def test_no_segments():
    plain = BERT(["a! b", "c"], padding=True)
    assert TOKENIZER(["a! b", "c"], padding=True, segments=None) == plain
    tokenizer = PoNetTokenizer(vocab=VOCABULARY, segments=None)
    assert tokenizer(["a! b", "c"], padding=True) == plain
    assert "segment_ids" in tokenizer("a! b", segments="sentences")
    tokenizer = PoNetTokenizer(vocab=VOCABULARY, model_input_names=["input_ids", "attention_mask"])
    assert set(tokenizer("a! b")) == {"input_ids", "attention_mask"}


def test_given_spans():
    def ids(*texts, **options):
        return TOKENIZER(*texts, **options)["segment_ids"]

    # before the first span and between two: with the first, and with the one before
    assert ids("a b c d e", spans=[(2, 3), (6, 9)]) == [0, 1, 1, 1, 2, 2, 3]
    assert ids("a b", spans=[(0, 1), (2, 2)]) == [0, 1, 1, 2]  # an empty span is none
    assert ids("a b", spans=[]) == [0, 1, 1, 2]
    assert ids("a b", spans=[(0, 1), (1, 1), (1, 3)], segments=None) == [0, 1, 2, 3]
    assert ids(["a b", "c! d"], spans=[[(0, 1), (2, 3)], [(0, 4)]]) == [[0, 1, 2, 3], [0, 1, 1, 1, 2]]
    assert ids("a b", "c d", spans=([(0, 3)], [(0, 1), (2, 3)])) == [0, 1, 1, 2, 3, 4, 5]
    assert ids(["a b"], ["c d"], spans=[(np.array([[0, 3]]), [(0, 1), (2, 3)])]) == [[0, 1, 1, 2, 3, 4, 5]]
    assert ids("a b c", spans=[(0, 2), (2, 5)], truncation=True, max_length=3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 2), (1, 3)], "in order, disjoint"),
        ([(2, 3), (0, 1)], "in order, disjoint"),
        ([(0, 9)], "within their text of length 3"),
        ([(-1, 2)], "in order, disjoint"),
        ([(2, 1)], "in order, disjoint"),
        ([(0, 1, 2)], r"pairs \(start, end\)"),
        ([(0, 1), (2,)], r"pairs \(start, end\)"),
        (5, r"pairs \(start, end\)"),
        ([0, 1], r"pairs \(start, end\)"),
        ("ab", r"pairs \(start, end\)"),
        ([(0.5, 1)], r"pairs \(start, end\)"),
    ],
)
def test_spans_that_do_not_fit(spans, message):
    with pytest.raises(ValueError, match=message):
        TOKENIZER("a b", spans=spans)


def test_spans_for_another_number_of_texts():
    with pytest.raises(ValueError, match="one list a text"):
        TOKENIZER(["a b", "c"], spans=[[(0, 1)]])
    with pytest.raises(ValueError, match="tuple of two lists"):
        TOKENIZER("a b", "c", spans=[[(0, 1)]])


def test_words():
    words = ["the", "end", ".", "Hello", "you", "!", "no"]
    output = TOKENIZER([words], is_split_into_words=True)
    assert output["segment_ids"] == [[0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 4]]
    assert output["input_ids"] == BERT([words], is_split_into_words=True)["input_ids"]
    assert TOKENIZER(words, is_split_into_words=True)["segment_ids"] == output["segment_ids"][0]
    # a "word" may be a whole text
    assert TOKENIZER(["a! b!", "c"], is_split_into_words=True)["segment_ids"] == [0, 1, 1, 2, 2, 3, 4]
    pair = TOKENIZER([words], [["a", "!", "b"]], is_split_into_words=True)["segment_ids"][0]
    assert pair == [0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 4, 5, 5, 6, 7]
    assert TOKENIZER([(words, ["a", "!", "b"])], is_split_into_words=True)["segment_ids"][0] == pair
    # spans count words
    spans = TOKENIZER(words, is_split_into_words=True, spans=[(0, 2), (4, 7)])["segment_ids"]
    assert spans == [0, *[1] * 6, *[2] * 6, 3]
    assert TOKENIZER(words, is_split_into_words=True, segments="fixed", segment_length=6)["segment_ids"] == [
        *(0, *[1] * 6),
        *(*[2] * 6, 3),
    ]
    assert TOKENIZER([], is_split_into_words=True)["segment_ids"] == [0, 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_collators_pad_segment_ids(side):
    tokenizer = PoNetTokenizer(vocab=VOCABULARY, padding_side=side)
    rows = [tokenizer(text) for text in ("a! b! c", "a", "")]
    batch = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)(rows)
    straight = tokenizer(["a! b! c", "a", ""], padding="max_length", max_length=8, return_tensors="pt")
    assert batch["segment_ids"].shape == (3, 8)
    for name in straight:
        assert torch.equal(batch[name], straight[name]), name
    labelled = [{**row, "labels": [0] * len(row["input_ids"])} for row in rows]
    batch = DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=8)(labelled)
    assert torch.equal(batch["segment_ids"], straight["segment_ids"])
    batch = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5, pad_to_multiple_of=8)(rows)
    assert torch.equal(batch["segment_ids"], straight["segment_ids"])


def test_pad():
    row = TOKENIZER("a! b")
    short = {"input_ids": row["input_ids"], "segment_ids": row["segment_ids"]}  # no mask: every token is real
    once = TOKENIZER.pad(short, padding="max_length", max_length=7)
    assert once["segment_ids"] == [0, 1, 1, 2, 3, 4, 4]
    again = TOKENIZER.pad(once, padding="max_length", max_length=9)  # padded already: the same id goes on
    assert again["segment_ids"] == [0, 1, 1, 2, 3, 4, 4, 4, 4]
    left = TOKENIZER.pad([row, TOKENIZER("a")], padding_side="left", return_tensors="np")
    assert left["segment_ids"].tolist() == [[0, 1, 1, 2, 3], [3, 3, 0, 1, 2]]
    arrays = TOKENIZER.pad([{k: np.array(v) for k, v in TOKENIZER(t).items()} for t in ("a! b", "a")])
    assert arrays["segment_ids"].tolist() == [[0, 1, 1, 2, 3], [0, 1, 2, 3, 3]]
    assert TOKENIZER.pad(BERT("a! b"), padding="max_length", max_length=7).keys() == BERT("a! b").keys()
    assert TOKENIZER.pad(row, padding=False) == row


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"segments": "paragraphs"},
        {"segments": "fixed", "segment_length": 3},
        {"segments": None},
        {"do_lower_case": False, "padding_side": "left", "truncation_side": "left", "model_max_length": 9},
    ],
)
def test_saved_and_opened_again(tmp_path, options):
    tokenizer = PoNetTokenizer(vocab=VOCABULARY, **options)
    tokenizer.add_tokens(["Zorb"])
    texts = ["a! B\n\nc zorb Zorb! The end! the end! Hello", "x"]
    expected = tokenizer(texts, padding=True, truncation=True)
    tokenizer.save_pretrained(tmp_path)
    for opened in (PoNetTokenizer.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert type(opened) is PoNetTokenizer
        assert opened(texts, padding=True, truncation=True) == expected
        assert (opened.segments, opened.segment_length) == (tokenizer.segments, tokenizer.segment_length)
    # a keyword goes before what was saved, and what is set later is saved too
    opened = PoNetTokenizer.from_pretrained(tmp_path, segments="fixed", segment_length=1)
    assert opened("a b")["segment_ids"] == [0, 1, 2, 3]
    opened.segments = "sentences"
    opened.save_pretrained(tmp_path / "again")
    assert PoNetTokenizer.from_pretrained(tmp_path / "again").segments == "sentences"


def test_vocabulary_files(tmp_path):
    (written,) = TOKENIZER.save_vocabulary(str(tmp_path))
    assert written == str(tmp_path / "vocab.txt")
    for opened in (PoNetTokenizer(vocab=written), PoNetTokenizer.from_pretrained(tmp_path)):
        assert opened.get_vocab() == VOCABULARY
        assert opened(TEXT) == TOKENIZER(TEXT)
        assert opened.cls_token_id == 2
    # the folder of a published checkpoint: a config and a vocab.txt
    ponet.PoNetConfig(vocab_size=len(VOCABULARY)).save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path, do_lower_case=False)
    assert type(opened) is PoNetTokenizer
    assert opened.tokenize("Hello hello") == ["[UNK]", "hello"]


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match=r"tokenizer\.json or a vocab\.txt"):
        PoNetTokenizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="No vocabulary"):
        PoNetTokenizer()
    with pytest.raises(OSError, match="nowhere"):
        PoNetTokenizer(vocab=str(tmp_path / "nowhere.txt"))
    with pytest.raises(ValueError, match="'sentence' is unknown"):
        PoNetTokenizer(vocab=VOCABULARY, segments="sentence")
    with pytest.raises(ValueError, match="is unknown"):
        TOKENIZER("a", segments="words")
    with pytest.raises(ValueError, match="needs segment_length"):
        TOKENIZER("a", segments="fixed")
    for length in (0, -1, 2.5, True, "3"):
        with pytest.raises(ValueError, match="whole number"):
            TOKENIZER("a", segments="fixed", segment_length=length)


def test_tokens_with_a_meaning_of_their_own_belong_to_their_sentence():
    assert TOKENIZER("a [MASK]. b [SEP] c")["segment_ids"] == [0, 1, 1, 1, 2, 2, 2, 3]


def test_pipelines_hand_segment_ids_to_the_model():
    """Each pipeline, in batches, equals the model called with this tokenizer's output."""
    config = ponet.PoNetConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        cls_token_id=2,
        sep_token_id=3,
        initializer_range=0.5,
    )
    texts = ["a [MASK] b! hello you. the end", "no [MASK]. yes"]
    torch.manual_seed(0)

    model = ponet.PoNetForSequenceClassification(config).eval()
    found = pipeline("text-classification", model=model, tokenizer=TOKENIZER, batch_size=2)(texts, top_k=None)
    for text, scores in zip(texts, found, strict=True):
        wanted = model(**TOKENIZER(text, return_tensors="pt")).logits.softmax(-1)[0]
        blind = model(**TOKENIZER(text, return_tensors="pt", segments=None)).logits.softmax(-1)[0]
        got = {row["label"]: row["score"] for row in scores}
        assert [got["LABEL_0"], got["LABEL_1"]] == pytest.approx(wanted.tolist(), abs=1e-5)
        assert wanted.tolist() != pytest.approx(blind.tolist(), abs=1e-4)  # segments do matter here

    model = ponet.PoNetForMaskedLM(config).eval()
    found = pipeline("fill-mask", model=model, tokenizer=TOKENIZER, batch_size=2)(texts)
    for text, rows in zip(texts, found, strict=True):
        inputs = TOKENIZER(text, return_tensors="pt")
        logits = model(**inputs).logits[0, inputs["input_ids"][0].tolist().index(VOCABULARY["[MASK]"])]
        assert rows[0]["score"] == pytest.approx(logits.softmax(-1).max().item(), abs=1e-5)

    model = ponet.PoNetModel(config).eval()
    found = pipeline("feature-extraction", model=model, tokenizer=TOKENIZER)(texts)
    for text, rows in zip(texts, found, strict=True):
        wanted = model(**TOKENIZER(text, return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(torch.tensor(rows[0]), wanted, atol=1e-5, rtol=1e-4)

    model = ponet.PoNetForTokenClassification(config).eval()
    found = pipeline("token-classification", model=model, tokenizer=TOKENIZER, ignore_labels=[], batch_size=2)(texts)
    for text, rows in zip(texts, found, strict=True):
        wanted = model(**TOKENIZER(text, return_tensors="pt")).logits[0].softmax(-1).max(-1).values[1:-1]
        assert [row["score"] for row in rows] == pytest.approx(wanted.tolist(), abs=1e-5)


@pytest.mark.data
def test_the_published_vocabulary(data_dir):
    folder = data_dir / "bert-base-uncased"
    if not (folder / "vocab.txt").is_file():
        pytest.skip("no vocabulary of bert-base-uncased in the data folder")
    ours, theirs = PoNetTokenizer.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    text = 'Café "naïve" 東京 unaffable! It\'s \u200b 3.14% of J. Smith’s [MASK]…\n\nNext, \x00 the\x85 second: 🙂.'
    assert ours(text, "Another one.")["input_ids"] == theirs(text, "Another one.")["input_ids"]
    assert ours(text)["segment_ids"] == expected_ids(ours(text).encodings[0], [sentence_spans(text)])
    assert ours.convert_ids_to_tokens([101, 102, 103]) == ["[CLS]", "[SEP]", "[MASK]"]
    assert len(ours) == 30522


@pytest.mark.parametrize("pairs", [None, ["the hello", "", "you?"]])
def test_packed_is_the_rows_one_behind_the_other(pairs):
    texts = [TEXT, "", "the end of it. And more"]
    rows = TOKENIZER(texts, pairs, max_length=9, truncation=True)
    packed = TOKENIZER(texts, pairs, max_length=9, truncation=True, packed=True, padding=True, return_tensors="pt")
    assert set(packed) == {"input_ids", "token_type_ids", "segment_ids", "cu_seq_lens_q"}
    for name in ("input_ids", "token_type_ids", "segment_ids"):
        assert packed[name].tolist() == [[number for row in rows[name] for number in row]]
    assert packed["cu_seq_lens_q"].tolist() == np.cumsum([0, *map(len, rows["input_ids"])]).tolist()
    assert TOKENIZER(TEXT, packed=True)["input_ids"] == [TOKENIZER(TEXT)["input_ids"]]


def test_packed_texts_are_whole_where_the_limit_is_none():
    tokenizer = PoNetTokenizer(vocab=VOCABULARY, model_max_length=6)

    def tokens(**settings):
        return tokenizer([TEXT], packed=True, truncation="longest_first", **settings)["cu_seq_lens_q"][1]

    whole = len(TOKENIZER(TEXT)["input_ids"])
    assert (tokens(), tokens(whole_at=7), tokens(whole_at=6), tokens(whole_at=6, max_length=6)) == (6, 6, whole, 6)
    tokenizer.model_max_length = 8
    assert tokens(whole_at=6) == 8
