"""Linformer's attention, by its definition."""

import torch
from tests.mixers.documents import HEADS, D, build, heads, packed

from ponet import PoNetConfig, PoNetForSequenceClassification
from ponet.ops import Layout

FEATURES, POSITIONS = 3, 9


def expected(mixer, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Attention to E K and E V, a sum over the columns of the places."""
    q, k, v = (heads(p(x)) for p in (mixer.query, mixer.key, mixer.value))
    E = mixer.E.weight[places % POSITIONS].T.unflatten(0, (HEADS, FEATURES))
    weights = (q @ (E @ k).transpose(1, 2) / (D // HEADS) ** 0.5).softmax(2)
    return (weights @ (E @ v)).transpose(0, 1).flatten(1)


def test_is_attention_to_projected_keys_and_values():
    mixer, lengths = build("linformer"), [4, 9, 25, 1]  # 25: longer than there are columns
    x = torch.randn(sum(lengths), D, dtype=torch.float64)
    mixed, _ = mixer(x, packed(lengths))
    each = [expected(mixer, d, torch.arange(len(d))) for d in x.split(lengths)]
    torch.testing.assert_close(mixed, torch.cat(each), rtol=1e-9, atol=1e-9)


def test_published_form_goes_by_places_in_the_padded_row():
    mixer = build("linformer", mixer_form="published")
    mask = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 1, 1, 1, 1, 0]])
    x = torch.randn(8, D, dtype=torch.float64)
    mixed, _ = mixer(x, Layout.from_padded(mask)[0])
    first, second = x.split([3, 5])
    each = [expected(mixer, first, torch.tensor([1, 2, 4])), expected(mixer, second, torch.arange(5))]
    torch.testing.assert_close(mixed, torch.cat(each), rtol=1e-9, atol=1e-9)


def test_more_positions_leave_the_projection_and_open_again(tmp_path):
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
    config = PoNetConfig(vocab_size=110, max_position_embeddings=8, mixer_types="linformer", **sizes)
    model = PoNetForSequenceClassification(config).eval()
    assert config.linformer_length == 8
    model.resize_position_embeddings(20)
    ids = torch.randint(0, 100, (1, 20))
    expected = model(ids).logits
    model.save_pretrained(tmp_path)
    again = PoNetForSequenceClassification.from_pretrained(tmp_path).eval()
    assert again.ponet.encoder.layer[0].attention.self.E.num_embeddings == 8
    torch.testing.assert_close(again(ids).logits, expected)
