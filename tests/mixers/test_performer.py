"""Performer's attention: its features, what it approximates, and that they are drawn once."""

import torch
from tests.mixers.documents import D, build, heads, packed

from ponet import PoNetConfig, PoNetModel
from ponet.mixers.performer import orthogonal_features


def softmax_attention(mixer, x: torch.Tensor) -> torch.Tensor:
    q, k, v = (heads(p(x)) for p in (mixer.query, mixer.key, mixer.value))
    return ((q @ k.transpose(1, 2) / q.shape[2] ** 0.5).softmax(2) @ v).transpose(0, 1).flatten(1)


def test_approximates_softmax_attention_the_better_the_more_features():
    errors = []
    lengths = [30, 12]
    x = torch.randn(sum(lengths), D, dtype=torch.float64)
    for features in (8, 10_000):
        mixer = build("performer", performer_features=features)
        generator = torch.Generator().manual_seed(3)  # the same weights both times
        for parameter in mixer.parameters():
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator, dtype=x.dtype)
        mixed, _ = mixer(x, packed(lengths))
        expected = torch.cat([softmax_attention(mixer, d) for d in x.split(lengths)])
        errors.append(((mixed - expected).norm() / expected.norm()).item())
    assert errors[0] > 5 * errors[1], errors
    assert errors[1] < 0.05


def test_features_are_orthogonal_in_blocks_and_as_long_as_gaussian_vectors():
    W = orthogonal_features(4000, 8).double()
    assert W.shape == (4000, 8)
    blocks = W.view(-1, 8, 8)
    gram = blocks @ blocks.transpose(1, 2)
    off = gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 1e-4
    assert (W.mean(0).abs() < 4 / 4000**0.5).all()  # no direction is left out
    lengths = W.norm(dim=1)
    assert abs(lengths.square().mean() - 8) < 0.3  # chi-squared with 8 degrees of freedom
    assert abs(lengths.square().var() - 16) < 3
    assert orthogonal_features(5, 8).shape == (5, 8)


def test_large_scores_stay_finite():
    mixer = build("performer", torch.float32, std=20.0)
    x = 5 * torch.randn(20, D)
    x.requires_grad_()
    mixed, _ = mixer(x, packed([20]))
    mixed.sum().backward()
    assert torch.isfinite(mixed).all()
    assert torch.isfinite(x.grad).all()


def test_features_are_saved_and_differ_by_layer(tmp_path):
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 8}
    model = PoNetModel(PoNetConfig(vocab_size=110, mixer_types="performer", performer_features=6, **sizes)).eval()
    first, second = (layer.attention.self.projection_matrix for layer in model.encoder.layer)
    assert not torch.equal(first, second)
    model.save_pretrained(tmp_path)
    again = PoNetModel.from_pretrained(tmp_path).eval()
    assert torch.equal(again.encoder.layer[1].attention.self.projection_matrix, second)
    ids = torch.randint(0, 100, (2, 7))
    assert torch.equal(again(ids).last_hidden_state, model(ids).last_hidden_state)
