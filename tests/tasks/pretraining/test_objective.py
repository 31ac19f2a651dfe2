"""The loss of pre-training: the model's own, whatever the examples are spread over, and its figures."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.tasks.pretraining.stream_fixtures import examples_of, keys, random_shape
from torch import Tensor

from ponet import PoNetConfig, PoNetForPreTraining
from ponet.tasks.base import Example
from ponet.tasks.pretraining.examples import CLASSES, IGNORED, PretrainingCollator
from ponet.tasks.pretraining.objective import PretrainingObjective

VOCAB_SIZE = 60
SECOND = {"mlm+sso": "sso", "mlm+nsp": "nsp", "mlm": None}


def made(objective: Any, count: int = 12) -> list[Example]:
    """Examples over a small vocabulary, with one special id each for [CLS], [SEP] and [MASK]."""
    examples = examples_of(random_shape(20), objective=objective)
    found = []
    for key in keys(examples, 40)[:count]:
        example = dict(examples[key])
        for name in ("input_ids", "labels"):
            ids = example[name]
            example[name] = np.where(ids < 10, ids, 10 + ids % (VOCAB_SIZE - 10))
        found.append(example)
    return found


def a_model(objective: Any = "mlm+sso", mixer: str = "pooling", types: int = 2) -> PoNetForPreTraining:
    torch.manual_seed(0)
    config = PoNetConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.3,
        mixer_types=mixer,
        type_vocab_size=types,
        num_sentence_labels=max(2, len(CLASSES[objective])),
        cls_token_id=3,
        sep_token_id=7,
    )
    return PoNetForPreTraining(config)


def own_output(model: PoNetForPreTraining, examples: list[Example]) -> Any:
    """The model's own loss over a padded batch, with labels at every position."""
    width = max(len(example["input_ids"]) for example in examples)

    def padded(name: str, value: int) -> Tensor:
        rows = [np.pad(example[name], (0, width - len(example[name])), constant_values=value) for example in examples]
        return torch.from_numpy(np.stack(rows))

    mask = torch.tensor([[1] * len(e["input_ids"]) + [0] * (width - len(e["input_ids"])) for e in examples])
    return model(
        padded("input_ids", 0),
        mask,
        token_type_ids=padded("token_type_ids", 0),
        segment_ids=padded("segment_ids", 99),
        labels=padded("labels", IGNORED),
        next_sentence_label=torch.tensor([example["sentence_label"] for example in examples]),
    )


def gradients(model: PoNetForPreTraining) -> dict[str, Tensor]:
    found = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad()
    assert all(gradient is not None for gradient in found.values()), "DDP insists on a gradient for every weight"
    return found  # type: ignore[return-value]


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("mixer", ["pooling", "attention", "fourier"])
@pytest.mark.parametrize("name", ["mlm+sso", "mlm+nsp", "mlm"])
def test_it_is_the_model_s_own_loss(name: str, mixer: str) -> None:
    model, examples = a_model(name, mixer), made(name)
    objective = PretrainingObjective(model.config, SECOND[name])
    batch = PretrainingCollator()(examples)
    loss, sums = objective(model, batch, objective.counts(batch))
    loss.backward()
    sparse = gradients(model)
    output = own_output(model, examples)
    expected = output.loss if SECOND[name] else output.mlm_loss + 0.0 * output.sso_loss
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6, rel=1e-6)
    assert_close(sparse, gradients(model))
    figures = objective.figures(sums)
    assert figures["loss"] == pytest.approx(expected.item(), rel=1e-6)
    assert figures["mlm_loss"] == pytest.approx(output.mlm_loss.item(), rel=1e-6)
    if SECOND[name]:
        assert figures[f"{SECOND[name]}_loss"] == pytest.approx(output.sso_loss.item(), rel=1e-6)


def test_words_are_scored_at_masked_positions_alone() -> None:
    model, examples = a_model(), made("mlm+sso")
    batch = PretrainingCollator()(examples)
    inputs = {name: batch[name] for name in ("input_ids", "segment_ids", "token_type_ids", "cu_seqlens")}
    with torch.no_grad():
        sparse = model(**inputs, prediction_positions=batch["prediction_positions"])
        dense = model(**inputs)
    assert sparse.prediction_logits.shape == (len(batch["labels"]), VOCAB_SIZE)
    assert len(batch["labels"]) < 0.25 * batch["input_ids"].numel()
    chosen = dense.prediction_logits[0, batch["prediction_positions"]]
    torch.testing.assert_close(sparse.prediction_logits, chosen, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sparse.seq_relationship_logits, dense.seq_relationship_logits)


