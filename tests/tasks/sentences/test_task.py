"""Both tasks from articles to a run: what is learned, what is measured, what a frozen encoder leaves to ship."""

import json

import numpy as np
import pytest
import torch

from ponet import PoNetConfig
from ponet.config.recipe import load_recipe
from ponet.models import checkpoints
from ponet.tasks.models import open_tokenizer
from ponet.tasks.sentences import modelling as adapters
from ponet.tasks.sentences.documents import LabelledDocument
from ponet.tasks.sentences.encode import SentenceEncoder, split_sentences
from ponet.tasks.sentences.metrics import boundary_counts, f1, pk
from ponet.tasks.sentences.modelling import open_run
from ponet.tasks.sentences.objective import SegmentationObjective
from ponet.tasks.sentences.scoring import SentenceScorer
from ponet.tasks.sentences.task import SegmentationTask, SummarizationTask
from ponet.training.evaluation import evaluate
from ponet.training.run import train
from ponet.utils.errors import PoNetError

SMALL = ["hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=16"]
SMALL += ["sentence_hidden_size=16", "limit_train=20", "limit_validation=6", "batch_tokens=2000", "learning_rate=1e-2"]


def recipe(articles, name="segmentation/wikipedia/pooling", *changes, scratch=True):
    new = [*SMALL, "init=null", "tokenizer=ponet-tiny"] if scratch else SMALL[4:]
    return load_recipe(name, [f"path={articles}", *new, *changes])


