"""Segment max-pooling, local max-pooling and pooling fusion backward, in Triton.

`o` and `l` are read once, `dy` twice; three launches.

Sums over segments and documents, then those cut by blocks, then a pass over tokens as they lie for the gradients of
`o`, `s` and `l`. A segment's gradient goes to the tokens that hold its maxima by asking each token whether it does: no
atomics, and every number is written once.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs

import torch
import triton
import triton.language as tl
from torch import Tensor

from ponet.ops.autograd import LayoutTensors
from ponet.ops.triton.blocks import (
    OPTIONS,
    block_length,
    end_of_piece,
    rounded,
    size_class,
    start_of_block,
    sum_of_partials,
    tuned,
)
from ponet.ops.triton.segment_local import flags


def segment_local_fusion_backward(
    dy: Tensor, g: Tensor, projections: Tensor, top: Tensor, argmax: Tensor, layout: LayoutTensors
) -> tuple[Tensor, Tensor]:
    """See `ponet.ops.autograd.Kernels`."""
    (T, d), B = dy.shape, g.shape[0]
    dg, dprojections = torch.empty_like(g), torch.empty_like(projections)
    if not (T and d):
        return dg.zero_(), dprojections
    block = block_length(T, d)
    blocks = triton.cdiv(T, block)
    dtop = torch.empty_like(top)
    partials, document_partials = (g.new_empty(2 * blocks, d, dtype=torch.float32) for _ in range(2))
    order = layout.segment_order
    joins, special = flags(layout)
    runs = layout.cu_segments, layout.segment, layout.cu_segments if order is None else order, layout.cu_seqlens
    constants = {"d": d, "SORTED": order is None} | OPTIONS
    has_special = layout.special is not None
    with torch.cuda.device_of(g):
        _sums[lambda meta: (blocks, triton.cdiv(d, meta["BD"]))](
            dy, projections, *runs, layout.document, special, dtop, dg, partials, document_partials,
            T, block, size_class(T), **constants, SPECIAL=has_special,
        )  # fmt: skip
        BD = min(256, triton.next_power_of_2(d))
        _sums_of_partials[blocks + B, triton.cdiv(d, BD)](
            *runs, dtop, dg, partials, document_partials, T, block, blocks, **constants, R=16, BD=BD
        )
        _gradients[lambda meta: (triton.cdiv(T, meta["BT"]), triton.cdiv(d, meta["BD"]))](
            dy, g, projections, top, argmax, dtop, layout.document, layout.segment, joins, special, dprojections, T,
            size_class(T), d=d, SPECIAL=has_special, **OPTIONS,
        )  # fmt: skip
    return dg, dprojections


@tuned(
    key=["d", "size"],
    configs=[
        {"R": 8, "BD": 256, "warps": 2},
        {"R": 8, "BD": 256, "warps": 4},
        {"R": 16, "BD": 256, "warps": 4},
        {"R": 8, "BD": 128, "warps": 1},
        {"R": 16, "BD": 128, "warps": 2},
        {"R": 16, "BD": 64, "warps": 2},
    ],
    interpreted=[{"R": 8, "BD": 64}, {"R": 8, "BD": 512}],
)
@triton.jit(do_not_specialize=["T", "block", "size"])
def _sums(
    dy, projections, offsets, segment_of, order, cu_seqlens, document_of, special, dtop, dg,
    partials, document_partials, T, block, size,
    d: tl.constexpr, SORTED: tl.constexpr, SPECIAL: tl.constexpr, R: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program a block and `BD` channels: sums of `dy * o` over segments, without special tokens, and documents.

    In the order that sorts tokens by segment a document's tokens stay between its offsets.
    """
    b = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_d = o_d < d
    begin = b * block
    limit = tl.minimum(begin + block, T)
    token = begin
    if not SORTED:
        token = tl.load(order + begin)
    segment, low = start_of_block(offsets, tl.load(segment_of + token), begin, block)
    b_document = tl.zeros([R, BD], tl.float32)
    while low < limit:
        start, stop = tl.load(offsets + segment), tl.load(offsets + segment + 1)
        high = end_of_piece(start, stop, limit, block)
        b_segment = tl.zeros([R, BD], tl.float32)
        for t in range(low, high, R):
            o_t = t + tl.arange(0, R)
            m_t = o_t < high
            if not SORTED:
                o_t = tl.load(order + o_t, mask=m_t, other=0)
            mask = m_t[:, None] & m_d[None, :]
            b_o = tl.load(projections + o_t[:, None] * (3 * d) + o_d[None, :], mask=mask, other=0).to(tl.float32)
            b_product = b_o * tl.load(dy + o_t[:, None] * d + o_d[None, :], mask=mask, other=0).to(tl.float32)
            b_document += b_product
            if SPECIAL:
                plain = tl.load(special + o_t, mask=m_t, other=0) == 0
                b_product = tl.where(plain[:, None], b_product, 0.0)
            b_segment += b_product
        b_total = tl.sum(b_segment, 0)
        if stop - start <= block:
            tl.store(dtop + segment * d + o_d, rounded(b_total, dtop.dtype.element_ty), mask=m_d)
        else:
            slot = 2 * b + (start >= begin).to(tl.int64)
            tl.store(partials + slot * d + o_d, b_total, mask=m_d)
        token = low
        if not SORTED:
            token = tl.load(order + low)
        document = tl.load(document_of + token)
        document_start, document_stop = tl.load(cu_seqlens + document), tl.load(cu_seqlens + document + 1)
        if (high == document_stop) | (high >= limit):
            b_total = tl.sum(b_document, 0)
            if (document_start >= begin) & (high == document_stop):
                tl.store(dg + document * d + o_d, rounded(b_total, dg.dtype.element_ty), mask=m_d)
            else:
                slot = 2 * b + (document_start >= begin).to(tl.int64)
                tl.store(document_partials + slot * d + o_d, b_total, mask=m_d)
            b_document = tl.zeros([R, BD], tl.float32)
        segment += 1
        low = high