@pytest.mark.parametrize("parts", [[5, 7], [1, 1, 10], [4, 4, 4]])
def test_batches_add_up(parts: list[int]) -> None:
    """However the examples are spread: the loss, the gradients and the figures are those of all of them together."""
    model, examples = a_model(), made("mlm+sso")
    objective, collate = PretrainingObjective(model.config), PretrainingCollator()
    whole = collate(examples)
    loss, sums = objective(model, whole, objective.counts(whole))
    loss.backward()
    together = gradients(model)
    batches, start = [], 0
    for size in parts:
        batches.append(collate(examples[start : start + size]))
        start += size
    totals = torch.stack([objective.counts(batch) for batch in batches]).sum(0)
    assert totals.tolist() == objective.counts(whole).tolist()
    losses, all_sums = [], []
    for batch in batches:
        share, part = objective(model, batch, totals)
        share.backward()
        losses.append(share.item())
        all_sums.append(part)
    assert sum(losses) == pytest.approx(loss.item(), rel=1e-6)
    assert_close(together, gradients(model))
    added = torch.stack(all_sums).sum(0)
    torch.testing.assert_close(added, sums, rtol=1e-5, atol=1e-5)
    assert objective.figures(added) == pytest.approx(objective.figures(sums), rel=1e-5)


def test_counts_and_figures() -> None:
    model, examples = a_model(), made("mlm+sso")
    objective = PretrainingObjective(model.config)
    batch = PretrainingCollator()(examples)
    words = sum(int((example["labels"] != IGNORED).sum()) for example in examples)
    assert objective.counts(batch).tolist() == [words, len(examples)]
    with torch.no_grad():
        _, sums = objective(model, batch, objective.counts(batch))
        output = own_output(model, examples)
    assert sums.dtype == torch.float64
    assert not sums.requires_grad
    found = output.prediction_logits.argmax(-1)
    right = sum(
        int((found[row, : len(example["labels"])].numpy() == example["labels"]).sum())
        for row, example in enumerate(examples)
    )
    labels = torch.tensor([example["sentence_label"] for example in examples])
    right_pairs = int((output.seq_relationship_logits.argmax(-1) == labels).sum())
    assert sums[[1, 2, 4, 5]].tolist() == [right, words, right_pairs, len(examples)]
    figures = objective.figures(sums)
    assert list(figures) == ["loss", "mlm_loss", "mlm_accuracy", "sso_loss", "sso_accuracy"]
    assert figures["mlm_accuracy"] == right / words
    assert figures["sso_accuracy"] == right_pairs / len(examples)


def test_figures_of_the_other_objectives() -> None:
    sums = torch.tensor([6.0, 1.0, 4.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    config = a_model().config
    assert PretrainingObjective(config, "nsp").figures(sums) == {
        "loss": 2.0,
        "mlm_loss": 1.5,
        "mlm_accuracy": 0.25,
        "nsp_loss": 0.5,
        "nsp_accuracy": 0.75,
    }
    assert PretrainingObjective(config, None).figures(sums) == {"loss": 1.5, "mlm_loss": 1.5, "mlm_accuracy": 0.25}
    assert PretrainingObjective(config).figures(torch.zeros(6))["loss"] == 0.0


def test_nothing_masked_is_a_number() -> None:
    """In the published script such a row divides by zero; there are none here, and they would do no harm."""
    model, examples = a_model(), made("mlm+sso", 3)
    for example in examples:
        example["labels"] = np.full_like(example["labels"], IGNORED)
    objective = PretrainingObjective(model.config)
    batch = PretrainingCollator()(examples)
    loss, sums = objective(model, batch, objective.counts(batch))
    loss.backward()
    assert all(torch.isfinite(gradient).all() for gradient in gradients(model).values())
    assert objective.figures(sums)["mlm_loss"] == 0.0
    assert loss.item() == pytest.approx(objective.figures(sums)["sso_loss"])
    assert own_output(model, examples).mlm_loss.item() == 0.0


def test_the_batch_is_packed() -> None:
    examples = made("mlm+sso", 5)
    batch = PretrainingCollator()(examples)
    lengths = [len(example["input_ids"]) for example in examples]
    assert batch["cu_seqlens"].dtype == torch.int32
    assert batch["cu_seqlens"].tolist() == np.cumsum([0, *lengths]).tolist()
    for name in ("input_ids", "segment_ids", "token_type_ids"):
        assert batch[name].tolist() == [np.concatenate([example[name] for example in examples]).tolist()]
    places = [
        (start + int(at), int(example["labels"][at]))
        for start, example in zip(batch["cu_seqlens"].tolist(), examples, strict=False)
        for at in np.flatnonzero(example["labels"] != IGNORED)
    ]
    found = list(zip(batch["prediction_positions"].tolist(), batch["labels"].tolist(), strict=True))
    assert found == places
    assert batch["sentence_labels"].tolist() == [example["sentence_label"] for example in examples]


def test_a_model_without_token_types() -> None:
    model, examples = a_model(types=1), made("mlm+sso", 4)
    batch = PretrainingCollator(token_types=False)(examples)
    assert "token_type_ids" not in batch
    objective = PretrainingObjective(model.config)
    loss, _ = objective(model, batch, objective.counts(batch))
    assert torch.isfinite(loss)
