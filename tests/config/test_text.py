"""Every option is checked by itself, in one sentence."""

from typing import Any

import pytest

from ponet.config.text import TextOptions
from ponet.utils.errors import PoNetError


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_length", 0, "'data.max_length' should be at least 8, not 0."),
        ("max_length", -5, "'data.max_length' should be at least 8, not -5."),
        ("max_length", "long", "'data.max_length' should be a whole number, not the text 'long'."),
        ("max_length", 12.5, "'data.max_length' should be a whole number, not the number 12.5."),
        ("keep", "tial", "'data.keep' can't be 'tial'. Did you mean 'tail'?"),
        ("segments", "sentence", "'data.segments' can't be 'sentence'. Did you mean 'sentences'?"),
        ("kind", "regresion", "Did you mean 'regression'?"),
        ("overlap", "remove", "'data.overlap' can't be 'remove'. Known: drop, keep."),
        ("segment_length", 0, "'data.segment_length' should be at least 1"),
        ("vocab_size", 5, "'data.vocab_size' should be at least 100"),
        ("validation_fraction", 1.0, "'data.validation_fraction' should be below 1"),
        ("validation_fraction", -0.1, "'data.validation_fraction' should be at least 0, not -0.1."),
        ("test_fraction", "a tenth", "'data.test_fraction' should be a number, not the text 'a tenth'."),
        ("test_fraction", 0.95, "together must stay below 1"),
        ("limit_train", 0, "'data.limit_train' should be at least 1"),
        ("class_weights", "balance", "'data.class_weights' can't be 'balance'. Did you mean 'balanced'?"),
        ("class_weights", {"good": -1}, "'data.class_weights.good' should be at least 0, not -1."),
        ("label", [], "'data.label' is empty"),
        ("label", ["a", 3], "'data.label' should be text or a list (each text) or null, not ['a', 3]."),
        ("path", "", "'data.path' is empty"),
        ("resplit", "yes", "'data.resplit' should be true or false, not the text 'yes'."),
        ("split_seed", -1, "'data.split_seed' should be at least 0, not -1."),
    ],
)
def test_a_wrong_value_is_one_sentence(field: str, value: Any, message: str) -> None:
    with pytest.raises(PoNetError) as caught:
        TextOptions(**{field: value})
    assert message in str(caught.value)


def test_names_may_be_one_text() -> None:
    options = TextOptions(missing="NA, unknown", class_names="good")  # type: ignore[arg-type]
    assert (options.missing, options.class_names) == (["NA", "unknown"], ["good"])


def test_class_weights_may_be_given_by_name() -> None:
    weights = {1: 2, "b": 0.5}
    assert TextOptions(class_weights=weights).class_weights == {"1": 2.0, "b": 0.5}  # type: ignore[arg-type]
