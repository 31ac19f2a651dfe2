"""Rows drawn, splits cut, overlap and limits, and what is said about it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponet.config.text import TextOptions
from ponet.data.labels import LabelSpace
from ponet.data.splits import draw, limit
from ponet.tasks.text.corpus import LabelledSplits, load_corpus, load_split
from ponet.utils.errors import PoNetError

Write = Callable[..., Path]
Reviews = Callable[..., list[dict[str, Any]]]


def sizes(corpus: LabelledSplits) -> dict[str, int]:
    return {name: len(documents) for name, documents in corpus.splits.items()}


def texts(corpus: LabelledSplits, name: str) -> list[str]:
    return corpus.splits[name].texts.to_pylist()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.data())
def test_a_draw_is_stratified_and_leaves_every_class_a_row(classes: list[int], data: Any) -> None:
    strata = np.array(classes)
    count = data.draw(st.integers(0, len(classes)))
    rows = draw(len(classes), count, strata, seed=3)
    assert sorted(set(rows.tolist())) == rows.tolist()
    assert rows.tolist() == draw(len(classes), count, strata, seed=3).tolist()
    whole = Counter(classes)
    if count < len(classes):
        drawn = Counter(strata[rows].tolist())
        assert all(drawn[name] < size for name, size in whole.items())
        assert len(rows) == min(count, len(classes) - len(whole))
        if count <= len(classes) - 2 * len(whole):
            for name, size in whole.items():
                if size * count / len(classes) < size - 1:
                    assert abs(drawn[name] - size * count / len(classes)) <= 1 + 5 * (min(whole.values()) < 2)


def test_a_draw_without_strata_takes_what_the_seed_says() -> None:
    rows = draw(1000, 100, None, seed=0)
    assert len(rows) == 100
    assert rows.tolist() != draw(1000, 100, None, seed=1).tolist()
    assert abs(rows.mean() - 500) < 100  # from everywhere


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 60))
def test_a_limit_keeps_a_row_of_every_class_where_it_can(classes: list[int], count: int) -> None:
    rows = limit(len(classes), count, np.array(classes), seed=0)
    if count >= len(classes):
        assert rows is None
        return
    assert rows is not None
    assert len(rows) == count
    if count >= len(set(classes)):
        assert set(np.array(classes)[rows]) == set(classes)


def test_validation_is_cut_from_training_rows_by_class_and_seed(
    folder: Path, write_rows: Write, reviews: Reviews
) -> None:
    rows = reviews(10) + [{"text": f"so so {i}", "label": "fair"} for i in range(20)]  # 50, 50, 20
    write_rows(folder / "a.csv", rows)
    corpus = load_corpus(TextOptions(path="a.csv", validation_fraction=0.1, test_fraction=0.2))
    assert sizes(corpus) == {"train": 84, "validation": 12, "test": 24}
    assert Counter(corpus.splits["validation"].labels.tolist()) == {0: 5, 1: 2, 2: 5}
    assert Counter(corpus.splits["test"].labels.tolist()) == {0: 10, 1: 4, 2: 10}
    everything = texts(corpus, "train") + texts(corpus, "validation") + texts(corpus, "test")
    assert sorted(everything) == sorted(row["text"] for row in rows)
    again = load_corpus(TextOptions(path="a.csv", validation_fraction=0.1, test_fraction=0.2))
    assert texts(again, "validation") == texts(corpus, "validation")
    other = load_corpus(TextOptions(path="a.csv", validation_fraction=0.1, test_fraction=0.2, split_seed=1))
    assert texts(other, "validation") != texts(corpus, "validation")
    labels = {row["text"]: row["label"] for row in rows}
    for name in corpus.splits:
        named = [corpus.space.names[i] for i in corpus.splits[name].labels]
        assert named == [labels[text] for text in texts(corpus, name)]


def test_where_each_split_came_from_is_in_the_facts(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    write_rows(folder / "set" / "train.csv", reviews(4))
    write_rows(folder / "set" / "test.jsonl", reviews(2))
    corpus = load_corpus(TextOptions(path="set", limit_test=10))
    splits = corpus.facts["splits"]
    assert splits["validation"] == {"rows": 4, "from": "4 rows set aside from set/train.csv"}
    assert splits["test"]["from"] == "10 of 20 rows of set/test.jsonl"
    assert splits["test"]["rows"] == 10
    assert splits["train"] == {"rows": 36, "from": "set/train.csv"}
    assert corpus.facts["classes"] == {"bad": 18, "good": 18}
    assert corpus.facts["positive_class"] == "good"
    said = " ".join(corpus.notices)
    assert "4 of 40 training rows are set aside for validation (validation_fraction=0.1, split_seed=0)" in said
    assert "limit_test: 10 of 20 rows are used" in said
    assert "text from 'text', label from 'label'" in said
    assert "bad (18), good (18); F1 is that of 'good'" in said


def test_a_given_validation_split_is_left_alone(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    write_rows(folder / "set" / "train.csv", reviews(2))
    write_rows(folder / "set" / "dev.csv", reviews(1))
    corpus = load_corpus(TextOptions(path="set", validation_fraction=0.5))
    assert sizes(corpus) == {"train": 20, "validation": 10}
    assert any("There is no test split" in notice for notice in corpus.notices)


def test_splits_are_put_together_and_drawn_anew(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    rows = reviews(6)
    for name, part in (("train", rows[:40]), ("dev", rows[40:50]), ("test", rows[50:])):
        write_rows(folder / "set" / f"{name}.csv", part)
    wanted = TextOptions(path="set", resplit=True, validation_fraction=0.1, test_fraction=0.2, split_seed=3)
    corpus = load_corpus(wanted)
    assert sizes(corpus) == {"train": 42, "validation": 6, "test": 12}
    everything = texts(corpus, "train") + texts(corpus, "validation") + texts(corpus, "test")
    assert sorted(everything) == sorted(row["text"] for row in rows)
    assert not set(texts(corpus, "test")) <= {row["text"] for row in rows[50:]}, "not the data's own test rows"
    labels = {row["text"]: row["label"] for row in rows}
    for name in corpus.splits:
        assert [corpus.space.names[i] for i in corpus.splits[name].labels] == [labels[t] for t in texts(corpus, name)]
    assert texts(load_corpus(replace(wanted, split_seed=4)), "test") != texts(corpus, "test")
    assert corpus.facts["splits"]["test"]["from"] == "12 rows set aside from 60 rows of all splits of set"
    assert "resplit: 40 + 10 + 10 rows of 3 splits are put together and split again." in corpus.notices


def test_pairs_are_put_together_too(folder: Path, write_rows: Write) -> None:
    rows = [{"sentence1": f"a {i}", "sentence2": f"b {i}", "label": "xy"[i % 2]} for i in range(20)]
    write_rows(folder / "set" / "train.csv", rows[:10])
    write_rows(folder / "set" / "test.csv", rows[10:])
    corpus = load_corpus(TextOptions(path="set", resplit=True, test_fraction=0.5, validation_fraction=0))
    documents = corpus.splits["test"]
    assert documents.pairs is not None
    assert len(documents) == 10
    assert [t.as_py()[2:] for t in documents.texts] == [p.as_py()[2:] for p in documents.pairs]


def test_one_file_has_no_splits_to_put_together(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    write_rows(folder / "a.csv", reviews(2))
    with pytest.raises(PoNetError, match="no splits of its own"):
        load_corpus(TextOptions(path="a.csv", resplit=True))


def test_without_a_split_seed_the_recipe_s_draws() -> None:
    assert TextOptions(split_seed=None).seeded(7).split_seed == 7
    assert TextOptions(split_seed=3).seeded(7).split_seed == 3
    assert TextOptions().seeded(7).split_seed == 0, "the same rows for every seed, unless asked for"
    with pytest.raises(ValueError, match="seeded"):
        TextOptions(split_seed=None).drawing_seed()


def test_no_validation_at_all_where_none_is_wanted(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    write_rows(folder / "a.csv", reviews(1))
    assert sizes(load_corpus(TextOptions(path="a.csv", validation_fraction=0))) == {"train": 10}


def test_a_class_with_one_row_stays_in_training(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    write_rows(folder / "a.csv", [*reviews(3), {"text": "lone", "label": "odd"}])
    for seed in range(5):
        corpus = load_corpus(TextOptions(path="a.csv", validation_fraction=0.3, split_seed=seed))
        assert "lone" in texts(corpus, "train")


def test_rows_that_are_in_two_splits_are_counted_and_dropped_on_demand(
    folder: Path, write_rows: Write, reviews: Reviews
) -> None:
    write_rows(folder / "set" / "train.csv", reviews(3))
    write_rows(folder / "set" / "test.csv", [*reviews(1), {"text": "new", "label": "good"}])
    kept = load_corpus(TextOptions(path="set", validation_fraction=0))
    assert sizes(kept) == {"train": 30, "test": 11}
    assert any(
        "10 of 11 test rows (90.9%) occur word for word in training too: overlap=drop" in n for n in kept.notices
    )
    assert kept.facts["splits"]["test"]["also_in_training"] == 10
    dropped = load_corpus(TextOptions(path="set", validation_fraction=0, overlap="drop"))
    assert sizes(dropped) == {"train": 20, "test": 11}
    assert not set(texts(dropped, "train")) & set(texts(dropped, "test"))
    assert dropped.facts["splits"]["test"]["also_in_training"] == 0
    write_rows(folder / "set" / "test.csv", reviews(3))
    with pytest.raises(PoNetError, match="Every training row of 'set' is in another split too"):
        load_corpus(TextOptions(path="set", validation_fraction=0, overlap="drop"))


def test_limits_keep_the_class_names_and_say_what_is_gone(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    write_rows(folder / "a.csv", [*reviews(3), {"text": "meh", "label": "fair"}, {"text": "so so", "label": "fair"}])
    corpus = load_corpus(TextOptions(path="a.csv", limit_train=2))
    assert sizes(corpus)["train"] == 2
    assert corpus.space.names == ("bad", "fair", "good")
    assert any("No training row has the class" in notice for notice in corpus.notices)
    with pytest.raises(PoNetError, match="one class: raise limit_train"):
        load_corpus(TextOptions(path="a.csv", limit_train=1))


def test_rows_without_label_or_text(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    rows = [*reviews(2), {"text": None, "label": "good"}, {"text": " ", "label": "bad"}, {"text": "x", "label": None}]
    write_rows(folder / "set" / "train.jsonl", rows)
    write_rows(folder / "set" / "test.jsonl", [{"text": "a", "label": None}, {"text": "b", "label": None}])
    corpus = load_corpus(TextOptions(path="set", validation_fraction=0))
    assert sizes(corpus) == {"train": 22}
    said = " ".join(corpus.notices)
    assert "1 of 23 train rows (4.3%) have no label" in said
    assert "2 of 22 train rows (9.1%) have an empty text" in said
    assert "The test split has no labels" in said
    assert texts(corpus, "train")[-2:] == ["", " "]


def test_only_empty_texts_are_an_error(folder: Path, write_rows: Write) -> None:
    write_rows(folder / "a.csv", [{"text": "", "label": "x"}, {"text": "  ", "label": "y"}])
    with pytest.raises(PoNetError, match=r"Every text in column 'text' of 'a\.csv' is empty"):
        load_corpus(TextOptions(path="a.csv"))


def test_what_a_split_lacks_is_said(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    write_rows(folder / "set" / "test.csv", reviews(1))
    with pytest.raises(PoNetError, match="'set' has no training split; it has: test"):
        load_corpus(TextOptions(path="set"))
    write_rows(folder / "set" / "train.csv", reviews(1))
    write_rows(folder / "set" / "test.csv", [{"text": "a", "class": "good"}])
    with pytest.raises(PoNetError, match=r"'set/test\.csv' has no column 'label', which the training rows have"):
        load_corpus(TextOptions(path="set"))
    write_rows(folder / "set" / "test.csv", [{"text": "a", "label": "ugly"}])
    with pytest.raises(PoNetError, match=r"test label 'ugly' \(row 1 of 'set/test\.csv'\)"):
        load_corpus(TextOptions(path="set"))
    write_rows(folder / "tiny.csv", reviews(1)[:2])
    with pytest.raises(PoNetError, match="2 labelled training rows, too few to set validation rows aside"):
        load_corpus(TextOptions(path="tiny.csv"))


def test_evaluation_takes_the_run_s_split_or_another_file(folder: Path, write_rows: Write, reviews: Reviews) -> None:
    write_rows(folder / "a.csv", reviews(4))
    options = TextOptions(path="a.csv")
    space = LabelSpace("single_label", ("bad", "good"))
    documents, _ = load_split(options, space, None, "validation")
    assert documents.texts.to_pylist() == texts(load_corpus(options), "validation")
    with pytest.raises(PoNetError, match=r"'a\.csv' has no test split; this run has: train, validation"):
        load_split(options, space, None, "test")
    write_rows(folder / "new.jsonl", [{"body": "fine", "class": "good"}, {"body": "poor", "class": "bad"}])
    documents, notices = load_split(options, space, "new.jsonl", "test")
    assert documents.labels.tolist() == [1, 0]
    assert "text from 'body', label from 'class'" in notices[0]
    named = TextOptions(path="a.csv", text="text", label="label")
    assert load_split(named, space, "new.jsonl", "test")[0].labels.tolist() == [1, 0]
    write_rows(folder / "set" / "test.csv", reviews(1))
    assert len(load_split(options, space, "set", "test")[0]) == 10
    with pytest.raises(PoNetError, match="'set' has no validation split; it has: test"):
        load_split(options, space, "set", "validation")
    with pytest.raises(PoNetError, match="no longer holds what this run was trained on"):
        load_split(options, LabelSpace("single_label", ("good", "ugly")), None, "validation")
    write_rows(folder / "blank.jsonl", [{"text": "a", "label": None}])
    with pytest.raises(PoNetError, match="nothing to compare"):
        load_split(options, space, "blank.jsonl", "test")