@pytest.fixture(scope="module")
def run(articles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    made = recipe(
        articles, "segmentation/wikipedia/pooling", "max_steps=60", "eval_every=60", "head_learning_rate=null"
    )
    train(made, folder, show=False)
    return folder


def test_boundaries_are_learned(run) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["test"]["best_f1"] > 0.8
    assert result["test"]["pk"] <= result["test"]["window_diff"] < 0.2
    facts = result["data"]["splits"]["train"]
    assert {name: facts[name] for name in ("articles", "sentences", "chosen", "cut")} == {
        "articles": 20,
        "sentences": 420,
        "chosen": 80,
        "cut": 0,
    }
    assert any("articles don't serve" in notice for notice in result["notices"])
    assert evaluate(run, show=False)["metrics"]["best_f1"] == pytest.approx(result["test"]["best_f1"])


def test_the_best_threshold_weighs_both_errors() -> None:
    """A low threshold finds all six topics' ends and seven that are none, a high one two ends alone."""
    labels, probabilities = np.zeros(70, dtype=bool), np.full(70, 0.1)
    labels[9::10] = True
    probabilities[4::10] = probabilities[9::10] = 0.4
    probabilities[[19, 39]] = 0.9
    low, high = (probabilities[:-1] >= threshold for threshold in (0.3, 0.6))
    figures = [(f1(boundary_counts(labels[:-1], each)), pk(labels[:-1], each)) for each in (low, high)]
    assert figures[0][0] > figures[1][0]
    assert figures[0][1] > figures[1][1] + 0.2
    objective = SegmentationObjective(PoNetConfig())
    found = objective.document_figures(2 * objective.document_sums(probabilities, labels), 2)
    assert 0.4 < found["best_threshold"] <= 0.9
    assert (found["best_f1"], found["best_pk"]) == pytest.approx(figures[1])


def test_a_topic_ends_before_a_sentence_without_tokens() -> None:
    text = "One mill.\n\nA river.\n\n\x01\x02\n\nTwo trains.\n\nHome."
    spans = split_sentences(text)
    assert len(spans) == 5
    encoded = SentenceEncoder(open_tokenizer("ponet-tiny"))([text], [spans])[0]
    for ends, expected in (([0, 2, 4], [1, 1, 0, 1]), ([1, 4], [0, 1, 0, 1]), ([3], [0, 0, 1, 0])):
        labels = np.isin(np.arange(5), ends)
        found = SegmentationTask().labels(LabelledDocument(text, spans, labels), encoded)
        assert found.tolist() == expected
    found = SummarizationTask().labels(LabelledDocument(text, spans, np.arange(5) == 3), encoded)
    assert found.tolist() == [0, 0, 1, 0]


def test_the_best_threshold_comes_along(run) -> None:
    result = json.loads((run / "result.json").read_text())
    assert open_run(run)[0].config.sentence_threshold == result["validation"]["best_threshold"]


def test_no_article_is_in_two_splits(articles) -> None:
    prepared = SegmentationTask().prepare(recipe(articles))
    seen = [
        {tuple(split.examples[i]["input_ids"].tolist()) for i in range(len(split))}
        for split in (prepared.train, prepared.validation, prepared.test)
    ]
    assert [len(each) for each in seen] == [20, 6, 6]
    assert len(set.union(*seen)) == 32


def test_training_articles_end_with_a_whole_sentence(articles) -> None:
    prepared = SegmentationTask().prepare(recipe(articles, "segmentation/wikipedia/pooling", "data.max_length=100"))
    assert prepared.train.lengths.max() <= 100 < prepared.validation.lengths.min()
    assert any("20 of 20 train articles are longer than 100 tokens" in notice for notice in prepared.notices)


@pytest.mark.parametrize("window", [None, 60])
def test_figures_are_the_same_however_articles_are_batched(articles, window) -> None:
    prepared = SegmentationTask().prepare(
        recipe(articles, "segmentation/wikipedia/pooling", f"data.window={'null' if window is None else window}")
    )
    model, objective = prepared.model.eval(), prepared.objective
    with torch.no_grad():

        def sums(groups):
            total = 0
            for group in groups:
                batch = prepared.collate([prepared.validation.examples[i] for i in group])
                total = total + objective(model, batch, objective.counts(batch))[1]
            return objective.figures(total)

        one, other = sums([range(6)]), sums([[5], [3, 1], [0, 2, 4]])
    assert one == pytest.approx(other, abs=1e-4)


def test_summaries_learn_the_oracle(articles) -> None:
    prepared = SummarizationTask().prepare(
        recipe(articles, "summarization/wikipedia/pooling", "min_lead_words=5", "sentences=3")
    )
    labels = prepared.train.examples[0]["labels"]
    assert 1 <= labels.sum() <= 3
    batch = prepared.collate([prepared.train.examples[0]])
    objective = prepared.objective
    assert objective.document_sums(labels, labels > 0)[0] == 1
    assert objective.document_sums(-labels, labels > 0)[0] == 0
    loss, sums = objective(prepared.model, batch, objective.counts(batch))
    assert objective.figures(sums)["loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_a_frozen_encoder_leaves_a_small_adapter(articles, tmp_path) -> None:
    small = ["max_steps=1", "sentence_adapter_rank=2", "limit_train=2", "limit_validation=1", "limit_test=1"]
    made = recipe(articles, "segmentation/wikipedia/adapter", *small, scratch=False)
    train(made, tmp_path / "run", show=False)
    facts = adapters.save_adapter(tmp_path / "run", tmp_path / "adapter")
    assert facts["bytes"] < 400_000
    assert len({file.stat().st_mode for file in (tmp_path / "adapter").iterdir()}) == 1  # readable alike
    text = "The river rose. It fell again. The train left. Nobody was in it."
    whole, small = (next(SentenceScorer("segmentation", tmp_path / name).stream([text])) for name in ("run", "adapter"))
    np.testing.assert_allclose(whole.probabilities, small.probabilities, atol=2e-3)
    original = checkpoints.checkpoint("ponet-tiny")
    assert open_tokenizer(original).get_vocab() == open_run(tmp_path / "run")[1].get_vocab()
    with pytest.raises(PoNetError, match="isn't empty"):
        adapters.save_adapter(tmp_path / "run", tmp_path / "adapter")
    with pytest.raises(PoNetError, match="isn't one for summarization"):
        SentenceScorer("summarization", tmp_path / "adapter")
    (tmp_path / "adapter" / adapters.WEIGHTS).write_bytes(b"cut")
    with pytest.raises(PoNetError, match="can't be read"):
        SentenceScorer("segmentation", tmp_path / "adapter")


def test_an_encoder_that_learned_has_no_adapter(run, tmp_path) -> None:
    with pytest.raises(PoNetError, match="freeze_encoder"):
        adapters.save_adapter(run, tmp_path / "adapter")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["init=null"], "needs a tokenizer"),
        (["init=ponet-tiny", "hidden_size=64"], "sizes of its own"),
        (["init=null", "tokenizer=ponet-tiny", "freeze_encoder=true"], "name one with model.init"),
        (["init=ponet-tiny", "mixer_types=attention", "freeze_encoder=true"], "lacks weights"),
        (["text=body"], "no column 'body'"),
    ],
)
def test_one_sentence_for_what_does_not_fit(articles, changes, message) -> None:
    with pytest.raises(PoNetError, match=message):
        SegmentationTask().prepare(load_recipe("segmentation/wikipedia/pooling", [f"path={articles}", *changes]))


def test_a_run_of_another_task_is_refused(run) -> None:
    with pytest.raises(PoNetError, match="run of the task 'segmentation'"):
        SentenceScorer("summarization", run)
    with pytest.raises(PoNetError, match="doesn't score sentences"):
        SentenceScorer("segmentation", checkpoints.checkpoint("ponet-tiny"))
