"""Several linear maps as one product: the same numbers, and parameters that nobody touches."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from ponet.mixers.fused_linear import fused_linear


def three(d: int = 6, dtype: torch.dtype = torch.float32) -> list[nn.Linear]:
    return [nn.Linear(d, d, dtype=dtype) for _ in range(3)]


def apart(x: torch.Tensor, maps: list[nn.Linear]) -> torch.Tensor:
    return torch.cat([each(x) for each in maps], -1)


def test_same_numbers_and_gradients():
    maps = three()
    other = copy.deepcopy(maps)
    x, y = torch.randn(9, 6, requires_grad=True), torch.randn(9, 18)
    (fused_linear(x, maps) * y).sum().backward()
    z = x.detach().requires_grad_()
    (apart(z, other) * y).sum().backward()
    torch.testing.assert_close(x.grad, z.grad)
    for one, two in zip(maps, other, strict=True):
        torch.testing.assert_close(one.weight.grad, two.weight.grad)
        torch.testing.assert_close(one.bias.grad, two.bias.grad)


@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward"])
def test_hooks_are_called(kind):
    maps, calls = three(), []
    getattr(maps[1], f"register_{kind}_hook")(lambda *_: calls.append(1))
    fused_linear(torch.randn(9, 6, requires_grad=True), maps).sum().backward()
    assert calls == [1]


def test_derivatives_twice():
    maps = three(3, torch.float64)
    parameters = [each.weight for each in maps] + [each.bias for each in maps]
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def function(x, *_):
        return fused_linear(x, maps).sin()

    assert gradcheck(function, (x, *parameters))
    assert gradgradcheck(function, (x, *parameters))


def test_parameters_are_left_alone():
    maps = three()
    parameters = [p for each in maps for p in each.parameters()]
    before = [(p, p.data_ptr(), p.untyped_storage().nbytes(), p.clone()) for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    fused_linear(torch.randn(8, 6), maps).sum().backward()
    for now, (p, place, size, value) in zip((p for each in maps for p in each.parameters()), before, strict=True):
        assert now is p
        assert (now.data_ptr(), now.untyped_storage().nbytes()) == (place, size)
        assert torch.equal(now, value)
    optimizer.step()
    x = torch.randn(8, 6)
    torch.testing.assert_close(fused_linear(x, maps), apart(x, maps))
    assert not torch.equal(parameters[0], before[0][3])


@pytest.mark.parametrize("tokens", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("bias", [True, False])
def test_few_tokens_or_many_with_or_without_bias(tokens, bias):
    maps = [nn.Linear(6, width, bias=bias) for width in (3, 6, 5)]
    other = copy.deepcopy(maps)
    x, y = torch.randn(tokens, 6), torch.randn(tokens, 14)
    (fused_linear(x, maps) * y).sum().backward()
    (apart(x, other) * y).sum().backward()
    for one, two in zip(maps, other, strict=True):
        torch.testing.assert_close(one.weight.grad, two.weight.grad)
        if bias:
            torch.testing.assert_close(one.bias.grad, two.bias.grad)


def test_first_call_in_inference_mode_leaves_training_possible():
    maps = three()
    with torch.inference_mode():
        fused_linear(torch.randn(8, 6), maps)
    fused_linear(torch.randn(8, 6), maps).sum().backward()
    assert maps[2].weight.grad is not None


def test_frozen_weights_and_input():
    maps = three()
    maps[1].requires_grad_(False)
    fused_linear(torch.randn(8, 6), maps).sum().backward()
    assert maps[0].weight.grad is not None
    assert maps[1].weight.grad is None
    for each in maps:
        each.requires_grad_(False)
    x = torch.randn(2, 6, requires_grad=True)
    fused_linear(x, maps).sum().backward()
    torch.testing.assert_close(x.grad, sum(each.weight.sum(0) for each in maps).expand(2, 6))


@pytest.mark.parametrize("kind", ["views of one block", "shared with other processes", "tied", "two dtypes", "meta"])
def test_unusual_parameters(kind):
    maps = three()
    if kind == "views of one block":  # as FSDP stores them, here in the other order
        block = torch.cat([each.weight.detach().reshape(-1) for each in maps[::-1]])
        for each, part in zip(maps[::-1], block.split(36), strict=True):
            each.weight.data = part.view(6, 6)
    elif kind == "shared with other processes":
        for each in maps:
            each.share_memory()
    elif kind == "tied":
        maps[1].weight = maps[0].weight
    elif kind == "two dtypes":
        maps[2].double()
    else:
        maps[1].to("meta")
    places = [each.weight.data_ptr() for each in maps]
    x = torch.randn(5, 6)
    if kind in ("two dtypes", "meta"):
        with pytest.raises(RuntimeError):
            fused_linear(x, maps)
    else:
        torch.testing.assert_close(fused_linear(x, maps), apart(x, maps))
    assert [each.weight.data_ptr() for each in maps] == places


class Wrapped(torch.Tensor):
    """A weight that is more than its numbers, as quantized and sharded ones are: here, twice what they say."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        result = super().__torch_function__(function, types, args, kwargs or {})
        return result * 2 if function is nn.functional.linear else result


def test_weights_that_are_more_than_tensors_are_not_put_together():
    maps, x = three(), torch.randn(9, 6)
    plain = fused_linear(x, maps)
    maps[0].weight = nn.Parameter(maps[0].weight.detach().as_subclass(Wrapped))
    found = fused_linear(x, maps).as_subclass(torch.Tensor)
    torch.testing.assert_close(found[:, :6], 2 * plain[:, :6])
    torch.testing.assert_close(found[:, 6:], plain[:, 6:])


def test_a_forward_put_on_an_instance_is_called():
    """As accelerate does for weights that are elsewhere until they are called."""
    maps, x = three(), torch.randn(9, 6)
    maps[1].forward = lambda x: torch.zeros_like(x)
    assert not fused_linear(x, maps)[:, 6:12].any()


class Scaled(nn.Linear):
    """A map that is more than its weight and bias."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_maps_that_are_more_than_linear_are_called():
    maps = [nn.Linear(6, 6), Scaled(6, 6), nn.Linear(6, 6)]
    x = torch.randn(3, 6)
    assert torch.equal(fused_linear(x, maps), apart(x, maps))
    hooked = three()
    hooked[0].register_forward_hook(lambda *_: torch.zeros(3, 6))
    assert not fused_linear(x, hooked)[:, :6].any()
    some = [nn.Linear(6, 6, bias=i == 1) for i in range(3)]
    assert torch.equal(fused_linear(x, some), apart(x, some))


def test_autocast_computes_in_half_precision_and_gives_whole_gradients():
    maps = three()
    x = torch.randn(4, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = fused_linear(x, maps)
        expected = apart(x, maps)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, expected, rtol=2e-2, atol=2e-2)
    y.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == maps[0].weight.grad.dtype == torch.float32
