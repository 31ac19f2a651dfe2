"""Weights that are more than tensors: int8 by torchao and by PyTorch itself, and modules of somebody's own."""

import copy
import importlib

import pytest
import torch
from torch import nn

from ponet import PoNetConfig, PoNetForSequenceClassification
from ponet.mixers import mixer_names

SIZES = {"vocab_size": 110, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "num_labels": 3}
SIZES |= {"intermediate_size": 64, "max_position_embeddings": 300, "initializer_range": 0.1}
SIZES |= {"performer_features": 32, "linformer_features": 8, "nystrom_landmarks": 8}
MASK = (torch.arange(60) < torch.tensor([[60], [41], [7]])).long()
IDS = torch.randint(4, 110, (3, 60), generator=torch.Generator().manual_seed(0))
INPUTS = {"input_ids": IDS, "attention_mask": MASK}


def build(**changes) -> PoNetForSequenceClassification:
    torch.manual_seed(0)
    return PoNetForSequenceClassification(PoNetConfig(**SIZES | changes)).eval()


pytestmark = pytest.mark.filterwarnings("ignore:torch.ao:DeprecationWarning", "ignore:torch.quantize:UserWarning")
WAYS = ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig", "torch.ao"]


def quantized(model: nn.Module, way: str) -> nn.Module:
    """The model with int8 weights in all linear maps."""
    model = copy.deepcopy(model)
    if way == "torch.ao":
        if "onednn" not in torch.backends.quantized.supported_engines:
            pytest.skip("no int8 kernels")
        quantize = importlib.import_module("torch.ao.quantization").quantize_dynamic
        return quantize(model, {nn.Linear}, torch.qint8)
    quantization = pytest.importorskip("torchao.quantization")
    quantization.quantize_(model, getattr(quantization, way)())
    return model


def compare(model: nn.Module, way: str, **options) -> None:
    """Every layer's output, with gradients recorded and without: as the whole numbers' but for rounding to int8."""
    small = quantized(model, way) if isinstance(way, str) else way
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            states = [each(**INPUTS, output_hidden_states=True, **options).hidden_states for each in (model, small)]
            for expected, found in zip(*states, strict=True):
                assert (found - expected).abs().max() <= 0.05 * expected.abs().max()
    assert not torch.equal(found, expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mixer", mixer_names())
def test_int8(mixer, way):
    compare(build(mixer_types=mixer), way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "changes", [{"pooling_formulation": "published"}, {"chunk_size": 10}, {"norm_position": "pre"}]
)
def test_int8_in_other_settings(changes, way):
    compare(build(**changes), way)
    compare(build(**changes), way, output_attentions=True)


@pytest.mark.parametrize("name", ["dense_q", "dense_k", "dense_o", "dense_segment", "dense_local"])
def test_one_map_alone(name):
    """The others go on as before: a quantized key is called for every token, a quantized query for each document."""
    quantization = pytest.importorskip("torchao.quantization")
    model = build()
    small = copy.deepcopy(model)
    quantization.quantize_(small, quantization.Int8WeightOnlyConfig(), lambda module, path: path.endswith(name))
    compare(model, small)


def test_saved_and_opened_by_transformers(tmp_path):
    quantization = pytest.importorskip("torchao.quantization")
    from transformers import TorchAoConfig

    model = build()
    model.save_pretrained(tmp_path / "whole")
    settings = TorchAoConfig(quantization.Int8WeightOnlyConfig())
    small = PoNetForSequenceClassification.from_pretrained(tmp_path / "whole", quantization_config=settings).eval()
    compare(model, small)
    small.save_pretrained(tmp_path / "small")
    again = PoNetForSequenceClassification.from_pretrained(tmp_path / "small").eval()
    assert torch.equal(again(**INPUTS).logits, small(**INPUTS).logits)


def test_gradients_go_through():
    """As with QLoRA: the weights are frozen, what lies before them learns. (torchao's dynamic int8 has no backward.)"""
    model = build()
    small = quantized(model, "Int8WeightOnlyConfig").requires_grad_(False)
    for each in (model, small):
        each.get_input_embeddings().weight.requires_grad_(True)
        each(**INPUTS, labels=torch.tensor([0, 1, 2])).loss.backward()
    expected, found = (each.get_input_embeddings().weight.grad for each in (model, small))
    assert (found - expected).norm() <= 0.1 * expected.norm()


class FourBit(nn.Linear):
    """As bitsandbytes has it: a subclass whose weight is packed, of another shape and type than it computes with."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features)
        self.scale = linear.weight.detach().abs().max() / 127
        self.bias = linear.bias
        packed = (linear.weight.detach() / self.scale).round().to(torch.int8)
        self.weight = nn.Parameter(packed.reshape(-1, 1), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight.reshape(self.out_features, self.in_features) * self.scale
        return nn.functional.linear(x, weight.to(x.dtype), self.bias)


@pytest.mark.parametrize("mixer", ["pooling", "linear", "attention"])
def test_modules_of_somebodys_own_are_called(mixer):
    model = build(mixer_types=mixer)
    small = copy.deepcopy(model)
    for parent in list(small.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, FourBit(child))
    compare(model, small)
