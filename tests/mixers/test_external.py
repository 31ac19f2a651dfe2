"""External Attention and the softmax-MLP, by their definitions."""

import torch
from tests.mixers.documents import HEADS, D, build, packed

LENGTHS = [4, 21, 1, 9]


@torch.no_grad()
def test_external_is_doubly_normalised_attention_to_a_memory():
    mixer = build("external")
    M_k, M_v = mixer.memory_key.weight.T, mixer.memory_value.weight.T
    assert M_k.shape == (D // HEADS, 4)
    x = torch.randn(sum(LENGTHS), D, dtype=torch.float64)
    expected = []
    for tokens in x.split(LENGTHS):
        parts = []
        for q in mixer.query(tokens).split(D // HEADS, 1):
            a = (q @ M_k).exp()
            a = a / a.sum(0, keepdim=True)
            a = a / a.sum(1, keepdim=True)
            parts.append(a @ M_v)
        expected.append(torch.cat(parts, 1))
    torch.testing.assert_close(mixer(x, packed(LENGTHS))[0], torch.cat(expected), rtol=1e-6, atol=1e-8)


@torch.no_grad()
def test_softmax_mlp_is_two_maps_around_a_softmax_over_tokens():
    mixer = build("external", external_form="softmax_mlp")
    assert [name for name, _ in mixer.named_parameters()] == ["memory_key.weight", "memory_value.weight"]
    x = torch.randn(sum(LENGTHS), D, dtype=torch.float64)
    W_1, W_2 = mixer.memory_key.weight.T, mixer.memory_value.weight.T
    expected = [(tokens @ W_1).softmax(0) @ W_2 for tokens in x.split(LENGTHS)]
    torch.testing.assert_close(mixer(x, packed(LENGTHS))[0], torch.cat(expected), rtol=1e-9, atol=1e-9)


def test_weights_drop_out_in_training_alone():
    mixer = build("external", attention_probs_dropout_prob=0.5)
    x, layout = torch.randn(9, D, dtype=torch.float64), packed([9])
    assert torch.equal(mixer(x, layout)[0], mixer(x, layout)[0])
    mixer.train()
    assert not torch.equal(mixer(x, layout)[0], mixer(x, layout)[0])
