"""The Linear Transformer's attention, by its definition."""

import pytest
import torch
from tests.mixers.documents import D, build, heads, packed
from torch.nn.functional import elu

LENGTHS = [4, 11, 1]


def expected(mixer, x: torch.Tensor) -> torch.Tensor:
    """Every pair's similarity, as the quadratic form of the definition has it."""
    q, k, v = (heads(p(x)) for p in (mixer.query, mixer.key, mixer.value))
    similarity = (elu(q) + 1) @ (elu(k) + 1).transpose(1, 2)
    weights = similarity / similarity.sum(2, keepdim=True)
    return (weights @ v).transpose(0, 1).flatten(1)


def test_is_attention_with_another_similarity():
    mixer = build("linear")
    x = torch.randn(sum(LENGTHS), D, dtype=torch.float64)
    mixed, _ = mixer(x, packed(LENGTHS))
    torch.testing.assert_close(mixed, torch.cat([expected(mixer, d) for d in x.split(LENGTHS)]), rtol=1e-5, atol=1e-6)


def test_features_that_underflow_give_finite_numbers():
    mixer = build("linear", torch.float32)
    with torch.no_grad():
        mixer.query.bias.fill_(-200)
        mixer.key.bias.fill_(-200)
    x = torch.randn(6, D, requires_grad=True)
    mixed, _ = mixer(x, packed([6]))
    mixed.sum().backward()
    assert torch.isfinite(mixed).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("length", [11, 64])
def test_published_form_follows_the_padded_length(length):
    """Without a denominator, and with the square root of N below: so much larger by the sum of similarities."""
    exact, published = build("linear"), build("linear", mixer_form="published")
    x = torch.randn(length, D, dtype=torch.float64)
    layout = packed([length])
    q, k = (elu(heads(p(x))) + 1 for p in (exact.query, exact.key))
    total = (q @ k.transpose(1, 2)).sum(2) / length**0.5  # [h, n]
    ratio = published(x, layout)[0] / exact(x, layout)[0]
    torch.testing.assert_close(heads(ratio), total[..., None].expand(2, length, 3), rtol=1e-4, atol=1e-6)
