"""Retrieval from Wikipedia: pairs that only a comparison can tell."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ponet.config.lra import DataOptions
from ponet.tasks.lra.data import LraData, open_data
from ponet.tasks.lra.wikipedia import neighbours, partners, read_articles
from ponet.utils.errors import PoNetError

SIZES = {"train_size": 40, "validation_size": 6, "test_size": 7}


def article(number: int, topic: str, size: int = 9_000) -> str:
    """Every paragraph says which article it is of, and where in it."""
    lines = [f"Headline {number}"]
    while sum(len(line) + 1 for line in lines[1:]) < size:
        lines.append(f"<{number}:{len(lines)}> " + f"{topic} " * 20)
    return "\n".join(lines)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    texts = [article(i, ("rivers", "chess", "opera")[i % 3]) for i in range(48)]
    texts += [article(90, "short", size=3_000), texts[0], ""]
    folder = tmp_path / "articles"
    folder.mkdir()
    pq.write_table(pa.table({"title": [str(i) for i in range(len(texts))], "text": texts}), folder / "train.parquet")
    return folder


def opened(source: Path, cache: str = "cache", **options: int) -> LraData:
    chosen = DataOptions(source=str(source), cache=source.parent / cache, workers=1, **{**SIZES, **options})
    return open_data("retrieval-wikipedia", chosen)


def parts(ids: np.ndarray) -> tuple[int, list[int]]:
    """The article of a text, and which paragraphs begin in it."""
    text = (ids - 1).astype(np.uint8).tobytes().decode()
    marks = [mark.split(">")[0].split(":") for mark in text.split("<")[1:] if ">" in mark]
    assert text.startswith("<")
    assert len({number for number, _ in marks}) == 1
    return int(marks[0][0]), [int(place) for _, place in marks]


def test_pairs(source: Path) -> None:
    data = opened(source)
    articles: dict[str, set[int]] = {}
    for split, store in data.splits.items():
        assert len(store) == SIZES[f"{split}_size"]
        assert store.labels.sum() == -(-len(store) // 2)
        assert (store.lengths == 8_000).all()
        articles[split] = set()
        for row in store:
            (one, places), (other, others) = parts(row["input_ids"]), parts(row["input_ids_2"])
            assert (one == other) == row["label"]
            assert 0 not in places
            if row["label"]:
                assert not set(places) & set(others)
            articles[split] |= {one, other}
    assert not articles["train"] & articles["validation"]
    assert not articles["train"] & articles["test"]
    assert not articles["validation"] & articles["test"]
    assert 90 not in set.union(*articles.values())
    assert any("Not an official task" in notice for notice in data.notices)


def test_no_text_alone_tells(source: Path) -> None:
    """Where all articles of a split are used, each is as often in pairs of one article as in pairs of two."""
    data = opened(source, train_size=64, validation_size=8, test_size=8)
    counts = np.zeros((2, 48), int)
    for row in data.splits["train"]:
        for name in ("input_ids", "input_ids_2"):
            counts[row["label"], parts(row[name])[0]] += 1
    used = counts.sum(axis=0) > 0
    assert used.sum() > 30
    assert np.abs(counts[0] - counts[1]).max() <= 2


def test_others_are_of_like_topic(source: Path) -> None:
    rows = list(opened(source).splits["train"])
    pairs = [(parts(row["input_ids"])[0], parts(row["input_ids_2"])[0]) for row in rows if not row["label"]]
    assert np.mean([one % 3 == other % 3 for one, other in pairs]) > 0.7  # 0.33 by chance


def test_seed_decides(source: Path) -> None:
    one, again, other = opened(source), opened(source, "again"), opened(source, seed=1)
    assert one.facts["checksum"] == again.facts["checksum"]
    assert one.facts["checksum"] != other.facts["checksum"]


def test_too_few_articles(source: Path) -> None:
    with pytest.raises(PoNetError, match="has 48 different articles of 8,000 bytes or more, too few for"):
        opened(source, train_size=5_000)


def test_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONET_DATA", str(tmp_path))
    with pytest.raises(PoNetError, match="There is no folder 'wikipedia' in the data folder"):
        open_data("retrieval-wikipedia", DataOptions(cache=tmp_path / "c"))


def test_articles_are_a_choice_of_all(source: Path) -> None:
    few = read_articles(str(source), seed=0, most=10)
    assert len(few) == 10
    numbers = {int(body[1 : body.index(b":")]) for body in few.bodies}
    assert len(numbers) == 10
    assert max(numbers) > 20


def test_partners_take_each_once() -> None:
    nearest = neighbours([f"{topic} {topic}s number{i}" for i in range(5) for topic in ("river", "castle", "violin")])
    assert (nearest[:, :4] % 3 == np.arange(15)[:, None] % 3).all()
    for seed in range(20):
        random = np.random.default_rng(seed)
        chosen = random.permutation(15)[: random.integers(2, 16)]
        taken = partners(nearest, chosen, random)
        assert sorted(taken) == sorted(chosen)
        assert (taken != chosen).all()
