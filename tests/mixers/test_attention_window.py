"""Attention within windows: the definition, documents that don't know of each other, and memory."""

import math

import pytest
import torch
from hypothesis import given, settings
from tests.mixers.documents import HEADS, D, batches, build, heads, packed

from ponet.mixers.attention import window_layout
from ponet.mixers.by_document import document_rows
from ponet.ops import Layout
from ponet.tasks.pretraining.objective import forward_flops

WINDOW = 6


def by_definition(mixer, x: torch.Tensor) -> torch.Tensor:
    """One document `[n, d]`: softmax attention in each of `ceil(n / WINDOW)` windows of about equal size."""
    count = max(1, math.ceil(len(x) / WINDOW))
    mixed = []
    for part in range(count):
        tokens = x[len(x) * part // count : len(x) * (part + 1) // count]
        assert len(tokens) <= WINDOW
        q, k, v = (heads(projection(tokens)) for projection in (mixer.query, mixer.key, mixer.value))
        weights = (q @ k.transpose(1, 2) / math.sqrt(D // HEADS)).softmax(-1)
        mixed.append((weights @ v).transpose(0, 1).flatten(1))
    return torch.cat(mixed)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@settings(max_examples=15)
@given(batch=batches())
def test_every_document_in_windows_of_its_own(kernel: str, batch) -> None:
    lengths, mask = batch
    mixer = build("attention", attention_window=WINDOW, attention_kernel=kernel)
    documents = [torch.randn(n, D, dtype=torch.float64) for n in lengths]
    layout, _ = Layout.from_padded(mask)
    expected = torch.cat([by_definition(mixer, x) for x in documents])
    for each in (packed(lengths), layout):
        mixed, none = mixer(torch.cat(documents), each)
        assert none is None
        torch.testing.assert_close(mixed, expected, rtol=1e-9, atol=1e-9)


def test_the_weights_are_those_of_the_windows() -> None:
    mixer = build("attention", attention_window=WINDOW)
    lengths = [13, 0, 4]
    x = torch.randn(sum(lengths), D, dtype=torch.float64)
    mixed, weights = mixer(x, packed(lengths), output_weights=True)
    torch.testing.assert_close(mixed, mixer(x, packed(lengths))[0], rtol=1e-9, atol=1e-9)
    window = torch.tensor([0] * 4 + [1] * 4 + [2] * 5)
    assert weights.shape == (3, HEADS, 13, 13)
    assert torch.equal(weights[0].any(0), window[:, None] == window)
    assert not weights[2, :, :4, 4:].any()


def test_windows_are_even_and_made_once_for_a_batch() -> None:
    layout = packed([13, 0, 6, 7])
    windows = window_layout(layout, WINDOW)
    assert windows.lengths == (4, 4, 5, 6, 3, 4)
    assert window_layout(layout, WINDOW) is windows


def test_gradients() -> None:
    mixer = build("attention", attention_window=3)
    x = torch.randn(11, D, dtype=torch.float64, requires_grad=True)
    layout = packed([7, 4])
    assert torch.autograd.gradcheck(lambda x: mixer(x, layout)[0], (x,), fast_mode=True)


def test_operations_are_counted_by_windows() -> None:
    from ponet import PoNetConfig

    settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "mixer_types": "attention"}
    whole, windows = (PoNetConfig(**settings, attention_window=size) for size in (None, 16))
    assert forward_flops(whole, [64], 0) - forward_flops(windows, [64], 0) == 4 * 8 * (64 * 64 - 64 * 16)


def test_without_gradients_documents_of_like_length_are_read_together() -> None:
    """As the padded batch gives it, with fewer pairs of tokens than that has."""
    mixer, layout = build("attention"), packed([3, 40, 5, 38, 4])
    x = torch.randn(layout.num_tokens, D, dtype=torch.float64)
    padded = mixer(x, layout)[0]
    read = sum(len(rows.lengths) * rows.length for rows in document_rows(layout).rows)
    assert read < 0.6 * layout.batch_size * layout.padded_length
    with torch.no_grad():
        torch.testing.assert_close(mixer(x, layout)[0], padded)
