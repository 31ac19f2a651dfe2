"""The reference ops against PoNet's definition (`ops/naive.py`), token by token, and against finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.autograd import gradcheck, gradgradcheck

from ponet.ops import Layout
from ponet.ops.naive import pooling_mixer
from ponet.ops.reference import (
    global_aggregation,
    global_aggregation_published,
    local_max,
    mean_aggregation,
    segment_local_fusion,
    segment_max,
    softmax_aggregation,
)

D, HEADS = 4, 2
IDS = st.sampled_from([0, 1, 2, 3, 7, -1, -5, 2**31, -(2**40), 2**62])


def define(x, w, mask, segments, special):
    """The definition on padded rows: `x [B, N, d]`, the rest `[B, N]` -> `y [B, N, d]`, `a [B, h, N]`."""
    y, a = np.zeros_like(x), np.zeros((x.shape[0], HEADS, x.shape[1]))
    for b in range(x.shape[0]):
        projected = (x[b] @ w[f"W{name}"].T + w[f"b{name}"] for name in "qkosl")
        y[b], a[b] = pooling_mixer(*projected, mask[b], segments[b], special[b], HEADS)
    return y, a


@st.composite
def batches(draw):
    """A mask with gaps, padding on either side and empty rows; segment ids of any kind; special tokens anywhere."""
    shape = draw(st.tuples(st.integers(0, 3), st.integers(0, 8)))
    mask = draw(hnp.arrays(np.bool_, shape))
    segments = draw(hnp.arrays(np.int64, shape, elements=draw(st.sampled_from([st.integers(0, 2), IDS]))))
    special = draw(hnp.arrays(np.bool_, shape))
    return mask, segments, special, draw(st.integers(0, 2**31))


def projections(rng):
    weights = {f"W{name}": rng.normal(size=(D, D)) for name in "qkosl"}
    return weights | {f"b{name}": rng.normal(size=D) for name in "qkosl"}


def mix(x, w, layout, formulation):
    """The mixer from the reference ops: `[T, d]` -> `y [T, d]`, `a [T, h]`."""
    q, k, o, s, l = (torch.nn.functional.linear(x, w[f"W{name}"], w[f"b{name}"]) for name in "qkosl")  # noqa: E741
    if formulation == "published":
        g, a = global_aggregation_published(q, k, layout, HEADS, output_weights=True)
    else:
        g, a = global_aggregation(x, w["Wq"], w["bq"], w["Wk"], w["bk"], layout, HEADS, output_weights=True)
    return segment_local_fusion(g, torch.cat([o, s, l], 1), layout), a


@settings(max_examples=150)
@given(batches(), st.sampled_from(["absorbed", "published"]))
def test_definition(batch, formulation):
    mask, segments, special, seed = batch
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(*mask.shape, D)), projections(rng)
    expected, weights = define(x, w, mask, segments, special)
    layout, _ = Layout.from_padded(*map(torch.from_numpy, (mask, segments, special)))
    parameters = {name: torch.from_numpy(value) for name, value in w.items()}
    y, a = mix(layout.unpad(torch.from_numpy(x)), parameters, layout, formulation)
    np.testing.assert_allclose(layout.pad(y).numpy(), expected, rtol=1e-11, atol=1e-11)
    if layout.num_tokens:
        np.testing.assert_allclose(layout.pad(a).transpose(1, 2).numpy(), weights, rtol=1e-11, atol=1e-12)


@settings(max_examples=100)
@given(batches())
def test_formulations_are_one_function(batch):
    mask, segments, special, seed = batch
    rng = np.random.default_rng(seed)
    layout, _ = Layout.from_padded(*map(torch.from_numpy, (mask, segments, special)))
    numbers = {"x": rng.normal(size=(layout.num_tokens, D)), **projections(rng)}
    results = []
    for formulation in ("absorbed", "published"):
        w = {name: torch.from_numpy(value).requires_grad_() for name, value in numbers.items()}
        y, _ = mix(w["x"], w, layout, formulation)
        (y * torch.arange(1.0, D + 1)).sin().sum().backward()
        grads = {name: torch.zeros_like(v) if v.grad is None else v.grad for name, v in w.items()}
        results.append({"y": y.detach(), **grads})
    for name in results[0]:
        assert torch.isfinite(results[0][name]).all(), name
        torch.testing.assert_close(results[0][name], results[1][name], rtol=1e-12, atol=1e-11, msg=name)


# Gradients. Every layout is ragged: an empty row, a gap, padding on both sides, ids unsorted, special tokens.

MASK = torch.tensor([[0, 1, 1, 1, 0, 1, 1], [0] * 7, [1, 1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0]])
SEGMENTS = torch.tensor([[0, 5, 5, -3, 0, 5, 2], [0] * 7, [0, 1, 1, 2, 2, 0, 0], [9] * 7])
SPECIAL = torch.tensor([[0, 1, 0, 0, 0, 0, 1], [0] * 7, [1, 0, 0, 1, 0, 0, 0], [0] * 7]).bool()


@pytest.fixture(params=["special tokens", "no special tokens", "sorted"])
def layout(request) -> Layout:
    if request.param == "sorted":
        return Layout.from_padded(MASK, SEGMENTS.sort(1).values, SPECIAL)[0]
    return Layout.from_padded(MASK, SEGMENTS, SPECIAL if request.param == "special tokens" else None)[0]


def untied(*shape: int) -> torch.Tensor:
    """Numbers in random order, evenly apart: far enough for finite differences to keep every maximum where it is."""
    count = int(np.prod(shape))
    return ((torch.randperm(count).double() + 0.5) / count * 4 - 2).reshape(shape).requires_grad_()


def cases(layout: Layout):
    tokens, documents = (layout.num_tokens, 4), (layout.batch_size, 4)
    return {
        "mean_aggregation": (lambda x: mean_aggregation(x, layout), [tokens]),
        "softmax_aggregation": (
            lambda x, q: softmax_aggregation(x, q, layout, True),
            [tokens, (layout.batch_size, 2, 4)],
        ),
        "global_aggregation": (
            lambda *x: global_aggregation(*x, layout, num_heads=2, output_weights=True),
            [tokens, (4, 4), (4,), (4, 4), (4,)],
        ),
        "global_aggregation_published": (
            lambda q, k: global_aggregation_published(q, k, layout, num_heads=2, output_weights=True),
            [tokens, tokens],
        ),
        "segment_max": (lambda s: segment_max(s, layout), [tokens]),
        "local_max": (lambda x: local_max(x, layout), [tokens]),
        "segment_local_fusion": (lambda *x: segment_local_fusion(*x, layout), [documents, (layout.num_tokens, 12)]),
    }


@pytest.mark.parametrize(
    "name",
    [
        "mean_aggregation",
        "softmax_aggregation",
        "global_aggregation",
        "global_aggregation_published",
        "segment_max",
        "local_max",
        "segment_local_fusion",
    ],
)
def test_gradients(name, layout):
    function, shapes = cases(layout)[name]
    inputs = tuple(untied(*shape) for shape in shapes)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs, fast_mode=True)


# Ties, apart: the first position takes the whole gradient.


def test_first_of_a_segment_takes_the_gradient():
    layout, _ = Layout.from_padded(torch.ones(1, 6), torch.tensor([[4, 1, 4, 1, 4, 1]]))
    assert layout.segment_order is not None
    s = torch.tensor([[0.0, 2.0], [5.0, 1.0], [3.0, 2.0], [5.0, 1.0], [3.0, 2.0], [4.0, 1.0]], requires_grad=True)
    top = segment_max(s, layout)
    assert top.tolist() == [[5.0, 1.0], [3.0, 2.0]]
    (top * torch.tensor([[1.0, 10.0], [100.0, 1000.0]])).sum().backward()
    assert s.grad is not None
    assert s.grad.tolist() == [[0, 1000], [1, 10], [100, 0], [0, 0], [0, 0], [0, 0]]


def test_first_neighbour_takes_the_gradient():
    # two rows: one whole, one with a gap before its last token; token 4 is special
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 1]])
    special = torch.zeros_like(mask).bool()
    special[0, 4] = True
    layout, _ = Layout.from_padded(mask, None, special)
    l = torch.ones(layout.num_tokens, 1, requires_grad=True)  # noqa: E741
    y = segment_local_fusion(torch.zeros(2, 1), torch.cat([torch.zeros(10, 2), l], 1), layout)
    weights = torch.tensor([1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512])
    (y[:, 0] * weights).sum().backward()
    assert l.grad is not None
    # 0 wins for 0 and 1, 1 for 2, 2 for 3; 4 is special and has no local part; 5 stands alone beside it
    assert l.grad[:6, 0].tolist() == [1 + 2, 4, 8, 0, 0, 32]
    assert l.grad[6:, 0].tolist() == [64 + 128, 256, 0, 512]


def test_maximum_between_two_neighbours_that_tie():
    layout, _ = Layout.from_padded(torch.ones(1, 3))
    l = torch.tensor([[3.0], [1.0], [3.0]], requires_grad=True)  # noqa: E741
    y = local_max(l, layout)
    assert y[:, 0].tolist() == [3, 3, 3]
    (y[:, 0] * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert l.grad is not None
    assert l.grad[:, 0].tolist() == [11, 0, 100]


# Nothing at all.


@pytest.mark.parametrize("formulation", ["absorbed", "published"])
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (3, 0), (3, 5)])
def test_nothing_gives_zeros(shape, formulation):
    rng = np.random.default_rng(0)
    layout, _ = Layout.from_padded(torch.zeros(shape), torch.zeros(shape), torch.zeros(shape).bool())
    w = {name: torch.from_numpy(value).requires_grad_() for name, value in projections(rng).items()}
    x = torch.zeros(0, D, dtype=torch.float64, requires_grad=True)
    y, _ = mix(x, w, layout, formulation)
    assert y.shape == (0, D)
    assert layout.pad(y).shape == (*shape, D)
    mean = mean_aggregation(x, layout)
    assert mean.shape == (shape[0], D)
    assert not mean.any()
    (y.sum() + mean.sum()).backward()
    for name, value in w.items():
        assert value.grad is None or not value.grad.any(), name


@pytest.mark.parametrize("formulation", ["absorbed", "published"])
def test_empty_documents_among_others_have_no_gradient(formulation):
    rng = np.random.default_rng(0)
    layout = Layout.from_packed(torch.tensor([0, 0, 4, 4]), torch.tensor([1, 0, 1, 0]))
    w = {name: torch.from_numpy(value).requires_grad_() for name, value in projections(rng).items()}
    x = torch.randn(4, D, dtype=torch.float64, requires_grad=True)
    k = torch.nn.functional.linear(x, w["Wk"], w["bk"])
    if formulation == "published":
        q = torch.nn.functional.linear(x, w["Wq"], w["bq"])
        g, _ = global_aggregation_published(q, k, layout, HEADS)
    else:
        g, _ = global_aggregation(x, w["Wq"], w["bq"], w["Wk"], w["bk"], layout, HEADS)
    assert not g[[0, 2]].any()
    assert g[1].all()
    g[[0, 2]].sum().backward()
    for value in (x, *w.values()):
        assert value.grad is None or not value.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(dtype, layout):
    """Sums and softmaxes run in float32, so a long document is as exact as a short one."""
    long = Layout.from_packed(torch.tensor([0, 3000, 3001, 4000]))
    x = torch.randn(4000, 8, dtype=torch.float64) + 3  # a mean far from zero, where a half-precision sum stalls
    mean = mean_aggregation(x.to(dtype), long)
    assert mean.dtype == dtype
    torch.testing.assert_close(mean.double(), mean_aggregation(x, long), rtol=2e-2, atol=0)
    queries = torch.randn(3, 2, 8, dtype=torch.float64) * 0.1
    pooled, weights = softmax_aggregation(x.to(dtype), queries.to(dtype), long, output_weights=True)
    assert weights is not None
    assert pooled.dtype == weights.dtype == dtype
    torch.testing.assert_close(pooled.double(), softmax_aggregation(x, queries, long)[0], rtol=3e-2, atol=0)
    g, projections = torch.randn(layout.batch_size, 8), torch.randn(layout.num_tokens, 24)
    y = segment_local_fusion(g.to(dtype), projections.to(dtype), layout)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), segment_local_fusion(g, projections, layout), rtol=5e-2, atol=5e-2)
