"""The softmax-weighted mean backward, in Triton: `x` is read once, `dx` written once, weights recomputed; two launches.

Of rows too wide for a program, weights and the gradients of scores are made in a launch of their own, `[T, h]` each.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs

import torch
import triton
import triton.language as tl
from torch import Tensor

from ponet.ops.autograd import LayoutTensors
from ponet.ops.triton.blocks import (
    OPTIONS,
    end_of_piece,
    find_run,
    rounded,
    size_class,
    start_of_block,
    sum_of_partials,
    tuned,
)
from ponet.ops.triton.global_aggregation import Shape, product, rows

_WIDEST = {2: 512, 4: 128}
"""As the forward's, of which there is more to hold here."""


def softmax_aggregation_backward(
    dz: Tensor,
    dweights: Tensor | None,
    x: Tensor,
    queries: Tensor,
    lse: Tensor,
    delta: Tensor,
    layout: LayoutTensors,
) -> tuple[Tensor, Tensor]:
    """See `ponet.ops.autograd.Kernels`."""
    (T, d), (B, h, _) = x.shape, queries.shape
    dx, dqueries = torch.empty_like(x), torch.empty_like(queries)
    if not (B and h and d):
        return dx.zero_(), dqueries
    shape = Shape.of(x, h, _WIDEST)
    pairs = x.new_empty(2, 0 if shape.whole else T, h, dtype=torch.float32)
    partials = x.new_empty(2 * shape.blocks, h, d, dtype=torch.float32)
    inputs = dz, delta if dweights is None else dweights, x, queries, lse, delta.contiguous(), layout.cu_seqlens, pairs
    constants = {"d": d, "h": h, "H": shape.H, "WEIGHTS": dweights is not None} | OPTIONS
    with torch.cuda.device_of(x):
        if T and not shape.whole:
            _pairs[(shape.blocks,)](*inputs, T, B, shape.block, **constants, BT=64, BD=64)
        if T:
            _gradients[shape.blocks, shape.chunks](
                *inputs, dx, dqueries, partials, T, B, shape.block, size_class(T),
                **constants, D=shape.D, GIVEN=not shape.whole,
            )  # fmt: skip
        BD = min(256, triton.next_power_of_2(d))
        _sums_of_partials[B, h, triton.cdiv(d, BD)](
            layout.cu_seqlens, dqueries, partials, shape.block, d=d, h=h, R=16, BD=BD, **OPTIONS
        )
    return dx, dqueries


@triton.jit
def _pair(b_scores, b_da, dweights, lse, delta, document, o_t, o_h, m_t, h: tl.constexpr, WEIGHTS: tl.constexpr):
    """Weights and the gradients of scores, `[BT, H]`, of scores and the products of `dz` and `x`."""
    m_h = o_h < h
    mask = m_t[:, None] & m_h[None, :]
    if WEIGHTS:
        b_da += tl.load(dweights + o_t[:, None] * h + o_h[None, :], mask=mask, other=0).to(tl.float32)
    b_lse = tl.load(lse + document * h + o_h, mask=m_h, other=0)
    b_delta = tl.load(delta + document * h + o_h, mask=m_h, other=0)
    b_a = tl.where(mask, tl.exp(b_scores - b_lse[None, :]), 0.0)
    return b_a, tl.where(mask, b_a * (b_da - b_delta[None, :]), 0.0)


