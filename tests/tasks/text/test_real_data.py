"""The real sets, where they are: the counts that their publishers give, and a cut recounted."""

from pathlib import Path
from typing import Any

import pytest

from ponet.config.text import TextOptions
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.text.corpus import load_corpus
from ponet.tasks.text.encode import encode_documents

pytestmark = pytest.mark.data


@pytest.fixture
def _here(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONET_DATA", str(data_dir))


def rows(corpus: Any) -> dict[str, int]:
    return {name: len(documents) for name, documents in corpus.splits.items()}


@pytest.mark.usefixtures("_here")
def test_hyperpartisan_news_repeats_most_of_its_test_rows_in_training() -> None:
    corpus = load_corpus(TextOptions(path="hnd"))
    assert rows(corpus) == {"train": 516, "validation": 64, "test": 65}
    assert corpus.space.names == ("false", "true")
    assert corpus.facts["splits"]["test"]["also_in_training"] == 51
    clean = load_corpus(TextOptions(path="hnd", overlap="drop"))
    assert not set(clean.splits["train"].texts.to_pylist()) & set(clean.splits["test"].texts.to_pylist())
    assert rows(clean)["test"] == 65


@pytest.mark.usefixtures("_here")
def test_hyperpartisan_news_is_cut_as_counted_with_the_plain_tokenizer(data_dir: Path) -> None:
    from transformers import BertTokenizer

    options = TextOptions(path="hnd", max_length=256, limit_train=2, limit_test=1)
    documents = load_corpus(options).splits["validation"]
    tokenizer = PoNetTokenizer(vocab=str(data_dir / "bert-base-uncased" / "vocab.txt"))
    split, counts = encode_documents(documents, tokenizer, options, "validation")
    plain = BertTokenizer(vocab=str(data_dir / "bert-base-uncased" / "vocab.txt"))
    lengths = [len(ids) for ids in plain(documents.texts.to_pylist(), verbose=False)["input_ids"]]
    assert counts.tokens == sum(lengths)
    assert counts.cut == sum(length > 256 for length in lengths)
    assert split.lengths.tolist() == [min(length, 256) for length in lengths]


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("name", "sizes", "classes", "pair"),
    [
        ("imdb", {"train": 22_500, "validation": 2500, "test": 25_000}, ("0", "1"), False),
        ("20newsgroups", {"train": 10_183, "validation": 1131, "test": 7532}, None, False),
        ("glue/rte", {"train": 2490, "validation": 277}, ("0", "1"), True),
        ("glue/stsb", {"train": 5749, "validation": 1500, "test": 1379}, (), True),
    ],
)
def test_the_other_sets_open_by_name(name: str, sizes: dict[str, int], classes: Any, pair: bool) -> None:
    corpus = load_corpus(TextOptions(path=name))
    assert rows(corpus) == sizes
    if classes is not None:
        assert corpus.space.names == classes
    else:
        assert corpus.space.names[:3] == ("alt.atheism", "comp.graphics", "comp.os.ms-windows.misc")
        assert len(corpus.space.names) == 20
    assert (corpus.columns.pair is not None) == pair
