"""A run that was trained on nothing, and its export."""

from pathlib import Path

import pytest
import torch

from ponet import PoNetConfig, PoNetForSequenceClassification
from ponet.data.tokenizer_training import train_wordpiece

TEXTS = [
    "A wonderful film. I loved every minute of it!",
    "Dull.",
    "What a waste; truly dreadful. We left early. Mr. Smith stayed.",
    "",
    "Great fun " * 40 + "and then it ended. So did we.",
]
"""One is longer than 64 tokens."""


def tiny(tokenizer, kind: type = PoNetForSequenceClassification, **changes):
    """A model with weights far enough from zero that its outputs differ."""
    torch.manual_seed(0)
    settings = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 1}
    settings |= {"intermediate_size": 32, "max_position_embeddings": 64, "initializer_range": 0.3, "num_labels": 3}
    settings |= {name: getattr(tokenizer, name) for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
    return kind(PoNetConfig(**settings | changes)).eval()


def save(folder: Path, tokenizer, **options) -> Path:
    """A folder in `save_pretrained` form."""
    tiny(tokenizer, **options).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer():
    made = train_wordpiece(TEXTS * 2, 300)
    made.model_max_length = 64
    return made


@pytest.fixture(scope="session")
def saved(tmp_path_factory, tokenizer) -> Path:
    return save(tmp_path_factory.mktemp("saved"), tokenizer)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, saved) -> Path:
    from ponet.onnx.export import export_onnx

    export_onnx(saved, folder := tmp_path_factory.mktemp("exported") / "out")
    return folder
