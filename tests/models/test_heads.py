"""Every head: shapes, losses by hand, packed input, and one helpful sentence for whatever doesn't fit."""

import math

import pytest
import torch
from torch.nn import functional as F

from ponet import (
    PoNetConfig,
    PoNetForMaskedLM,
    PoNetForMultipleChoice,
    PoNetForPreTraining,
    PoNetForQuestionAnswering,
    PoNetForSequenceClassification,
    PoNetForTokenClassification,
    PoNetModel,
)

B, N, D, V, HEADS = 3, 7, 16, 20, 4
SETTINGS = {
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "cls_token_id": 2,
    "sep_token_id": 3,
    "num_labels": 4,
    "initializer_range": 0.3,
}
LENGTHS = [7, 4, 2]
TOKEN_HEADS = [PoNetForMaskedLM, PoNetForTokenClassification]


def build(head, **changes):
    return head(PoNetConfig(**SETTINGS | changes)).eval()


def padded() -> dict[str, torch.Tensor]:
    ids = torch.randint(4, V, (B, N))
    ids[:, 0] = 2
    mask = (torch.arange(N) < torch.tensor(LENGTHS)[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask, "segment_ids": torch.arange(N).expand(B, N) // 2}


def packed(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same batch without its padding."""
    mask = inputs["attention_mask"].bool()
    rows = {name: value[mask][None] for name, value in inputs.items() if name != "attention_mask"}
    return rows | {"cu_seqlens": torch.tensor([0, *mask.sum(1).cumsum(0).tolist()], dtype=torch.int32)}


def close(a: torch.Tensor, b: torch.Tensor | float) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b), rtol=1e-5, atol=1e-6)


# Shapes


@pytest.mark.parametrize("mixer", ["pooling", "attention", "fourier"])
def test_body(mixer):
    model, inputs = build(PoNetModel, mixer_types=mixer), padded()
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    real = inputs["attention_mask"].bool()
    assert output.last_hidden_state.shape == (B, N, D)
    assert output.pooler_output.shape == (B, D)
    assert len(output.hidden_states) == 3
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    for state in output.hidden_states:
        assert state.shape == (B, N, D)
        assert not state[~real].any()
    assert len(output.attentions) == 2
    for weights in output.attentions:
        if mixer == "pooling":
            assert weights.shape == (B, HEADS, N)
            close(weights.sum(-1), torch.ones(B, HEADS))
            assert not weights.transpose(1, 2)[~real].any()
        elif mixer == "attention":
            assert weights.shape == (B, HEADS, N, N)
            close(weights.sum(-1), torch.ones(B, HEADS, N))
            assert not weights.permute(0, 3, 1, 2)[~real].any()
        else:
            assert weights is None

    short = model(**packed(inputs), output_hidden_states=True, output_attentions=True)
    assert short.last_hidden_state.shape == (1, sum(LENGTHS), D)
    close(short.last_hidden_state[0], output.last_hidden_state[real])
    close(short.pooler_output, output.pooler_output)
    for state, padded_state in zip(short.hidden_states, output.hidden_states, strict=True):
        close(state[0], padded_state[real])
    for weights, padded_weights in zip(short.attentions, output.attentions, strict=True):
        if mixer != "fourier":
            assert weights.shape == padded_weights.shape
            mine = real[:, None, None, :] & real[:, None, :, None] if mixer == "attention" else real[:, None, :]
            close(weights * mine, padded_weights * mine)


def test_outputs_not_asked_for_are_none():
    output = build(PoNetModel)(**padded())
    assert output.hidden_states is None
    assert output.attentions is None
    assert output.keys() == {"last_hidden_state", "pooler_output"}


def test_configuration_may_ask_for_outputs():
    output = build(PoNetModel, output_hidden_states=True, output_attentions=True)(**padded())
    assert len(output.hidden_states) == 3
    assert len(output.attentions) == 2


def test_body_without_pooler():
    model = PoNetModel(PoNetConfig(**SETTINGS), add_pooling_layer=False)
    assert model(**padded()).pooler_output is None


def test_return_dict_false_gives_tuples():
    inputs, labels = padded(), torch.randint(4, V, (B, N))
    model = build(PoNetForPreTraining)
    relation = torch.tensor([0, 1, 2])
    named = model(**inputs, labels=labels, next_sentence_label=relation)
    plain = model(**inputs, labels=labels, next_sentence_label=relation, return_dict=False)
    assert isinstance(plain, tuple)
    for a, b in zip(plain, named.to_tuple(), strict=True):
        assert torch.equal(a, b)
    by_config = build(PoNetModel, return_dict=False)(**inputs)
    assert isinstance(by_config, tuple)
    assert [value.shape for value in by_config] == [(B, N, D), (B, D)]


def test_pre_norm_ends_with_a_norm():
    model = build(PoNetModel, norm_position="pre")
    output = model(**padded(), output_hidden_states=True)
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    close(output.last_hidden_state[0].mean(-1), torch.zeros(N))


# Token heads


@pytest.mark.parametrize("head", TOKEN_HEADS)
def test_token_loss_counts_labelled_real_tokens(head):
    model, inputs = build(head), padded()
    labels = torch.randint(0, 4, (B, N))
    labels[0, 2] = labels[2, 0] = -100
    output = model(**inputs, labels=labels)
    assert output.logits.shape == (B, N, V if head is PoNetForMaskedLM else 4)
    assert not output.logits[~inputs["attention_mask"].bool()].any()
    counted = inputs["attention_mask"].bool() & (labels != -100)
    assert counted.sum() == sum(LENGTHS) - 2
    by_hand = [-output.logits[b, n].log_softmax(-1)[labels[b, n]] for b, n in counted.nonzero().tolist()]
    close(output.loss, sum(by_hand) / len(by_hand))

    rows = packed({**inputs, "labels": labels})
    short = model(**rows)
    assert short.logits.shape == (1, sum(LENGTHS), output.logits.shape[-1])
    close(short.loss, output.loss)


@pytest.mark.parametrize("head", TOKEN_HEADS)
def test_no_label_at_all_costs_nothing(head):
    model, inputs = build(head), padded()
    loss = model(**inputs, labels=torch.full((B, N), -100)).loss
    assert loss == 0
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_pretraining_losses_add_up():
    model, inputs = build(PoNetForPreTraining), padded()
    labels = torch.where(torch.rand(B, N) < 0.5, torch.randint(4, V, (B, N)), -100)
    relation = torch.tensor([0, 2, -100])
    output = model(**inputs, labels=labels, next_sentence_label=relation)
    assert output.prediction_logits.shape == (B, N, V)
    assert output.seq_relationship_logits.shape == (B, 3)
    counted = inputs["attention_mask"].bool() & (labels != -100)
    close(output.mlm_loss, F.cross_entropy(output.prediction_logits[counted], labels[counted]))
    close(output.sso_loss, F.cross_entropy(output.seq_relationship_logits[:2], relation[:2]))
    close(output.loss, output.mlm_loss + output.sso_loss)

    assert model(**inputs, labels=labels).loss == output.mlm_loss
    assert model(**inputs, next_sentence_label=relation).loss == output.sso_loss
    assert model(**inputs).loss is None
    nothing = model(**inputs, labels=torch.full((B, N), -100), next_sentence_label=torch.full((B,), -100))
    assert nothing.loss == 0
    short = model(**packed({**inputs, "labels": labels}), next_sentence_label=relation)
    close(short.loss, output.loss)
    close(short.seq_relationship_logits, output.seq_relationship_logits)
    assert build(PoNetForPreTraining, num_sentence_labels=2)(**inputs).seq_relationship_logits.shape == (B, 2)


# Sequence classification


def classify(**changes):
    model, inputs = build(PoNetForSequenceClassification, **changes), padded()
    return model, inputs, model(**inputs).logits


def test_single_label():
    model, inputs, logits = classify()
    assert logits.shape == (B, 4)
    labels = torch.tensor([3, -100, 0])
    output = model(**inputs, labels=labels)
    assert model.config.problem_type == "single_label_classification"
    by_hand = -(logits[0].log_softmax(-1)[3] + logits[2].log_softmax(-1)[0]) / 2
    close(output.loss, by_hand)
    close(model(**inputs, labels=labels[:, None]).loss, by_hand)
    assert model(**inputs, labels=torch.full((B,), -100)).loss == 0
    short = model(**packed(inputs), labels=labels)
    close(short.logits, logits)
    close(short.loss, by_hand)


def test_several_labels():
    model, inputs, logits = classify()
    labels = (torch.rand(B, 4) < 0.5).float()
    output = model(**inputs, labels=labels)
    assert model.config.problem_type == "multi_label_classification"
    probability = logits.sigmoid()
    by_hand = -(labels * probability.log() + (1 - labels) * (1 - probability).log()).mean()
    close(output.loss, by_hand)
    given = build(PoNetForSequenceClassification, problem_type="multi_label_classification")
    given.load_state_dict(model.state_dict())
    close(given(**inputs, labels=labels.long()).loss, by_hand)


@pytest.mark.parametrize("labels", [1, 4])
def test_regression(labels):
    model, inputs, logits = classify(num_labels=labels, problem_type=None if labels == 1 else "regression")
    numbers = torch.randn(B, labels)
    output = model(**inputs, labels=numbers)
    assert model.config.problem_type == "regression"
    close(output.loss, (logits - numbers).square().mean())
    if labels == 1:
        close(model(**inputs, labels=numbers[:, 0]).loss, output.loss)
        close(model(**inputs, labels=torch.tensor([1, 2, 3])).loss, F.mse_loss(logits[:, 0], torch.tensor([1.0, 2, 3])))


def test_classifier_pooling():
    model, inputs, logits = classify(classifier_pooling="cls")
    body = model.ponet(**inputs)
    close(logits, model.classifier(body.pooler_output))
    close(body.pooler_output, model.ponet.pooler.dense(body.last_hidden_state[:, 0]).tanh())

    model, inputs, logits = classify(classifier_pooling="mean")
    assert model.ponet.pooler is None
    states = model.ponet(**inputs).last_hidden_state
    means = torch.stack([states[b, :n].mean(0) for b, n in enumerate(LENGTHS)])
    close(logits, model.classifier(means))
    close(model(**packed(inputs)).logits, logits)

    model, inputs, logits = classify(classifier_pooling="padded_mean")
    sums = model.ponet(**inputs).last_hidden_state.sum(1)
    close(logits, model.classifier(sums / SETTINGS["max_position_embeddings"]))
    close(model(**packed(inputs)).logits, logits)


def test_first_real_token_is_pooled():
    model, inputs, _ = classify()
    left = {name: value.flip(1) for name, value in inputs.items()}
    left["input_ids"] = torch.where(left["attention_mask"].bool(), left["input_ids"], 2)
    states = model.ponet(**left).last_hidden_state
    firsts = torch.stack([states[b, N - n] for b, n in enumerate(LENGTHS)])
    close(model(**left).logits, model.classifier(model.ponet.pooler(firsts)))


def test_hidden_classifier_layer():
    model, inputs, logits = classify(classifier_hidden_size=5, classifier_pooling="mean")
    states = model.ponet(**inputs).last_hidden_state
    means = torch.stack([states[b, :n].mean(0) for b, n in enumerate(LENGTHS)])
    first, _, last = model.classifier
    assert first.weight.shape == (5, D)
    close(logits, last(first(means).relu()))


def test_pairs():
    model = build(PoNetForSequenceClassification, classifier_pairs=True, classifier_pooling="mean")
    inputs = {name: torch.cat([value, value[:1]]) for name, value in padded().items()}
    logits = model(**inputs, labels=torch.tensor([0, 1])).logits
    assert logits.shape == (2, 4)
    states = model.ponet(**inputs).last_hidden_state
    means = torch.stack([states[b, :n].mean(0) for b, n in enumerate([*LENGTHS, LENGTHS[0]])])
    pairs = [(means[0], means[1]), (means[2], means[3])]
    for i, (a, b) in enumerate(pairs):
        close(logits[i], model.classifier(torch.cat([a, b, a * b, a - b])))
    model.config.classifier_pair_difference = "absolute"
    for logit, (a, b) in zip(model(**inputs).logits, pairs, strict=True):
        close(logit, model.classifier(torch.cat([a, b, a * b, (a - b).abs()])))
    model.config.classifier_pair_difference = "signed"
    close(model(**packed(inputs)).logits, logits)
    with pytest.raises(ValueError, match="joins documents two by two, but the batch has 3"):
        model(**padded())


def test_classifier_dropout():
    model = build(PoNetForSequenceClassification, classifier_dropout=0.0, hidden_dropout_prob=0.5)
    assert model.dropout.p == 0
    assert build(PoNetForTokenClassification, hidden_dropout_prob=0.5).dropout.p == 0.5


# Question answering


def test_answers():
    model, inputs = build(PoNetForQuestionAnswering), padded()
    starts, ends = torch.tensor([2, 0, 1]), torch.tensor([6, 3, 1])
    output = model(**inputs, start_positions=starts, end_positions=ends)
    assert output.start_logits.shape == output.end_logits.shape == (B, N)
    real = inputs["attention_mask"].bool()
    lowest = torch.finfo(torch.float32).min
    assert (output.start_logits[~real] == lowest).all()
    assert (output.end_logits[~real] == lowest).all()
    by_hand = 0.0
    for scores, places in ((output.start_logits, starts), (output.end_logits, ends)):
        losses = [-scores[b, :n].log_softmax(-1)[places[b]] for b, n in enumerate(LENGTHS)]
        by_hand += sum(losses) / B / 2
    close(output.loss, by_hand)

    short = model(**packed(inputs), start_positions=starts, end_positions=ends)
    assert short.start_logits.shape == short.end_logits.shape == (1, sum(LENGTHS))
    close(short.start_logits[0], output.start_logits[real])
    close(short.end_logits[0], output.end_logits[real])
    close(short.loss, by_hand)


def test_answers_outside_the_document_cost_nothing():
    model, inputs = build(PoNetForQuestionAnswering), padded()
    starts, ends = torch.tensor([2, 5, -1]), torch.tensor([6, N + 4, 1])  # 5 is padding of a document of 4 tokens
    output = model(**inputs, start_positions=starts, end_positions=ends)
    start = -output.start_logits[0].log_softmax(-1)[2]
    end = -(output.end_logits[0].log_softmax(-1)[6] + output.end_logits[2, :2].log_softmax(-1)[1]) / 2
    close(output.loss, (start + end) / 2)
    short = model(**packed(inputs), start_positions=starts, end_positions=ends)
    close(short.loss, output.loss)
    nowhere = torch.full((B,), -1)
    assert model(**inputs, start_positions=nowhere, end_positions=nowhere).loss == 0


# Multiple choice


def test_choices():
    model, inputs = build(PoNetForMultipleChoice), padded()
    inputs = {name: torch.cat([value, value.flip(0)]) for name, value in inputs.items()}
    stacked = {name: value.unflatten(0, (2, 3)) for name, value in inputs.items()}
    labels = torch.tensor([2, 0])
    output = model(**stacked, labels=labels)
    assert output.logits.shape == (2, 3)
    scores = model.classifier(model.ponet(**inputs).pooler_output)[:, 0].reshape(2, 3)
    close(output.logits, scores)
    close(output.loss, F.cross_entropy(scores, labels))
    short = model(**packed(inputs), labels=labels, num_choices=3)
    close(short.logits, scores)
    close(short.loss, output.loss)
    embedded = {name: value for name, value in stacked.items() if name != "input_ids"}
    embedded["inputs_embeds"] = model.get_input_embeddings()(stacked["input_ids"])
    special = stacked["input_ids"] == 2
    close(model(**embedded, special_tokens_mask=special).logits, scores)


def test_initial_losses_are_those_of_chance():
    """A fresh model knows nothing: its losses are the logarithms of the number of choices."""
    inputs = padded()
    settings = {"initializer_range": 1e-4}
    output = build(PoNetForPreTraining, **settings)(
        **inputs, labels=inputs["input_ids"], next_sentence_label=torch.zeros(B, dtype=torch.int64)
    )
    assert abs(output.mlm_loss - math.log(V)) < 0.05
    assert abs(output.sso_loss - math.log(3)) < 0.05
