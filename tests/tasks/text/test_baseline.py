"""TF-IDF and a linear model, on the same rows as the task."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from ponet.tasks import get_task
from ponet.tasks.text.baseline import STRENGTHS, run_baseline
from ponet.tasks.text.corpus import load_corpus
from ponet.tasks.text.task import TextTask
from ponet.utils.errors import PoNetError

Write = Callable[..., Path]
Make = Callable[..., Any]
Reviews = Callable[..., list[dict[str, Any]]]


def test_two_classes_agree_with_scikit_learn_used_by_hand(
    folder: Path, write_rows: Write, reviews: Reviews, recipe: Make
) -> None:
    rows = reviews(30)
    generator = np.random.default_rng(0)
    for row in rows:  # some noise, or every C is as good
        row["label"] = row["label"] if generator.random() > 0.2 else "good"
    write_rows(folder / "a.csv", rows)
    made = recipe(path="a.csv", test_fraction=0.2, max_length=64)
    result = run_baseline(made)
    corpus = load_corpus(made.data)
    texts = {name: part.texts.to_pylist() for name, part in corpus.splits.items()}
    labels = {name: part.labels for name, part in corpus.splits.items()}
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    train = vectorizer.fit_transform(texts["train"])
    scores = {}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, solver="liblinear").fit(train, labels["train"])
        scores[strength] = [
            accuracy_score(labels[name], model.predict(vectorizer.transform(texts[name])))
            for name in ("validation", "test")
        ]
    best = max(STRENGTHS, key=lambda strength: scores[strength][0])
    assert result["train"]["C"] == best
    assert [result[name]["accuracy"] for name in ("validation", "test")] == pytest.approx(scores[best])
    assert result["train"]["features"] == train.shape[1]
    json.dumps(result)


@pytest.mark.parametrize(
    ("label", "kind", "metric"),
    [
        (lambda i: f"class{i % 3}", "auto", "accuracy"),
        (lambda i: [["a", "b"], ["b"], []][i % 3], "auto", "f1_micro"),
        (lambda i: i % 3 + 0.5, "auto", "pearson"),
    ],
)
def test_every_kind_is_learnt_and_measured_as_the_task_measures_it(
    folder: Path, write_rows: Write, recipe: Make, label: Any, kind: str, metric: str
) -> None:
    words = ["sun", "moon", "star"]
    rows = [{"text": f"the {words[i % 3]} is seen {i}", "label": label(i)} for i in range(120)]
    write_rows(folder / "a.jsonl", rows)
    made = recipe(path="a.jsonl", test_fraction=0.1, kind=kind, max_length=32)
    result = get_task("text-baseline").run(made)  # type: ignore[attr-defined]
    assert result["test"][metric] > 0.99
    prepared = TextTask().prepare(made)
    assert prepared.best_metric == metric
    for name, split in (("train", prepared.train), ("test", prepared.test)):
        assert split is not None
        assert result["data"]["splits"][name]["rows"] == len(split)
        assert result["data"]["splits"][name]["tokens"] == int(split.lengths.sum())


def test_the_baseline_reads_no_more_of_a_text_than_the_model(folder: Path, write_rows: Write, recipe: Make) -> None:
    rows = [{"text": "filler " * 40 + ["sun", "moon"][i % 2], "label": i % 2} for i in range(120)]
    write_rows(folder / "a.jsonl", rows)
    tail = run_baseline(recipe(path="a.jsonl", test_fraction=0.2, max_length=12, keep="tail"))
    head = run_baseline(recipe(path="a.jsonl", test_fraction=0.2, max_length=12, keep="head"))
    assert tail["test"]["accuracy"] == 1.0
    assert head["test"]["accuracy"] == 0.5
    assert head["data"]["splits"]["train"]["texts_cut"] == head["data"]["splits"]["train"]["rows"]


def test_pairs_have_features_of_their_own(folder: Path, write_rows: Write, recipe: Make) -> None:
    rows = [
        {"text_a": ["sun", "moon"][i % 2], "text_b": ["sun", "moon"][1 - i % 2], "label": i % 2} for i in range(120)
    ]
    write_rows(folder / "a.jsonl", rows)
    result = run_baseline(recipe(path="a.jsonl", test_fraction=0.2, max_length=12))
    assert result["train"]["features"] == 4
    assert result["test"]["accuracy"] == 1.0


def test_each_seed_may_have_splits_of_its_own(folder: Path, write_rows: Write, reviews: Reviews, recipe: Make) -> None:
    write_rows(folder / "a.csv", reviews(3))

    def said(seed: int) -> str:
        return " ".join(run_baseline(recipe(path="a.csv", seed=seed, split_seed=None))["notices"])

    assert "split_seed=3" in said(3)
    assert "split_seed=4" in said(4)


def test_without_validation_c_is_the_library_s_own(
    folder: Path, write_rows: Write, reviews: Reviews, recipe: Make
) -> None:
    write_rows(folder / "a.csv", reviews(10))
    result = run_baseline(recipe(path="a.csv", validation_fraction=0, test_fraction=0.2))
    assert result["train"]["C"] == 1.0
    assert set(result) == {"test", "inference", "train", "data", "notices"}


def test_what_the_baseline_cannot_do_is_said(folder: Path, write_rows: Write, reviews: Reviews, recipe: Make) -> None:
    write_rows(folder / "a.csv", [{"text": "? !" if i % 2 else ", .", "label": i % 2} for i in range(40)])
    with pytest.raises(PoNetError, match="hold no words"):
        run_baseline(recipe(path="a.csv"))
    with pytest.raises(PoNetError, match="has no model to open"):
        get_task("text-baseline").predictor(folder, recipe(path="a.csv"))
    with pytest.raises(PoNetError, match="has no model to open"):
        get_task("text-baseline").evaluation(folder, recipe(path="a.csv"), None, "test", None)
