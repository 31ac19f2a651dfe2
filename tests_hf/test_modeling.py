"""`ModelTesterMixin` and `ConfigTester` on the three mixers of the paper, and on pre-norm."""

import unittest
from typing import Any, ClassVar

import torch
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import ModelTesterMixin

import ponet
from ponet import PoNetConfig, PoNetForPreTraining
from tests_hf.model_tester import ATTENTION, FOURIER, POOLING, PRE_NORM, SIZES, PoNetModelTester
from tests_hf.suite import HEADS


class PoNetTests(ModelTesterMixin):
    changes: ClassVar[dict[str, Any]]
    all_model_classes = tuple(getattr(ponet, head) for head in HEADS.values())
    test_resize_position_embeddings = True
    test_can_init_all_missing_weights_before_2023 = True  # the year is read from a copyright line, which ours lack

    def setUp(self) -> None:
        self.model_tester = PoNetModelTester(self, **self.changes)
        self.config_tester = ConfigTester(self, config_class=PoNetConfig, **SIZES | self.changes)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if return_labels and model_class is PoNetForPreTraining:
            inputs["labels"] = torch.zeros_like(inputs["input_ids"])
            inputs["next_sentence_label"] = inputs["labels"][:, 0]
        return inputs

    def test_config(self) -> None:
        self.config_tester.run_common_tests()


class PoolingTest(PoNetTests, unittest.TestCase):
    changes = POOLING


class AttentionTest(PoNetTests, unittest.TestCase):
    changes = ATTENTION


class FourierTest(PoNetTests, unittest.TestCase):
    changes = FOURIER
    has_attentions = False


class PreNormTest(PoNetTests, unittest.TestCase):
    changes = PRE_NORM
