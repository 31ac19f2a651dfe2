"""Prepared data opened: what is in it, and how each way in which it can be broken is told."""

import itertools
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.pretraining.stream_fixtures import made_up_texts, write_texts

from ponet.tasks.pretraining.prepare import prepare
from ponet.tasks.pretraining.shards import TokenCorpus
from ponet.utils.errors import PoNetError


def a_file(folder: Path, name: str = "train.tokens.npy") -> Path:
    return sorted((folder / "shards").glob(f"*/{name}"))[1]


def test_the_text_is_in_it(data: Path) -> None:
    """Every document of the corpus, in either split, is what the tokenizer makes of its text."""
    found: list[list[int]] = []
    for split in ("train", "validation"):
        corpus = TokenCorpus(data, split)
        counts = corpus.manifest.splits[split]
        assert (corpus.documents, corpus.tokens) == (counts.documents, counts.tokens)
        documents = tokens = 0
        for index in range(len(corpus)):
            arrays = corpus.shard(index)
            assert isinstance(arrays.tokens, np.memmap), "tokens stay on disk"
            assert arrays.sentences.dtype == arrays.documents.dtype == np.int64
            assert arrays.sentences[-1] == len(arrays.tokens)
            assert arrays.documents[-1] == len(arrays.sentences) - 1
            assert (np.diff(arrays.sentences) > 0).all()
            assert (np.diff(arrays.documents) > 0).all()
            documents += len(arrays.documents) - 1
            tokens += len(arrays.tokens)
            ends = arrays.sentences[arrays.documents]
            found += [arrays.tokens[start:end].tolist() for start, end in itertools.pairwise(ends)]
        assert (documents, tokens) == (corpus.documents, corpus.tokens)
    tokenizer = TokenCorpus(data).tokenizer()
    expected = tokenizer(made_up_texts(), add_special_tokens=False)["input_ids"]
    assert sorted(found) == sorted(expected)


def test_a_pickled_corpus_opens_its_own_files(data: Path) -> None:
    corpus = TokenCorpus(data)
    tokens = corpus.shard(1).tokens
    again = pickle.loads(pickle.dumps(corpus))
    assert again._open == {}
    assert again.digest() == corpus.digest()
    np.testing.assert_array_equal(again.shard(1).tokens, tokens)


def test_the_digest_is_of_the_content(data: Path, copy: Path, tmp_path: Path) -> None:
    digest = TokenCorpus(data).digest()
    assert TokenCorpus(copy).digest() == digest
    assert TokenCorpus(data, "validation").digest() != digest
    corpus = write_texts(tmp_path / "other.jsonl", made_up_texts(seed=1))
    prepare([str(corpus)], tmp_path / "other", tokenizer=str(data / "tokenizer"), processes=1, validation_fraction=0)
    other = TokenCorpus(tmp_path / "other")
    assert other.digest() != digest
    assert other.manifest.tokenizer == TokenCorpus(data).manifest.tokenizer
    assert TokenCorpus(tmp_path / "other", "validation").tokens == 0
    turned = write_texts(tmp_path / "turned.jsonl", made_up_texts(seed=1)[::-1])
    prepare([str(turned)], tmp_path / "turned", tokenizer=str(data / "tokenizer"), processes=1, validation_fraction=0)
    sizes = [
        [facts["bytes"] for shard in TokenCorpus(folder).shards for _, facts in sorted(shard.files.items())]
        for folder in (tmp_path / "other", tmp_path / "turned")
    ]
    assert sizes[0] == sizes[1]
    assert TokenCorpus(tmp_path / "turned").digest() != other.digest(), "the same documents in another order"


def test_a_shard_that_is_cut_off_is_named(copy: Path) -> None:
    file = a_file(copy)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(PoNetError) as error:
        TokenCorpus(copy)
    for said in (str(file.parent), "train.tokens.npy", "is damaged", "prepare the data again"):
        assert said in str(error.value)
    TokenCorpus(copy, "validation")


def test_a_changed_byte_is_seen_by_the_checksum(copy: Path) -> None:
    file = a_file(copy, "train.sentences.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    TokenCorpus(copy)  # of the same size
    with pytest.raises(PoNetError, match=f"'{file.parent}' is damaged: 'train.sentences.npy'"):
        TokenCorpus(copy, contents=True)


def test_a_missing_shard_is_named(copy: Path) -> None:
    shard = a_file(copy).parent
    shutil.rmtree(shard)
    with pytest.raises(PoNetError, match=f"The shard '{shard}' is damaged: .* is missing"):
        TokenCorpus(copy)


def test_what_isn_t_an_array_is_told(copy: Path) -> None:
    file = a_file(copy, "train.documents.npy")
    file.write_bytes(b"\0" * file.stat().st_size)
    corpus = TokenCorpus(copy)
    with pytest.raises(PoNetError, match=f"The shard '{file.parent}' is damaged"):
        [corpus.shard(index) for index in range(len(corpus))]


def test_a_file_that_vanishes_is_told(copy: Path) -> None:
    corpus = TokenCorpus(copy)
    shutil.rmtree(copy / "shards")
    with pytest.raises(PoNetError, match="shards"):
        corpus.shard(0)


@pytest.mark.parametrize("prepared", [False, True])
def test_no_data(prepared: bool, copy: Path, tmp_path: Path) -> None:
    if prepared:
        (copy / "manifest.json").unlink()
        with pytest.raises(PoNetError, match="isn't complete: prepare it again"):
            TokenCorpus(copy)
    else:
        with pytest.raises(PoNetError, match="holds no pre-training data: `ponet pretrain prepare` makes it"):
            TokenCorpus(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "isn't the manifest of pre-training data"),
        ({"version": 99}, "has version 99"),
        ({"shards": [{"name": "000000"}]}, "is incomplete: prepare the data again"),
    ],
)
def test_a_manifest_of_something_else(change: dict[str, object], said: str, copy: Path) -> None:
    file = copy / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(PoNetError, match=said):
        TokenCorpus(copy)


def test_another_tokenizer_in_the_folder(copy: Path, tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "other.jsonl", made_up_texts(60, seed=1))
    prepare([str(corpus)], tmp_path / "other", vocab_size=200, processes=1)
    shutil.rmtree(copy / "tokenizer")
    shutil.copytree(tmp_path / "other" / "tokenizer", copy / "tokenizer")
    with pytest.raises(PoNetError, match="isn't the one that the data was made with"):
        TokenCorpus(copy).tokenizer()
