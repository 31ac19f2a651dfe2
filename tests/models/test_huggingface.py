"""What users of Hugging Face models expect to work: Auto classes, saving, loading, resizing, copying."""

import copy
import inspect
import pickle

import pytest
import torch
import transformers
from safetensors.torch import load_file

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
AUTO = {
    "AutoModel": PoNetModel,
    "AutoModelForPreTraining": PoNetForPreTraining,
    "AutoModelForMaskedLM": PoNetForMaskedLM,
    "AutoModelForSequenceClassification": PoNetForSequenceClassification,
    "AutoModelForTokenClassification": PoNetForTokenClassification,
    "AutoModelForQuestionAnswering": PoNetForQuestionAnswering,
    "AutoModelForMultipleChoice": PoNetForMultipleChoice,
}
HEADS = list(AUTO.values())
WITH_VOCABULARY = [PoNetForPreTraining, PoNetForMaskedLM]
MIXERS = ["pooling", "attention", "fourier"]


def build(head, **changes):
    return head(PoNetConfig(**SETTINGS | changes)).eval()


def batch(head=PoNetModel) -> dict[str, torch.Tensor]:
    ids = torch.randint(4, 20, (3, 9))
    ids[:, 0], ids[:, 4], ids[:, 8] = CLS, SEP, SEP
    inputs = {"input_ids": ids, "attention_mask": (torch.arange(9) < torch.tensor([[9], [6], [1]])).long()}
    return {name: value[:, None] for name, value in inputs.items()} if head is PoNetForMultipleChoice else inputs


def scores(model, **inputs) -> torch.Tensor:
    """The first output that isn't a loss."""
    return model(**inputs or batch(type(model))).to_tuple()[0]


