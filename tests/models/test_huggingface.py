"""What users of Hugging Face models expect to work: Auto classes, saving, resizing, inputs, types, checkpointing."""

import copy
import inspect
import json
import pickle

import pytest
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
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


# Inputs


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("given", [True, False])
def test_inputs_embeds(mixer, given):
    """Embeddings know no special tokens: with those and their segments given, they are the same input."""
    model, inputs = build(PoNetModel, mixer_types=mixer), batch()
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    special = (ids == CLS) | (ids == SEP)
    derived = torch.tensor([0, 1, 1, 1, 2, 3, 3, 3, 4]).expand(3, 9)
    segments = torch.randint(3, (3, 9)) if given else derived
    expected = scores(model, **inputs, segment_ids=segments if given else None)
    embeds = model.get_input_embeddings()(ids)
    with_all = {"inputs_embeds": embeds, "special_tokens_mask": special, "segment_ids": segments}
    same(scores(model, attention_mask=mask, **with_all), expected)
    packed = {name: value[mask.bool()][None] for name, value in with_all.items()}
    together = scores(model, **packed, cu_seqlens=torch.tensor([0, 9, 15, 16]))
    same(together[0], expected[mask.bool()])


def test_inputs_embeds_without_segments_are_one_segment_without_special_tokens():
    model, inputs = build(PoNetModel), batch()
    embeds = model.get_input_embeddings()(inputs["input_ids"])
    alone = scores(model, inputs_embeds=embeds, attention_mask=inputs["attention_mask"])
    none = torch.zeros_like(inputs["input_ids"])
    same(alone, scores(model, **inputs, segment_ids=none, special_tokens_mask=none))
    assert (alone - scores(model, **inputs)).abs().max() > 1e-2


def test_given_special_tokens_go_before_the_ids():
    model, inputs = build(PoNetModel), batch()
    special = (inputs["input_ids"] == CLS) | (inputs["input_ids"] == SEP)
    assert torch.equal(scores(model, **inputs, special_tokens_mask=special.long()), scores(model, **inputs))
    moved = special.roll(1, dims=1)
    assert (scores(model, **inputs, special_tokens_mask=moved) - scores(model, **inputs)).abs().max() > 1e-2


def test_special_ids_come_from_the_configuration():
    model, inputs = build(PoNetModel), batch()
    other = build(PoNetModel, cls_token_id=10, sep_token_id=11)
    other.load_state_dict(model.state_dict())
    ids = inputs["input_ids"]
    none = torch.zeros_like(ids)
    with torch.no_grad():
        for a, b in ((CLS, 10), (SEP, 11)):  # the same word under another id
            other.get_input_embeddings().weight[b] = model.get_input_embeddings().weight[a]
    renamed = ids.masked_fill(ids == 10, 5).masked_fill(ids == 11, 5)
    ids = renamed.clone()
    renamed[ids == CLS], renamed[ids == SEP] = 10, 11
    mask = inputs["attention_mask"]
    same(scores(other, input_ids=renamed, attention_mask=mask), scores(model, input_ids=ids, attention_mask=mask))
    assert (scores(other, **{**inputs, "input_ids": ids}) - scores(model, **{**inputs, "input_ids": ids})).any()
    off = build(PoNetModel, clsgsepg=False)
    off.load_state_dict(model.state_dict())
    segments = {"segment_ids": none, "input_ids": ids}
    same(scores(off, **segments), scores(model, **segments, special_tokens_mask=none))


def test_given_positions():
    model, inputs = build(PoNetModel), batch()
    default = scores(model, **inputs)
    for positions in (torch.arange(9), torch.arange(9)[None], torch.arange(9).expand(3, 9)):
        assert torch.equal(scores(model, **inputs, position_ids=positions), default)
    assert (scores(model, **inputs, position_ids=torch.arange(9) + 2) - default).abs().max() > 1e-2


def test_int32_inputs():
    model, inputs = build(PoNetModel), batch()
    same(scores(model, **{name: value.int() for name, value in inputs.items()}), scores(model, **inputs))


# Types, training


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


# Configuration


def test_published_configurations_open():
    """`None` for the special tokens, as the published code writes it, is bert-base-uncased's 101 and 102."""
    config = PoNetConfig(cls_token_id=None, sep_token_id=None)
    assert (config.cls_token_id, config.sep_token_id) == (101, 102)
    assert (PoNetConfig().cls_token_id, PoNetConfig().sep_token_id) == (101, 102)
    small = PoNetConfig(vocab_size=32)  # the Arena's vocabularies have no such words
    assert small.cls_token_id is None
    assert small.sep_token_id is None
    ids = torch.randint(32, (2, 5))
    model = PoNetModel(PoNetConfig(**SETTINGS | {"vocab_size": 32, "cls_token_id": None, "sep_token_id": None})).eval()
    same(scores(model, input_ids=ids), scores(model, input_ids=ids, segment_ids=torch.zeros_like(ids)))


def test_configuration_survives_saving_and_pickling(tmp_path):
    config = PoNetConfig(
        **SETTINGS
        | {"mixer_types": ["pooling", "attention"], "norm_position": "pre", "classifier_pooling": "mean"}
        | {"id2label": {0: "a", 1: "b", 2: "c", 3: "d"}, "problem_type": "multi_label_classification"}
    )
    config.save_pretrained(tmp_path)
    for again in (PoNetConfig.from_pretrained(tmp_path), pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert again.to_dict() == {**config.to_dict(), "transformers_version": again.to_dict()["transformers_version"]}
        assert again.layer_mixers == ["pooling", "attention"]
        assert again.id2label[2] == "c"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 10, "num_attention_heads": 4}, r"hidden_size \(10\) must be a multiple of .*heads \(4\)"),
        ({"num_attention_heads": 0}, "num_attention_heads must be at least 1, not 0"),
        ({"hidden_size": -16}, "hidden_size must be at least 1, not -16"),
        ({"max_position_embeddings": 0}, "max_position_embeddings must be at least 1"),
        ({"num_hidden_layers": -1}, "num_hidden_layers must be at least 0"),
        ({"type_vocab_size": -1}, "type_vocab_size must be at least 0"),
        ({"classifier_hidden_size": 0}, "classifier_hidden_size must be at least 1"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob is a probability, from 0 to 1, not 1.5"),
        ({"classifier_dropout": -0.1}, "classifier_dropout is a probability"),
        ({"pad_token_id": 20}, r"pad_token_id \(20\) must be None or one of the 20 words"),
        ({"hidden_act": "gulu"}, "unknown hidden_act 'gulu'; known: .*gelu"),
        ({"problem_type": "guess"}, "unknown problem_type 'guess'; known: single_label"),
        ({"mixer_types": ["pooling"]}, "mixer_types names 1 mixers for 2 layers"),
        ({"mixer_types": 3}, "mixer_types"),
        ({"norm_position": "mid"}, r"norm_position.*expected one of \('post', 'pre'\)"),
        ({"pooling_formulation": "fast"}, r"expected one of \('absorbed', 'published'\)"),
        ({"classifier_pooling": "max"}, r"expected one of \('cls', 'mean', 'padded_mean'\)"),
        ({"hidden_size": "16"}, "'hidden_size' expected int, got str"),
        ({"layer_norm_eps": "1e-5"}, "'layer_norm_eps' expected float, got str"),
    ],
)
def test_configurations_that_cannot_be(settings, message):
    with pytest.raises(StrictDataclassError, match=f"(?s){message}"):
        PoNetConfig(**SETTINGS | settings)
