"""Class weights, and the loss that they weigh."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers.modeling_outputs import SequenceClassifierOutput

from ponet.data.labels import LabelSpace
from ponet.tasks.text.metrics import class_weights, weighted_loss
from ponet.utils.errors import PoNetError

THREE = LabelSpace("single_label", ("a", "b", "c"))
MANY = LabelSpace("multi_label", ("x", "y"))


def test_balanced_weights_give_every_class_the_same_sum() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_weights("balanced", THREE, labels)
    assert weights is not None
    assert (weights * np.bincount(labels)).tolist() == pytest.approx([10 / 3] * 3)
    assert class_weights("none", THREE, labels) is None


def test_a_class_without_rows_weighs_something_finite() -> None:
    weights = class_weights("balanced", THREE, np.array([0, 0, 0, 1]))
    assert weights is not None
    assert np.isfinite(weights).all()
    assert weights[:2].tolist() == pytest.approx([2 / 3, 2])


def test_weights_by_name_keep_their_ratio_and_a_mean_of_one() -> None:
    weights = class_weights({"b": 3.0}, THREE, np.array([0, 0, 1, 2]))
    assert weights is not None
    assert weights[1] / weights[0] == pytest.approx(3)
    assert weights[2] == weights[0]
    assert np.mean(weights[[0, 0, 1, 2]]) == pytest.approx(1)


def test_positives_of_several_labels() -> None:
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.float32)
    assert class_weights("balanced", MANY, labels) == pytest.approx([1 / 3, 3])  # type: ignore[comparison-overlap]
    assert class_weights({"y": 5.0}, MANY, labels) == pytest.approx([1, 5])  # type: ignore[comparison-overlap]


def test_weights_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(PoNetError, match=r"class 'worst' that the data doesn't have\. Known: a, b, c"):
        class_weights({"worst": 1.0}, THREE, np.array([0, 1, 2]))
    with pytest.raises(PoNetError, match=r"class 'good' .* Did you mean 'goods'"):
        class_weights({"good": 1.0}, LabelSpace("single_label", ("bads", "goods")), np.array([0, 1]))
    with pytest.raises(PoNetError, match="need classes"):
        class_weights("balanced", LabelSpace("regression"), np.array([0.5, 1.0]))


@pytest.mark.parametrize("form", [dict, SequenceClassifierOutput])
def test_the_loss_is_the_weighted_mean(form: Any) -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    weights = np.array([0.5, 2.0, 1.0])
    losses = F.cross_entropy(logits, labels, reduction="none")
    by_hand = sum(float(losses[i]) * weights[int(labels[i])] for i in range(5))
    compute = weighted_loss(weights, THREE)
    assert float(compute(form(logits=logits), labels)) == pytest.approx(by_hand / 5, rel=1e-5)
    assert float(compute(form(logits=logits), labels, num_items_in_batch=20)) == pytest.approx(by_hand / 20, rel=1e-5)


def test_batches_of_a_step_add_up_to_the_whole() -> None:
    logits, labels = torch.randn(6, 2), torch.randint(0, 2, (6, 2)).float()
    compute = weighted_loss(np.array([3.0, 0.5]), MANY)
    whole = compute({"logits": logits}, labels)
    parts = sum(compute({"logits": logits[s]}, labels[s], num_items_in_batch=12) for s in (slice(0, 2), slice(2, 6)))
    torch.testing.assert_close(whole, parts)
    by_hand = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=torch.tensor([3.0, 0.5]))
    torch.testing.assert_close(whole, by_hand)
