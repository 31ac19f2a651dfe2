"""First transfer: data sets on which a shipped checkpoint is compared with the same model from scratch.

`python -m ponet.tasks.text.transfer` writes the recipes anew from the tables here; a test fails where a file isn't what
they give.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ponet.config.recipe import RECIPES
from ponet.config.values import dump_yaml
from ponet.utils.files import write_text

SUITE = "transfer"
CHECKPOINT = "ponet-tiny"
"""Where the pre-trained models start, and whose tokenizer and architecture those from scratch have."""

BASE = f"""\
# What all transfer recipes share: one checkpoint and one configuration. <set>/base.yaml has a set's data and epochs;
# beside it `pretrained` starts from the checkpoint's weights, and `scratch`, the same model, from new ones.
# In 500 steps on SST-2 both learned most at 1e-3 (pre-trained: of 1e-4, 3e-4, 1e-3, 2e-3; new: of 1e-3, 2e-3), but in
# two epochs the new weights came to nothing at it. bf16 is for CPUs that compute in it (AVX512-BF16 or AMX) and for
# GPUs; on others say precision=float32. Written by `python -m ponet.tasks.text.transfer`.
task: text
data:
  max_length: 512
  segments: sentences
model:
  init: {CHECKPOINT}
  hidden_dropout_prob: 0.1
  classifier_pooling: mean
training:
  learning_rate: 5e-4
  weight_decay: 0.01
  schedule: linear
  warmup: 0.1
  batch_tokens: 8192
  batch_size: 32
  precision: bf16
"""

REFERENCE = "BERT-Tiny"
"""A published encoder of about as many weights (4.4 million; 2 layers, d 128), pre-trained far longer: GLUE's test
scores from its README, github.com/google-research/bert (Turc et al. 2019, arXiv:1908.08962)."""


@dataclass(frozen=True)
class Start:
    """One of the two sides of the comparison."""

    title: str
    description: str
    model: dict[str, Any] = field(default_factory=dict)


STARTS = {
    "pretrained": Start("Pre-trained", f"{CHECKPOINT} fine-tuned"),
    "scratch": Start("From scratch", f"the architecture of {CHECKPOINT} from scratch", {"init_weights": False}),
}
"""Recipe -> side; alike in all but the weights."""


@dataclass(frozen=True)
class TransferSet:
    """A data set of the comparison."""

    title: str
    metrics: dict[str, str]
    """Its own metrics, as the figures of a result call them, and their names; the first one chooses the checkpoint."""
    split: Literal["test", "validation"]
    """What is scored: GLUE's test labels aren't public, so its sets are scored on validation; MRPC's are elsewhere."""
    epochs: int
    data: dict[str, Any]
    seeds: int = 1
    """Runs that make a row complete."""
    training: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    reference: dict[str, float] = field(default_factory=dict)
    """Published figures of `REFERENCE`, by metric, in percent."""
    sides: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`training` of one side alone, by recipe: the learning rate, where another than the other side's does better."""


_SENTENCE = {"max_length": 128, "text": "sentence"}
_PAIR = {"max_length": 128, "text": "sentence1", "pair": "sentence2"}
_FIRST_TOKEN = {"classifier_pooling": "cls"}
"""Pre-training has a pooled first token judge two spans: of pairs it tells more than the mean of all tokens."""
_SMALL = {"pretrained": {"learning_rate": 2e-4}}
"""A few thousand examples or fewer the checkpoint overfits less than at 5e-4; new weights learn less at 2e-4."""
_HND = {"path": "hnd", "max_length": 1024, "overlap": "drop"}
"""Test texts that stand in the training texts too are dropped there, as in documents/hnd."""

SETS = {
    "imdb": TransferSet("IMDb", {"accuracy": "accuracy"}, "test", 1, {"path": "imdb", "max_length": 256}),
    "hnd": TransferSet(
        "HND",
        {"accuracy": "accuracy", "f1": "F1"},
        "test",
        4,
        _HND,
        seeds=5,
        training={"batch_tokens": 4096},
        sides=_SMALL,
    ),
    "hnd-resplit": TransferSet(
        "HND split anew",
        {"accuracy": "accuracy", "f1": "F1"},
        "test",
        4,
        {**_HND, "resplit": True, "split_seed": None, "test_fraction": 0.2},
        seeds=5,
        training={"batch_tokens": 4096},
        sides=_SMALL,
    ),
    "20newsgroups": TransferSet("20 Newsgroups", {"accuracy": "accuracy"}, "test", 2, {"path": "20newsgroups"}),
    "cola": TransferSet(
        "CoLA",
        {"matthews": "Matthews correlation"},
        "validation",
        5,
        {"path": "glue/cola", **_SENTENCE},
        reference={"matthews": 0.0},
    ),
    "sst2": TransferSet(
        "SST-2",
        {"accuracy": "accuracy"},
        "validation",
        2,
        {"path": "glue/sst2", **_SENTENCE},
        reference={"accuracy": 83.2},
    ),
    "rte": TransferSet(
        "RTE",
        {"accuracy": "accuracy"},
        "validation",
        4,
        {"path": "glue/rte", **_PAIR, "max_length": 256},
        reference={"accuracy": 57.2},
        seeds=5,
        model=_FIRST_TOKEN,
        sides=_SMALL,
    ),
    "mrpc": TransferSet(
        "MRPC",
        # by accuracy, two in three, or F1 an epoch that calls nearly every pair a paraphrase would be chosen
        {"matthews": "Matthews correlation", "accuracy": "accuracy", "f1": "F1"},
        "test",
        6,
        {"path": "glue/mrpc", **_PAIR},
        reference={"accuracy": 71.1, "f1": 81.1},
        seeds=5,
        model=_FIRST_TOKEN,
        sides=_SMALL,
    ),
    "stsb": TransferSet(
        "STS-B",
        {"pearson": "Pearson", "spearman": "Spearman"},
        "validation",
        8,
        {"path": "glue/stsb", **_PAIR, "kind": "regression"},
        reference={"pearson": 74.3, "spearman": 73.6},
        model=_FIRST_TOKEN,
    ),
}
"""Folder below `recipes/transfer` -> data set."""


def recipe_files() -> dict[str, str]:
    """Every recipe file's text, by its path under `recipes`."""
    files = {f"{SUITE}/base.yaml": BASE}
    for name, each in SETS.items():
        files[f"{SUITE}/{name}/base.yaml"] = dump_yaml(
            {
                "base": f"{SUITE}/base",
                "data": each.data,
                **({"model": each.model} if each.model else {}),
                "training": {"epochs": each.epochs, "metric": next(iter(each.metrics)), **each.training},
            }
        )
        for row, start in STARTS.items():
            values: dict[str, Any] = {
                "base": f"{SUITE}/{name}/base",
                "description": f"{each.title}, {start.description}",
            }
            if start.model:
                values["model"] = start.model
            if row in each.sides:
                values["training"] = each.sides[row]
            files[f"{SUITE}/{name}/{row}.yaml"] = dump_yaml(values)
    return files


def write_recipes(folder: Path = RECIPES) -> None:
    """Writes the files where they differ."""
    for name, text in recipe_files().items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


if __name__ == "__main__":
    write_recipes()
