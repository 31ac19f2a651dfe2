"""The models and batches that are compared."""

import pytest
import torch

from ponet.benchmarks.encoders import (
    ALL,
    KINDS,
    MAIN,
    SETUPS,
    Cell,
    build,
    choose_variants,
    make_batch,
    make_step,
    prepare,
    prepare_warm,
    variants,
)
from ponet.mixers import mixer_names
from ponet.utils.errors import PoNetError

TINY = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 1}


def test_every_mixer_can_be_measured() -> None:
    known = variants()
    assert tuple(known)[: len(MAIN)] == MAIN
    assert {variant.mixer for variant in known.values()} == set(mixer_names())


def test_which_are_measured_unless_told() -> None:
    lra, base = SETUPS["lra"], SETUPS["base"]
    known = variants()
    usual = {name for name in known if not name.startswith("hybrid") and not known[name].infers_only}
    assert set(choose_variants(None, lra, KINDS)) == usual
    assert tuple(choose_variants(None, base, KINDS)) == MAIN
    assert set(choose_variants((ALL,), base, KINDS)) == set(variants())
    assert not [v for v in choose_variants(None, base, ("inference",)).values() if v.recomputes]
    named = choose_variants(("fourier", "pooling-checkpointing"), base, ("inference",))
    assert tuple(named) == ("fourier", "pooling-checkpointing")
    with pytest.raises(PoNetError, match="Did you mean 'fourier'"):
        choose_variants(("furier",), lra, KINDS)


def test_hybrids_have_attention_in_some_layers() -> None:
    known, mini = variants(), SETUPS["mini"]
    assert [known[f"hybrid-{count}"].layers(6).index("attention") for count in (1, 2, 3)] == [5, 2, 1]
    config = build(mini, known["hybrid-2-window"], 512, 0, hidden_size=24, intermediate_size=8, vocab_size=2000).config
    assert config.layer_mixers == ["pooling", "pooling", "attention"] * 2
    assert config.attention_window == 256


@pytest.mark.parametrize(("config", "length", "segments"), [("lra", 10, 5), ("lra", 11, 6), ("base", 100, None)])
def test_batches_are_of_the_length_asked_for(config: str, length: int, segments: int | None) -> None:
    setup = SETUPS[config]
    batch = make_batch(setup, length, 3, seed=1)
    assert batch["input_ids"].shape == (1, 3 * length)
    assert batch["cu_seqlens"].tolist() == [0, length, 2 * length, 3 * length]
    assert batch["labels"].shape == (3,)
    assert int(batch["input_ids"].min()) >= min(setup.first_id, 101)
    for ids in batch["segment_ids"][0].split(length):
        rises = ids.diff()
        assert bool((rises >= 0).all())
        if segments is not None:
            assert int(ids[-1]) + 1 == segments
        else:
            assert int((ids == ids[0]).sum()) == int((ids == ids[-1]).sum()) == 1  # [CLS], [SEP]
            inner = ids[1:-1].bincount()
            assert int(inner[inner > 0][:-1].min()) >= 5
            assert int(inner.max()) <= 45
    again = make_batch(setup, length, 3, seed=1)
    assert torch.equal(batch["input_ids"], again["input_ids"])


@pytest.mark.parametrize("name", ["pooling-published", "pooling-mixer-checkpointing", "pooling-checkpointing"])
def test_variants_of_pooling_are_the_same_function(name: str) -> None:
    """In loss and gradients: they differ in what they cost alone."""
    setup, known = SETUPS["lra"], variants()
    batch = make_batch(setup, 24, 2, seed=0)
    changes = TINY | {f"{part}_dropout_prob": 0.0 for part in ("hidden", "attention_probs", "activation")}
    found = []
    for variant in (known["pooling"], known[name]):
        model = build(setup, variant, 24, 0, **changes).train()
        loss = model(**batch).loss
        loss.backward()
        found.append((loss, model.ponet.embeddings.word_embeddings.weight.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_eager_attention_is_the_same_function() -> None:
    setup, known = SETUPS["lra"], variants()
    batch = make_batch(setup, 24, 2, seed=0)
    models = [build(setup, known[name], 24, 0, **TINY).eval() for name in ("attention", "attention-eager")]
    torch.testing.assert_close(models[0](**batch).logits, models[1](**batch).logits)
    assert [model.config.attention_kernel for model in models] == ["sdpa", "eager"]
    assert build(setup, known["attention"], 8, 0, **TINY).config.attention_probs_dropout_prob == 0
    assert build(setup, known["attention-eager"], 8, 0, **TINY).config.attention_probs_dropout_prob == 0.1


@pytest.mark.parametrize("name", [*variants()])
def test_each_variant_trains_and_infers(name: str) -> None:
    step = prepare(Cell("lra", name, "training", 16, 2))
    step()
    out = prepare_warm(Cell("lra", name, "inference", 16, 2, warm_tokens=16))()
    assert isinstance(out, torch.Tensor)
    assert out.shape == (2, 2)
    assert bool(out.isfinite().all())


def test_a_training_step_lowers_the_loss_of_its_batch() -> None:
    setup, variant = SETUPS["lra"], variants()["pooling"]
    model = build(setup, variant, 16, 0, **TINY)
    step, batch = make_step(model, variant, "training", "bfloat16", "cpu"), make_batch(setup, 16, 4, 0)
    before = model.eval()(**batch).loss.item()
    model.train()
    for _ in range(30):
        step(batch)
    assert model.eval()(**batch).loss.item() < before
    assert next(model.parameters()).dtype == torch.float32