@triton.jit(do_not_specialize=["T", "block", "blocks"])
def _sums_of_partials(
    offsets, segment_of, order, cu_seqlens, dtop, dg, partials, document_partials, T, block, blocks,
    d: tl.constexpr, SORTED: tl.constexpr, R: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program `BD` channels and a block, for the long segment that may begin there, or a document."""
    b = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_d = o_d < d
    if b < blocks:
        token = tl.minimum((b + 1) * block, T) - 1
        if not SORTED:
            token = tl.load(order + token)
        segment = tl.load(segment_of + token)
        start, stop = tl.load(offsets + segment), tl.load(offsets + segment + 1)
        if (start >= b * block) & (stop - start > block):
            b_total = sum_of_partials(partials, b, (stop - 1) // block, o_d, m_d, d, R, BD)
            tl.store(dtop + segment * d + o_d, rounded(b_total, dtop.dtype.element_ty), mask=m_d)
    else:
        document = b - blocks
        begin, end = tl.load(cu_seqlens + document), tl.load(cu_seqlens + document + 1)
        first = begin // block
        last = first - 1  # of an empty document, whose sum is zero
        if end > begin:
            token = end - 1
            if not SORTED:
                token = tl.load(order + token)
            segment = tl.load(segment_of + token)
            start = tl.load(offsets + segment)
            # Its last segment ends with it, in the block where it begins unless it is long.
            last = tl.where(end - start <= block, start, end - 1) // block
        if last != first:
            b_total = sum_of_partials(document_partials, first, last, o_d, m_d, d, R, BD)
            tl.store(dg + document * d + o_d, rounded(b_total, dg.dtype.element_ty), mask=m_d)


@triton.jit
def _neighbour(p_l, o_t, m_t, m_d, d: tl.constexpr, shift: tl.constexpr, T):
    """`l` of the token `shift` places to the right, where there is one."""
    there = m_t & (o_t + shift >= 0) & (o_t + shift < T)
    return tl.load(p_l + shift * (3 * d), mask=there[:, None] & m_d[None, :], other=0).to(tl.float32)


@triton.jit
def _flag(mask_of, o_t, m_t, shift: tl.constexpr, T):
    """Whether the token `shift` places to the right has the flag."""
    return tl.load(mask_of + o_t + shift, mask=m_t & (o_t + shift >= 0) & (o_t + shift < T), other=0) != 0


@triton.jit
def _winner(b_left, b_centre, b_right, from_left, from_right):
    """Who holds a window's maximum: -1 the left one, 0 the one in the middle, 1 the right one."""
    b_left = tl.where(from_left[:, None], b_left, float("-inf"))
    b_right = tl.where(from_right[:, None], b_right, float("-inf"))
    left = b_left >= b_centre
    best = tl.where(left, b_left, b_centre)
    return tl.where(best >= b_right, tl.where(left, -1, 0), 1)


@tuned(
    key=["d", "size"],
    configs=[
        {"BT": 4, "BD": 256, "warps": 4},
        {"BT": 8, "BD": 256, "warps": 4},
        {"BT": 8, "BD": 256, "warps": 8},
        {"BT": 4, "BD": 512, "warps": 4},
        {"BT": 8, "BD": 128, "warps": 4},
        {"BT": 16, "BD": 64, "warps": 4},
    ],
    interpreted=[{"BT": 64, "BD": 64}, {"BT": 64, "BD": 512}],
)
@triton.jit(do_not_specialize=["T", "size"])
def _gradients(
    dy, g, projections, top, argmax, dtop, document_of, segment_of, joins_next, special, dprojections, T, size,
    d: tl.constexpr, SPECIAL: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program `BT` tokens and `BD` channels: the gradients of `o`, `s` and `l`."""
    o_t = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_t, m_d = o_t < T, o_d < d
    mask = m_t[:, None] & m_d[None, :]
    offset = o_t[:, None] * (3 * d) + o_d[None, :]
    p_dy = dy + o_t[:, None] * d + o_d[None, :]
    b_dy = tl.load(p_dy, mask=mask, other=0).to(tl.float32)

    # The windows of the token and of its neighbours, in each of which it may hold the maximum
    joins_0, joins_1 = _flag(joins_next, o_t, m_t, -2, T), _flag(joins_next, o_t, m_t, -1, T)
    joins_2, joins_3 = _flag(joins_next, o_t, m_t, 0, T), _flag(joins_next, o_t, m_t, 1, T)
    plain, plain_left, plain_right = m_t, m_t, m_t
    if SPECIAL:
        plain_left, plain = ~_flag(special, o_t, m_t, -1, T), ~_flag(special, o_t, m_t, 0, T)
        plain_right = ~_flag(special, o_t, m_t, 1, T)
        joins_0 &= ~_flag(special, o_t, m_t, -2, T)
        joins_3 &= ~_flag(special, o_t, m_t, 2, T)
    p_l = projections + offset + 2 * d
    b_0, b_1 = _neighbour(p_l, o_t, m_t, m_d, d, -2, T), _neighbour(p_l, o_t, m_t, m_d, d, -1, T)
    b_2 = _neighbour(p_l, o_t, m_t, m_d, d, 0, T)
    b_3, b_4 = _neighbour(p_l, o_t, m_t, m_d, d, 1, T), _neighbour(p_l, o_t, m_t, m_d, d, 2, T)
    holds = _winner(b_1, b_2, b_3, joins_1 & plain_left, joins_2 & plain_right) == 0
    b_dl = tl.where(holds & plain[:, None], b_dy, 0.0)
    from_left, from_right = joins_1 & plain & plain_left, joins_2 & plain & plain_right
    b_dy_left = tl.load(p_dy - d, mask=from_left[:, None] & m_d[None, :], other=0).to(tl.float32)
    holds = _winner(b_0, b_1, b_2, joins_0, joins_1 & plain) == 1
    b_dl += tl.where(holds, b_dy_left, 0.0)
    b_dy_right = tl.load(p_dy + d, mask=from_right[:, None] & m_d[None, :], other=0).to(tl.float32)
    holds = _winner(b_2, b_3, b_4, joins_2 & plain, joins_3) == -1
    b_dl += tl.where(holds, b_dy_right, 0.0)
    tl.store(dprojections + offset + 2 * d, rounded(b_dl, dprojections.dtype.element_ty), mask=mask)

    segment = tl.load(segment_of + o_t, mask=m_t, other=0)
    o_s = segment[:, None] * d + o_d[None, :]
    holds = tl.load(argmax + o_s, mask=mask, other=0) == o_t.to(tl.int32)[:, None]
    b_ds = tl.load(dtop + o_s, mask=mask & holds, other=0)
    tl.store(dprojections + offset + d, b_ds, mask=mask)
    b_s = tl.load(top + o_s, mask=mask, other=0).to(tl.float32)
    if SPECIAL:
        b_s = tl.where(plain[:, None], b_s, 0.0)
    document = tl.load(document_of + o_t, mask=m_t, other=0)
    b_g = tl.load(g + document[:, None] * d + o_d[None, :], mask=mask, other=0).to(tl.float32)
    tl.store(dprojections + offset, rounded(b_dy * (b_g + b_s), dprojections.dtype.element_ty), mask=mask)
