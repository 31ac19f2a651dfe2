"""A block of documents to arrays: ids, and where sentences and documents begin."""

import numpy as np
import pytest
from tests.tasks.pretraining.corpora import PIECES, documents

from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.pretraining import encode
from ponet.tasks.pretraining.encode import Block, BlockEncoder, Document


@pytest.fixture
def tokenizer(tmp_path):
    made = PoNetTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)})
    made.save_pretrained(tmp_path / "tokenizer")
    return made


def encoded(tmp_path, *texts, split="train"):
    folder = tmp_path / "shards"
    folder.mkdir(exist_ok=True)
    encoder = BlockEncoder(tmp_path / "tokenizer" / "tokenizer.json", folder)
    number = len(list(folder.iterdir()))
    block = Block(number, [Document(text, split, index) for index, text in enumerate(texts)])
    shard, _ = encoder(block)
    arrays = {
        name: np.load(folder / shard.name / f"{split}.{name}.npy")
        for name in ("tokens", "sentences", "documents", "hashes")
    }
    return shard, arrays


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("batch", [100, 10**6])
def test_offsets(tmp_path, tokenizer, monkeypatch, batch):
    monkeypatch.setattr(encode, "BATCH_CHARACTERS", batch)
    texts = documents(9)
    shard, arrays = encoded(tmp_path, *texts)
    tokens, sentences, starts = arrays["tokens"], arrays["sentences"].astype(int), arrays["documents"].astype(int)
    assert len(starts) == 10
    for index, text in enumerate(texts):
        own = [tokens[sentences[s] : sentences[s + 1]].tolist() for s in range(starts[index], starts[index + 1])]
        title, *body = text.split("\n")
        said = [title, *(f"{part}." for line in body for part in line.rstrip(".").split(". "))]
        assert own == [ids(tokenizer, sentence) for sentence in said]
    assert arrays["hashes"].tolist() == list(range(9))
    assert sentences[-1] == len(tokens)
    counts = shard.splits["train"]
    assert (counts.documents, counts.paragraphs, counts.sentences) == (9, 36, 90)
    assert (counts.tokens, counts.bytes) == (len(tokens), sum(map(len, texts)))
    assert counts.unknown == 0


def test_special_tokens_in_a_text_are_text(tmp_path, tokenizer):
    _, arrays = encoded(tmp_path, "The king [SEP] the [MASK] sees. [CLS] the [PAD] ship.")
    special = {PIECES.index(token) for token in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")}
    assert not special & set(arrays["tokens"].tolist())


def test_what_is_left_out(tmp_path, tokenizer):
    shard, arrays = encoded(tmp_path, "", " \n\t ", "\x00\x01\u200b", "the", "the king", "the zebra.")
    assert shard.left_out == {"without_text": 3, "too_short": 1, "in_validation": 0}
    assert arrays["hashes"].tolist() == [4, 5]
    assert shard.splits["train"].unknown == 1
    assert arrays["sentences"].tolist() == [0, 2, 5]


def test_a_block_of_nothing(tmp_path, tokenizer):
    shard, arrays = encoded(tmp_path, "")
    assert shard.splits["train"].documents == 0
    assert [len(arrays[name]) for name in ("tokens", "sentences", "documents", "hashes")] == [0, 1, 1, 0]


@pytest.mark.parametrize(("size", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_ids_are_as_wide_as_the_vocabulary_needs(tmp_path, size, dtype):
    pieces = [*PIECES, *(f"x{i}" for i in range(size - len(PIECES)))]
    PoNetTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}).save_pretrained(tmp_path / "tokenizer")
    _, arrays = encoded(tmp_path, f"the {pieces[-1]}")
    assert arrays["tokens"].dtype == dtype
    assert arrays["tokens"].tolist() == [PIECES.index("the"), size - 1]
