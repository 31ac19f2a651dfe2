"""PoNet's mixer without some of its parts, in every backend, against its definition token by token."""

import numpy as np
import pytest
import torch
from tests.mixers.documents import HEADS, D, build

from ponet import PoNetConfig, PoNetForMaskedLM
from ponet.mixers import Mixer
from ponet.ops import Layout, use_backend
from ponet.ops.dispatch import backends
from ponet.ops.naive import PARTS, pooling_mixer

WITHOUT = {
    "ga2": ("ga1", "smp", "lmp"),
    "ga": ("smp", "lmp"),
    "smp": ("ga1", "ga2", "lmp"),
    "lmp": ("ga1", "ga2", "smp"),
    "ga and smp": ("lmp",),
    "smp and lmp": ("ga1", "ga2"),
    "nothing": PARTS,
}
NEEDED = {"dense_q": {"ga1"}, "dense_k": {"ga2"}, "dense_segment": {"smp"}, "dense_local": {"lmp"}}
MASK = torch.tensor([[0, 1, 1, 1, 0, 1, 1], [0] * 7, [1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 1]])
SEGMENTS = torch.tensor([[0, 5, 5, 3, 0, 5, 2], [0] * 7, [0, 1, 1, 2, 2, 0, 0], [9] * 7])
SPECIAL = torch.tensor([[0, 1, 0, 0, 0, 0, 1], [0] * 7, [1, 0, 0, 0, 1, 0, 0], [0] * 7]).bool()


def by_definition(mixer: Mixer, x: torch.Tensor, parts: tuple[str, ...]) -> torch.Tensor:
    """`x [B, N, d]` -> `y [B, N, d]`; a map that isn't there counts for nothing."""
    result = []
    for b, row in enumerate(x):
        names = ("dense_q", "dense_k", "dense_o", "dense_segment", "dense_local")
        projected = [
            getattr(mixer, name)(row).detach().numpy() if hasattr(mixer, name) else np.zeros((len(row), D))
            for name in names
        ]
        y, _ = pooling_mixer(*projected, MASK[b].bool().numpy(), SEGMENTS[b].numpy(), SPECIAL[b].numpy(), HEADS, parts)
        result.append(torch.from_numpy(y))
    return torch.stack(result)


@pytest.mark.parametrize("backend", [name for name in ("reference", "numba") if name in backends()])
@pytest.mark.parametrize("formulation", ["absorbed", "published"])
@pytest.mark.parametrize("left_out", WITHOUT)
def test_the_definition_without_a_part(left_out: str, formulation: str, backend: str) -> None:
    parts = WITHOUT[left_out]
    mixer = build("pooling", pooling_parts=list(parts), pooling_formulation=formulation)
    layout, _ = Layout.from_padded(MASK, SEGMENTS, SPECIAL)
    x = torch.randn(*MASK.shape, D, dtype=torch.float64)
    packed = layout.unpad(x).requires_grad_()
    with use_backend(backend):
        y, _ = mixer(packed, layout)
    torch.testing.assert_close(layout.pad(y), by_definition(mixer, x, parts), rtol=1e-9, atol=1e-9)
    for name, needs in NEEDED.items():
        assert hasattr(mixer, name) == bool(needs & set(parts))
    assert hasattr(mixer, "dense_o") == bool({"ga1", "smp"} & set(parts))
    y.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in mixer.parameters())
    with torch.no_grad():
        chunks = list(mixer.forward_chunks(lambda begin, end: packed[begin:end], layout, [0, 2, 5, layout.num_tokens]))
    torch.testing.assert_close(torch.cat(chunks), y, rtol=1e-9, atol=1e-9)


def test_without_stage_two_there_are_no_weights_to_return() -> None:
    layout, _ = Layout.from_padded(MASK, SEGMENTS)
    mixer = build("pooling", pooling_parts=["ga1", "smp"])
    assert mixer(torch.randn(layout.num_tokens, D, dtype=torch.float64), layout, output_weights=True)[1] is None


@pytest.mark.parametrize("parts", [[], ["ga2"], ["ga2", "lmp"], ["lpm"]])
def test_parts_that_make_no_mixer(parts: list[str]) -> None:
    with pytest.raises(Exception, match="pooling_parts"):
        PoNetConfig(pooling_parts=parts)


def test_a_model_with_fewer_parts_is_saved_and_opened(tmp_path) -> None:
    config = PoNetConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        pooling_parts=["ga1", "lmp"],
    )
    model = PoNetForMaskedLM(config).eval()
    model.save_pretrained(tmp_path)
    again = PoNetForMaskedLM.from_pretrained(tmp_path).eval()
    assert again.config.pooling_parts == ["ga1", "lmp"]
    assert not [name for name, _ in again.named_parameters() if "dense_segment" in name or "dense_k" in name]
    ids = torch.randint(5, 30, (2, 7))
    assert torch.equal(model(ids).logits, again(ids).logits)
