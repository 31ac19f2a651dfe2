"""Pk and WindowDiff as NLTK has them; F1; the sentences of an oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponet.tasks.sentences.metrics import boundary_counts, f1, half_segment, oracle, pk, window_diff

bits = st.integers(2, 60).flatmap(lambda n: st.tuples(*[st.lists(st.booleans(), min_size=n, max_size=n)] * 2))


@pytest.mark.slow  # NLTK takes seconds to import
@given(bits, st.integers(1, 5))
def test_as_nltk(pair, window) -> None:
    metrics = pytest.importorskip("nltk.metrics")
    reference, predicted = (np.array(each, dtype=bool) for each in pair)
    window = min(window, len(reference))
    texts = ["".join(str(int(bit)) for bit in each) for each in (reference, predicted)]
    assert pk(reference, predicted, window) == pytest.approx(metrics.pk(*texts, k=window))
    assert window_diff(reference, predicted, window) == pytest.approx(metrics.windowdiff(*texts, k=window))


def test_by_hand() -> None:
    reference = np.array([0, 0, 0, 1, 0, 0, 0], dtype=bool)  # two topics of four sentences
    assert half_segment(reference) == 2
    assert pk(reference, reference) == window_diff(reference, reference) == 0
    nothing = np.zeros(7, dtype=bool)
    assert pk(reference, nothing) == pytest.approx(2 / 6)
    near = np.roll(reference, 1)
    assert f1(boundary_counts(reference, near)) == 0
    assert pk(reference, near) == pytest.approx(2 / 6)
    assert window_diff(reference, reference | near) == pytest.approx(2 / 6)
    assert pk(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)) == 0
    with pytest.raises(ValueError, match="7 and 6"):
        pk(reference, reference[1:])


def test_f1_of_counts() -> None:
    reference, predicted = np.array([1, 0, 1, 0], dtype=bool), np.array([[1, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)
    assert boundary_counts(reference, predicted).tolist() == [[1, 1, 1], [0, 0, 2]]
    np.testing.assert_allclose(f1(boundary_counts(reference, predicted)), [0.5, 0])


def test_the_oracle_takes_what_adds() -> None:
    sentences = ["The mill burned down.", "It rained.", "The bridge was built by a miller.", "The mill burned down."]
    assert oracle(sentences, "A miller built the bridge. The mill burned down.", 3) == [0, 2]
    assert oracle(sentences, "A miller built the bridge. The mill burned down.", 1) == [0]
    assert oracle(sentences, "Nothing alike", 3) == oracle([], "The mill", 3) == []
