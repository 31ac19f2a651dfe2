"""Weights are saved whole by every route, after any forward: no parameter is moved, replaced or shares its memory."""

import pytest
import torch
from accelerate import Accelerator
from huggingface_hub import PyTorchModelHubMixin, load_torch_model, save_torch_model
from safetensors.torch import load_file, load_model, save_model
from torch import nn

from ponet import PoNetConfig, PoNetForMaskedLM, PoNetForSequenceClassification, PoNetModel
from ponet.mixers import mixer_names

SIZES = {"vocab_size": 110, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 8}
SIZES |= {"max_position_embeddings": 64, "performer_features": 6, "linformer_features": 3, "nystrom_landmarks": 3}
IDS = torch.arange(60).view(2, 30) % 100


def build(mixer: str = "pooling", head: type = PoNetForSequenceClassification, **changes) -> nn.Module:
    return head(PoNetConfig(**SIZES | {"mixer_types": mixer} | changes))


def used(model: nn.Module) -> nn.Module:
    """After inference, and a step of training."""
    with torch.inference_mode():
        model.eval()(IDS)
    labels = IDS if isinstance(model, PoNetForMaskedLM) else torch.tensor([0, 1])
    model.train()(IDS, labels=labels).loss.backward()
    model.zero_grad()
    return model.eval()


@pytest.fixture(params=mixer_names())
def mixer(request) -> str:
    return request.param


def same(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    expected = model.state_dict()
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name


def test_parameters_stay_where_and_what_they_are(mixer):
    model = build(mixer)
    before = {name: (id(p), p.data_ptr(), p.clone()) for name, p in model.named_parameters()}
    used(model)
    for name, p in model.named_parameters():
        number, place, value = before[name]
        assert (id(p), p.data_ptr()) == (number, place), name
        assert torch.equal(p, value), name
    storages = [p.untyped_storage() for p in model.parameters()]
    assert len({each.data_ptr() for each in storages}) == len(storages)
    for p, storage in zip(model.parameters(), storages, strict=True):
        assert storage.nbytes() == p.numel() * p.element_size()


def test_accelerate_save_model(mixer, tmp_path):
    model = used(build(mixer))
    Accelerator(cpu=True).save_model(model, tmp_path)
    same(model, load_file(tmp_path / "model.safetensors"))


def test_accelerate_save_state(mixer, tmp_path):
    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(used(build(mixer)))
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    accelerator.save_state(tmp_path)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    accelerator.load_state(tmp_path)
    same(model, expected)


def test_safetensors_save_model(mixer, tmp_path):
    model, other = used(build(mixer)), build(mixer)
    save_model(model, str(tmp_path / "model.safetensors"))
    same(model, load_file(tmp_path / "model.safetensors"))
    assert load_model(used(other), tmp_path / "model.safetensors") == (set(), [])
    same(model, other.state_dict())


def test_hub_save_torch_model(mixer, tmp_path):
    model, other = used(build(mixer)), used(build(mixer))
    save_torch_model(model, tmp_path)
    load_torch_model(other, tmp_path)
    same(model, other.state_dict())


class OnHub(nn.Module, PyTorchModelHubMixin):
    """A model of somebody's own around ours."""

    def __init__(self, mixer: str) -> None:
        super().__init__()
        self.body = build(mixer, PoNetModel)


def test_hub_mixin(mixer, tmp_path):
    model = OnHub(mixer)
    model.body(IDS)
    model.save_pretrained(tmp_path)
    same(model, OnHub.from_pretrained(tmp_path).state_dict())


def test_torch_save(mixer, tmp_path):
    model = used(build(mixer))
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    same(model, weights)
    assert (tmp_path / "weights.pt").stat().st_size < 3 * sum(v.numel() * 4 for v in weights.values()) + 200_000


def test_save_pretrained(mixer, tmp_path):
    model = used(build(mixer))
    model.save_pretrained(tmp_path)
    again, report = PoNetForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    same(model, again.state_dict())


@pytest.mark.parametrize("changes", [{}, {"norm_position": "pre"}, {"pooling_formulation": "published"}])
def test_tied_weights_alone_are_shared(changes, tmp_path):
    """The decoder is the word embeddings; that is said in the model, and every other parameter is its own."""
    model = used(build(head=PoNetForMaskedLM, **changes))
    Accelerator(cpu=True).save_model(model, tmp_path)
    left_out = model.state_dict().keys() - load_file(tmp_path / "model.safetensors").keys()
    assert len(left_out) == len(model._tied_weights_keys)
    assert all("embeddings.word" in name or "predictions" in name for name in left_out)


def test_an_optimizer_and_copies_see_the_same_weights():
    model = used(build())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(IDS, labels=torch.tensor([0, 1])).loss.backward()
    optimizer.step()
    twin = build().eval()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(IDS).logits, model(IDS).logits)
