"""New documents labelled, from every kind of source."""

import io
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.tasks.text.predicting import answers

from ponet.data.labels import LabelSpace
from ponet.tasks.text.predict import answer
from ponet.tasks.text.task import TextTask
from ponet.utils.errors import PoNetError

Write = Callable[..., Path]
Make = Callable[..., Any]
TEXTS = ["truly wonderful", "what a waste. Awful", "", "great fun " * 20]


@pytest.fixture
def run(folder: Path, write_rows: Write, reviews: Callable[..., Any], recipe: Make) -> tuple[Path, Any]:
    """A run folder and its recipe; texts over 16 tokens are cut."""
    write_rows(folder / "a.csv", reviews(2))
    made = recipe(path="a.csv", max_length=16)
    prepared = TextTask().prepare(made)
    prepared.model.save_pretrained(folder / "run")
    assert prepared.processing_class is not None
    prepared.processing_class.save_pretrained(folder / "run")
    return folder / "run", made


def labels(run: tuple[Path, Any], source: str, **options: Any) -> list[dict[str, Any]]:
    return list(answers(*run, source, **options))


def test_every_source_gives_the_same_answers_in_order(run: tuple[Path, Any], folder: Path, write_rows: Write) -> None:
    expected = labels(run, str(write_rows(folder / "new.csv", [{"text": text} for text in TEXTS])))
    assert [record["index"] for record in expected] == [0, 1, 2, 3]
    assert [record.get("truncated") for record in expected] == [None, None, None, True]
    for record in expected:
        assert set(record["scores"]) == {"bad", "good"}
        assert sum(record["scores"].values()) == pytest.approx(1)
        assert record["score"] == max(record["scores"].values()) == record["scores"][record["label"]]
    for name in ("new.jsonl", "new.parquet", "new.json"):
        assert labels(run, str(write_rows(folder / name, [{"text": text, "label": "?"} for text in TEXTS]))) == expected
    (folder / "new.txt").write_text("\n".join(TEXTS) + "\n")
    assert labels(run, "new.txt") == expected
    (folder / "many").mkdir()
    for number, text in enumerate(TEXTS):
        (folder / "many" / f"{number}.txt").write_text(text)
    from_files = labels(run, "many")
    assert [record.pop("file") for record in from_files] == ["0.txt", "1.txt", "2.txt", "3.txt"]
    assert from_files == expected


@pytest.mark.parametrize("batch_tokens", [1, 20, 1000])
def test_the_batch_changes_no_answer(run: tuple[Path, Any], folder: Path, batch_tokens: int) -> None:
    (folder / "new.txt").write_text("\n".join(TEXTS * 5))
    expected = [record["score"] for record in labels(run, "new.txt")]
    scores = [record["score"] for record in labels(run, "new.txt", batch_tokens=batch_tokens)]
    assert scores == pytest.approx(expected, abs=1e-6)


def test_answers_are_those_of_the_model_alone(run: tuple[Path, Any], folder: Path) -> None:
    from ponet.models.modeling_ponet import PoNetForSequenceClassification
    from ponet.models.tokenization_ponet import PoNetTokenizer

    model = PoNetForSequenceClassification.from_pretrained(run[0]).eval()
    tokenizer = PoNetTokenizer.from_pretrained(run[0])
    (folder / "new.txt").write_text("\n".join(TEXTS))
    for text, record in zip(TEXTS, labels(run, "new.txt"), strict=True):
        with torch.no_grad():
            scores = model(**tokenizer(text, return_tensors="pt", truncation=True)).logits.softmax(-1)[0]
        assert list(record["scores"].values()) == pytest.approx(scores.tolist(), abs=1e-6)


def test_standard_input_and_whole_files(run: tuple[Path, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "new.txt").write_text("great fun\nwhat a waste\n")
    assert len(labels(run, "new.txt")) == 2
    assert len(labels(run, "new.txt", whole=True)) == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("great fun\nwhat a waste\n"))
    assert labels(run, "-") == labels(run, "new.txt")
    monkeypatch.setattr("sys.stdin", io.StringIO("great fun\nwhat a waste\n"))
    assert len(labels(run, "-", whole=True)) == 1
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), encoding="utf-8"))
    with pytest.raises(PoNetError, match="Standard input isn't UTF-8"):
        labels(run, "-")


def test_a_line_is_answered_before_the_next_one_is_there(
    run: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdin", stream)
        late = threading.Timer(60, pipe.close)  # so that one that waits fails instead of hanging
        late.start()
        pipe.write("great fun\nwhat a wäste\ngr".encode())
        found = answers(*run, "-")
        assert [next(found)["index"], next(found)["index"]] == [0, 1]
        pipe.write(b"eat\n")
        assert next(found)["index"] == 2
        pipe.write(b"no end of line")
        pipe.close()
        assert next(found)["index"] == 3
        assert list(found) == []
        late.cancel()


def test_the_text_column_is_the_one_of_training_or_the_one_named(
    run: tuple[Path, Any], folder: Path, write_rows: Write
) -> None:
    rows = [{"title": "what a waste", "text": "great fun"}]
    write_rows(folder / "new.csv", rows)
    text, title = labels(run, "new.csv"), labels(run, "new.csv", text="title")
    assert text != title
    run[1].data.text = "title"
    assert labels(run, "new.csv") == title
    write_rows(folder / "other.csv", [{"review": "great fun"}])  # training's column isn't here
    assert labels(run, "other.csv") == text
    with pytest.raises(PoNetError, match="no column 'bdy'"):
        labels(run, "new.csv", text="bdy")


def test_pairs_need_two_columns(folder: Path, write_rows: Write, recipe: Make) -> None:
    rows = [{"premise": f"one {i}", "hypothesis": f"two {i}", "label": i % 2} for i in range(20)]
    write_rows(folder / "a.csv", rows)
    made = recipe(path="a.csv", max_length=16, text="premise", pair="hypothesis")
    prepared = TextTask().prepare(made)
    prepared.model.save_pretrained(folder / "run")
    prepared.processing_class.save_pretrained(folder / "run")  # type: ignore[union-attr]
    records = labels((folder / "run", made), "a.csv")
    swapped = labels((folder / "run", made), "a.csv", text="hypothesis", pair="premise")
    assert len(records) == 20
    assert records != swapped
    (folder / "new.txt").write_text("one\n")
    with pytest.raises(PoNetError, match="reads pairs of texts"):
        labels((folder / "run", made), "new.txt")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.txt", r"There is no 'none\.txt'"),
        ("none.csv", r"There is no 'none\.csv'"),
        ("latin.txt", "isn't UTF-8"),
        ("bare", "holds no data"),
        ("a.pdf", "can't be read as rows"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_sentence(
    run: tuple[Path, Any], folder: Path, source: str, message: str
) -> None:
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "nothing.txt").write_text("")
    (folder / "bare").mkdir()
    (folder / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(PoNetError, match=message) as caught:
        labels(run, source)
    assert "\n" not in str(caught.value)


def test_answers_by_kind() -> None:
    assert answer(LabelSpace("regression"), np.array([2.5])) == {"value": 2.5}
    several = answer(LabelSpace("multi_label", ("a", "b")), np.array([2.0, -1000.0]))
    assert several["labels"] == ["a"]
    assert several["scores"] == pytest.approx({"a": 1 / (1 + math.exp(-2)), "b": 0.0})
    one = answer(LabelSpace("single_label", ("a", "b", "c")), np.array([1.0, 3.0, 1000.0]))
    assert one["label"] == "c"
    assert one["score"] == 1.0
