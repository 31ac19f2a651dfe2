"""The GLUE recipes: models that differ in their encoder alone, and the hub's schemas on small files."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from ponet import PoNetConfig, PoNetForPreTraining
from ponet.config.recipe import differences, load_recipe
from ponet.data.labels import LabelSpace
from ponet.data.tokenizer_training import train_wordpiece
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.report.glue import MODELS, SETS
from ponet.tasks.text.corpus import load_corpus
from ponet.tasks.text.metrics import measure
from ponet.training.export import export_run
from ponet.training.run import train

TASKS = dict.fromkeys(each.task for each in SETS.values())
WORDS = ["good", "fine", "great", "bad", "awful", "poor"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize("task", TASKS)
def test_the_models_differ_in_their_encoder_alone(task: str) -> None:
    ponet = load_recipe(f"glue/{task}/ponet")
    assert (ponet.data.max_length, ponet.training.epochs, ponet.training.eval_every) == (128, 4, 1.0)
    encoder = ("model.init", "model.init_weights", "model.mixer_types", "model.attention_probs_dropout_prob")
    for model in MODELS:
        # from scratch the classifier is as new as the rest, and learns at the same rate
        own = ("training.head_learning_rate",) if model == "ponet-scratch" else ()
        assert differences(ponet, load_recipe(f"glue/{task}/{model}"), ("name", "description", *encoder, *own)) == []
    metric = ponet.training.metric
    labels = np.array([0.0, 0.5]) if ponet.data.kind == "regression" else np.array([0, 1])
    space = (
        LabelSpace("regression", ()) if ponet.data.kind == "regression" else LabelSpace("single_label", ("no", "yes"))
    )
    assert metric in measure(space, labels, labels)


@pytest.mark.data
@pytest.mark.parametrize("task", [task for task in TASKS if task != "mnli"])
def test_the_data_is_as_the_recipe_says(task: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONET_DATA", str(data_dir))
    options = load_recipe(f"glue/{task}/ponet", ["limit_train=400"]).data
    corpus = load_corpus(options)
    assert set(corpus.splits) == {"train", "validation"}
    assert (corpus.splits["train"].pairs is not None) == (options.pair is not None)
    assert corpus.space.kind == ("regression" if task == "stsb" else "single_label")


def sentences(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 6)) for _ in range(count)]


def hub_set(folder: Path, columns: tuple[str, str], names: list[str], splits: list[str]) -> Path:
    """A set as the hub has it: ids of classes with their names, an index, and -1 in the splits without labels."""
    features = {name: datasets.Value("string") for name in columns}
    features |= {"label": datasets.ClassLabel(names=names), "idx": datasets.Value("int32")}
    made = {}
    for number, split in enumerate(splits):
        first, second = sentences(30, number), sentences(30, 100 + number)
        rows = [
            {columns[0]: a, columns[1]: b, "label": -1 if split.startswith("test") else k % len(names), "idx": k}
            for k, (a, b) in enumerate(zip(first, second, strict=True))
        ]
        made[split] = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    datasets.DatasetDict(made).save_to_disk(folder)
    return folder


HUB = {
    "mnli": (
        ("premise", "hypothesis"),
        ["entailment", "neutral", "contradiction"],
        ["train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched"],
    ),
    "qqp": (("question1", "question2"), ["not_duplicate", "duplicate"], ["train", "validation", "test"]),
    "qnli": (("question", "sentence"), ["entailment", "not_entailment"], ["train", "validation", "test"]),
}


@pytest.mark.parametrize("task", HUB)
def test_the_hub_s_schema_is_read(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns, names, splits = HUB[task]
    hub_set(tmp_path / "glue" / task, columns, names, splits)
    monkeypatch.setenv("PONET_DATA", str(tmp_path))
    corpus = load_corpus(load_recipe(f"glue/{task}/ponet").data)
    assert corpus.space.names == tuple(names)
    assert set(corpus.splits) == ({"train", "validation", "test"} if task == "mnli" else {"train", "validation"})
    assert corpus.splits["validation"].texts[0].as_py() == sentences(30, 1)[0]
    if task == "mnli":
        assert corpus.splits["test"].texts[0].as_py() == sentences(30, 2)[0], "mismatched"
    trial = load_corpus(load_recipe(f"glue/{task}/ponet", ["splits={validation: null, test: null}"]).data)
    assert {name: len(split) for name, split in trial.splits.items()} == {"train": 27, "validation": 3}


def checkpoint(folder: Path, mixer: str) -> PoNetTokenizer:
    tokenizer = train_wordpiece(sentences(60, 0), 60)
    torch.manual_seed(9)
    config = PoNetConfig(vocab_size=len(tokenizer), max_position_embeddings=64, mixer_types=mixer, **SMALL)  # type: ignore[arg-type]
    PoNetForPreTraining(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def test_both_dev_sets_of_mnli_are_measured_for_every_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns, names, splits = HUB["mnli"]
    hub_set(tmp_path / "data" / "glue" / "mnli", columns, names, splits)
    for name, mixer in {"ponet-mini": "pooling", "fnet-mini": "fourier", "all-MiniLM-L6-v2": "attention"}.items():
        checkpoint(tmp_path / "data" / name, mixer)  # by their names in the data folder
    monkeypatch.setenv("PONET_DATA", str(tmp_path / "data"))
    for model in MODELS:
        recipe = load_recipe(f"glue/mnli/{model}", ["max_steps=2", "precision=float32", "max_length=24"])
        result = train(recipe, tmp_path / model, show=False)
        assert "accuracy" in result["validation"]
        assert "accuracy" in result["test"]
        assert result["best"]["step"] == 2, "the last step's, whatever came before"
        target = export_run(tmp_path / model, tmp_path / "results")
        assert target == tmp_path / "results" / "glue" / "mnli" / model / "seed0"
        assert str(tmp_path) not in json.dumps(json.loads((target / "result.json").read_text()))
