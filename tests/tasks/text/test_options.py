"""Every option is checked by itself, in one sentence."""

from typing import Any

import pytest

from ponet.tasks.text.options import TextOptions
from ponet.utils.errors import PoNetError


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_length", 0, "max_length .* at least 8, not 0"),
        ("max_length", -5, "max_length .* not -5"),
        ("max_length", "long", "max_length .* whole number"),
        ("max_length", 12.5, "max_length .* whole number"),
        ("max_length", True, "max_length .* not True"),
        ("keep", "tial", "keep can't be 'tial'. Did you mean 'tail'"),
        ("segments", "sentence", "segments can't be 'sentence'. Did you mean 'sentences'"),
        ("kind", "regresion", "Did you mean 'regression'"),
        ("overlap", "remove", "overlap can't be 'remove'"),
        ("segment_length", 0, "segment_length .* at least 1"),
        ("vocab_size", 5, "vocab_size .* at least 100"),
        ("validation_fraction", 1.0, "validation_fraction .* below 1"),
        ("validation_fraction", -0.1, "validation_fraction .* not -0.1"),
        ("validation_fraction", float("nan"), "validation_fraction"),
        ("test_fraction", "a tenth", "test_fraction .* not 'a tenth'"),
        ("test_fraction", 0.95, "together must stay below 1"),
        ("limit_train", 0, "limit_train .* at least 1"),
        ("class_weights", "balance", "class_weights can't be 'balance'"),
        ("class_weights", {"good": -1}, "class weight of 'good' .* not -1"),
        ("label", [], "label must be a column's name"),
        ("label", ["a", 3], "label must be a column's name"),
        ("path", "", "path is empty"),
        ("resplit", "yes", "resplit must be true or false"),
        ("split_seed", -1, "split_seed .* at least 0"),
    ],
)
def test_a_wrong_value_is_one_sentence(field: str, value: Any, message: str) -> None:
    with pytest.raises(PoNetError, match=message) as caught:
        TextOptions(**{field: value})
    assert "\n" not in str(caught.value)


def test_what_yaml_makes_of_a_name_is_taken_as_the_name() -> None:
    options = TextOptions(text=1, label=2, segments=None, class_weights=None, max_length=512.0)  # type: ignore[arg-type]
    assert (options.text, options.label, options.segments, options.class_weights) == ("1", "2", "none", "none")
    assert options.max_length == 512
    assert isinstance(options.max_length, int)


def test_class_weights_may_be_given_by_name() -> None:
    assert TextOptions(class_weights={1: 2, "b": 0.5}).class_weights == {"1": 2.0, "b": 0.5}  # type: ignore[dict-item]
