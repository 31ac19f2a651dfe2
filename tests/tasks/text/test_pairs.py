"""Two texts as two documents: tokens, batches, and a run that is evaluated and predicts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.tasks.text.predicting import answers
from transformers import EvalPrediction

from ponet.config.recipe import load_recipe
from ponet.config.text import TextOptions
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.modeling_ponet import PoNetForSequenceClassification
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.text.encode import Encoder
from ponet.tasks.text.modelling import starting_recipe
from ponet.tasks.text.task import TextTask
from ponet.tasks.text.tokens import PackedCollator
from ponet.training.card import model_card
from ponet.utils.errors import PoNetError

Make = Callable[..., Any]
Write = Callable[..., Path]
FIRST = ["great fun. I loved it", "", "what a waste. Awful. " * 10]
SECOND = ["dull and cold", "superb. Truly wonderful. " * 10, "awful"]


def test_each_text_is_a_document_of_its_own(tokenizer: PoNetTokenizer) -> None:
    options = TextOptions(max_length=12, pairs="separate")
    encoder, alone = Encoder(tokenizer, options), Encoder(tokenizer, options)
    encoded = encoder(FIRST, SECOND)
    ends = [0]
    for example, first, second in zip(encoded, alone(FIRST), alone(SECOND), strict=True):
        assert example.document_lengths is not None
        assert example.document_lengths.tolist() == [len(first.input_ids), len(second.input_ids)]
        for name in ("input_ids", "segment_ids", "token_type_ids"):
            both = np.concatenate([getattr(first, name), getattr(second, name)])
            assert getattr(example, name).tolist() == both.tolist()
        assert example.dropped == first.dropped + second.dropped
        ends += example.document_lengths.tolist()
    assert encoder.counts == alone.counts
    assert encoder.counts.texts == 6
    assert encoder.counts.cut == 2
    batch = PackedCollator()([example.example() for example in encoded])
    assert batch["cu_seqlens"].tolist() == np.cumsum(ends).tolist()


@pytest.fixture
def pairs(folder: Path, write_rows: Write, reviews: Callable[..., Any]) -> Path:
    """`pairs.csv`: whether two reviews agree."""
    rows = reviews(4)
    others = [row for k in range(0, len(rows), 4) for row in [rows[k], *rows[k : k + 4]][:4]]
    return write_rows(
        folder / "pairs.csv",
        [
            {"sentence1": one["text"], "sentence2": two["text"], "label": int(one["label"] == two["label"])}
            for one, two in zip(rows, others, strict=True)
        ],
    )


def test_a_run_trains_is_evaluated_and_predicts(pairs: Path, folder: Path, recipe: Make, write_rows: Write) -> None:
    made = recipe(path="pairs.csv", max_length=12, pairs="separate")
    prepared = TextTask().prepare(made)
    config = prepared.model.config
    assert (config.classifier_pairs, config.classifier_pair_difference) == (True, "absolute")
    batch = prepared.collate([prepared.train.examples[i] for i in range(5)])
    output = prepared.model(**batch)
    assert output.logits.shape == (5, 2)
    assert torch.isfinite(output.loss)
    prepared.model.save_pretrained(folder / "run")
    assert prepared.processing_class is not None
    prepared.processing_class.save_pretrained(folder / "run")

    evaluation = TextTask().evaluation(folder / "run", made, None, "validation", None)
    assert prepared.validation is not None
    examples = [evaluation.split.examples[i] for i in range(len(evaluation.split))]
    with torch.no_grad():
        logits = prepared.model.eval()(**evaluation.collate(examples)).logits.numpy()
    assert evaluation.compute_metrics is not None
    assert "accuracy" in evaluation.compute_metrics(
        EvalPrediction(logits, np.array([example["labels"] for example in examples]))
    )
    rows = [{"sentence1": one, "sentence2": two} for one, two in zip(FIRST, SECOND, strict=True)]
    records = list(answers(folder / "run", made, str(write_rows(folder / "new.csv", rows))))
    assert [record.get("truncated") for record in records] == [None, True, True]
    # which of the two comes first counts, and what else is in the batch doesn't
    alone = list(answers(folder / "run", made, "new.csv", batch_tokens=1))
    assert [record["score"] for record in alone] == pytest.approx([record["score"] for record in records], abs=1e-6)

    write_rows(folder / "single.csv", [{"text": "great fun", "label": 1}, {"text": "awful", "label": 0}])
    with pytest.raises(PoNetError, match=r"compares two texts: .* must be a table with two columns"):
        list(answers(folder / "run", made, "single.csv"))
    with pytest.raises(PoNetError, match=r"'single\.csv' has one text a row"):
        TextTask().evaluation(folder / "run", made, "single.csv", "test", None)


@pytest.mark.parametrize(("changes", "pipeline"), [([], True), (["pairs=separate"], False), (["window=64"], False)])
def test_the_card_shows_a_pipeline_where_one_reads_the_run(changes: list[str], pipeline: bool) -> None:
    result = {"model": {"class": "PoNetForSequenceClassification"}, "train": {}, "machine": {"gpu": "none"}}
    result |= {"command": "ponet", "commit": None, "versions": {}}
    card = model_card(load_recipe("glue/rte/ponet", changes), result)
    assert ("from transformers import pipeline" in card) == pipeline
    assert "ponet predict" in card


@pytest.mark.parametrize(
    ("fields", "separate"),
    [
        ({}, False),
        ({"distillation": {"teacher": "bert"}}, True),
        ({"classifier_pairs": True, "classifier_pair_difference": "absolute"}, True),
    ],
)
def test_auto_reads_pairs_as_the_checkpoint_knows_them(
    pairs: Path, folder: Path, recipe: Make, tokenizer: PoNetTokenizer, fields: dict[str, Any], separate: bool
) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    PoNetForSequenceClassification(PoNetConfig(vocab_size=len(tokenizer), **sizes, **fields)).save_pretrained("known")
    tokenizer.save_pretrained("known")
    made = recipe(path="pairs.csv", model={"init": "known"}, pairs="auto")
    prepared = TextTask().prepare(made)
    assert prepared.model.config.classifier_pairs == separate
    assert prepared.facts["pairs"] == ("separate" if separate else "joined")
    assert prepared.model.config.classifier_pooling == ("mean" if "distillation" in fields else "cls")
    assert any("two documents" in notice for notice in prepared.notices) == separate
    alike = TextTask().prepare(recipe(path="pairs.csv", model={"init": "known"}, pairs=prepared.facts["pairs"]))
    assert prepared.train.lengths.tolist() == alike.train.lengths.tolist()

    prepared.model.save_pretrained("run")
    tokenizer.save_pretrained("run")
    evaluation = TextTask().evaluation(folder / "run", made, None, "validation", None)
    assert ("document_lengths" in evaluation.split.examples[0]) == separate
    assert len(list(answers(folder / "run", made, "pairs.csv"))) == len(pairs.read_text().splitlines()) - 1

    single = recipe(path="single.csv", model={"init": "known"}, pairs="auto")
    (folder / "single.csv").write_text("text,label\n" + "great fun,1\nawful,0\n" * 20)
    assert not TextTask().prepare(single).model.config.classifier_pairs


def test_one_text_a_row_cannot_be_two_documents(folder: Path, write_rows: Write, reviews: Any, recipe: Make) -> None:
    write_rows(folder / "a.csv", reviews(1))
    with pytest.raises(PoNetError, match="one text a row: name the second's column"):
        TextTask().prepare(recipe(path="a.csv", pairs="separate"))


def test_the_head_follows_from_the_data(pairs: Path, recipe: Make) -> None:
    with pytest.raises(PoNetError, match=r"model.classifier_pairs follows from data.pairs"):
        TextTask().prepare(recipe(path="pairs.csv", model={"classifier_pairs": True}))


def test_each_kind_of_checkpoint_has_its_recipe(folder: Path) -> None:
    def recipe_of(**config: Any) -> str:
        (folder / "it").mkdir(exist_ok=True)
        (folder / "it" / "config.json").write_text(json.dumps(config))
        return starting_recipe("it", pairs=True)

    student = {"distillation": {"teacher": "bert"}}
    assert starting_recipe(None, pairs=True) == "finetune/base-scratch"
    assert starting_recipe("ponet-tiny", pairs=True) == recipe_of(architectures=["PoNetModel"]) == "finetune/base"
    assert recipe_of(**student, architectures=["PoNetForPreTraining"]) == "finetune/student-pairs"
    assert recipe_of(**student, architectures=["PoNetForSequenceClassification"]) == "finetune/base"
    assert starting_recipe("ponet-mini", pairs=True) == "finetune/student-pairs"
    assert starting_recipe("ponet-mini") == "finetune/base"
    assert load_recipe("finetune/student-pairs").training.head_learning_rate == 3e-3
