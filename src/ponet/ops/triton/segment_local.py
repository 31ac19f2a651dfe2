"""Segment max-pooling, local max-pooling and pooling fusion, in Triton.

`o`, `s` and `l` are read once, `y` is written once; three launches.

Maxima of segments, then those of segments cut by blocks, then a pass over tokens as they lie for all the rest.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs

import torch
import triton
import triton.language as tl
from torch import Tensor

from ponet.ops.autograd import LayoutTensors
from ponet.ops.triton.blocks import (
    NOWHERE,
    OPTIONS,
    block_length,
    end_of_piece,
    partial_slots,
    rounded,
    size_class,
    start_of_block,
    tuned,
)


def segment_local_fusion(
    g: Tensor, projections: Tensor, layout: LayoutTensors, save_maxima: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """See `ponet.ops.autograd.Kernels`."""
    T, d, S = projections.shape[0], g.shape[1], layout.cu_segments.shape[0] - 1
    y, top = g.new_empty(T, d), g.new_empty(S, d)
    argmax = g.new_empty(S if save_maxima else 0, d, dtype=torch.int32)
    if T and d:
        block = block_length(T, d)
        blocks = triton.cdiv(T, block)
        partials = g.new_empty(2 * blocks, d)
        partial_holders = g.new_empty(2 * blocks if save_maxima else 0, d, dtype=torch.int32)
        order = layout.segment_order
        runs = layout.cu_segments, layout.segment, layout.cu_segments if order is None else order
        joins, special = flags(layout)
        constants = {"d": d, "SORTED": order is None, "SAVE": save_maxima} | OPTIONS
        results = top, argmax, partials, partial_holders
        with torch.cuda.device_of(g):
            _maxima[lambda meta: (blocks, triton.cdiv(d, meta["BD"]))](
                projections, *runs, *results, T, block, size_class(T), **constants
            )
            BD = min(256, triton.next_power_of_2(d))
            _maxima_of_partials[blocks, triton.cdiv(d, BD)](*runs, *results, T, block, **constants, R=8, BD=BD)
            _fuse[lambda meta: (triton.cdiv(T, meta["BT"]), triton.cdiv(d, meta["BD"]))](
                g, projections, top, layout.document, layout.segment, joins, special, y, T, size_class(T),
                d=d, SPECIAL=layout.special is not None, **OPTIONS,
            )  # fmt: skip
    return y, top if save_maxima else top.new_empty(0, d), argmax


def flags(layout: LayoutTensors) -> tuple[Tensor, Tensor]:
    """`joins_next` and `special` as bytes; where no token is special, any tensor in its place."""
    joins = layout.joins_next.contiguous().view(torch.uint8)
    return joins, joins if layout.special is None else layout.special.contiguous().view(torch.uint8)


@triton.jit
def _take(best, best_holders, b_s, b_holders, SAVE: tl.constexpr):
    """`best` with what is greater, or the first NaN, in its place; what comes later loses ties."""
    b_take = ~(best >= b_s) & (best == best)
    if SAVE:
        best_holders = tl.where(b_take, b_holders, best_holders)
    return tl.where(b_take, b_s, best), best_holders


@triton.jit
def _top(best, best_holders, SAVE: tl.constexpr):
    """The greatest of each channel `[BD]` and the first place that has it; NaN is greater than all."""
    nan = best != best
    top = tl.max(tl.where(nan, float("-inf"), best), 0)
    has_nan = tl.max(nan.to(tl.int32), 0) > 0
    first = tl.zeros_like(has_nan).to(tl.int32)
    if SAVE:
        holds = tl.where(has_nan[None, :], nan, best == top[None, :])
        first = tl.min(tl.where(holds, best_holders, NOWHERE), 0)
    return tl.where(has_nan, float("nan"), top), first


@tuned(
    key=["d", "size", "SAVE"],
    configs=[
        {"R": 8, "BD": 256, "warps": 2},
        {"R": 16, "BD": 256, "warps": 4},
        {"R": 8, "BD": 512, "warps": 4},
        {"R": 8, "BD": 128, "warps": 1},
        {"R": 16, "BD": 128, "warps": 2},
        {"R": 16, "BD": 64, "warps": 1},
        {"R": 16, "BD": 64, "warps": 2},
    ],
    interpreted=[{"R": 8, "BD": 64}, {"R": 8, "BD": 512}],
)
@triton.jit(do_not_specialize=["T", "block", "size"])
def _maxima(
    projections, offsets, segment_of, order, top, argmax, partials, partial_holders, T, block, size,
    d: tl.constexpr, SORTED: tl.constexpr, SAVE: tl.constexpr, R: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program a block and `BD` channels: maxima of the segments that lie whole in it, and of pieces of the others."""
    b = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_d = o_d < d
    begin = b * block
    limit = tl.minimum(begin + block, T)
    token = begin
    if not SORTED:
        token = tl.load(order + begin)
    segment, low = start_of_block(offsets, tl.load(segment_of + token), begin, block)
    while low < limit:
        start, stop = tl.load(offsets + segment), tl.load(offsets + segment + 1)
        high = end_of_piece(start, stop, limit, block)
        token = start
        if not SORTED:
            token = tl.load(order + start)
        best = tl.full([R, BD], float("-inf"), tl.float32)
        best_holders = tl.zeros([R, BD], tl.int32) + token.to(tl.int32)  # where all is -inf, the first counts
        for t in range(low, high, R):
            o_t = t + tl.arange(0, R)
            m_t = o_t < high
            if not SORTED:
                o_t = tl.load(order + o_t, mask=m_t, other=0)
            b_s = tl.load(
                projections + o_t[:, None] * (3 * d) + d + o_d[None, :],
                mask=m_t[:, None] & m_d[None, :],
                other=float("-inf"),
            ).to(tl.float32)
            best, best_holders = _take(best, best_holders, b_s, o_t.to(tl.int32)[:, None], SAVE)
        b_top, b_holders = _top(best, best_holders, SAVE)
        b_top = rounded(b_top, top.dtype.element_ty)
        if stop - start <= block:
            tl.store(top + segment * d + o_d, b_top, mask=m_d)
            if SAVE:
                tl.store(argmax + segment * d + o_d, b_holders, mask=m_d)
        else:
            slot = 2 * b + (start >= begin).to(tl.int64)
            tl.store(partials + slot * d + o_d, b_top, mask=m_d)
            if SAVE:
                tl.store(partial_holders + slot * d + o_d, b_holders, mask=m_d)
        segment += 1
        low = high


