"""Real documents, packed and padded."""

import json
from pathlib import Path

import numpy as np
import pytest

from ponet.benchmarks.common import Machine
from ponet.benchmarks.documents import BATCH, BenchmarkDocuments, DocumentsPlan, measure_documents, read_documents
from ponet.utils.errors import PoNetError


def corpus(path: Path, count: int = 40) -> Path:
    """JSON lines of ever longer documents."""
    texts = [{"text": f"Sentence {i}. " * (1 + i % 5), "label": "a"} for i in range(count)]
    path.write_text("\n".join(map(json.dumps, texts)))
    return path


def test_documents_as_bytes(tmp_path: Path) -> None:
    path = corpus(tmp_path / "texts.jsonl")
    read = read_documents(DocumentsPlan(str(path), tokenizer="bytes", max_length=32))
    assert len(read.ids) == 40
    assert read.vocab_size == 257
    assert bytes((read.ids[0] - 1).astype(np.uint8)) == b"Sentence 0. "
    assert read.segments[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert int(read.lengths.max()) == 32


def test_documents_as_word_pieces(tmp_path: Path) -> None:
    path = corpus(tmp_path / "texts.jsonl")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sentence", ".", *"0123456789"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    read = read_documents(DocumentsPlan(str(path), tokenizer=str(tmp_path)))
    assert read.vocab_size == len(pieces)
    assert read.segments[1].tolist() == [0, 1, 1, 1, 2, 2, 2, 3]  # two sentences between [CLS] and [SEP]
    with pytest.raises(PoNetError, match="no vocabulary"):
        read_documents(DocumentsPlan(str(path), tokenizer=str(tmp_path / "none.txt")))


def test_padded_rows_hold_the_same_documents() -> None:
    lengths = [3, 7, 5]
    ids = [np.arange(1, n + 1) for n in lengths]
    documents = BenchmarkDocuments(ids, [np.arange(n) // 2 for n in lengths], 10, "numbers")
    packed, padded = documents.packed([0, 1, 2]), documents.padded([0, 1, 2])
    assert packed["cu_seqlens"].tolist() == [0, 3, 10, 15]
    assert padded["cu_seqlens"].tolist() == [0, 7, 14, 21]
    rows = padded["input_ids"][0].view(3, 7)
    assert rows[0].tolist() == [1, 2, 3, 0, 0, 0, 0]
    assert padded["segment_ids"][0].view(3, 7)[0].tolist() == [0, 0, 1, 2, 2, 2, 2]
    assert rows[rows > 0].tolist() == packed["input_ids"][0].tolist()


def test_batches_are_drawn_without_repetition() -> None:
    documents = BenchmarkDocuments([np.ones(1, np.int64)] * 50, [np.zeros(1, np.int64)] * 50, 2, "ones")
    batches = documents.batches(10, seed=0)
    assert [len(batch) for batch in batches] == [BATCH] * 3
    assert len({i for batch in batches for i in batch}) == 3 * BATCH
    assert batches != documents.batches(10, seed=1)
    assert documents.batches(2, seed=0) == batches[:2]


def test_measured_from_end_to_end(tmp_path: Path) -> None:
    path = corpus(tmp_path / "texts.jsonl")
    plan = DocumentsPlan(
        str(path),
        mixers=("pooling",),
        tokenizer="bytes",
        max_length=64,
        batches=2,
        machine=Machine(threads=1),
        warm_tokens=16,
        seconds=1.0,
        patience=3600.0,  # a busy machine may halt for a minute
    )
    read = read_documents(plan)
    said: list[str] = []
    values = measure_documents(plan, read, tmp_path / "x.json", lambda word, amount=1.0: said.append(word))
    assert said == ["training", "inference"]
    assert json.loads((tmp_path / "x.json").read_text()) == json.loads(json.dumps(values))
    assert values["documents"]["name"] == f"{tmp_path.name}/texts.jsonl"
    lengths = [[len(read.ids[i]) for i in batch] for batch in read.batches(2, 0)]
    expected = sum(BATCH * max(each) for each in lengths) / sum(map(sum, lengths))
    assert values["documents"]["computed_over_real"] == pytest.approx(expected)
    for variant in values["variants"].values():
        for kind in ("training", "inference"):
            for way in ("packed", "padded"):
                assert variant[kind][way]["status"] == "ok"
                assert variant[kind][way]["batches"] == 2
                low, high = variant[kind][way]["quartiles_tokens_per_second"]
                assert 0 < low <= high


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match="There is no"):
        read_documents(DocumentsPlan(str(tmp_path / "none.parquet")))
    with pytest.raises(PoNetError, match="has 3 documents"):
        read_documents(DocumentsPlan(str(corpus(tmp_path / "few.jsonl", 3)), tokenizer="bytes"))
    with pytest.raises(PoNetError, match="--max-length"):
        DocumentsPlan("x", max_length=2)
    with pytest.raises(PoNetError, match="Did you mean 'pooling'"):
        DocumentsPlan("x", mixers=("poolin",))


@pytest.mark.data
@pytest.mark.parametrize("name", ["hnd", "imdb"])
def test_real_sets(name: str, data_dir: Path) -> None:
    for path in (data_dir / name, data_dir / name / "train.parquet"):
        read = read_documents(DocumentsPlan(str(path), limit=50))
        assert len(read.ids) == 50
        assert read.vocab_size == 30522
        assert int(read.lengths.max()) > 2 * int(read.lengths.mean())
