"""The recipes of suite `documents`."""

import pytest

from ponet.config.recipe import differences, load_recipe


@pytest.mark.parametrize("data", ["hnd", "imdb", "20newsgroups"])
def test_the_rows_of_a_table_differ_in_nothing_but_what_they_name(data: str) -> None:
    pooling = load_recipe(f"documents/{data}/pooling")
    for mixer in ("attention", "fourier"):
        other = load_recipe(f"documents/{data}/{mixer}")
        changed = {entry.split()[0] for entry in differences(pooling, other, ("name", "description"))}
        assert "model.mixer_types" in changed
        assert changed <= {"model.mixer_types", "model.attention_probs_dropout_prob"}, "the mixer's own, no more"
        assert other.model["mixer_types"] == mixer
    baseline = load_recipe(f"documents/{data}/tfidf")
    assert baseline.data == pooling.data
    assert baseline.model == {}
