"""PoNetClassifier among scikit-learn's own: its checks where they apply to texts, pipelines, grid searches, pickles."""

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from ponet.sklearn import PoNetClassifier

SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SETTINGS = {**SIZES, "data.vocab_size": 110, "precision": "float32"}
TEXTS = ["the plot is great fun", "what an awful waste"] * 20
LABELS = ["good", "bad"] * 20


def tiny(**changes: Any) -> PoNetClassifier:
    given = {"epochs": 8, "learning_rate": 1e-2, "validation_fraction": 0.0, "settings": SETTINGS, "max_length": 16}
    return PoNetClassifier("none", **given | changes)


@pytest.fixture(scope="module")
def fitted() -> PoNetClassifier:
    return tiny().fit(TEXTS, LABELS)


CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_fit_score_takes_y",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("name", [name for name in CHECKS if hasattr(estimator_checks, name)])
def test_checks_of_scikit_learn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that fit nothing, or fit what they made themselves: with texts in the place of their numbers."""
    if name == "check_fit_score_takes_y":
        monkeypatch.setattr(estimator_checks, "_enforce_estimator_tags_X", lambda *_, **__: TEXTS[:30])
        monkeypatch.setattr(estimator_checks, "_enforce_estimator_tags_y", lambda *_: np.array(LABELS[:30]))
    getattr(estimator_checks, name)("PoNetClassifier", tiny(epochs=1))


def test_it_learns_and_gives_probabilities(fitted: PoNetClassifier) -> None:
    assert fitted.classes_.tolist() == ["bad", "good"]
    assert fitted.predict(["great fun", "awful"]).tolist() == ["good", "bad"]
    assert fitted.score(TEXTS, LABELS) == 1.0
    for texts in (TEXTS[:3], np.array(TEXTS[:3]), np.array(TEXTS[:3], dtype=object), pd.Series(TEXTS[:3])):
        found = fitted.predict_proba(texts)
        assert found.shape == (3, 2)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        np.testing.assert_allclose(found, fitted.predict_proba(TEXTS)[:3], atol=1e-6)


@pytest.mark.parametrize("classes", [(0, 1), (7, -2), (True, False), ("NA", "nan"), ("a,b", "A,b"), (1.0, 2.0)])
def test_classes_of_every_type(classes: tuple[Any, Any]) -> None:
    y = np.array(classes * 20)
    model = tiny().fit(TEXTS, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(TEXTS).dtype == y.dtype
    np.testing.assert_array_equal(model.predict(TEXTS), y)


def test_the_seed_decides(fitted: PoNetClassifier) -> None:
    again, other = clone(fitted).fit(TEXTS, LABELS), tiny(random_state=1).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert not np.allclose(other.predict_proba(TEXTS), fitted.predict_proba(TEXTS), atol=1e-6)


def test_a_pickle_answers_the_same(fitted: PoNetClassifier) -> None:
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_in_a_pipeline_and_a_grid_search() -> None:
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = make_pipeline(lower, tiny())
    search = GridSearchCV(pipeline, {"ponetclassifier__learning_rate": [1e-9, 1e-2]}, cv=2).fit(TEXTS, LABELS)
    assert search.best_params_ == {"ponetclassifier__learning_rate": 1e-2}
    assert search.predict(["GREAT FUN"]).tolist() == ["good"]


def test_from_a_checkpoint_with_early_stopping() -> None:
    model = PoNetClassifier(max_length=16, validation_fraction=0.2, settings={"max_steps": 1}).fit(TEXTS, LABELS)
    assert model.result_["validation"]["accuracy"] >= 0
    with pytest.warns(UserWarning, match="1 of 2 texts were longer than 16 tokens"):
        model.predict(["short", "long " * 40])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(["short"])


def test_what_it_refuses(fitted: PoNetClassifier) -> None:
    with pytest.raises(NotFittedError):
        tiny().predict(TEXTS)
    for x, y, says in [
        ("one text", LABELS, "list or a column"),
        (np.array([TEXTS, TEXTS]), LABELS, "one column"),
        ([*TEXTS[1:], None], LABELS, "row 39 is NoneType"),
        ([], [], "no texts"),
        (TEXTS, LABELS[1:], "a class for each text"),
        (TEXTS, ["good"] * 40, "one class only"),
        (TEXTS, np.random.rand(40), "[Uu]nknown label type"),
        (TEXTS, np.eye(40, dtype=int), "a class for each text"),
    ]:
        with pytest.raises(ValueError, match=says):
            tiny().fit(x, y)
    with pytest.raises(ValueError, match="list or a column"):
        fitted.predict("one text")