@triton.jit(do_not_specialize=["T", "block"])
def _maxima_of_partials(
    offsets, segment_of, order, top, argmax, partials, partial_holders, T, block,
    d: tl.constexpr, SORTED: tl.constexpr, SAVE: tl.constexpr, R: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program a block and `BD` channels: the maxima of the one long segment that may begin there."""
    b = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_d = o_d < d
    token = tl.minimum((b + 1) * block, T) - 1
    if not SORTED:
        token = tl.load(order + token)
    segment = tl.load(segment_of + token)
    start, stop = tl.load(offsets + segment), tl.load(offsets + segment + 1)
    if (start >= b * block) & (stop - start > block):
        token = start
        if not SORTED:
            token = tl.load(order + start)
        more = (stop - 1) // block - b
        best = tl.full([R, BD], float("-inf"), tl.float32)
        best_holders = tl.zeros([R, BD], tl.int32) + token.to(tl.int32)
        for partial in range(0, more + 1, R):
            o_partial = partial + tl.arange(0, R)
            mask = (o_partial <= more)[:, None] & m_d[None, :]
            offset = partial_slots(b, o_partial)[:, None] * d + o_d[None, :]
            b_s = tl.load(partials + offset, mask=mask, other=float("-inf")).to(tl.float32)
            b_holders = best_holders
            if SAVE:
                b_holders = tl.load(partial_holders + offset, mask=mask, other=0)
            best, best_holders = _take(best, best_holders, b_s, b_holders, SAVE)
        b_top, b_holders = _top(best, best_holders, SAVE)
        tl.store(top + segment * d + o_d, rounded(b_top, top.dtype.element_ty), mask=m_d)
        if SAVE:
            tl.store(argmax + segment * d + o_d, b_holders, mask=m_d)


@tuned(
    key=["d", "size"],
    configs=[
        {"BT": 8, "BD": 256, "warps": 4},
        {"BT": 16, "BD": 256, "warps": 4},
        {"BT": 16, "BD": 256, "warps": 8},
        {"BT": 8, "BD": 512, "warps": 4},
        {"BT": 16, "BD": 128, "warps": 4},
        {"BT": 32, "BD": 64, "warps": 4},
        {"BT": 16, "BD": 64, "warps": 2},
    ],
    interpreted=[{"BT": 64, "BD": 64}, {"BT": 64, "BD": 512}],
)
@triton.jit(do_not_specialize=["T", "size"])
def _fuse(
    g, projections, top, document_of, segment_of, joins_next, special, y, T, size,
    d: tl.constexpr, SPECIAL: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program `BT` tokens and `BD` channels: `y = (g + top) * o + local maximum`."""
    o_t = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_t, m_d = o_t < T, o_d < d
    mask = m_t[:, None] & m_d[None, :]
    from_left = tl.load(joins_next + o_t - 1, mask=m_t & (o_t > 0), other=0) != 0
    from_right = tl.load(joins_next + o_t, mask=m_t, other=0) != 0
    if SPECIAL:
        from_left &= tl.load(special + o_t - 1, mask=from_left, other=0) == 0
        from_right &= tl.load(special + o_t + 1, mask=from_right, other=0) == 0
    p_o = projections + o_t[:, None] * (3 * d) + o_d[None, :]
    p_l = p_o + 2 * d
    b_l = tl.load(p_l, mask=mask, other=0).to(tl.float32)
    b_left = tl.load(p_l - 3 * d, mask=from_left[:, None] & m_d[None, :], other=float("-inf")).to(tl.float32)
    b_right = tl.load(p_l + 3 * d, mask=from_right[:, None] & m_d[None, :], other=float("-inf")).to(tl.float32)
    b_l = tl.where(b_left >= b_l, b_left, b_l)
    b_l = tl.where(b_l >= b_right, b_l, b_right)
    segment = tl.load(segment_of + o_t, mask=m_t, other=0)
    b_s = tl.load(top + segment[:, None] * d + o_d[None, :], mask=mask, other=0).to(tl.float32)
    if SPECIAL:
        plain = (tl.load(special + o_t, mask=m_t, other=0) == 0)[:, None]
        b_l, b_s = tl.where(plain, b_l, 0.0), tl.where(plain, b_s, 0.0)
    document = tl.load(document_of + o_t, mask=m_t, other=0)
    b_g = tl.load(g + document[:, None] * d + o_d[None, :], mask=mask, other=0).to(tl.float32)
    b_o = tl.load(p_o, mask=mask, other=0).to(tl.float32)
    b_y = (b_g + b_s) * b_o + b_l
    tl.store(y + o_t[:, None] * d + o_d[None, :], rounded(b_y, y.dtype.element_ty), mask=mask)
