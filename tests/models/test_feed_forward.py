"""The feed-forward that saves one tensor in place of two: the same results, less memory, wherever it can be used."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.graph import saved_tensors_hooks
from transformers.activations import ACT2FN

from ponet import PoNetConfig
from ponet.models.modeling_ponet import PoNetLayer, gelu_linear
from ponet.ops import backends, use_backend

KINDS = [
    pytest.param(0.0, False, id="no dropout"),
    pytest.param(
        0.3, False, id="dropout", marks=pytest.mark.skipif("numba" not in backends(), reason="numba isn't installed")
    ),
    pytest.param(0.0, True, id="autocast"),
]


def layer(p: float = 0.0, seed: int = 0, **fields) -> PoNetLayer:
    torch.manual_seed(seed)
    small = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 24, "hidden_dropout_prob": 0.0}
    return PoNetLayer(PoNetConfig(**small | {"activation_dropout_prob": p} | fields), "pooling").train()


def one_by_one(made: PoNetLayer, x: torch.Tensor) -> torch.Tensor:
    """By the modules themselves."""
    return made.output.LayerNorm(x + made.output.dense(made.intermediate(x)))


def kernel(p: float):
    return use_backend("numba") if p else nullcontext()


@pytest.mark.parametrize(("p", "autocast"), KINDS)
def test_result_and_gradients_are_those_of_the_modules(p, autocast):
    made, other = layer(p), layer(p)
    x = torch.randn(50, 8, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    with kernel(p), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        torch.manual_seed(1)
        result = made.feed_forward(x)
        torch.manual_seed(1)
        expected = one_by_one(other, y)
    assert torch.equal(result, expected)
    weights = torch.randn(50, 8)
    (result * weights).sum().backward()
    (expected * weights).sum().backward()
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if autocast else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(x.grad, y.grad, **tolerance)
    feeds = [f"{part}.dense.{name}" for part in ("intermediate", "output") for name in ("weight", "bias")]
    for name in feeds:
        one, two = made.get_parameter(name).grad, other.get_parameter(name).grad
        assert one is not None
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, two, **tolerance)


@pytest.mark.parametrize("p", [kind.values[0] for kind in KINDS[:2]])
def test_derivatives_twice(p):
    if p and "numba" not in backends():
        pytest.skip("numba isn't installed")
    linear, drop = nn.Linear(5, 3, dtype=torch.float64), nn.Dropout(p)
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)

    def function(x, *_):
        torch.manual_seed(7)  # the same numbers drop each time
        result = gelu_linear(x, ACT2FN["gelu"], drop, linear)
        assert result is not None
        return result.sin()

    with kernel(p):
        assert gradcheck(function, (x, linear.weight, linear.bias))
        assert gradgradcheck(function, (x, linear.weight, linear.bias))


@pytest.mark.skipif("numba" not in backends(), reason="numba isn't installed")
def test_numbers_drop_by_their_place_however_they_lie_in_memory():
    linear, drop = nn.Linear(5, 3), nn.Dropout(0.5)
    x = torch.randn(5, 40).T
    results = []
    with use_backend("numba"):
        for each in (x, x.contiguous()):
            torch.manual_seed(7)
            result = gelu_linear(each, ACT2FN["gelu"], drop, linear)
            assert result is not None
            results.append((result, *torch.autograd.grad(result.sum(), linear.weight)))
    torch.testing.assert_close(*results)


def wide_tensors_saved(made: PoNetLayer, function) -> int:
    """Distinct tensors of the feed-forward's inner width that are saved for backward."""
    places = set()

    def note(tensor):
        if tensor.shape == (50, 24):
            places.add(tensor.data_ptr())
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        result = function(torch.randn(50, 8, requires_grad=True))
    assert result.requires_grad
    return len(places)


def test_one_wide_tensor_is_saved():
    made = layer()
    assert wide_tensors_saved(made, made.feed_forward) == 1
    assert wide_tensors_saved(made, lambda x: one_by_one(made, x)) == 2


def test_frozen_weights_still_pass_gradients():
    made = layer()
    made.requires_grad_(False)
    x = torch.randn(50, 8, requires_grad=True)
    made.feed_forward(x).sum().backward()
    assert x.grad is not None
    assert all(each.grad is None for each in made.parameters())


@pytest.mark.parametrize("where", ["intermediate", "intermediate.activation", "intermediate.dropout", "output.dense"])
@pytest.mark.parametrize("kind", ["forward", "full_backward"])
def test_hooks_are_called(where, kind):
    made, calls = layer(), []
    getattr(made.get_submodule(where), f"register_{kind}_hook")(lambda *_: calls.append(1))
    made.feed_forward(torch.randn(50, 8, requires_grad=True)).sum().backward()
    assert calls == [1]


class Doubled(nn.Linear):
    """A layer that somebody made more than its weights, as LoRA does."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_other_modules_are_called():
    made = layer()
    x = torch.randn(50, 8)
    other = copy.deepcopy(made)
    other.output.dense.__class__ = Doubled
    expected = made.output.LayerNorm(x + 2 * made.output.dense(made.intermediate(x)))
    torch.testing.assert_close(other.feed_forward(x), expected)


@pytest.mark.parametrize("act", ["gelu_new", "relu"])
def test_other_activations(act):
    made = layer(hidden_act=act)
    x = torch.randn(50, 8, requires_grad=True)
    torch.testing.assert_close(made.feed_forward(x), one_by_one(made, x))


def test_compiled():
    made = layer()
    x = torch.randn(50, 8, requires_grad=True)
    compiled = torch.compile(made.feed_forward, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), one_by_one(made, x))
