"""A task small enough to train in a second: say whether a sequence holds the token 5."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, EvalPrediction

from ponet.config.recipe import Recipe
from ponet.tasks.base import Evaluation, Example, Prepared, Split


@dataclass
class TinyOptions:
    """Size of the made-up data, and what the loss is."""

    examples: int = 48
    validation: int = 16
    test: int = 16
    data_seed: int = 0
    dropout: float = 0.1
    own_loss: bool = False
    new_weights: bool = False


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


def summed_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    loss = torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="sum")
    return loss / (len(labels) if num_items_in_batch is None else num_items_in_batch)


class TinyTask:
    options = TinyOptions

    def prepare(self, recipe: Recipe) -> Prepared:
        data = recipe.data
        config = BertConfig(
            vocab_size=20,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
            num_labels=2,
            hidden_dropout_prob=data.dropout,
            attention_probs_dropout_prob=data.dropout,
        )
        return Prepared(
            model=BertForSequenceClassification(config),
            processing_class=None,
            train=make_split(data.examples, data.data_seed),
            validation=make_split(data.validation, 1) if data.validation else None,
            test=make_split(data.test, 2) if data.test else None,
            collate=collate,
            compute_metrics=accuracy,
            best_metric="accuracy",
            compute_loss=summed_loss if data.own_loss else None,
            notices=["The data is made up."],
            facts={"rows": data.examples},
            new_weights=frozenset({"classifier.weight", "classifier.bias"} if data.new_weights else ()),
        )

    def evaluation(self, run: Path, recipe: Recipe, data: str | None, split: str, fresh_seed: int | None) -> Evaluation:
        seed = {"validation": 1, "test": 2}[split] if fresh_seed is None else fresh_seed
        return Evaluation(make_split(16, seed), collate, accuracy)

    def predictor(self, run: Path, recipe: Recipe, **options: Any) -> Any:
        raise NotImplementedError
