"""Reformer's attention, by its definition and by `transformers`' implementation."""

import pytest
import torch
from tests.mixers.documents import HEADS, D, build, heads, packed
from transformers import ReformerConfig
from transformers.models.reformer.modeling_reformer import LSHSelfAttention

from ponet import PoNetConfig, PoNetModel
from ponet.ops import Layout


def expected(mixer, x: torch.Tensor) -> torch.Tensor:
    """Token by token, as the definition reads."""
    n, c, R = len(x), mixer.chunk_length, mixer.num_hashes
    q, v = heads(mixer.query_key(x)), heads(mixer.value(x))
    mixed = torch.zeros_like(q)
    for h in range(HEADS):
        k = q[h] / (q[h].square().mean(1, keepdim=True) + 1e-6).sqrt() / q.shape[2] ** 0.5
        scores = q[h] @ k.T
        chunks = []  # of all rounds, one behind the other
        for r in range(R):
            order = list(range(n))
            if n > c:
                bucket = buckets(q[h], mixer.rotations[h, :, r], n // c, c)
                order.sort(key=lambda i: bucket[i])
            chunks.append([order[i : i + c] for i in range(0, n, c)])
        flat = [chunk for each in chunks for chunk in each]
        rounds = 1 if n <= c else R
        for i in range(n):
            outs, sums = [], []
            for r in range(rounds):
                place = next(j for j, chunk in enumerate(chunks[r]) if i in chunk) + r * len(chunks[r])
                keys = flat[place] if n <= c else flat[place - 1] + flat[place]
                s = torch.stack([torch.tensor(-1e5).to(x) if j == i else scores[i, j] for j in keys])
                outs.append(s.softmax(0) @ v[h][keys])
                sums.append(s.logsumexp(0))
            mixed[h, i] = torch.stack(sums).softmax(0) @ torch.stack(outs)
    return mixed.transpose(0, 1).flatten(1)


def buckets(q: torch.Tensor, rotations: torch.Tensor, full_chunks: int, c: int) -> list[int]:
    number = 1
    while 2 * number <= 2 * full_chunks:
        number *= 2
    if number <= 2 * c:
        rotated = q @ rotations[:, : number // 2]
        return torch.cat([rotated, -rotated], 1).argmax(1).tolist()
    first = 1
    while (2 * first) ** 2 <= number:
        first *= 2
    second = min(number // first, 2 * c)
    a = q @ rotations[:, : first // 2]
    b = q @ rotations[:, first // 2 : first // 2 + second // 2]
    return (torch.cat([a, -a], 1).argmax(1) + first * torch.cat([b, -b], 1).argmax(1)).tolist()


@pytest.mark.parametrize(("hashes", "chunk"), [(2, 4), (3, 2), (1, 2)])
@torch.no_grad()
def test_is_attention_within_chunks_of_tokens_that_hash_alike(hashes, chunk):
    mixer = build("lsh", lsh_hashes=hashes, lsh_chunk_length=chunk)
    lengths = [4, 9, 25, 1, 8, 3, 33, 2]
    x = torch.randn(sum(lengths), D, dtype=torch.float64)
    mixed, _ = mixer(x, packed(lengths))
    each = torch.cat([expected(mixer, d) for d in x.split(lengths)])
    torch.testing.assert_close(mixed, each, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("form", ["published", "exact"])
@pytest.mark.parametrize("length", [4, 8, 20, 32, 64])
@torch.no_grad()
def test_agrees_with_transformers(form, length, monkeypatch):
    """Any padding in the published form, none in the exact one."""
    mixer = build("lsh", lsh_chunk_length=4, mixer_form=form)
    config = ReformerConfig(
        hidden_size=D,
        num_attention_heads=HEADS,
        attention_head_size=D // HEADS,
        num_hashes=2,
        lsh_attn_chunk_length=4,
        max_position_embeddings=64,
        lsh_attention_probs_dropout_prob=0.0,
    )
    other = LSHSelfAttention(config).double().eval()
    other.query_key.weight.copy_(mixer.query_key.weight)
    other.value.weight.copy_(mixer.value.weight)
    asked = []

    def ours(shape, **_):
        asked.append(shape)
        return mixer.rotations[..., : shape[-1]]

    mask = torch.ones(3, length, dtype=torch.int64)
    if form == "published":
        mask[1, length // 2 :] = 0
        mask[2, : length // 4] = 0
    layout, indices = Layout.from_padded(mask)
    x = torch.randn(3, length, D, dtype=torch.float64)
    mixed, _ = mixer(x.flatten(0, 1)[indices], layout)
    monkeypatch.setattr(torch, "randn", ours)
    theirs = other(x, attention_mask=mask).hidden_states.flatten(0, 1)[indices]
    assert bool(asked) == (length > 4)
    torch.testing.assert_close(mixed, theirs, rtol=1e-9, atol=1e-9)


def test_many_buckets_are_pairs_and_their_number_has_an_end():
    mixer = build("lsh", lsh_chunk_length=4)  # factors of at most 8
    assert [mixer._bucket_exponent(n) for n in (5, 8, 16, 32, 64, 128, 256, 10**6)] == [1, 2, 3, 4, 5, 6, 6, 6]
    x = torch.randn(1, HEADS, 5000, D // HEADS, dtype=torch.float64)
    found = mixer._buckets(x, None, torch.tensor([5000]))
    assert found.unique().numel() > 48
    assert found.max() < 64


def test_hashing_in_chunks_changes_nothing():
    mixer = build("lsh")
    lengths = [40, 31, 7]
    x = torch.randn(78, D, dtype=torch.float64)
    whole, _ = mixer(x, packed(lengths))
    mixer.hashed_at_once = 100
    chunked, _ = mixer(x, packed(lengths))
    assert torch.equal(whole, chunked)


def test_rotations_are_saved_and_differ_by_layer(tmp_path):
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 8}
    model = PoNetModel(PoNetConfig(vocab_size=110, mixer_types="lsh", lsh_chunk_length=4, **sizes)).eval()
    first, second = (layer.attention.self.rotations for layer in model.encoder.layer)
    assert not torch.equal(first, second)
    model.save_pretrained(tmp_path)
    again = PoNetModel.from_pretrained(tmp_path).eval()
    assert torch.equal(again.encoder.layer[1].attention.self.rotations, second)
    ids = torch.randint(0, 100, (2, 23))
    torch.testing.assert_close(again(ids).last_hidden_state, model(ids).last_hidden_state)
