"""`Layout` against a plain reading of its documentation, on masks with gaps and segment ids of every kind."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ponet.ops import Layout

IDS = st.sampled_from([0, 1, 2, 3, 7, -1, -5, 2**31, -(2**40), 2**62])


@st.composite
def batches(draw):
    """A mask `[B, N]` with gaps and empty rows, segment ids (or None) and special tokens (or None)."""
    shape = draw(st.tuples(st.integers(0, 4), st.integers(0, 8)))
    mask = draw(hnp.arrays(np.bool_, shape))
    segments = draw(st.none() | hnp.arrays(np.int64, shape, elements=IDS))
    special = draw(st.none() | hnp.arrays(np.bool_, shape))
    return mask, segments, special


def to_tensor(array):
    return None if array is None else torch.from_numpy(array)


@given(batches())
def test_from_padded(batch):
    mask, segments, special = batch
    layout, indices = Layout.from_padded(*map(to_tensor, batch))
    tokens = [(b, n) for b in range(mask.shape[0]) for n in range(mask.shape[1]) if mask[b, n]]
    ids = [0 if segments is None else int(segments[b, n]) for b, n in tokens]

    assert layout.num_tokens == len(tokens)
    assert layout.batch_size == mask.shape[0]
    assert layout.padded_length == mask.shape[1]
    assert list(layout.lengths) == mask.sum(1).tolist()
    assert layout.cu_seqlens.tolist() == [0, *mask.sum(1).cumsum().tolist()]
    assert layout.document.tolist() == [b for b, _ in tokens]
    assert layout.row_position.tolist() == [n for _, n in tokens]
    assert indices.tolist() == [b * mask.shape[1] + n for b, n in tokens]
    assert layout.is_rectangular == bool(mask.all())

    # by document, and then by rising id
    keys = [(b, i) for (b, _), i in zip(tokens, ids, strict=True)]
    ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    assert layout.num_segments == len(ranks)
    assert layout.segment.tolist() == [ranks[key] for key in keys]
    order = range(len(tokens)) if layout.segment_order is None else layout.segment_order.tolist()
    runs = [list(order)[a:b] for a, b in pairwise(layout.cu_segments.tolist())]
    assert runs == [[t for t, key in enumerate(keys) if key == segment] for segment in ranks]
    assert (layout.segment_order is None) == (keys == sorted(keys))

    joins = [t + 1 < len(tokens) and tokens[t + 1] == (b, n + 1) for t, (b, n) in enumerate(tokens)]
    assert layout.joins_next.tolist() == joins
    if special is None:
        assert layout.special is None
    else:
        assert layout.special is not None
        assert layout.special.tolist() == [bool(special[b, n]) for b, n in tokens]


@given(batches())
def test_pad_and_unpad(batch):
    mask, *_ = batch
    layout, indices = Layout.from_padded(*map(to_tensor, batch))
    for tail in ((), (3,), (2, 2)):
        packed = torch.randn(layout.num_tokens, *tail)
        padded = layout.pad(packed)
        assert padded.shape == (*mask.shape, *tail)
        assert torch.equal(layout.unpad(padded), packed)
        assert torch.equal(padded.reshape(mask.size, *tail)[indices], packed)
        assert not padded[~torch.from_numpy(mask)].any()
    assert not layout.pad(torch.ones(layout.num_tokens, dtype=torch.bool)).numpy()[~mask].any()


@given(batches())
def test_first_tokens(batch):
    mask, *_ = batch
    layout, _ = Layout.from_padded(*map(to_tensor, batch))
    packed = torch.randn(layout.num_tokens, 3)
    rows = layout.pad(packed)
    expected = [rows[b, mask[b].argmax()] if mask[b].any() else torch.zeros(3) for b in range(mask.shape[0])]
    assert torch.equal(layout.first_tokens(packed), torch.stack(expected) if expected else torch.zeros(0, 3))


@given(st.lists(st.integers(0, 5), max_size=5), st.data())
@example([], None)
@example([0, 0], None)
def test_from_packed_is_from_padded_without_padding(lengths, data):
    total = sum(lengths)
    segments = special = None
    if data is not None:
        segments = torch.tensor(data.draw(st.lists(IDS, min_size=total, max_size=total)), dtype=torch.int64)
        special = torch.tensor(data.draw(st.lists(st.booleans(), min_size=total, max_size=total)), dtype=torch.bool)
    cu_seqlens = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
    packed = Layout.from_packed(cu_seqlens, segments, special)
    mask = torch.arange(max(lengths, default=0)) < torch.tensor(lengths, dtype=torch.int64)[:, None]
    rows = [None if x is None else torch.zeros(mask.shape, dtype=x.dtype) for x in (segments, special)]
    for row, x in zip(rows, (segments, special), strict=True):
        if row is not None:
            row[mask] = x
    padded, _ = Layout.from_padded(mask, *rows)
    for field in Layout.__dataclass_fields__:
        a, b = getattr(packed, field), getattr(padded, field)
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b), field
            assert a.dtype == b.dtype
        else:
            assert a == b, field


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.int64, torch.float32, torch.bfloat16])
def test_masks_and_ids_of_any_type(dtype):
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    segments = torch.tensor([[1, 0, 0], [0, 0, 1]])
    expected, _ = Layout.from_padded(mask, segments)
    layout, _ = Layout.from_padded(mask.to(dtype), segments.to(torch.int32))
    assert layout.lengths == (2, 2)
    assert layout.segment.tolist() == expected.segment.tolist() == [1, 0, 2, 3]
    assert layout.segment_order is not None
    assert layout.segment_order.tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("cu_seqlens", [[1, 3, 6], [0, 4, 3, 6], [0, 3, 5], [0, 3, 7]])
def test_offsets_that_do_not_fit(cu_seqlens):
    with pytest.raises(ValueError, match="cu_seqlens must rise from 0 to the number of packed tokens"):
        Layout.from_packed(torch.tensor(cu_seqlens), segment_ids=torch.zeros(6, dtype=torch.int64))


def test_on_another_device():
    layout, _ = Layout.from_padded(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[0, 0], [1, 0]]))
    moved = layout.to("meta")
    for field in Layout.__dataclass_fields__:
        before, after = getattr(layout, field), getattr(moved, field)
        if isinstance(before, torch.Tensor):
            assert after.is_meta, field
            assert not before.is_meta
        else:
            assert before == after, field
