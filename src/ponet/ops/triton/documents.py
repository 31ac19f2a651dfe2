"""The mean of each document's tokens, in Triton: `x` is read once; two launches."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import torch
import triton
import triton.language as tl
from torch import Tensor

from ponet.ops.triton.tools import (
    OPTIONS,
    block_length,
    end_of_piece,
    find_run,
    rounded,
    size_class,
    start_of_block,
    sum_of_parts,
    tuned,
)


def document_mean(x: Tensor, cu_seqlens: Tensor) -> Tensor:
    """`library.Kernels.document_mean`."""
    (T, d), B = x.shape, cu_seqlens.shape[0] - 1
    mean = x.new_empty(B, d)
    if not (B and d):
        return mean
    block = block_length(T, d)
    blocks = triton.cdiv(T, block)
    parts = x.new_empty(2 * blocks, d, dtype=torch.float32)
    with torch.cuda.device_of(x):
        if T:
            _sums[lambda meta: (blocks, triton.cdiv(d, meta["BD"]))](
                x, cu_seqlens, mean, parts, T, B, block, size_class(T), d, **OPTIONS
            )
        BD = min(256, triton.next_power_of_2(d))
        _means_of_parts[B, triton.cdiv(d, BD)](cu_seqlens, mean, parts, block, d, 16, BD, **OPTIONS)
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
def _sums(
    x, offsets, mean, parts, T, B, block, size, d: tl.constexpr, R: tl.constexpr, BD: tl.constexpr
):  # fmt: skip
    """A program a block and `BD` channels: means of documents that lie whole in it, sums of parts of the others."""
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
                tl.store(parts + slot * d + o_d, b_total, mask=m_d)
        document += 1
        low = tl.maximum(low, high)


@triton.jit(do_not_specialize=["block"])
def _means_of_parts(offsets, mean, parts, block, d: tl.constexpr, R: tl.constexpr, BD: tl.constexpr):
    """A program a document and `BD` channels: what the first launch left, zeros of an empty document included."""
    document = tl.program_id(0).to(tl.int64)
    o_d = tl.program_id(1) * BD + tl.arange(0, BD)
    m_d = o_d < d
    start, stop = tl.load(offsets + document), tl.load(offsets + document + 1)
    if (stop == start) | (stop - start > block):
        first, last = start // block, (stop - 1) // block
        if stop == start:
            last = first - 1
        b_mean = sum_of_parts(parts, first, last, o_d, m_d, d, R, BD) / tl.maximum(stop - start, 1).to(tl.float32)
        tl.store(mean + document * d + o_d, rounded(b_mean, mean.dtype.element_ty), mask=m_d)
