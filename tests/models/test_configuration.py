"""Configurations: published ones, saved ones, and those that cannot be."""

import copy
import pickle

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from ponet import PoNetConfig, PoNetModel

SETTINGS = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "cls_token_id": 2,
    "sep_token_id": 3,
    "num_labels": 4,
}


def test_published_configurations_open():
    """`None` for the special tokens, as the published code writes it, is bert-base-uncased's 101 and 102."""
    config = PoNetConfig(cls_token_id=None, sep_token_id=None)
    assert (config.cls_token_id, config.sep_token_id) == (101, 102)
    assert (PoNetConfig().cls_token_id, PoNetConfig().sep_token_id) == (101, 102)
    small = PoNetConfig(vocab_size=32)  # the Arena's vocabularies have no such words
    assert small.cls_token_id is None
    assert small.sep_token_id is None
    ids = torch.randint(32, (2, 5))
    model = PoNetModel(PoNetConfig(**SETTINGS | {"vocab_size": 32, "cls_token_id": None, "sep_token_id": None})).eval()
    one_segment = model(ids, segment_ids=torch.zeros_like(ids))
    torch.testing.assert_close(model(ids).last_hidden_state, one_segment.last_hidden_state)


def test_configuration_survives_saving_and_pickling(tmp_path):
    config = PoNetConfig(
        **SETTINGS
        | {"mixer_types": ["pooling", "attention"], "norm_position": "pre", "classifier_pooling": "mean"}
        | {"id2label": {0: "a", 1: "b", 2: "c", 3: "d"}, "problem_type": "multi_label_classification"}
    )
    config.save_pretrained(tmp_path)
    for again in (PoNetConfig.from_pretrained(tmp_path), pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert again.to_dict() == {**config.to_dict(), "transformers_version": again.to_dict()["transformers_version"]}
        assert again.layer_mixers == ["pooling", "attention"]
        assert again.id2label[2] == "c"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 10, "num_attention_heads": 4}, r"hidden_size \(10\) must be a multiple of .*heads \(4\)"),
        ({"num_attention_heads": 0}, "num_attention_heads must be at least 1, not 0"),
        ({"hidden_size": -16}, "hidden_size must be at least 1, not -16"),
        ({"max_position_embeddings": 0}, "max_position_embeddings must be at least 1"),
        ({"num_hidden_layers": -1}, "num_hidden_layers must be at least 0"),
        ({"type_vocab_size": -1}, "type_vocab_size must be at least 0"),
        ({"classifier_hidden_size": 0}, "classifier_hidden_size must be at least 1"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob is a probability, from 0 to 1, not 1.5"),
        ({"classifier_dropout": -0.1}, "classifier_dropout is a probability"),
        ({"pad_token_id": 20}, r"pad_token_id \(20\) must be None or one of the 20 words"),
        ({"hidden_act": "gulu"}, "unknown hidden_act 'gulu'; known: .*gelu"),
        ({"problem_type": "guess"}, "unknown problem_type 'guess'; known: single_label"),
        ({"mixer_types": ["pooling"]}, "mixer_types names 1 mixers for 2 layers"),
        ({"mixer_types": 3}, "mixer_types"),
        ({"norm_position": "mid"}, r"norm_position.*expected one of \('post', 'pre'\)"),
        ({"pooling_formulation": "fast"}, r"expected one of \('absorbed', 'published'\)"),
        ({"classifier_pooling": "max"}, r"expected one of \('cls', 'mean', 'padded_mean'\)"),
        ({"hidden_size": "16"}, "'hidden_size' expected int, got str"),
        ({"layer_norm_eps": "1e-5"}, "'layer_norm_eps' expected float, got str"),
    ],
)
def test_configurations_that_cannot_be(settings, message):
    with pytest.raises(StrictDataclassError, match=f"(?s){message}"):
        PoNetConfig(**SETTINGS | settings)
