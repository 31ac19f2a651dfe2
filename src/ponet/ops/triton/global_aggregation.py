"""Global aggregation's passes over tokens, in Triton: the mean (stage 1) and the softmax-weighted mean (stage 2).

Each reads `x` once, in two launches: pieces of documents, then the documents that are cut by the ends of blocks. Stage
2 is an online softmax a document; a third launch makes weights of scores, where they are asked for. Where `d` is too
great for a program to hold rows of `x` whole, scores `[T, h]` are made in a launch of their own, and `x` is read twice.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ponet.ops.autograd import LayoutTensors
from ponet.ops.triton.blocks import (
    OPTIONS,
    PRECISE,
    UPCAST,
    block_length,
    end_of_piece,
    find_run,
    partial_slots,
    rounded,
    size_class,
    start_of_block,
    sum_of_partials,
    tuned,
)

# --- The mean --------------------------------------------------------------------------------------------------------


def mean_aggregation(x: Tensor, layout: LayoutTensors) -> Tensor:
    """See `ponet.ops.autograd.Kernels`."""
    (T, d), B = x.shape, layout.cu_seqlens.shape[0] - 1
    mean = x.new_empty(B, d)
    if not (B and d):
        return mean
    block = block_length(T, d)
    blocks = triton.cdiv(T, block)
    partials = x.new_empty(2 * blocks, d, dtype=torch.float32)
    with torch.cuda.device_of(x):
        if T:
            _means[lambda meta: (blocks, triton.cdiv(d, meta["BD"]))](
                x, layout.cu_seqlens, mean, partials, T, B, block, size_class(T), d, **OPTIONS
            )
        BD = min(256, triton.next_power_of_2(d))
        _means_of_partials[B, triton.cdiv(d, BD)](layout.cu_seqlens, mean, partials, block, d, 16, BD, **OPTIONS)
    return mean


@tuned(
    key=["d", "size"],
    configs=[
        {"R": 16, "BD": 256, "warps": 4},
        {"R": 32, "BD": 256, "warps": 8},
        {"R": 8, "BD": 256, "warps": 2},
        {"R": 16, "BD": 512, "warps": 8},
        {"R": 32, "BD": 128, "warps": 4},
        {"R": 32, "BD": 64, "warps": 4},
    ],
    interpreted=[{"R": 8, "BD": 64}, {"R": 8, "BD": 512}],
)
@triton.jit(do_not_specialize=["T", "B", "block", "size"])
def _means(
    x, offsets, mean, partials, T, B, block, size, d: tl.constexpr, R: tl.constexpr, BD: tl.constexpr
):  # fmt: skip
    """A program a block and `BD` channels: means of documents that lie whole in it, sums of pieces of the others."""
    b = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_d = o_d < d
    begin = b * block
    limit = tl.minimum(begin + block, T)
    document, low = start_of_block(offsets, find_run(offsets, B, begin), begin, block)
    while low < limit:
        start, stop = tl.load(offsets + document), tl.load(offsets + document + 1)
        high = end_of_piece(start, stop, limit, block)
        if high > low:
            b_sum = tl.zeros([R, BD], tl.float32)
            for t in range(low, high, R):
                o_t = t + tl.arange(0, R)
                mask = (o_t < high)[:, None] & m_d[None, :]
                b_sum += tl.load(x + o_t[:, None] * d + o_d[None, :], mask=mask, other=0).to(tl.float32)
            b_total = tl.sum(b_sum, 0)
            if stop - start <= block:
                b_mean = b_total / (stop - start).to(tl.float32)
                tl.store(mean + document * d + o_d, rounded(b_mean, mean.dtype.element_ty), mask=m_d)
            else:
                slot = 2 * b + (start >= begin).to(tl.int64)
                tl.store(partials + slot * d + o_d, b_total, mask=m_d)
        document += 1
        low = tl.maximum(low, high)


@triton.jit(do_not_specialize=["block"])
def _means_of_partials(offsets, mean, partials, block, d: tl.constexpr, R: tl.constexpr, BD: tl.constexpr):
    """A program a document and `BD` channels: what the first launch left, zeros of an empty document included."""
    document = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_d = o_d < d
    start, stop = tl.load(offsets + document), tl.load(offsets + document + 1)
    if (stop == start) | (stop - start > block):
        first, last = start // block, (stop - 1) // block
        if stop == start:
            last = first - 1
        b_mean = sum_of_partials(partials, first, last, o_d, m_d, d, R, BD) / tl.maximum(stop - start, 1).to(tl.float32)
        tl.store(mean + document * d + o_d, rounded(b_mean, mean.dtype.element_ty), mask=m_d)


# --- The softmax-weighted mean ---------------------------------------------------------------------------------------

_WIDEST = {2: 1024, 4: 256}
"""Channels that a program can hold, by the bytes of each: `x`'s rows, queries and sums, without spilling registers."""
_CHUNK = 256
"""Channels a program where there are more."""


