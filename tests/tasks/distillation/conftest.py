"""A teacher of a few hundred weights, and text prepared with its tokenizer."""

import json
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from ponet.data.tokenizer_training import train_wordpiece
from ponet.tasks.pretraining.prepare import prepare

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "house",
    "river",
    "sees",
    "finds",
    "under",
    "over",
    "old",
    "new",
    "red",
    "green",
    "runs",
    "sleeps",
]


def sentences(count: int, seed: int) -> str:
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randint(len(WORDS), (count, 7), generator=generator).tolist()
    return " ".join(" ".join(WORDS[word] for word in row).capitalize() + "." for row in picked)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers, saved as transformers does, with a tokenizer."""
    folder = tmp_path_factory.mktemp("teacher")
    tokenizer = train_wordpiece([sentences(50, 0)], 60)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=24,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def prepared(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    corpus = folder / "corpus.jsonl"
    corpus.write_text(
        "".join(json.dumps({"text": sentences(3 + n % 9, n)}) + "\n" for n in range(60)), encoding="utf-8"
    )
    prepare([str(corpus)], folder / "data", str(teacher), validation_fraction=0.2)
    return folder / "data"
