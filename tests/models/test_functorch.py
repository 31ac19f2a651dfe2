"""`torch.func` on every mixer, as on BERT: derivatives of a model as a function of its parameters."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, stack_module_state, vmap

from ponet import PoNetConfig, PoNetForSequenceClassification
from ponet.mixers import mixer_names
from ponet.ops import backends, use_backend

SIZES = {"vocab_size": 110, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 8}
SIZES |= {"max_position_embeddings": 64, "performer_features": 6, "linformer_features": 3, "nystrom_landmarks": 3}
SIZES |= {"lsh_chunk_length": 4, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": 3}
IDS = torch.arange(24).view(2, 12)
INPUTS = {"attention_mask": (torch.arange(12) < torch.tensor([[12], [7]])).long(), "labels": torch.tensor([0, 2])}
NO_FORWARD_MODE = {"attention", "linformer", "nystrom"}
"""PyTorch's fused attention has none on a CPU, for BERT neither."""


@pytest.fixture(params=mixer_names())
def mixer(request) -> str:
    return request.param


@pytest.fixture(params=["fresh", "after a forward"])
def model(request, mixer) -> PoNetForSequenceClassification:
    model = build(mixer)
    if request.param != "fresh":
        model(IDS, **INPUTS).loss.backward()
        model.zero_grad()
    return model


def build(mixer: str, **changes) -> PoNetForSequenceClassification:
    return PoNetForSequenceClassification(PoNetConfig(**SIZES | {"mixer_types": mixer} | changes)).eval()


def parameters(model) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in model.named_parameters()}


def inner(model) -> str:
    """The name of a weight deep inside."""
    return next(n for n, _ in model.named_parameters() if "layer.0.attention" in n and n.endswith("weight"))


def logits_of(model, name: str):
    """The logits as a function of one parameter."""
    rest = parameters(model)
    return lambda value: functional_call(model, rest | {name: value}, (IDS,), INPUTS).logits


def is_whole(model, folder) -> None:
    model.save_pretrained(folder)
    again = PoNetForSequenceClassification.from_pretrained(folder).state_dict()
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())


def test_grad(model, tmp_path):
    found = grad(lambda p: functional_call(model, p, (IDS,), INPUTS).loss)(parameters(model))
    is_whole(model, tmp_path)
    model(IDS, **INPUTS).loss.backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(found[name], torch.zeros_like(p) if p.grad is None else p.grad, msg=name)


def test_jacobians(model, mixer, tmp_path):
    name = inner(model)
    function, value = logits_of(model, name), parameters(model)[name]
    found = jacrev(function)(value)
    is_whole(model, tmp_path)
    logits = model(IDS, **INPUTS).logits
    rows = [torch.autograd.grad(each, model.get_parameter(name), retain_graph=True)[0] for each in logits.reshape(-1)]
    torch.testing.assert_close(found.flatten(0, 1), torch.stack(rows))
    if mixer not in NO_FORWARD_MODE:
        torch.testing.assert_close(jacfwd(function)(value), found, rtol=1e-4, atol=1e-6)
        tangent = torch.ones_like(value)
        pushed = (found * tangent).flatten(2).sum(2)
        torch.testing.assert_close(jvp(function, (value,), (tangent,))[1], pushed, rtol=1e-4, atol=1e-6)
        with forward_ad.dual_level():
            dual = function(forward_ad.make_dual(value, tangent))
            torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, pushed, rtol=1e-4, atol=1e-6)


def test_an_ensemble_by_vmap(mixer):
    models = [build(mixer) for _ in range(3)]
    stacked, buffers = stack_module_state(models)
    together = vmap(lambda p, b: functional_call(models[0], (p, b), (IDS,), INPUTS).logits)(stacked, buffers)
    torch.testing.assert_close(together, torch.stack([model(IDS, **INPUTS).logits for model in models]))


def test_gradients_of_each_example(mixer):
    """By vmap over embeddings; over ids, a clear refusal, since their values decide how a batch is packed."""
    model = build(mixer)
    values, labels = parameters(model), INPUTS["labels"]
    embeds = model.get_input_embeddings()(IDS).detach()

    def of_one(p, e, label):
        return functional_call(model, p, (), {"inputs_embeds": e[None], "labels": label[None]}).loss

    found = vmap(grad(of_one), (None, 0, 0))(values, embeds, labels)
    for i in range(2):
        alone = grad(of_one)(values, embeds[i], labels[i])
        for name, value in alone.items():
            torch.testing.assert_close(found[name][i], value, msg=name)
    with pytest.raises(ValueError, match=r"torch.func.vmap can't map over ids, masks, .*: loop over the examples"):
        vmap(lambda ids: model(ids[None]).logits)(IDS)
    with pytest.raises(ValueError, match=r"torch.func.vmap can't map over ids, masks"):
        vmap(lambda mask: model(IDS[:1], attention_mask=mask[None]).logits)(INPUTS["attention_mask"])
    assert model(IDS, **INPUTS).logits.isfinite().all()


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("tokens", [12, 2100])
def test_gradients_of_several_outputs_at_once(mixer, dropout, tokens):
    """`is_grads_batched`: a backward through kernels, repeated dropout and fused maps, for all rows of a matrix."""
    model = build(mixer, hidden_dropout_prob=dropout, max_position_embeddings=tokens).train()
    logits = model(torch.arange(tokens)[None] % 100).logits[0]
    weights = [p for name, p in model.named_parameters() if "layer.0" in name]
    at_once = torch.autograd.grad(logits, weights, torch.eye(3), is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(logit, weights, retain_graph=True) for logit in logits]
    for i, gradients in enumerate(each):
        for one, other in zip(at_once, gradients, strict=True):
            torch.testing.assert_close(one[i], other, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif("numba" not in backends(), reason="needs Numba")
def test_kernels_that_are_asked_for_by_name_refuse():
    model = build("pooling")
    loss = grad(lambda p: functional_call(model, p, (IDS,), INPUTS).loss)
    with use_backend("numba"), pytest.raises(ValueError, match=r"numba backend can't be transformed by torch.func"):
        loss(parameters(model))
    with use_backend("reference"):
        assert loss(parameters(model))["classifier.bias"].any()
