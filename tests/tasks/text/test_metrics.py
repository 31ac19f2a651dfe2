"""Figures against values worked out by hand."""

import math
import warnings

import numpy as np
import pytest
from transformers import EvalPrediction

from ponet.data.labels import LabelSpace
from ponet.tasks.text.metrics import BEST, decide, measure, metrics_of

TWO = LabelSpace("single_label", ("neg", "pos"))
THREE = LabelSpace("single_label", ("a", "b", "c"))
MANY = LabelSpace("multi_label", ("a", "b", "c"))
NUMBER = LabelSpace("regression")


@pytest.fixture(autouse=True)
def _no_warnings() -> None:
    warnings.simplefilter("error")


def test_two_classes() -> None:
    # true positives 3, false positives 1, false negatives 2, true negatives 4
    labels = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    predicted = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    positive, negative = 2 * 3 / (2 * 3 + 1 + 2), 2 * 4 / (2 * 4 + 2 + 1)
    assert measure(TWO, predicted, labels) == pytest.approx(
        {
            "accuracy": 0.7,
            "f1": positive,
            "f1_macro": (positive + negative) / 2,
            "f1_micro": 0.7,
            "matthews": (3 * 4 - 1 * 2) / math.sqrt(4 * 5 * 5 * 6),
        }
    )


def test_the_positive_class_is_the_second() -> None:
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    figures = measure(TWO, predicted, labels)
    assert figures["f1"] == 0.0
    assert figures["f1_macro"] == pytest.approx((6 / 7) / 2)
    assert measure(TWO, 1 - predicted, 1 - labels)["f1"] == pytest.approx(6 / 7)


def test_three_classes_have_no_binary_figure() -> None:
    labels, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 2, 2, 1])
    figures = measure(THREE, predicted, labels)
    assert set(figures) == {"accuracy", "f1_macro", "f1_micro", "matthews"}
    assert figures["accuracy"] == figures["f1_micro"] == pytest.approx(4 / 6)
    assert figures["f1_macro"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    # matthews = (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2)(s^2 - sum t_k^2)), with c = 4 right of s = 6
    assert figures["matthews"] == pytest.approx((4 * 6 - 12) / (36 - 12))


def test_several_labels() -> None:
    labels = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0]])
    predicted = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1]])
    # a: 2 right; b: 1 right, 1 missed; c: 1 missed, 1 wrong
    assert measure(MANY, predicted, labels) == pytest.approx(
        {"subset_accuracy": 1 / 3, "f1_micro": 2 * 3 / (2 * 3 + 1 + 2), "f1_macro": (1 + 2 / 3 + 0) / 3}
    )


def test_numbers() -> None:
    labels, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])
    figures = measure(NUMBER, predicted, labels)
    assert figures == pytest.approx({"pearson": 0.8, "spearman": 0.8, "mse": 0.5})
    curved = measure(NUMBER, labels**3, labels)
    assert curved["spearman"] == pytest.approx(1.0)
    assert curved["pearson"] < 0.99


@pytest.mark.parametrize(
    ("space", "predicted", "labels"),
    [
        (TWO, np.zeros(4, int), np.array([0, 1, 0, 1])),
        (TWO, np.ones(4, int), np.ones(4, int)),
        (TWO, np.zeros(4, int), np.zeros(4, int)),
        (THREE, np.zeros(3, int), np.array([1, 2, 1])),
        (MANY, np.zeros((2, 3), int), np.zeros((2, 3), int)),
        (NUMBER, np.full(4, 2.5), np.arange(4.0)),
        (NUMBER, np.arange(4.0), np.full(4, 2.5)),
        (NUMBER, np.array([1.0, 1.0, 1.0 + 1e-16]), np.arange(3.0)),
        (NUMBER, np.array([3.0]), np.array([2.0])),
    ],
)
def test_constant_answers_give_numbers_and_no_warning(
    space: LabelSpace, predicted: np.ndarray, labels: np.ndarray
) -> None:
    figures = measure(space, predicted, labels)
    assert all(math.isfinite(value) for value in figures.values())
    if space.kind == "regression":
        assert figures["pearson"] == figures["spearman"] == 0.0


def test_logits_are_decided_by_kind() -> None:
    assert decide(THREE, np.array([[0.1, 2.0, 0.3], [5.0, 1.0, 1.0]])).tolist() == [1, 0]
    assert decide(MANY, np.array([[0.1, -2.0, 0.0]])).tolist() == [[1, 0, 0]]
    assert decide(NUMBER, np.array([[1.5], [2.5]])).tolist() == [1.5, 2.5]


def test_the_trainer_s_call_gives_the_metric_that_chooses() -> None:
    for space, labels in ((TWO, np.array([0, 1])), (MANY, np.eye(3)[:2]), (NUMBER, np.array([0.5, 1.5]))):
        logits = np.random.default_rng(0).normal(size=(2, space.num_labels))
        for predictions in (logits, (logits, np.zeros(5))):
            figures = metrics_of(space)(EvalPrediction(predictions=predictions, label_ids=labels))
            assert BEST[space.kind] in figures
