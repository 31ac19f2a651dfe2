"""Several linear maps as one product: the same numbers, the same parameters, and memory that is moved once."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from ponet import PoNetConfig, PoNetForSequenceClassification
from ponet.mixers.joint import joint_linear


def three(d: int = 6, dtype: torch.dtype = torch.float32) -> list[nn.Linear]:
    return [nn.Linear(d, d, dtype=dtype) for _ in range(3)]


def apart(x: torch.Tensor, maps: list[nn.Linear]) -> torch.Tensor:
    return torch.cat([each(x) for each in maps], -1)


def adjoin(maps: list[nn.Linear]) -> bool:
    """Whether the weights lie one behind the other in one storage."""
    places = [each.weight.data_ptr() for each in maps]
    size = maps[0].weight.numel() * maps[0].weight.element_size()
    return places == [places[0] + i * size for i in range(len(maps))]


def test_same_numbers_and_gradients():
    maps = three()
    other = copy.deepcopy(maps)
    x, y = torch.randn(9, 6, requires_grad=True), torch.randn(9, 18)
    (joint_linear(x, maps) * y).sum().backward()
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
    joint_linear(torch.randn(9, 6, requires_grad=True), maps).sum().backward()
    assert calls == [1]


def test_derivatives_twice():
    maps = three(3, torch.float64)
    parameters = [each.weight for each in maps] + [each.bias for each in maps]
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def function(x, *_):
        return joint_linear(x, maps).sin()

    assert gradcheck(function, (x, *parameters))
    assert gradgradcheck(function, (x, *parameters))


def test_weights_move_once_and_stay_the_same_parameters():
    maps = three()
    parameters, values = [each.weight for each in maps], [each.weight.clone() for each in maps]
    optimizer = torch.optim.AdamW([*parameters], lr=0.1)
    joint_linear(torch.randn(2, 6), maps)
    assert adjoin(maps)
    places = [each.weight.data_ptr() for each in maps]
    joint_linear(torch.randn(2, 6), maps).sum().backward()
    assert [each.weight.data_ptr() for each in maps] == places
    for each, parameter, value in zip(maps, parameters, values, strict=True):
        assert each.weight is parameter
        assert torch.equal(parameter, value)
    optimizer.step()
    x = torch.randn(2, 6)
    torch.testing.assert_close(joint_linear(x, maps), apart(x, maps))
    assert not torch.equal(parameters[0], values[0])


def test_first_call_in_inference_mode_leaves_training_possible():
    maps = three()
    with torch.inference_mode():
        joint_linear(torch.randn(2, 6), maps)
    assert adjoin(maps)
    joint_linear(torch.randn(2, 6), maps).sum().backward()
    assert maps[2].weight.grad is not None


def test_frozen_weights_and_input():
    maps = three()
    maps[1].requires_grad_(False)
    joint_linear(torch.randn(2, 6), maps).sum().backward()
    assert maps[0].weight.grad is not None
    assert maps[1].weight.grad is None
    for each in maps:
        each.requires_grad_(False)
    x = torch.randn(2, 6, requires_grad=True)
    joint_linear(x, maps).sum().backward()
    torch.testing.assert_close(x.grad, sum(each.weight.sum(0) for each in maps).expand(2, 6))


@pytest.mark.parametrize("kind", ["one block of all parameters", "shared with other processes", "tied", "two dtypes"])
def test_memory_that_is_somebody_elses_is_left_alone(kind):
    maps = three()
    if kind == "one block of all parameters":  # as FSDP keeps them, here in the other order
        block = torch.cat([each.weight.detach().reshape(-1) for each in maps[::-1]])
        for each, part in zip(maps[::-1], block.split(36), strict=True):
            each.weight.data = part.view(6, 6)
    elif kind == "shared with other processes":
        for each in maps:
            each.share_memory()
    elif kind == "tied":
        maps[1].weight = maps[0].weight
    else:
        maps[2].double()
    places = [each.weight.data_ptr() for each in maps]
    x = torch.randn(5, 6)
    if kind == "two dtypes":
        with pytest.raises(RuntimeError, match="dtype"):
            joint_linear(x, maps)
    else:
        torch.testing.assert_close(joint_linear(x, maps), apart(x, maps))
    assert [each.weight.data_ptr() for each in maps] == places


class Scaled(nn.Linear):
    """A map that is more than its weight and bias."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_maps_that_are_more_than_linear_are_called():
    maps = [nn.Linear(6, 6), Scaled(6, 6), nn.Linear(6, 6)]
    x = torch.randn(3, 6)
    assert torch.equal(joint_linear(x, maps), apart(x, maps))
    hooked = three()
    hooked[0].register_forward_hook(lambda *_: torch.zeros(3, 6))
    assert not joint_linear(x, hooked)[:, :6].any()
    without = [nn.Linear(6, 6, bias=False) for _ in range(3)]
    assert torch.equal(joint_linear(x, without), apart(x, without))


def test_autocast_computes_in_half_precision_and_gives_whole_gradients():
    maps = three()
    x = torch.randn(4, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = joint_linear(x, maps)
        expected = apart(x, maps)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, expected, rtol=2e-2, atol=2e-2)
    y.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == maps[0].weight.grad.dtype == torch.float32


def test_a_model_saves_copies_and_loads_as_before(tmp_path):
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 8}
    model = PoNetForSequenceClassification(PoNetConfig(vocab_size=110, max_position_embeddings=8, **sizes)).eval()
    ids = torch.randint(0, 100, (2, 5))
    names, before = list(model.state_dict()), model(ids).logits  # weights have moved
    assert adjoin(
        [getattr(model.ponet.encoder.layer[1].attention.self, f"dense_{n}") for n in ("o", "segment", "local")]
    )
    model.save_pretrained(tmp_path)
    again = PoNetForSequenceClassification.from_pretrained(tmp_path).eval()
    twin = copy.deepcopy(model)
    assert list(again.state_dict()) == names
    for other in (again, twin):
        assert torch.equal(other(ids).logits, before)
    with torch.no_grad():
        model.ponet.encoder.layer[0].attention.self.dense_o.weight.zero_()
    assert torch.equal(twin(ids).logits, before)
    assert not torch.equal(model(ids).logits, before)
    model.load_state_dict(again.state_dict())
    assert torch.equal(model(ids).logits, before)
    double = model.double()
    torch.testing.assert_close(double(ids).logits.float(), before, rtol=1e-5, atol=1e-5)
