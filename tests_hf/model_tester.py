"""A small PoNet and its inputs, for transformers' `ModelTesterMixin`."""

from typing import Any
from unittest import TestCase

from torch import Tensor
from transformers_tests.test_modeling_common import ids_tensor, random_attention_mask

from ponet import PoNetConfig

SIZES = {
    "vocab_size": 120,  # [CLS] and [SEP] are 101 and 102, and so among the random words
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 64,
    "type_vocab_size": 3,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}

# What each run of the suite changes.
POOLING = {"mixer_types": "pooling"}
ATTENTION = {"mixer_types": "attention"}
FOURIER = {"mixer_types": "fourier"}
PRE_NORM = {"norm_position": "pre", "embedding_norm": False, "clsgsepg": False, "classifier_pooling": "mean"}


class PoNetModelTester:
    """What the mixin asks of a model's tester; `changes` are of the configuration."""

    batch_size = 5
    seq_length = 9
    num_choices = 3
    is_training = True
    hidden_size = SIZES["hidden_size"]
    num_hidden_layers = SIZES["num_hidden_layers"]
    num_attention_heads = SIZES["num_attention_heads"]

    def __init__(self, parent: TestCase, **changes: Any) -> None:
        self.parent = parent
        self.changes = changes

    def get_config(self) -> PoNetConfig:
        return PoNetConfig(**SIZES | self.changes)

    def prepare_config_and_inputs_for_common(self) -> tuple[PoNetConfig, dict[str, Tensor]]:
        config = self.get_config()
        shape = (self.batch_size, self.seq_length)
        words = ids_tensor(shape, config.vocab_size)
        return config, {
            "input_ids": words,
            # said, so that embeddings in the place of ids have the same special tokens
            "special_tokens_mask": ((words == config.cls_token_id) | (words == config.sep_token_id)).long(),
            "token_type_ids": ids_tensor(shape, config.type_vocab_size),
            "attention_mask": random_attention_mask(shape),
            "segment_ids": ids_tensor(shape, 4),
        }
