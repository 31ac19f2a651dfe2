"""A task small enough to train in a second: say whether a sequence holds the token 5."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, EvalPrediction

import ponet.tasks.registry
from ponet.config.recipe import DATA_OPTIONS, Recipe, recipe_from_dict
from ponet.tasks.base import Evaluation, Example, Prepared, Split


@dataclass
class TinyOptions:
    """Size of the made-up data."""

    examples: int = 48
    validation: int = 16
    test: int = 16
    data_seed: int = 0


def make_split(count: int, seed: int) -> Split:
    generator = np.random.default_rng(seed)
    examples: list[Example] = []
    for _ in range(count):
        ids = generator.integers(6, 20, generator.integers(3, 12))
        label = int(generator.integers(2))
        if label:
            ids[generator.integers(len(ids))] = 5
        examples.append({"input_ids": ids.tolist(), "labels": label})
    return Split(examples, np.array([len(example["input_ids"]) for example in examples]))


def collate(examples: list[Example]) -> dict[str, torch.Tensor]:
    longest = max(len(example["input_ids"]) for example in examples)
    ids = [example["input_ids"] + [0] * (longest - len(example["input_ids"])) for example in examples]
    input_ids = torch.tensor(ids)
    labels = torch.tensor([example["labels"] for example in examples])
    return {"input_ids": input_ids, "attention_mask": (input_ids != 0).long(), "labels": labels}


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


class TinyTask:
    def prepare(self, recipe: Recipe) -> Prepared:
        config = BertConfig(
            vocab_size=20,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
            num_labels=2,
        )
        data = recipe.data
        return Prepared(
            model=BertForSequenceClassification(config),
            processing_class=None,
            train=make_split(data.examples, data.data_seed),
            validation=make_split(data.validation, 1) if data.validation else None,
            test=make_split(data.test, 2) if data.test else None,
            collate=collate,
            compute_metrics=accuracy,
            best_metric="accuracy",
            notices=["The data is made up."],
            facts={"rows": data.examples},
        )

    def evaluation(self, run: Path, recipe: Recipe, data: str | None, split: str, fresh_seed: int | None) -> Evaluation:
        seed = {"validation": 1, "test": 2}[split] if fresh_seed is None else fresh_seed
        return Evaluation(make_split(16, seed), collate, accuracy)

    def predict(self, run: Path, recipe: Recipe, source: str, **options: Any) -> Iterator[dict[str, Any]]:
        yield {"label": 0}


@pytest.fixture(scope="session", autouse=True)
def _settled() -> None:
    """Each training begins with a garbage collection; the libraries' own objects needn't be walked every time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _tiny_task(monkeypatch: pytest.MonkeyPatch) -> None:
    get_task = ponet.tasks.registry.get_task

    def with_tiny(name: str) -> Any:
        return TinyTask() if name == "tiny" else get_task(name)

    monkeypatch.setitem(DATA_OPTIONS, "tiny", TinyOptions)
    monkeypatch.setattr(ponet.tasks.registry, "get_task", with_tiny)
    monkeypatch.setattr("ponet.training.run.get_task", with_tiny)
    monkeypatch.setattr("ponet.training.evaluation.get_task", with_tiny, raising=False)


@pytest.fixture
def tiny_recipe() -> Any:
    """Makes a recipe of the tiny task: `tiny_recipe("max_steps=4", ...)`."""

    def make(*overrides: str) -> Recipe:
        training = {"learning_rate": 1e-2, "batch_tokens": 64, "epochs": 3, "log_every": 2, "checkpoint_every": 1}
        return recipe_from_dict({"name": "tiny", "task": "tiny", "training": training}, overrides)

    return make
