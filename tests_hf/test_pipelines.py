"""`PipelineTesterMixin` on models as small as the hub's for its own, which are made here."""

import tempfile
import unittest
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from transformers_tests import test_pipeline_mixin
from transformers_tests.test_pipeline_mixin import PipelineTesterMixin

import ponet
from ponet import PoNetConfig, PoNetTokenizer, checkpoint
from tests_hf.model_tester import ATTENTION, FOURIER, POOLING, PRE_NORM, SIZES

TASKS = {
    "feature-extraction": (ponet.PoNetModel, "FeatureExtraction"),
    "fill-mask": (ponet.PoNetForMaskedLM, "FillMask"),
    "text-classification": (ponet.PoNetForSequenceClassification, "TextClassification"),
    "token-classification": (ponet.PoNetForTokenClassification, "TokenClassification"),
    "zero-shot": (ponet.PoNetForSequenceClassification, "ZeroShot"),
}
LABELS = ["contradiction", "neutral", "entailment"]


class PipelineTests(PipelineTesterMixin):
    changes: ClassVar[dict[str, Any]]
    pipeline_model_mapping: ClassVar = {task: model for task, (model, _) in TASKS.items()}

    @classmethod
    def setUpClass(cls) -> None:
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        tokenizer = PoNetTokenizer.from_pretrained(checkpoint())
        special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
        sizes = SIZES | {"vocab_size": len(tokenizer), "max_position_embeddings": 256, "initializer_range": 0.3}
        labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
        config = PoNetConfig(**sizes | special | labels | cls.changes)
        torch.manual_seed(0)
        for model in cls.pipeline_model_mapping.values():
            place = f"{folder}/ponet/{model.__name__}"
            model(config).save_pretrained(place)
            tokenizer.save_pretrained(place)
        heads = {model.__name__ for model in cls.pipeline_model_mapping.values()}
        known = {head: {"tokenizer_classes": ["PoNetTokenizer"], "processor_classes": []} for head in heads}
        checks = {task: {"test": f"tests_hf.tasks.{check}"} for task, (_, check) in TASKS.items()}
        cls.enterClassContext(patch.dict(test_pipeline_mixin.tiny_model_summary, known))
        cls.enterClassContext(patch.dict(test_pipeline_mixin.pipeline_test_mapping, checks))
        cls.enterClassContext(patch.object(test_pipeline_mixin, "TRANSFORMERS_TINY_MODEL_PATH", folder))


class PoolingPipelines(PipelineTests, unittest.TestCase):
    changes = POOLING


class AttentionPipelines(PipelineTests, unittest.TestCase):
    changes = ATTENTION


class FourierPipelines(PipelineTests, unittest.TestCase):
    changes = FOURIER


class PreNormPipelines(PipelineTests, unittest.TestCase):
    changes = PRE_NORM