def same(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


# Auto classes, saving, loading


@pytest.mark.parametrize("name", AUTO)
def test_auto_classes(name, tmp_path):
    auto = getattr(transformers, name)
    assert type(auto.from_config(PoNetConfig(**SETTINGS))) is AUTO[name]
    model = build(AUTO[name])
    model.save_pretrained(tmp_path)
    again = auto.from_pretrained(tmp_path)
    assert type(again) is AUTO[name]
    assert not again.training
    inputs = batch(AUTO[name])
    for a, b in zip(again(**inputs).to_tuple(), model(**inputs).to_tuple(), strict=True):
        same(a, b)
    assert type(transformers.AutoConfig.from_pretrained(tmp_path)) is PoNetConfig


@pytest.mark.parametrize("head", HEADS)
def test_all_heads_take_what_the_body_takes(head):
    """By name: the Trainer drops every column that isn't a named parameter."""
    body, *_ = (list(inspect.signature(model.forward).parameters) for model in (PoNetModel, head))
    assert [name for name in inspect.signature(head.forward).parameters if name in body] == body
    assert "segment_ids" in body


@pytest.mark.parametrize("head", WITH_VOCABULARY)
def test_tied_weights_are_stored_once_and_tied_again(head, tmp_path):
    model = build(head)
    torch.nn.init.normal_(model.cls.predictions.bias)
    assert_tied(model)
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    saved = load_file(tmp_path / "model.safetensors")
    assert not [name for name in saved if "decoder" in name]
    assert {"ponet.embeddings.word_embeddings.weight", "cls.predictions.bias"} < set(saved)
    again = head.from_pretrained(tmp_path).eval()
    assert_tied(again)
    same(scores(again, **batch_of(model)), scores(model, **batch_of(model)))


def batch_of(model) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return batch(type(model))


def assert_tied(model) -> None:
    head = model.cls.predictions
    assert head.decoder.weight is model.get_input_embeddings().weight
    assert head.decoder.bias is head.bias


def test_untied_decoder(tmp_path):
    model = build(PoNetForMaskedLM, tie_word_embeddings=False)
    assert model.cls.predictions.decoder.weight is not model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    again = PoNetForMaskedLM.from_pretrained(tmp_path)
    assert again.cls.predictions.decoder.weight is not again.get_input_embeddings().weight
    same(scores(again, **batch_of(model)), scores(model, **batch_of(model)))


def test_shards(tmp_path):
    model = build(PoNetForPreTraining)
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    again = PoNetForPreTraining.from_pretrained(tmp_path)
    same(scores(again, **batch_of(model)), scores(model, **batch_of(model)))


def test_a_classifier_opens_a_pretraining_checkpoint(tmp_path):
    model = build(PoNetForPreTraining)
    model.save_pretrained(tmp_path)
    classifier, report = PoNetForSequenceClassification.from_pretrained(
        tmp_path, num_labels=7, output_loading_info=True
    )
    assert set(report["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert classifier(**batch()).logits.shape == (3, 7)
    for name, value in model.ponet.state_dict().items():
        assert torch.equal(classifier.ponet.state_dict()[name], value)


def test_offloaded_layers(tmp_path):
    """Weights that are on disk until their module is called: no module may reach into another's."""
    model = build(PoNetForSequenceClassification)
    model.save_pretrained(tmp_path / "model")
    places = {"ponet.embeddings": "disk", "ponet.encoder.layer.0": "disk", "ponet.encoder.layer.1": "cpu"}
    again = PoNetForSequenceClassification.from_pretrained(
        tmp_path / "model",
        device_map=places | {"ponet.pooler": "disk", "classifier": "cpu"},
        offload_folder=tmp_path / "offload",
    )
    assert again.ponet.encoder.layer[0].attention.self.dense_k.weight.is_meta
    same(scores(again, **batch_of(model)), scores(model, **batch_of(model)))


# Resizing


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("head", WITH_VOCABULARY)
@pytest.mark.parametrize("size", [26, 15])
def test_resize_token_embeddings(head, size, tied, tmp_path):
    model = build(head, tie_word_embeddings=tied)
    torch.nn.init.normal_(model.cls.predictions.decoder.bias)
    inputs = batch()
    inputs["input_ids"] %= 15
    before = scores(model, **inputs)
    model.resize_token_embeddings(size)
    after = scores(model, **inputs)
    assert after.shape == (3, 9, size)
    assert model.config.vocab_size == size
    assert model.get_input_embeddings().weight.shape[0] == size
    assert model.get_input_embeddings().padding_idx == 0
    kept = min(size, 20)
    same(after[..., :kept], before[..., :kept])
    if tied:
        assert_tied(model)
    model.save_pretrained(tmp_path)
    again = head.from_pretrained(tmp_path)
    same(scores(again, **inputs), after)
    loss = again(**inputs, labels=inputs["input_ids"]).loss
    loss.backward()
    assert again.get_input_embeddings().weight.grad.shape[0] == size


def test_resize_token_embeddings_of_a_head_without_vocabulary():
    model = build(PoNetForSequenceClassification)
    before = scores(model, **batch_of(model))
    model.resize_token_embeddings(33)
    assert torch.equal(scores(model, **batch_of(model)), before)


@pytest.mark.parametrize("head", [PoNetModel, PoNetForSequenceClassification])
@pytest.mark.parametrize("size", [1, 5, 12, 13, 24, 31])
def test_resize_position_embeddings(head, size, tmp_path):
    model = build(head)
    old = model.get_position_embeddings().weight.detach().clone()
    model.resize_position_embeddings(size)
    new = model.get_position_embeddings().weight
    assert new.shape == (size, 16)
    assert new.requires_grad
    for i in range(size):
        assert torch.equal(new[i], old[i % 12]), i
    assert model.config.max_position_embeddings == size
    model.save_pretrained(tmp_path)
    again = head.from_pretrained(tmp_path)
    ids = torch.randint(4, 20, (2, size))
    same(scores(again, input_ids=ids), scores(model, input_ids=ids))
    with pytest.raises(ValueError, match=rf"the model has {size} positions"):
        model(torch.randint(4, 20, (2, size + 1)))


@pytest.mark.parametrize("size", [0, -3])
def test_no_positions_at_all(size):
    with pytest.raises(ValueError, match=f"num_positions must be positive, not {size}"):
        build(PoNetModel).resize_position_embeddings(size)


# Odds and ends


@pytest.mark.parametrize("head", HEADS)
def test_odds_and_ends(head):
    model = build(head)
    inputs = batch(head)
    expected = scores(model, **inputs)
    same(scores(copy.deepcopy(model), **inputs), expected)
    same(scores(pickle.loads(pickle.dumps(model)), **inputs), expected)
    count = model.num_parameters()
    assert count == sum(p.numel() for p in model.parameters())
    assert scores(model.double(), **inputs).dtype == torch.float64
    assert model.to("meta").device.type == "meta"
    with torch.device("meta"):
        assert head(PoNetConfig(**SETTINGS)).num_parameters() == count
    for part in model.modules():
        assert not [name for name, _ in part.named_buffers(recurse=False)], "buffers hold garbage after loading"
