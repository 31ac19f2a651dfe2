"""The authors' published code, reproduced: every language-model case of `tests/golden/model`, on every backend."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ponet import PoNetForPreTraining, PoNetForSequenceClassification, PoNetForTokenClassification
from ponet.models.modeling_ponet import PoNetPreTrainedModel
from ponet.ops import backends, use_backend

GOLDEN = Path(__file__).parent.parent / "golden" / "model"
CASES = {
    "pretraining-segments": PoNetForPreTraining,
    "pretraining-derived-segments": PoNetForPreTraining,
    "pretraining-no-special-token-mask": PoNetForPreTraining,
    "classification-long": PoNetForSequenceClassification,
    "token-classification": PoNetForTokenClassification,
}
OUTPUT_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4  # of the largest entry


@pytest.fixture(params=[b for b in backends() if b != "auto"])
def backend(request):
    with use_backend(request.param):
        yield request.param


def run(name: str, formulation: str):
    case = load_file(GOLDEN / name / "case.safetensors")
    model = CASES[name].from_pretrained(GOLDEN / name, pooling_formulation=formulation).eval()
    assert isinstance(model, PoNetPreTrainedModel)
    inputs = {key.removeprefix("input."): value for key, value in case.items() if key.startswith("input.")}
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    output.loss.backward()
    return case, model, inputs, output


def real_tokens(value, mask):
    """Values at real tokens alone: the published code leaves numbers at padding that mean nothing."""
    if value.dim() >= 2 and value.shape[:2] == mask.shape:
        return value[mask.bool()]
    if value.dim() == 3 and value.shape[-1] == mask.shape[1]:  # attentions [B, h, N]
        return value.transpose(1, 2)[mask.bool()]
    return value


@pytest.mark.parametrize("formulation", ["absorbed", "published"])
@pytest.mark.parametrize("name", CASES)
def test_golden_case(name, formulation, backend):
    case, model, inputs, output = run(name, formulation)
    checked = 0
    for key, expected in case.items():
        kind, _, path = key.partition(".")
        if kind == "output":
            field, _, index = path.partition(".")
            actual = output[{"sop_loss": "sso_loss"}.get(field, field)]
            actual = actual[int(index)] if index else actual
            difference = (
                real_tokens(actual.detach(), inputs["attention_mask"]) - real_tokens(expected, inputs["attention_mask"])
            ).abs()
            assert actual.shape == expected.shape, key
            assert difference.max() <= OUTPUT_TOLERANCE, (key, difference.max())
            checked += 1
        elif kind == "grad":
            gradient = model.get_parameter(path).grad
            gradient = torch.zeros_like(expected) if gradient is None else gradient
            scale = expected.abs().max()
            # A key's bias drops out of the softmax: its gradient is noise on both sides.
            error = (gradient - expected).abs().max()
            assert error <= GRADIENT_TOLERANCE * scale or scale < 1e-6 > error, (key, error, scale)
            checked += 1
    assert checked > 45


@pytest.mark.parametrize("name", ["pretraining-segments", "classification-long"])
def test_saved_checkpoint_has_the_published_names(name, tmp_path):
    published = torch.load(GOLDEN / name / "pytorch_model.bin")
    model = CASES[name].from_pretrained(GOLDEN / name)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    expected = {key for key in published if not key.endswith("position_ids")}
    assert expected - tied <= set(saved) <= expected
    for key, value in saved.items():
        assert torch.equal(value, published[key]), key
