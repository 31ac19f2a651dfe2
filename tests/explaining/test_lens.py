"""The lens against the definition token by token, the model's own numbers, and each document alone."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ponet
from ponet.explaining.lens import examples_of, local_argmax
from ponet.mixers import mixer_names
from ponet.models.packing import pack
from ponet.ops.naive import pooling_mixer
from ponet.ops.reference import local_max, segment_local_fusion
from ponet.utils.errors import PoNetError

CLS, SEP = 2, 3
SIZES = {"vocab_size": 30, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 8}
SIZES |= {"max_position_embeddings": 64, "initializer_range": 0.4, "cls_token_id": CLS, "sep_token_id": SEP}
SIZES |= {"performer_features": 6, "linformer_features": 3, "nystrom_landmarks": 3, "lsh_chunk_length": 4}
D, HEADS = 8, 2
IDS = torch.randint(4, 30, (3, 11), generator=torch.Generator().manual_seed(1))
IDS[:, 0], IDS[:, [5, 10]] = CLS, SEP
MASK = torch.tensor([[1] * 11, [1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]])
PADDED = {"input_ids": IDS, "attention_mask": MASK}


def build(head=ponet.PoNetForSequenceClassification, **changes):
    torch.manual_seed(0)
    return head(ponet.PoNetConfig(**SIZES | changes)).eval()


def mixers_of(model):
    return [layer.attention.self for layer in model.base_model.encoder.layer]


def recorded(model, inputs):
    """The input, layout and output of each mixer in a plain call."""
    seen = []
    hooks = [
        mixer.register_forward_hook(lambda mixer, arguments, output: seen.append((*arguments[:2], output[0])))
        for mixer in mixers_of(model)
    ]
    with torch.no_grad():
        model(**inputs)
    for hook in hooks:
        hook.remove()
    return seen


# Against the definition


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.parametrize("segments", [None, "given"])
def test_wins_and_weights_by_the_definition(rule, segments):
    """Counted one channel, one token at a time in float64, on rows with gaps, unsorted segments and special tokens."""
    model = build(clsgsepg=rule).double()
    inputs = dict(PADDED)
    if segments:
        inputs["segment_ids"] = torch.randint(3, IDS.shape, generator=torch.Generator().manual_seed(2))
    found = ponet.lens(model, inputs, attributions=False, winners=True)
    layout = pack(model.config, **inputs).layout
    special = (IDS == CLS) | (IDS == SEP)
    ids = inputs.get("segment_ids")
    if ids is None:
        ids = (special.long() | torch.nn.functional.pad(special.long(), (1, 0))[:, :-1]).cumsum(1)
    assert found.special.tolist() == (special[MASK == 1].tolist() if rule else [False] * int(MASK.sum()))
    for number, (x, _, _) in enumerate(recorded(model, inputs)):
        mixer = mixers_of(model)[number]
        rows = {name: layout.pad(getattr(mixer, f"dense_{name}")(x)).detach().numpy() for name in ("q", "k", "o")} | {
            name: layout.pad(getattr(mixer, f"dense_{full}")(x)).detach().numpy()
            for name, full in (("s", "segment"), ("l", "local"))
        }
        at = 0
        for b in range(len(IDS)):
            tokens = [n for n in range(IDS.shape[1]) if MASK[b, n]]
            place = {n: at + i for i, n in enumerate(tokens)}
            hears = [n for n in tokens if not (rule and special[b, n])]
            segment_wins, local_wins, windows = (dict.fromkeys(tokens, 0) for _ in range(3))
            for segment in {int(ids[b, n]) for n in tokens}:
                members = [n for n in tokens if ids[b, n] == segment]
                for c in range(D):
                    winner = max(members, key=lambda n: (rows["s"][b, n, c], -n))
                    heard = any(n in hears for n in members)
                    segment_wins[winner] += heard
                    known = found.segment_winners[number, found.segment[place[winner]], c]
                    assert known == (place[winner] if heard else -1)
            for n in hears:
                window = [n, *(m for m in (n - 1, n + 1) if m in tokens and not (rule and special[b, m]))]
                for m in window:
                    windows[m] += 1
                for c in range(D):
                    winner = max(window, key=lambda m: (rows["l"][b, m, c], -m))
                    local_wins[winner] += 1
                    assert found.local_winners[number, place[n], c] == place[winner]
            whole = slice(at, at + len(tokens))
            assert found.segment_wins[number, whole].tolist() == list(segment_wins.values())
            assert found.local_wins[number, whole].tolist() == list(local_wins.values())
            assert found.windows[whole].tolist() == list(windows.values())
            real = MASK[b].numpy() == 1
            excluded = special[b].numpy() & rule
            _, weights = pooling_mixer(*(rows[name][b] for name in "qkosl"), real, ids[b].numpy(), excluded, HEADS)
            np.testing.assert_allclose(found.weights[number, :, whole], weights[:, real], atol=1e-12)
            at += len(tokens)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_winners_hold_what_the_model_pools(dtype):
    """To the bit: fused from the winners' projections, the mixer's output is the one that the model computes."""
    model = build().to(dtype)
    found = ponet.lens(model, PADDED, attributions=False, winners=True)
    for number, (x, layout, y) in enumerate(recorded(model, PADDED)):
        mixer = mixers_of(model)[number]
        with torch.no_grad():
            projections = mixer.project(x)
            g, _ = mixer.global_aggregation(x, layout, False)
            o, s, l = projections.chunk(3, 1)  # noqa: E741
            special = torch.from_numpy(found.special)[:, None]
            winners = torch.from_numpy(found.segment_winners[number][found.segment]).long()
            assert torch.equal(winners < 0, special.expand(-1, D))
            pooled = s.gather(0, winners.clamp(min=0)).masked_fill(special, 0)
            near = torch.from_numpy(found.local_winners[number]).long()
            local = l.gather(0, near.clamp(min=0)).masked_fill(special, 0)
            assert torch.equal((g[layout.document] + pooled) * o + local, y)
            assert torch.equal(segment_local_fusion(g, projections, layout), y)


def test_the_first_of_the_tied_wins():
    model = build()
    for mixer in mixers_of(model):
        for name in ("dense_segment", "dense_local"):
            torch.nn.init.zeros_(getattr(mixer, name).weight)
    found = ponet.lens(model, {"input_ids": IDS[:1]}, attributions=False)
    # [CLS] 1 2 3 4 [SEP] 6 7 8 9 [SEP]: the first of each run wins its segment, and its own window and the next one's
    assert found.segment_wins[0].tolist() == [0, D, 0, 0, 0, 0, D, 0, 0, 0, 0]
    assert found.local_wins[0].tolist() == [0, 2 * D, D, D, 0, 0, 2 * D, D, D, 0, 0]


@pytest.mark.parametrize("T", [1, 2, 17])
def test_the_winner_of_a_window_holds_its_maximum(T):
    layout = pack(ponet.PoNetConfig(**SIZES), input_ids=torch.randint(2, 9, (1, T))).layout
    l = torch.randn(T, D).mul(2).round()  # noqa: E741 # with ties
    assert torch.equal(l.gather(0, local_argmax(l, layout)), local_max(l, layout))


# Properties


@st.composite
def documents(draw):
    """Documents of ordinary and special tokens, each with segment ids in any order."""
    token = st.integers(CLS, 29)
    rows = draw(st.lists(st.lists(token, min_size=1, max_size=9), min_size=1, max_size=4))
    return [(row, [draw(st.integers(0, 2)) for _ in row]) for row in rows]


def padded(rows, left):
    width = max(len(ids) for ids, _ in rows) + 2
    out = {
        name: torch.zeros(len(rows), width, dtype=torch.long) for name in ("input_ids", "segment_ids", "attention_mask")
    }
    for b, (ids, segments) in enumerate(rows):
        place = slice(width - len(ids), width) if left else slice(0, len(ids))
        for name, values in (("input_ids", ids), ("segment_ids", segments), ("attention_mask", [1] * len(ids))):
            out[name][b, place] = torch.tensor(values)
    return out


def packed(rows):
    return {
        "input_ids": torch.tensor([[token for ids, _ in rows for token in ids]]),
        "segment_ids": torch.tensor([[segment for _, segments in rows for segment in segments]]),
        "cu_seqlens": torch.tensor([0, *(len(ids) for ids, _ in rows)]).cumsum(0),
    }


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(documents(), st.randoms(use_true_random=False))
def test_batches_change_nothing_and_counts_add_up(rows, random):
    model = build().double()
    alone = [ponet.lens(model, packed([row]), max_steps=17) for row in rows]
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = [rows[i] for i in order]
    for batch in (packed(shuffled), padded(shuffled, left=False), padded(shuffled, left=True)):
        found = ponet.lens(model, batch, max_steps=17)
        starts = found.cu_seqlens
        for b, i in enumerate(order):
            own = slice(starts[b], starts[b + 1])
            for name in ("segment_wins", "local_wins", "windows", "special", "gradient_x_input"):
                np.testing.assert_allclose(getattr(found, name)[..., own], getattr(alone[i], name), atol=1e-9)
            np.testing.assert_allclose(found.weights[..., own], alone[i].weights, atol=1e-12)
            np.testing.assert_allclose(found.attributions[own], alone[i].attributions, atol=1e-6)
            assert found.targets[b] == alone[i].targets[0]
    hears = ~found.special
    for wins in found.segment_wins:
        for segment in range(found.segment.max() + 1):
            members = found.segment == segment
            assert wins[members].sum() == (D if hears[members].any() else 0)
    for b in range(len(rows)):
        own = slice(starts[b], starts[b + 1])
        np.testing.assert_array_equal(found.local_wins[:, own].sum(1), D * hears[own].sum())
        np.testing.assert_allclose(found.weights[..., own].sum(-1), 1, atol=1e-12)
        total = found.attributions[own].sum()
        assert abs(total - found.differences[b] - found.errors[b]) < 1e-6
    assert (found.local_wins <= D * found.windows).all()
    for part in ("smp", "lmp", "ga"):
        shares = found.share(part)
        assert shares.shape == (2, len(found.segment))
        assert shares.min() >= 0
        assert shares.max() <= 1 + 1e-12


# Attributions


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attributions_sum_to_the_difference_of_the_logits(pooling, dtype):
    model = build(classifier_pooling=pooling, num_labels=3).to(dtype)
    with torch.no_grad():
        logits = model(**PADDED).logits.double().numpy()
    for targets in (None, 1, [2, 0, 1], torch.tensor([1, 1, 0])):
        found = ponet.lens(model, PADDED, targets)
        expected = logits.argmax(1) if targets is None else np.broadcast_to(np.asarray(targets), 3)
        assert found.targets.tolist() == expected.tolist()
        np.testing.assert_allclose(found.logits, logits[range(3), expected], atol=1e-5)
        sums = np.add.reduceat(found.attributions, found.cu_seqlens[:-1])
        np.testing.assert_allclose(sums, found.differences, atol=1e-3)
        assert np.abs(found.errors).max() <= 1e-3
        assert not found.attributions[found.special].any()


def test_attributions_are_the_integral():
    """Against the mean gradient at many points, from a baseline with zero vectors for words."""
    model = build().double()
    inputs = {"input_ids": IDS[:1]}
    found = ponet.lens(model, inputs, 1, tolerance=1e-5)
    body = model.ponet
    words = body.embeddings.word_embeddings(IDS[:1]) * ((IDS[:1] == CLS) | (IDS[:1] == SEP))[..., None]
    more = {"special_tokens_mask": (IDS[:1] == CLS) | (IDS[:1] == SEP)}
    more["segment_ids"] = torch.from_numpy(found.segment)[None]
    states = []
    hook = body.embeddings.register_forward_hook(lambda *a: states.append(a[2].detach()))
    with torch.no_grad():
        end = model(**inputs).logits[0, 1]
        begin = model(inputs_embeds=words, **more).logits[0, 1]
    hook.remove()
    assert found.differences[0] == pytest.approx(float(end - begin), abs=1e-9)
    total = torch.zeros_like(states[0])
    points = 400
    for k in range(points):
        point = torch.lerp(states[1], states[0], (k + 0.5) / points).requires_grad_()
        hook = body.embeddings.register_forward_hook(lambda *_, point=point: point)
        (gradient,) = torch.autograd.grad(model(**inputs).logits[0, 1], point)
        hook.remove()
        total += gradient / points
    expected = (total * (states[0] - states[1])).sum(1)
    np.testing.assert_allclose(found.attributions, expected.numpy(), atol=1e-3)


def test_gradient_x_input():
    model = build()
    states = []

    def keep(module, arguments, output):
        states.append(output.detach().requires_grad_())
        return states[-1]

    hook = model.ponet.embeddings.register_forward_hook(keep)
    logits = model(**PADDED).logits
    logits[:, 1].sum().backward()
    hook.remove()
    found = ponet.lens(model, PADDED, 1, attributions=False)
    expected = (states[0].double() * states[0].grad.double()).sum(1).detach().numpy()
    np.testing.assert_allclose(found.gradient_x_input, expected, atol=1e-5)
    assert found.attributions is found.errors is None


def test_an_error_that_stays_is_told():
    found = ponet.lens(build(), PADDED, tolerance=1e-12, max_steps=17)
    assert (np.abs(found.errors) > 1e-12).all()
    assert found.steps.tolist() == [17] * 3
    sums = np.add.reduceat(found.attributions, found.cu_seqlens[:-1])
    np.testing.assert_allclose(sums - found.differences, found.errors, atol=1e-6)


def test_pairs_and_windows_are_one_example():
    assert examples_of(np.array([0, 2, 5, 6, 9]), None, True).tolist() == [0] * 5 + [1] * 4
    assert examples_of(np.array([0, 2, 5, 6]), torch.tensor([1, 2]), False).tolist() == [0, 0, 1, 1, 1, 1]
    ids = IDS[:1].repeat(1, 2)
    ends = torch.tensor([0, 11, 22])
    for model, more in (
        (build(classifier_pairs=True), {}),
        (build(), {"window_counts": torch.tensor([2])}),
    ):
        found = ponet.lens(model, {"input_ids": ids, "cu_seqlens": ends, **more})
        assert found.example.tolist() == [0] * 22
        assert found.attributions.sum() == pytest.approx(found.differences[0], abs=1e-3)


# Models


@pytest.mark.parametrize("mixer", mixer_names())
def test_a_layer_of_another_mixer_has_no_winners(mixer):
    model = build(mixer_types=["pooling", mixer])
    found = ponet.lens(model, PADDED, max_steps=33)
    assert found.mixers == ("pooling", mixer)
    assert found.segment_wins[0].any()
    for array in (found.segment_wins, found.local_wins, found.weights):
        assert array[1].any() == (mixer == "pooling")
    assert np.abs(found.attributions).max() > 1e-3


@pytest.mark.parametrize("parts", [["ga1"], ["ga1", "smp"], ["smp", "lmp"], ["ga1", "ga2", "lmp"]])
def test_a_part_that_is_left_out_has_zeros(parts):
    found = ponet.lens(build(pooling_parts=parts), PADDED, attributions=False, winners=True)
    assert found.segment_wins.any() == ("smp" in parts)
    assert (found.segment_winners >= 0).any() == ("smp" in parts)
    assert found.local_wins.any() == ("lmp" in parts)
    if "ga1" in parts:
        np.testing.assert_allclose(np.add.reduceat(found.weights, found.cu_seqlens[:-1], 2), 1, atol=1e-6)
    else:
        assert not found.weights.any()


@pytest.mark.parametrize(
    "changes", [{"execution": "padded"}, {"chunk_size": 4}, {"pooling_formulation": "published"}], ids=str
)
def test_every_form_of_computation(changes):
    plain, found = (ponet.lens(build(**more).double(), PADDED, max_steps=17) for more in ({}, changes))
    for name in ("segment_wins", "local_wins", "targets"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    for name in ("weights", "attributions", "gradient_x_input"):
        np.testing.assert_allclose(getattr(found, name), getattr(plain, name), atol=1e-6)


@pytest.mark.parametrize(
    "head",
    ["Model", "ForMaskedLM", "ForPreTraining", "ForTokenClassification", "ForQuestionAnswering", "ForSentenceScoring"],
)
def test_every_head_hears_the_same(head):
    model = build(getattr(ponet, f"PoNet{head}"))
    twin = build(ponet.PoNetModel)
    twin.load_state_dict(model.base_model.state_dict(), strict=False)
    found, expected = ponet.lens(model, PADDED), ponet.lens(twin, PADDED)
    np.testing.assert_array_equal(found.segment_wins, expected.segment_wins)
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert found.attributions is found.targets is None


def test_multiple_choice():
    batch = {"input_ids": IDS[None], "attention_mask": MASK[None]}
    found = ponet.lens(build(ponet.PoNetForMultipleChoice), batch)
    assert len(found.cu_seqlens) == 4


def test_the_model_is_left_as_it_was():
    model = build().train()
    model.ponet.encoder.layer[0].eval()
    modes = [module.training for module in model.modules()]
    ponet.lens(model, PADDED | {"labels": torch.tensor([0, 1, 0])})
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match="give either"):
        ponet.lens(model, {})
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())


def test_empty_rows():
    found = ponet.lens(build(), {"input_ids": IDS, "attention_mask": MASK * torch.tensor([[1], [0], [1]])})
    assert found.cu_seqlens[1] == found.cu_seqlens[2]
    assert found.errors[1] == 0


def test_what_is_refused():
    with pytest.raises(PoNetError, match="this is a Linear"):
        ponet.lens(torch.nn.Linear(2, 2), {})
    with pytest.raises(PoNetError, match="no classes of a document"):
        ponet.lens(build(ponet.PoNetModel), PADDED, 1)
    for targets in (2, -1, [0, 1, 5]):
        with pytest.raises(PoNetError, match="classes from 0 to 1"):
            ponet.lens(build(), PADDED, targets)
    for targets in ([0, 1], 0.5):
        with pytest.raises(PoNetError, match="one for each of the 3 examples"):
            ponet.lens(build(), PADDED, targets)