class Shape(NamedTuple):
    """How the work of stage 2 is divided."""

    block: int
    """Tokens a block: enough programs to fill a GPU; a partial result `[h, d]` costs as much as 2 h tokens."""
    blocks: int
    D: int
    """Channels a program, a power of 2."""
    chunks: int
    H: int
    """Heads, filled up to what a matrix product takes."""

    @property
    def whole(self) -> bool:
        """Whether a program holds rows of `x` whole."""
        return self.chunks == 1

    @classmethod
    def of(cls, x: Tensor, heads: int, widest: dict[int, int]) -> "Shape":
        T, d = x.shape
        block = max(128, triton.next_power_of_2(T // 512))
        D = max(16, triton.next_power_of_2(d))
        if widest[x.element_size()] < D:
            D = _CHUNK
        return cls(block, triton.cdiv(T, block), D, triton.cdiv(d, D), max(16, triton.next_power_of_2(heads)))


def softmax_aggregation(
    x: Tensor, queries: Tensor, layout: LayoutTensors, output_weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """See `ponet.ops.autograd.Kernels`."""
    (T, d), (B, h, _) = x.shape, queries.shape
    z, lse = torch.empty_like(queries), queries.new_empty(B, h, dtype=torch.float32)
    weights = x.new_empty(T if output_weights else 0, h)
    if not (B and h and d):
        return z, lse.zero_(), weights.zero_()
    shape = Shape.of(x, h, _WIDEST)
    scores = x.new_empty(T if output_weights or not shape.whole else 0, h, dtype=torch.float32)
    partials = x.new_empty(2 * shape.blocks, h, d, dtype=torch.float32)
    partial_sums = x.new_empty(2, 2 * shape.blocks, h, dtype=torch.float32)
    sizes = T, B, shape.block
    offsets = layout.cu_seqlens
    constants = {"d": d, "h": h} | OPTIONS
    with torch.cuda.device_of(x):
        if T and not shape.whole:
            _scores[(shape.blocks,)](x, queries, offsets, scores, *sizes, **constants, H=shape.H, BT=64, BD=64)
        if T:
            _softmax[shape.blocks, shape.chunks](
                x, queries, offsets, scores, z, lse, partials, partial_sums, *sizes, size_class(T),
                **constants, H=shape.H, D=shape.D, GIVEN=not shape.whole, SAVE=output_weights and shape.whole,
            )  # fmt: skip
        BD = min(256, triton.next_power_of_2(d))
        _softmax_of_partials[B, h, triton.cdiv(d, BD)](
            offsets, z, lse, partials, partial_sums, shape.block, 2 * shape.blocks, **constants, R=16, BD=BD
        )
        if T and output_weights:
            _weights[(shape.blocks,)](offsets, scores, lse, weights, *sizes, h=h, H=shape.H, BT=64, **OPTIONS)
    return z, lse, weights


@triton.jit
def product(a, b):
    """`a @ b` with sums in float32."""
    if UPCAST:  # the interpreter multiplies bfloat16's bits
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision=PRECISE)


@triton.jit
def rows(x, o_row, m_row, o_d, d: tl.constexpr):
    """Rows of a matrix `[., d]`, zeros where there is none."""
    return tl.load(x + o_row[:, None] * d + o_d[None, :], mask=m_row[:, None] & (o_d < d)[None, :], other=0)


@triton.jit(do_not_specialize=["T", "B", "block"])
def _scores(
    x, queries, offsets, scores, T, B, block,
    d: tl.constexpr, h: tl.constexpr, H: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program a block: the scores `[T, h]` of its tokens, `BD` channels at a time."""
    begin = tl.program_id(0).to(tl.int64) * block
    limit = tl.minimum(begin + block, T)
    o_h = tl.arange(0, H).to(tl.int64)
    document, low = find_run(offsets, B, begin), begin
    while low < limit:
        high = tl.minimum(tl.load(offsets + document + 1), limit)
        for t in range(low, high, BT):
            o_t = t + tl.arange(0, BT)
            b_scores = tl.zeros([BT, H], tl.float32)
            for c in range(0, d, BD):
                o_d = c + tl.arange(0, BD)
                b_q = rows(queries + document * (h * d), o_h, o_h < h, o_d, d)
                b_scores += product(rows(x, o_t, o_t < high, o_d, d), tl.trans(b_q))
            mask = (o_t < high)[:, None] & (o_h < h)[None, :]
            tl.store(scores + o_t[:, None] * h + o_h[None, :], b_scores, mask=mask)
        document += 1
        low = tl.maximum(low, high)


@tuned(
    key=["d", "h", "size", "SAVE"],
    configs=[
        {"BT": 32, "warps": 4, "stages": 2},
        {"BT": 32, "warps": 8, "stages": 2},
        {"BT": 16, "warps": 8, "stages": 2},
        {"BT": 16, "warps": 8, "stages": 3},
        {"BT": 64, "warps": 4, "stages": 2},
        {"BT": 16, "warps": 4, "stages": 1},
    ],
    interpreted=[{"BT": 32}],
)
@triton.jit(do_not_specialize=["T", "B", "block", "size"])
def _softmax(
    x, queries, offsets, scores, z, lse, partials, partial_sums, T, B, block, size,
    d: tl.constexpr, h: tl.constexpr, H: tl.constexpr, D: tl.constexpr, GIVEN: tl.constexpr, SAVE: tl.constexpr,
    BT: tl.constexpr,
):  # fmt: skip
    """A program a block and `D` channels: `z` of documents that lie whole in it, partial results of the others.

    Scores are read where `GIVEN`, else made, and written where `SAVE`. A piece leaves its weighted sum and, of each
    head, its greatest score and the sum of exponentials relative to that.
    """
    b = tl.program_id(0).to(tl.int64)
    o_d, o_h = tl.program_id(1) * D + tl.arange(0, D), tl.arange(0, H).to(tl.int64)
    m_h = o_h < h
    mask = m_h[:, None] & (o_d < d)[None, :]
    begin = b * block
    limit = tl.minimum(begin + block, T)
    document, low = start_of_block(offsets, find_run(offsets, B, begin), begin, block)
    while low < limit:
        start, stop = tl.load(offsets + document), tl.load(offsets + document + 1)
        high = end_of_piece(start, stop, limit, block)
        if high > low:
            o_z = document * (h * d) + o_h[:, None] * d + o_d[None, :]
            b_q = tl.load(queries + o_z, mask=mask, other=0)
            b_greatest = tl.full([H], float("-inf"), tl.float32)
            b_sum = tl.zeros([H], tl.float32)
            b_z = tl.zeros([H, D], tl.float32)
            for t in range(low, high, BT):
                o_t = t + tl.arange(0, BT)
                m_t = o_t < high
                b_x = rows(x, o_t, m_t, o_d, d)  # [BT, D]
                p_scores = scores + o_t[None, :] * h + o_h[:, None]
                m_scores = m_h[:, None] & m_t[None, :]
                if GIVEN:
                    b_scores = tl.load(p_scores, mask=m_scores, other=0)
                else:
                    b_scores = product(b_q, tl.trans(b_x))  # [H, BT]
                    if SAVE:
                        tl.store(p_scores, b_scores, mask=m_scores)
                b_scores = tl.where(m_t[None, :], b_scores, float("-inf"))
                b_new = tl.maximum(b_greatest, tl.max(b_scores, 1))
                b_scale = tl.exp(b_greatest - b_new)
                b_weights = tl.exp(b_scores - b_new[:, None])
                b_sum = b_sum * b_scale + tl.sum(b_weights, 1)
                b_z = b_z * b_scale[:, None] + product(rounded(b_weights, b_x.dtype), b_x)
                b_greatest = b_new
            if stop - start <= block:
                tl.store(z + o_z, rounded(b_z / b_sum[:, None], z.dtype.element_ty), mask=mask)
                if tl.program_id(1) == 0:
                    tl.store(lse + document * h + o_h, b_greatest + tl.log(b_sum), mask=m_h)
            else:
                slot = 2 * b + (start >= begin).to(tl.int64)
                tl.store(partials + slot * (h * d) + o_h[:, None] * d + o_d[None, :], b_z, mask=mask)
                if tl.program_id(1) == 0:
                    slots = 2 * tl.num_programs(0)
                    tl.store(partial_sums + slot * h + o_h, b_greatest, mask=m_h)
                    tl.store(partial_sums + (slots + slot) * h + o_h, b_sum, mask=m_h)
        document += 1
        low = tl.maximum(low, high)


@triton.jit(do_not_specialize=["block", "slots"])
def _softmax_of_partials(
    offsets, z, lse, partials, partial_sums, block, slots,
    d: tl.constexpr, h: tl.constexpr, R: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program a document, a head and `BD` channels: what `_softmax` left, zeros of an empty document included."""
    document, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    o_d = tl.program_id(2) * BD + tl.arange(0, BD)
    m_d = o_d < d
    start, stop = tl.load(offsets + document), tl.load(offsets + document + 1)
    p_z = z + (document * h + head) * d + o_d
    p_lse = lse + document * h + head
    if stop == start:
        tl.store(p_z, tl.zeros([BD], z.dtype.element_ty), mask=m_d)
        if tl.program_id(2) == 0:
            tl.store(p_lse, 0.0)
    elif stop - start > block:
        first = start // block
        more = (stop - 1) // block - first
        b_greatest = tl.full([R], float("-inf"), tl.float32)
        for partial in range(0, more + 1, R):
            o_partial = partial + tl.arange(0, R)
            o_slot = partial_slots(first, o_partial) * h + head
            b_partial = tl.load(partial_sums + o_slot, mask=o_partial <= more, other=float("-inf"))
            b_greatest = tl.maximum(b_greatest, b_partial, propagate_nan=tl.PropagateNan.ALL)
        greatest = tl.max(b_greatest, 0)
        b_sum = tl.zeros([R], tl.float32)
        b_z = tl.zeros([R, BD], tl.float32)
        for partial in range(0, more + 1, R):
            o_partial = partial + tl.arange(0, R)
            m_partial = o_partial <= more
            o_slot = partial_slots(first, o_partial) * h + head
            b_scale = tl.exp(tl.load(partial_sums + o_slot, mask=m_partial, other=float("-inf")) - greatest)
            b_sum += b_scale * tl.load(partial_sums + slots * h + o_slot, mask=m_partial, other=0)
            b_z += b_scale[:, None] * rows(partials, o_slot, m_partial, o_d, d)
        total = tl.sum(b_sum, 0)
        tl.store(p_z, rounded(tl.sum(b_z, 0) / total, z.dtype.element_ty), mask=m_d)
        if tl.program_id(2) == 0:
            tl.store(p_lse, greatest + tl.log(total))


@triton.jit(do_not_specialize=["T", "B", "block"])
def _weights(
    offsets, scores, lse, weights, T, B, block, h: tl.constexpr, H: tl.constexpr, BT: tl.constexpr
):  # fmt: skip
    """A program a block: weights of its tokens' scores."""
    begin = tl.program_id(0).to(tl.int64) * block
    limit = tl.minimum(begin + block, T)
    o_h = tl.arange(0, H).to(tl.int64)
    document, low = find_run(offsets, B, begin), begin
    while low < limit:
        high = tl.minimum(tl.load(offsets + document + 1), limit)
        b_lse = tl.load(lse + document * h + o_h, mask=o_h < h, other=0)
        for t in range(low, high, BT):
            o_t = t + tl.arange(0, BT)
            o_a = o_t[:, None] * h + o_h[None, :]
            mask = (o_t < high)[:, None] & (o_h < h)[None, :]
            b_a = tl.exp(tl.load(scores + o_a, mask=mask, other=0) - b_lse[None, :])
            tl.store(weights + o_a, rounded(b_a, weights.dtype.element_ty), mask=mask)
        document += 1
        low = tl.maximum(low, high)