@triton.jit(do_not_specialize=["T", "B", "block"])
def _pairs(
    dz, dweights, x, queries, lse, delta, offsets, pairs, T, B, block,
    d: tl.constexpr, h: tl.constexpr, H: tl.constexpr, WEIGHTS: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program a block: weights and the gradients of scores, `[2, T, h]`, `BD` channels at a time."""
    begin = tl.program_id(0).to(tl.int64) * block
    limit = tl.minimum(begin + block, T)
    o_h = tl.arange(0, H).to(tl.int64)
    document, low = find_run(offsets, B, begin), begin
    while low < limit:
        high = tl.minimum(tl.load(offsets + document + 1), limit)
        for t in range(low, high, BT):
            o_t = t + tl.arange(0, BT)
            m_t = o_t < high
            b_scores, b_da = tl.zeros([BT, H], tl.float32), tl.zeros([BT, H], tl.float32)
            for c in range(0, d, BD):
                o_d = c + tl.arange(0, BD)
                b_x = rows(x, o_t, m_t, o_d, d)
                b_scores += product(b_x, tl.trans(rows(queries + document * (h * d), o_h, o_h < h, o_d, d)))
                b_da += product(b_x, tl.trans(rows(dz + document * (h * d), o_h, o_h < h, o_d, d)))
            b_a, b_ds = _pair(b_scores, b_da, dweights, lse, delta, document, o_t, o_h, m_t, h, WEIGHTS)
            mask = m_t[:, None] & (o_h < h)[None, :]
            p_a = pairs + o_t[:, None] * h + o_h[None, :]
            tl.store(p_a, b_a, mask=mask)
            tl.store(p_a + T.to(tl.int64) * h, b_ds, mask=mask)
        document += 1
        low = tl.maximum(low, high)


@tuned(
    key=["d", "h", "size"],
    configs=[
        {"BT": 32, "warps": 4, "stages": 1},
        {"BT": 32, "warps": 8, "stages": 1},
        {"BT": 32, "warps": 8, "stages": 2},
        {"BT": 16, "warps": 8, "stages": 1},
        {"BT": 16, "warps": 8, "stages": 2},
        {"BT": 64, "warps": 8, "stages": 1},
    ],
    interpreted=[{"BT": 32}],
)
@triton.jit(do_not_specialize=["T", "B", "block", "size"])
def _gradients(
    dz, dweights, x, queries, lse, delta, offsets, pairs, dx, dqueries, partials, T, B, block, size,
    d: tl.constexpr, h: tl.constexpr, H: tl.constexpr, WEIGHTS: tl.constexpr, D: tl.constexpr, GIVEN: tl.constexpr,
    BT: tl.constexpr,
):  # fmt: skip
    """A program a block and `D` channels: `dx` of its tokens, `dqueries` or partial sums of its documents.

    Weights and the gradients of scores are read where `GIVEN`, else made.
    """
    b = tl.program_id(0).to(tl.int64)
    o_d, o_h = tl.program_id(1) * D + tl.arange(0, D), tl.arange(0, H).to(tl.int64)
    m_d, m_h = o_d < d, o_h < h
    m_z = m_h[:, None] & m_d[None, :]
    begin = b * block
    limit = tl.minimum(begin + block, T)
    document, low = start_of_block(offsets, find_run(offsets, B, begin), begin, block)
    while low < limit:
        start, stop = tl.load(offsets + document), tl.load(offsets + document + 1)
        high = end_of_piece(start, stop, limit, block)
        if high > low:
            b_q = rows(queries + document * (h * d), o_h, m_h, o_d, d)
            b_dz = rows(dz + document * (h * d), o_h, m_h, o_d, d)
            b_dq = tl.zeros([H, D], tl.float32)
            for t in range(low, high, BT):
                o_t = t + tl.arange(0, BT)
                m_t = o_t < high
                b_x = rows(x, o_t, m_t, o_d, d)
                if GIVEN:
                    mask = m_t[:, None] & m_h[None, :]
                    p_a = pairs + o_t[:, None] * h + o_h[None, :]
                    b_a = tl.load(p_a, mask=mask, other=0)
                    b_ds = tl.load(p_a + T.to(tl.int64) * h, mask=mask, other=0)
                else:
                    b_scores, b_da = product(b_x, tl.trans(b_q)), product(b_x, tl.trans(b_dz))
                    b_a, b_ds = _pair(b_scores, b_da, dweights, lse, delta, document, o_t, o_h, m_t, h, WEIGHTS)
                b_a, b_ds = rounded(b_a, b_x.dtype), rounded(b_ds, b_x.dtype)
                b_dx = product(b_a, b_dz) + product(b_ds, b_q)
                mask = m_t[:, None] & m_d[None, :]
                tl.store(dx + o_t[:, None] * d + o_d[None, :], rounded(b_dx, dx.dtype.element_ty), mask=mask)
                b_dq += product(tl.trans(b_ds), b_x)
            if stop - start <= block:
                p_dq = dqueries + document * (h * d) + o_h[:, None] * d + o_d[None, :]
                tl.store(p_dq, rounded(b_dq, dqueries.dtype.element_ty), mask=m_z)
            else:
                slot = 2 * b + (start >= begin).to(tl.int64)
                tl.store(partials + slot * (h * d) + o_h[:, None] * d + o_d[None, :], b_dq, mask=m_z)
        document += 1
        low = tl.maximum(low, high)


@triton.jit(do_not_specialize=["block"])
def _sums_of_partials(
    offsets, dqueries, partials, block, d: tl.constexpr, h: tl.constexpr, R: tl.constexpr, BD: tl.constexpr
):  # fmt: skip
    """A program a document, a head and `BD` channels: what `_gradients` left, zeros of an empty document included."""
    document, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    o_d = tl.program_id(2) * BD + tl.arange(0, BD)
    m_d = o_d < d
    start, stop = tl.load(offsets + document), tl.load(offsets + document + 1)
    if (stop == start) | (stop - start > block):
        first, last = start // block, (stop - 1) // block
        if stop == start:
            last = first - 1
        b_dq = sum_of_partials(partials + head * d, first, last, o_d, m_d, h * d, R, BD)
        tl.store(dqueries + (document * h + head) * d + o_d, rounded(b_dq, dqueries.dtype.element_ty), mask=m_d)
