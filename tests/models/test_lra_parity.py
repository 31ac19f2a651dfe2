"""The published Long Range Arena code, reproduced by configuration: weights are mapped by name, nothing else is."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from ponet import PoNetConfig, PoNetForSequenceClassification
from ponet.ops import backends, use_backend

GOLDEN = Path(__file__).parent.parent / "golden" / "lra"
MIXERS = {
    "ponet": "pooling",
    "transformer": "attention",
    "fnet": "fourier",
    "linear": "linear",
    "linformer": "linformer",
    "performer": "performer",
    "nystromformer": "nystrom",
}
CASES = {
    "ponet": "ponet",
    "ponet-pair": "ponet",
    "ponet-one-segment": "ponet",
    "transformer": "transformer",
    "fnet": "fnet",
    "linear": "linear",
    "linformer": "linformer",
    "performer": "performer",
    "nystromformer": "nystromformer",
}
PROJECTIONS = {
    "pooling": {
        "W_q": "dense_q",
        "W_k": "dense_k",
        "W_v": "dense_o",
        "W_segment": "dense_segment",
        "W_local": "dense_local",
    },
    "fourier": {},
}
ATTENTION = {"W_q": "query", "W_k": "key", "W_v": "value"}
OTHERS = {
    "attn.E": "E.weight",
    "attn.attn_fn.projection_matrix": "projection_matrix",
    "attn.conv.weight": "conv.weight",
}


@pytest.fixture(params=[b for b in backends() if b != "auto"])
def backend(request):
    with use_backend(request.param):
        yield request.param


def our_name(published: str, mixer: str) -> str | None:
    """The parameter here that a published one is; None for those that the published code holds unused."""
    name = published.replace("model.embeddings.", "ponet.embeddings.")
    name = name.replace("model.norm.", "ponet.encoder.LayerNorm.").replace("seq_classifer.mlpblock.", "classifier.")
    if "transformer_" in name:
        layer, _, part = name.removeprefix("model.transformer_").partition(".")
        part = part.replace("norm1.", "attention.output.LayerNorm.").replace("norm2.", "output.LayerNorm.")
        part = part.replace("mlpblock.0.", "intermediate.dense.").replace("mlpblock.3.", "output.dense.")
        part = part.replace("mha.ff.", "attention.output.dense.")
        if part.startswith("mha."):
            part = part.removeprefix("mha.")
            if part in OTHERS:
                part = f"attention.self.{OTHERS[part]}"
            else:
                projection, kind = part.split(".")
                if projection not in PROJECTIONS.get(mixer, ATTENTION):
                    return None
                part = f"attention.self.{PROJECTIONS.get(mixer, ATTENTION)[projection]}.{kind}"
        name = f"ponet.encoder.layer.{layer}.{part}"
    return name


def load(case: str):
    with safe_open(GOLDEN / f"{case}.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["config"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    mixer = MIXERS[CASES[case]]
    config = PoNetConfig(
        vocab_size=settings["vocab_size"],
        hidden_size=settings["transformer_dim"],
        num_hidden_layers=settings["num_layers"],
        num_attention_heads=settings["num_head"],
        intermediate_size=settings["transformer_hidden_dim"],
        max_position_embeddings=settings["max_seq_len"],
        type_vocab_size=0,
        layer_norm_eps=1e-5,
        norm_position="pre",
        embedding_norm=False,
        clsgsepg=False,
        mixer_types=mixer,
        mixer_form="published",
        linformer_features=settings.get("linformer_k", 1),
        performer_features=settings.get("rp_dim", 1),
        nystrom_landmarks=settings.get("num_landmarks", 1),
        nystrom_kernel_size=settings.get("conv_kernel_size", 1),
        classifier_pooling="padded_mean",
        classifier_hidden_size=settings["transformer_hidden_dim"],
        classifier_pairs="input.input_ids_1" in tensors,
        num_labels=settings["num_classes"],
    )
    model = PoNetForSequenceClassification(config).eval()
    weights = {}
    for key, value in tensors.items():
        if key.startswith("weight."):
            name = our_name(key.removeprefix("weight."), mixer)
            if name is not None:
                weights[name] = value.flatten(0, 1).T if name.endswith(".E.weight") else value
    model.load_state_dict(weights)  # strict: every parameter here has a published one
    return settings, tensors, mixer, model


def interleave(tensors: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """Both documents of each pair, one behind the other, as `classifier_pairs` reads them."""
    rows = [tensors[f"{name}_{i}"] for i in (0, 1) if f"{name}_{i}" in tensors]
    return torch.stack(rows, dim=1).flatten(0, 1)


@pytest.mark.parametrize("case", CASES)
def test_golden_case(case, backend):
    settings, tensors, mixer, model = load(case)
    ids, mask = interleave(tensors, "input.input_ids"), interleave(tensors, "input.mask")
    segments = None
    if mixer == "pooling":
        length = settings["seq_len"] // settings["segment_num"] + 1
        segments = (torch.arange(settings["seq_len"]) // length).expand(ids.shape)
    output = model(ids, attention_mask=mask, segment_ids=segments, output_hidden_states=True)
    label = tensors["input.label"]
    losses = torch.nn.functional.cross_entropy(output.logits, label, reduction="none")
    assert (losses - tensors["output.loss"]).abs().max() <= 1e-5
    assert torch.equal((output.logits.argmax(-1) == label).float(), tensors["output.accu"])
    step = 2 if model.config.classifier_pairs else 1
    states = output.hidden_states[-1][::step]
    difference = (states - tensors["output.tokens_0"])[mask[::step].bool()]
    assert difference.abs().max() <= 1e-5

    losses.mean().backward()
    checked = 0
    for key, expected in tensors.items():
        name = our_name(key.removeprefix("grad."), mixer) if key.startswith("grad.") else None
        if name is None:
            continue
        gradient = model.get_parameter(name).grad
        if name.endswith(".E.weight"):  # published: one for all layers
            gradient = sum(layer.attention.self.E.weight.grad for layer in model.ponet.encoder.layer)
            gradient = gradient.T.view_as(expected)
        scale = expected.abs().max()
        error = (gradient - expected).abs().max()
        # Keys' biases drop out of the softmax: their gradient is noise on both sides.
        assert error <= 1e-4 * scale or scale < 1e-6 > error, (name, error, scale)
        checked += 1
    assert checked >= 24
