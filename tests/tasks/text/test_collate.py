"""A packed batch gives the model the same documents as a padded one, or as each alone."""

from typing import Any

import numpy as np
import pytest
import torch

from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.modeling_ponet import PoNetForSequenceClassification
from ponet.tasks.text.tokens import PackedCollator


def example(ids: list[int], segments: list[int], label: Any) -> dict[str, Any]:
    return {
        "input_ids": np.array(ids, np.int32),
        "segment_ids": np.array(segments, np.int32),
        "token_type_ids": np.zeros(len(ids), np.uint8),
        "labels": label,
    }


EXAMPLES = [
    example([2, 7, 8, 9, 3], [0, 1, 1, 2, 3], np.int64(1)),
    example([2, 3], [0, 1], np.int64(0)),
    example([2, 5, 6, 3], [0, 1, 2, 3], np.int64(2)),
]


def test_packed_batches_have_no_padding() -> None:
    batch = PackedCollator()(EXAMPLES)
    assert batch["input_ids"].tolist() == [[2, 7, 8, 9, 3, 2, 3, 2, 5, 6, 3]]
    assert batch["segment_ids"].tolist() == [[0, 1, 1, 2, 3, 0, 1, 0, 1, 2, 3]]
    assert batch["token_type_ids"].tolist() == [[0] * 11]
    assert batch["cu_seqlens"].tolist() == [0, 5, 7, 11]
    assert batch["labels"].tolist() == [1, 0, 2]
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "labels": torch.int64,
        "input_ids": torch.int64,
        "segment_ids": torch.int64,
        "token_type_ids": torch.int64,
        "cu_seqlens": torch.int32,
    }
    assert next(iter(batch)) == "labels"


def test_types_and_labels_are_left_out_where_there_are_none() -> None:
    bare = [{name: value for name, value in item.items() if name != "labels"} for item in EXAMPLES]
    assert list(PackedCollator(token_types=False)(bare)) == ["input_ids", "segment_ids", "cu_seqlens"]


@pytest.mark.parametrize(
    ("labels", "shape"), [([np.float32(0.5)] * 3, (3,)), ([np.array([1, 0], np.float32)] * 3, (3, 2))]
)
def test_numbers_and_several_labels_stay_floats(labels: list[Any], shape: tuple[int, ...]) -> None:
    examples = [{**item, "labels": label} for item, label in zip(EXAMPLES, labels, strict=True)]
    labels_of_batch = PackedCollator()(examples)["labels"]
    assert labels_of_batch.dtype == torch.float32
    assert labels_of_batch.shape == shape


def test_the_model_gives_the_same_for_packed_padded_and_alone() -> None:
    config = PoNetConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        cls_token_id=2,
        sep_token_id=3,
        num_labels=3,
        max_position_embeddings=8,
        classifier_pooling="mean",
    )
    model = PoNetForSequenceClassification(config).eval()
    with torch.no_grad():
        packed = model(**PackedCollator()(EXAMPLES))
        padded = model(
            input_ids=torch.tensor([[2, 7, 8, 9, 3], [2, 3, 0, 0, 0], [2, 5, 6, 3, 0]]),
            segment_ids=torch.tensor([[0, 1, 1, 2, 3], [0, 1, 2, 2, 2], [0, 1, 2, 3, 4]]),
            attention_mask=torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]]),
            labels=torch.tensor([1, 0, 2]),
        )
        alone = torch.cat([model(**PackedCollator()([item])).logits for item in EXAMPLES])
    torch.testing.assert_close(packed.logits, padded.logits, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(packed.logits, alone, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(packed.loss, padded.loss)
