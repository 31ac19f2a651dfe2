"""Half precision, gradient checkpointing, dropout, the Trainer, and what else training wants of a model."""

import json

import pytest
import torch
import transformers

from ponet import PoNetConfig, PoNetForPreTraining, PoNetForTokenClassification, PoNetModel

CLS, SEP = 2, 3
SETTINGS = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "cls_token_id": CLS,
    "sep_token_id": SEP,
    "num_labels": 4,
    "initializer_range": 0.3,
}
MIXERS = ["pooling", "attention", "fourier"]


def build(head, **changes):
    return head(PoNetConfig(**SETTINGS | changes)).eval()


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(4, 20, (3, 9))
    ids[:, 0], ids[:, 4], ids[:, 8] = CLS, SEP, SEP
    return {"input_ids": ids, "attention_mask": (torch.arange(9) < torch.tensor([[9], [6], [1]])).long()}


def scores(model, **inputs) -> torch.Tensor:
    """The first output that isn't a loss."""
    return model(**inputs).to_tuple()[0]


def same(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(mixer, dtype, tmp_path):
    model = build(PoNetForPreTraining, mixer_types=mixer, initializer_range=0.05)
    inputs = batch() | {"labels": torch.randint(4, 20, (3, 9)), "next_sentence_label": torch.tensor([0, 1, 2])}
    expected = model(**inputs, output_hidden_states=True)
    model.save_pretrained(tmp_path)
    half = PoNetForPreTraining.from_pretrained(tmp_path, dtype=dtype).eval()
    assert {parameter.dtype for parameter in half.parameters()} == {dtype}
    output = half(**inputs, output_hidden_states=True)
    assert output.prediction_logits.dtype == output.hidden_states[-1].dtype == dtype
    assert abs(output.loss - expected.loss) < 0.02 * expected.loss
    assert (output.hidden_states[-1] - expected.hidden_states[-1]).abs().max() < 0.15
    expected.loss.backward()
    output.loss.backward()
    theirs = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    ours = torch.cat([p.grad.float().flatten() for p in half.parameters() if p.grad is not None])
    assert torch.isfinite(ours).all()
    assert (ours - theirs).norm() < 0.1 * theirs.norm()


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(mixer, dtype):
    model = build(PoNetForPreTraining, mixer_types=mixer, initializer_range=0.05)
    inputs = batch() | {"labels": torch.randint(4, 20, (3, 9)), "next_sentence_label": torch.tensor([0, 1, 2])}
    expected = model(**inputs).loss
    with torch.autocast("cpu", dtype=dtype):
        loss = model(**inputs, output_attentions=True).loss
    assert loss.dtype == torch.float32
    assert abs(loss - expected) < 0.02 * expected
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_checkpoint_says_in_which_type_it_opens(tmp_path):
    build(PoNetModel).half().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert config["dtype"] == "float16"
    assert PoNetModel.from_pretrained(tmp_path).dtype == torch.float16
    path.write_text(json.dumps(config | {"dtype": "float32"}))
    assert PoNetModel.from_pretrained(tmp_path).dtype == torch.float32


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # the newer names came after 5.17
@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(mixer, reentrant):
    model = build(PoNetForPreTraining, mixer_types=mixer, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2)
    inputs = batch() | {"labels": torch.randint(4, 20, (3, 9)), "next_sentence_label": torch.tensor([0, 1, 2])}
    model.train()

    def gradients():
        model.zero_grad()
        torch.manual_seed(0)
        output = model(**inputs, output_hidden_states=True)
        output.loss.backward()
        return output.loss.detach(), {name: p.grad for name, p in model.named_parameters()}

    loss, expected = gradients()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    assert model.is_gradient_checkpointing
    calls = []
    hook = model.ponet.encoder.layer[0].intermediate.register_forward_hook(lambda *_: calls.append(1))
    again, actual = gradients()
    hook.remove()
    assert len(calls) == 2, "the layer wasn't computed again"
    assert again == loss
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-5, atol=1e-7, msg=name)
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_dropout_in_training_alone():
    model, inputs = build(PoNetModel, hidden_dropout_prob=0.5), batch()
    assert torch.equal(scores(model, **inputs), scores(model, **inputs))
    model.train()
    assert not torch.equal(scores(model, **inputs), scores(model, **inputs))


def test_fresh_weights():
    model = build(PoNetForPreTraining, hidden_size=64, vocab_size=500, initializer_range=0.02)
    for name, value in model.named_parameters():
        if "LayerNorm.weight" in name:
            assert torch.equal(value, torch.ones_like(value)), name
        elif name.endswith("bias"):
            assert not value.any(), name
        elif value.shape[0] > 10:
            assert 0.9 * 0.02 < value.std() < 1.1 * 0.02, name
    assert not model.get_input_embeddings().weight[0].any()


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
def test_frozen_embeddings_with_checkpointing():
    """What adapters do: nothing of the body is trained, so its input must ask for gradients."""
    model, inputs = build(PoNetForTokenClassification).train(), batch()
    for parameter in model.ponet.parameters():
        parameter.requires_grad_(False)
    model.ponet.encoder.layer[0].attention.self.dense_o.weight.requires_grad_()
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    model(**inputs, labels=inputs["input_ids"] % 4).loss.backward()
    assert model.ponet.encoder.layer[0].attention.self.dense_o.weight.grad.any()


def test_trainer(tmp_path):
    """Two optimizer steps of two batches each; predictions are logits, without the parts of the loss."""
    model = build(PoNetForPreTraining)
    before = model.get_input_embeddings().weight.detach().clone()
    ids = torch.randint(4, 20, (9, 7))
    examples = [
        {"input_ids": row, "labels": row, "next_sentence_label": torch.tensor(i % 3)} for i, row in enumerate(ids)
    ]
    arguments = transformers.TrainingArguments(
        tmp_path,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=4,
        gradient_accumulation_steps=2,
        max_steps=2,
        label_names=["labels", "next_sentence_label"],
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=examples, eval_dataset=examples)
    trainer.train()
    assert not torch.equal(model.get_input_embeddings().weight, before)
    predicted = trainer.predict(examples)
    assert [value.shape for value in predicted.predictions] == [(9, 7, 20), (9, 3)]
    labels = (torch.as_tensor(value) for value in predicted.label_ids)
    logits = (torch.as_tensor(value).flatten(0, -2) for value in predicted.predictions)
    losses = [torch.nn.functional.cross_entropy(a, b.flatten()) for a, b in zip(logits, labels, strict=True)]
    assert abs(sum(losses) - predicted.metrics["test_loss"]) < 0.02  # the mean over batches, the last of them smaller
