"""Every mixer against its definition, document by document, and what all mixers promise."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ponet import PoNetConfig, PoNetModel
from ponet.mixers import AttentionMixer, Mixer, PoolingMixer, base, build_mixer, mixer_names, register_mixer
from ponet.ops import Layout

D, HEADS = 12, 3
NAMES = ["pooling", "attention", "fourier", "linear", "linformer", "performer", "nystrom", "lsh", "external"]
ROUGH = ["nystrom"]
"""Those in which rounding grows: smaller scores, better conditioned."""
MASK = torch.tensor([[0, 1, 1, 1, 0, 1, 1], [0] * 7, [1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 1]])
SEGMENTS = torch.tensor([[0, 5, 5, 3, 0, 5, 2], [0] * 7, [0, 1, 1, 2, 2, 0, 0], [9] * 7])


def config(**changes) -> PoNetConfig:
    settings = {"vocab_size": 30, "hidden_size": D, "num_attention_heads": HEADS, "num_hidden_layers": 2}
    settings |= {"intermediate_size": 8, "max_position_embeddings": 16, "attention_probs_dropout_prob": 0.0}
    settings |= {"linformer_features": 3, "performer_features": 10, "nystrom_landmarks": 3, "nystrom_kernel_size": 3}
    settings |= {"lsh_chunk_length": 3}
    return PoNetConfig(**settings | changes)


@pytest.fixture(params=["ragged", "full"])
def layout(request) -> Layout:
    mask = MASK if request.param == "ragged" else torch.ones_like(MASK)
    return Layout.from_padded(mask, SEGMENTS)[0]


def build(name: str, **changes) -> Mixer:
    mixer = build_mixer(name, config(**changes))
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mixer


def documents(x: torch.Tensor, layout: Layout) -> list[torch.Tensor]:
    return list(x.split(layout.lengths))


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_attention_is_softmax_attention_within_a_document(layout, kernel):
    mixer = build("attention", attention_kernel=kernel)
    assert isinstance(mixer, AttentionMixer)
    x = torch.randn(layout.num_tokens, D)
    plain, none = mixer(x, layout)
    mixed, weights = mixer(x, layout, output_weights=True)
    assert none is None
    assert weights is not None
    assert weights.shape == (4, HEADS, 7, 7)
    torch.testing.assert_close(plain, mixed, rtol=1e-5, atol=1e-6)
    expected = []
    for b, tokens in enumerate(documents(x, layout)):
        places = layout.row_position[layout.document == b]
        heads = []
        for h in range(HEADS):
            part = slice(h * 4, (h + 1) * 4)
            q, k, v = (p(tokens)[:, part] for p in (mixer.query, mixer.key, mixer.value))
            a = (q @ k.T / math.sqrt(4)).softmax(-1)
            heads.append(a @ v)
            torch.testing.assert_close(weights[b, h][places][:, places], a, rtol=1e-5, atol=1e-6)
        expected.append(torch.cat(heads, -1))
    torch.testing.assert_close(mixed, torch.cat(expected), rtol=1e-5, atol=1e-5)


def test_fourier_is_the_real_part_over_tokens_and_channels(layout):
    x = torch.randn(layout.num_tokens, D, dtype=torch.float64)
    mixed, weights = build("fourier")(x, layout)
    assert weights is None
    expected = []
    for tokens in documents(x, layout):
        n = len(tokens)
        over_tokens = torch.tensor([[2 * math.pi * i * j / max(n, 1) for j in range(n)] for i in range(n)])
        over_channels = torch.tensor([[2 * math.pi * i * j / D for j in range(D)] for i in range(D)])
        t, c = over_tokens.double().reshape(n, n), over_channels.double()
        expected.append(t.cos() @ tokens @ c.cos() - t.sin() @ tokens @ c.sin())
    torch.testing.assert_close(mixed, torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_pooling_formulations_agree(layout):
    absorbed = build("pooling")
    published = build("pooling", pooling_formulation="published")
    published.load_state_dict(absorbed.state_dict())
    x = torch.randn(layout.num_tokens, D)
    (a, a_weights), (b, b_weights) = absorbed(x, layout, True), published(x, layout, True)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(a_weights, b_weights, rtol=1e-5, atol=1e-6)
    assert a_weights.shape == (4, HEADS, layout.padded_length)
    torch.testing.assert_close(
        a_weights.sum(2), torch.tensor([float(n > 0) for n in layout.lengths])[:, None].expand(4, HEADS)
    )


class LowRank(nn.Module):
    """An adapter as LoRA makes it: the frozen map, whose weight it also shows as its own, and a trained difference."""

    def __init__(self, frozen: nn.Linear) -> None:
        super().__init__()
        self.frozen = frozen
        self.a, self.b = nn.Linear(D, 2, bias=False), nn.Linear(2, D, bias=False)

    @property
    def weight(self) -> torch.Tensor:
        return self.frozen.weight

    @property
    def bias(self) -> torch.Tensor:
        return self.frozen.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(x) + self.b(self.a(x))


@pytest.mark.parametrize("formulation", ["absorbed", "published"])
@pytest.mark.parametrize("projection", ["dense_q", "dense_k", "dense_o", "dense_segment", "dense_local"])
def test_adapters_on_any_projection_count(projection, formulation, layout):
    mixer = build("pooling", pooling_formulation=formulation)
    merged = build("pooling", pooling_formulation=formulation)
    merged.load_state_dict(mixer.state_dict())
    adapter = LowRank(getattr(mixer, projection))
    setattr(mixer, projection, adapter)
    with torch.no_grad():
        getattr(merged, projection).weight += adapter.b.weight @ adapter.a.weight
    x = torch.randn(layout.num_tokens, D)
    y, _ = mixer(x, layout)
    torch.testing.assert_close(y, merged(x, layout)[0], rtol=1e-4, atol=1e-5)
    y.sum().backward()
    assert adapter.b.weight.grad is not None
    assert adapter.b.weight.grad.abs().max() > 0


def test_hooks_on_any_projection_run(layout):
    """Pruning and the older weight norm compute a weight in a hook before each call; others look at what comes out."""
    mixer = build("pooling")
    seen = []
    for name in ("dense_q", "dense_k", "dense_o", "dense_segment", "dense_local"):
        prune.random_unstructured(getattr(mixer, name), "weight", amount=0.5)
        getattr(mixer, name).register_forward_hook(lambda module, *_: seen.append(module))
    x = torch.randn(layout.num_tokens, D)
    mixer(x, layout)
    assert len(set(seen)) == 5
    with torch.no_grad():
        for module in set(seen):
            module.weight_orig.mul_(2)
    merged = build("pooling")
    weights = {f"{n}.weight": m.weight_orig * m.weight_mask for n, m in mixer.named_children()}
    merged.load_state_dict(weights | {f"{n}.bias": m.bias for n, m in mixer.named_children()})
    torch.testing.assert_close(mixer(x, layout)[0], merged(x, layout)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(name, dtype, layout):
    # Longer chunks than documents: rounding may choose another bucket, and then all is another.
    mixer, half = (build(name, lsh_chunk_length=8) for _ in range(2))
    if name in ROUGH:
        for parameter in mixer.parameters():
            parameter.data *= 0.3
    half.load_state_dict(mixer.state_dict())
    half.to(dtype)
    exact = torch.randn(layout.num_tokens, D).requires_grad_()
    given = exact.detach().to(dtype).requires_grad_()
    expected, (mixed, _) = mixer(exact, layout)[0], half(given, layout)
    assert mixed.dtype == dtype
    assert (mixed.float() - expected).abs().max() < 0.05 * expected.abs().max()
    expected.sum().backward()
    mixed.sum().backward()
    # As a whole: rounding may let another token win a maximum, and then single entries differ.
    ours, theirs = (
        torch.cat([g.grad.float().flatten() for g in (x, *m.parameters())]) for m, x in ((half, given), (mixer, exact))
    )
    assert (ours - theirs).norm() < 0.1 * theirs.norm()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (3, 4)])
def test_nothing_to_mix(name, weights, shape):
    layout, _ = Layout.from_padded(torch.zeros(shape))
    x = torch.zeros(0, D, requires_grad=True)
    mixer = build(name)
    mixed, _ = mixer(x, layout, weights)
    assert mixed.shape == (0, D)
    mixed.sum().backward()
    for parameter in mixer.parameters():
        assert parameter.grad is None or not parameter.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_is_nan_beside_an_empty_document(name):
    layout, _ = Layout.from_padded(MASK, SEGMENTS)
    for output_weights in (False, True):
        mixer = build(name)
        x = torch.randn(layout.num_tokens, D, requires_grad=True)
        mixer(x, layout, output_weights)[0].square().sum().backward()
        for value in (x, *mixer.parameters()):
            assert value.grad is not None
            assert torch.isfinite(value.grad).all()


def test_registry():
    assert set(NAMES) <= set(mixer_names())
    with pytest.raises(ValueError, match=r"unknown mixer 'poling' in mixer_types; known: .*pooling"):
        build_mixer("poling", config())
    with pytest.raises(ValueError, match="unknown mixer 'poling'"):
        PoNetModel(config(mixer_types=["pooling", "poling"]))


def test_a_mixer_of_ones_own(monkeypatch):
    monkeypatch.setattr(base, "_MIXERS", dict(base._MIXERS))

    @register_mixer("nothing")
    class Nothing(Mixer):
        has_output_projection = False

        def forward(self, hidden_states, layout, output_weights=False):
            return torch.zeros_like(hidden_states), None

    model = PoNetModel(config(mixer_types=["pooling", "nothing"]))
    assert isinstance(model.encoder.layer[0].attention.self, PoolingMixer)
    assert isinstance(model.encoder.layer[1].attention.self, Nothing)
    assert model(torch.randint(0, 30, (2, 5))).last_hidden_state.shape == (2, 5, D)
