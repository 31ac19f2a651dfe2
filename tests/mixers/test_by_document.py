"""What every mixer that works document by document promises, and how documents come together in rows."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.mixers.documents import D, batches, build, packed
from torch.autograd import gradcheck

from ponet.mixers.by_document import document_rows, padded_rows
from ponet.ops import Layout

FORMS: list[tuple[str, dict]] = [
    ("linear", {}),
    ("linformer", {}),
    ("performer", {}),
    ("nystrom", {}),
    ("nystrom", {"nystrom_kernel_size": 0}),
    ("external", {}),
    ("external", {"external_form": "softmax_mlp"}),
    ("lsh", {}),
    ("lsh", {"lsh_hashes": 1, "lsh_chunk_length": 4}),
]
quick = settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(("name", "changes"), FORMS)
@quick
@given(batches(), st.randoms(use_true_random=False))
def test_a_document_is_the_same_in_any_batch(name, changes, batch, random):
    """Alone, packed in any order, padded on any side, with gaps."""
    lengths, mask = batch
    mixer = build(name, **changes)
    documents = [torch.randn(n, D, dtype=torch.float64) for n in lengths]
    alone = [mixer(x, packed([len(x)]))[0] for x in documents]
    order = list(range(len(lengths)))
    random.shuffle(order)
    together, none = mixer(torch.cat([documents[b] for b in order]), packed([lengths[b] for b in order]), True)
    assert none is None
    torch.testing.assert_close(together, torch.cat([alone[b] for b in order]), rtol=1e-9, atol=1e-9)
    layout, _ = Layout.from_padded(mask)
    padded, _ = mixer(torch.cat(documents), layout)
    torch.testing.assert_close(padded, torch.cat(alone), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "changes"), FORMS)
@pytest.mark.parametrize("lengths", [[7, 0, 3, 21, 1], [6, 6]])
def test_gradients(name, changes, lengths):
    mixer = build(name, **changes)
    layout = packed(lengths)
    x = torch.randn(sum(lengths), D, dtype=torch.float64, requires_grad=True)
    parameters = [p for p in mixer.parameters() if p.requires_grad]
    assert gradcheck(lambda x, *_: mixer(x, layout)[0], (x, *parameters), fast_mode=True)


@pytest.mark.parametrize(("name", "changes"), FORMS)
def test_training_repeats_itself_and_leaves_the_generator_alone(name, changes):
    mixer = build(name, **changes).train()
    layout = packed([5, 9])
    x = torch.randn(14, D, dtype=torch.float64)
    state = torch.get_rng_state()
    first, again = mixer(x, layout)[0], mixer(x, layout)[0]
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("name", "changes"), FORMS)
def test_under_autocast_mixing_stays_in_float32(name, changes):
    mixer = build(name, torch.float32, 0.3, **changes)
    layout = packed([12, 5])
    x = torch.randn(17, D)
    exact, _ = mixer(x, layout)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = mixer(x, layout)
    assert mixed.dtype == torch.bfloat16
    assert (mixed.float() - exact).abs().max() < 0.03 * exact.abs().max()


@given(st.lists(st.integers(0, 400), max_size=12), st.integers(0, 50))
@settings(max_examples=30)
def test_rows_hold_every_token_once_and_little_else(lengths, split_at):
    layout = packed(lengths)
    x = torch.arange(1, layout.num_tokens + 1)
    parts, order = document_rows(layout, split_at)
    back, computed = [], 0
    for rows in parts:
        padded = rows.pad(x)
        assert padded.shape == (len(rows.lengths), rows.length)
        assert torch.equal((padded > 0).sum(1), rows.lengths)
        if rows.mask is not None:
            assert torch.equal(padded > 0, rows.mask)
        assert rows.lengths.min() > split_at or rows.lengths.max() <= split_at
        computed += padded.numel() if rows.length > 16 else 0
        back.append(rows.unpad(padded))
    if parts:
        together = torch.cat(back)
        assert torch.equal(together if order is None else together[order], x)
    assert computed <= sum(lengths) / 0.75
    assert len(parts) <= 15
    assert document_rows(layout, split_at)[0] is parts  # once a batch


def test_rows_as_they_were_padded():
    mask = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 1]])
    layout, _ = Layout.from_padded(mask)
    x = torch.arange(1, 6)
    (rows,), order = padded_rows(layout, multiple=3)
    assert order is None
    assert rows.pad(x).tolist() == [[0, 1, 2, 0, 0, 0], [0] * 6, [3, 0, 4, 5, 0, 0]]
    assert torch.equal(rows.unpad(rows.pad(x)), x)
    assert rows.mask is not None
    assert torch.equal(rows.mask[:, :4], mask.bool())
    full, _ = Layout.from_padded(torch.ones(2, 6))
    (rows,), _ = padded_rows(full, multiple=3)
    assert rows.mask is None
    assert rows.length == 6
