"""Global aggregation's passes over tokens, in Numba: the mean (stage 1) and the softmax-weighted mean (stage 2).

Each part of a document in a block has a softmax of its own, and no `[T, h]` is kept unless it is asked for.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload
from torch import Tensor

from ponet.ops.autograd import LayoutTensors
from ponet.ops.numba.blocks import (
    BLOCK_NUMBERS,
    PIECE,
    Runs,
    block_of,
    block_start,
    cut_run,
    find,
    partial_row,
    sum_partials,
)
from ponet.ops.numba.kernel import (
    ZERO,
    Accumulator,
    Kernel,
    Launch,
    PerThread,
    Pointer,
    Scratch,
    Storage,
    add,
    arguments,
    as_bits,
    as_float,
    at,
    cast,
    compiled,
    fill,
    load,
    loop,
    per_thread,
    regrouped,
    run_tasks,
    store,
)
from ponet.ops.reference import accumulator

# --- The mean --------------------------------------------------------------------------------------------------------


class _Mean(NamedTuple):
    documents: Runs
    blocks: int
    d: int
    x: Storage
    mean: Storage
    partials: Accumulator
    scratch: PerThread


def mean_aggregation(x: Tensor, layout: LayoutTensors) -> Tensor:
    """See `ponet.ops.autograd.Kernels`."""
    (T, d), B = x.shape, layout.cu_seqlens.shape[0] - 1
    mean = x.new_zeros(B, d)
    if T and d:
        block = max(16, BLOCK_NUMBERS // d)
        blocks, size = (T + block - 1) // block, accumulator(x.dtype).itemsize
        fields = _Mean(
            *(Runs(layout.cu_seqlens, B, block), blocks, d, x, mean),
            partials=Scratch(2 * blocks * d * size),
            scratch=per_thread(d, size),
        )
        launch = Launch(_mean, x.dtype, fields)
        launch.run(0, blocks, x.numel())
        if launch.cut:
            launch.run(1, (d + PIECE - 1) // PIECE, 2 * blocks * d)
    return mean


@Kernel
def _mean(like: Pointer) -> None:
    run_tasks(_mean_step, arguments(_Mean, like), like)


@compiled
def _mean_step(step: int, task: int, a: _Mean, scratch: Pointer) -> bool:
    """Fills `mean`, given as zeros. Step 0, a task a block: of documents within it, and partial sums of the others;
    step 1, a task a piece of the width: of the others."""
    if step == 0:
        return _mean_of_block(task, a, scratch)
    documents, d = a.documents, a.d
    low, high = task * PIECE, min((task + 1) * PIECE, d)
    for b in range(a.blocks):
        document = sum_partials(b, documents, documents, a.partials, low, high, d)
        if document >= 0:
            length = documents.offsets[document + 1] - documents.offsets[document]
            divide(at(a.partials, (2 * b + 1) * d + low), length, high - low, at(a.mean, document * d + low))
    return False


@compiled
def _mean_of_block(b: int, a: _Mean, scratch: Pointer) -> bool:
    documents, d = a.documents, a.d
    begin, end = block_start(documents, b), block_start(documents, b + 1)
    first, cut = begin, False
    while first < end:
        document = find(documents, first)
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        last = min(stop, end)
        whole = first == start and last == stop
        into = scratch if whole else at(a.partials, partial_row(documents, document, b, begin) * d)
        fill(into, d, 0)
        four = last - (last - first) % 4
        for token in range(first, four, 4):
            row = at(a.x, token * d)
            _add_four(row, at(row, d), at(row, 2 * d), at(row, 3 * d), d, into)
        for token in range(four, last):
            add(at(a.x, token * d), d, into)
        if whole:
            divide(into, stop - start, d, at(a.mean, document * d))
        else:
            cut = True
        first = last
    return cut


@loop
def _add_four(x0: Pointer, x1: Pointer, x2: Pointer, x3: Pointer, d: int, to: Pointer) -> None:
    for c in range(d):
        to[c] += (load(x0, c) + load(x1, c)) + (load(x2, c) + load(x3, c))


@loop
def divide(data: Pointer, by: Any, d: int, to: Pointer) -> None:
    """`to[:d] = data[:d] / by`."""
    divisor = cast(by, data)
    for c in range(d):
        store(to, c, data[c] / divisor)


# --- The softmax-weighted mean ---------------------------------------------------------------------------------------


class _Softmax(NamedTuple):
    documents: Runs
    d: int
    h: int
    x: Storage
    queries: Accumulator
    z: Storage
    lse: Accumulator
    weights: Storage
    output_weights: bool
    scores: Accumulator
    partials: Accumulator
    tops: Accumulator
    totals: Accumulator
    scratch: PerThread


def softmax_block(h: int, d: int) -> int:
    """Tokens in a block: enough that a partial result, `[h, d]`, is little beside them."""
    return max(16, BLOCK_NUMBERS // d, 8 * h)


def softmax_aggregation(
    x: Tensor, queries: Tensor, layout: LayoutTensors, output_weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """See `ponet.ops.autograd.Kernels`."""
    (T, d), (B, h) = x.shape, queries.shape[:2]
    dtype = accumulator(x.dtype)
    z, lse = torch.zeros_like(queries), queries.new_zeros(B, h, dtype=dtype)
    weights = x.new_empty(T if output_weights else 0, h)
    if T and d and h:
        block = softmax_block(h, d)
        blocks, size = (T + block - 1) // block, dtype.itemsize
        fields = _Softmax(
            Runs(layout.cu_seqlens, B, block),
            *(d, h, x, queries.to(dtype), z, lse, weights, output_weights),
            scores=Scratch(T * h * size if output_weights else 0),
            partials=Scratch(2 * blocks * h * d * size),
            tops=Scratch(2 * blocks * h * size),
            totals=Scratch(2 * blocks * h * size),
            scratch=per_thread(h * (2 * block + d + 2), size),
        )
        launch = Launch(_softmax, x.dtype, fields)
        launch.run(0, blocks, 2 * h * x.numel())
        if launch.cut:
            launch.run(1, blocks * h, 2 * blocks * h * d)
        if output_weights:
            launch.run(2, blocks, 8 * weights.numel())
    return z, lse, weights


@Kernel
def _softmax(like: Pointer) -> None:
    run_tasks(_softmax_step, arguments(_Softmax, like), like)


@compiled
def _softmax_step(step: int, task: int, a: _Softmax, scratch: Pointer) -> bool:
    """Fills `z` and `lse`, given as zeros, and `weights`. Step 0, a task a block: of documents within it, and partial
    results of the others; step 1, a task a block and head: of the others; step 2, a task a block: the weights."""
    if step == 0:
        return _softmax_of_block(task, a, scratch)
    if step == 1:
        _combine_partials(task // a.h, task % a.h, a)
    else:
        for token in range(block_start(a.documents, task), block_start(a.documents, task + 1)):
            document = find(a.documents, token)
            for j in range(a.h):
                store(a.weights, token * a.h + j, np.exp(a.scores[token * a.h + j] - a.lse[document * a.h + j]))
    return False


@compiled
def _softmax_of_block(b: int, a: _Softmax, scratch: Pointer) -> bool:
    """Of a document that is cut: the softmax over the block's tokens, not yet divided by its denominator."""
    documents, d, h = a.documents, a.d, a.h
    begin, end = block_start(documents, b), block_start(documents, b + 1)
    longest = 2 * documents.block
    own_z, own_tops, own_totals = (
        at(scratch, h * longest),
        at(scratch, h * (longest + d)),
        at(scratch, h * (longest + d + 1)),
    )
    first, cut = begin, False
    while first < end:
        document = find(documents, first)
        start, stop = documents.offsets[document], documents.offsets[document + 1]
        last = min(stop, end)
        n, whole = last - first, first == start and last == stop
        row = partial_row(documents, document, b, begin) * h
        z = own_z if whole else at(a.partials, row * d)
        top, denominator = (own_tops, own_totals) if whole else (at(a.tops, row), at(a.totals, row))
        rows = at(a.x, first * d)
        dot_products(rows, n, at(a.queries, document * h * d), h, d, scratch, longest)
        for j in range(h):
            of_head = at(scratch, j * longest)
            if a.output_weights:
                for i in range(n):
                    a.scores[(first + i) * h + j] = of_head[i]
            top[j] = _greatest(of_head, n)
            # Where a whole run scores -inf, other runs may not: its tokens weigh nothing, and inf - inf must not be.
            exponentials(of_head, n, top[j] if top[j] != -np.inf else ZERO)
            denominator[j] = _total(of_head, n)
        fill(z, h * d, 0)
        add_products(scratch, longest, 1, rows, n, z, h, d)
        if whole:
            for j in range(h):
                a.lse[document * h + j] = top[j] + np.log(denominator[j])
                divide(at(z, j * d), denominator[j], d, at(a.z, (document * h + j) * d))
        else:
            cut = True
        first = last
    return cut


@compiled
def _combine_partials(b: int, j: int, a: _Softmax) -> None:
    """One head of the document that begins in block `b` and continues after it, from the softmax of each block."""
    documents, d, h = a.documents, a.d, a.h
    document = cut_run(documents, block_start(documents, b), block_start(documents, b + 1))
    if document < 0:
        return
    own, final = (2 * b + 1) * h + j, block_of(documents, documents.offsets[document + 1] - 1)
    top = a.tops[own]
    for other in range(b + 1, final + 1):
        top = max(top, a.tops[2 * other * h + j])
    shift = top if top != -np.inf else ZERO
    denominator, z = ZERO, at(a.partials, own * d)
    for other in range(b, final + 1):
        row = own if other == b else 2 * other * h + j
        factor = np.exp(a.tops[row] - shift)
        denominator += a.totals[row] * factor
        _add_scaled(at(a.partials, row * d), factor, d, z, other == b)
    a.lse[document * h + j] = top + np.log(denominator)
    divide(z, denominator, d, at(a.z, (document * h + j) * d))


@compiled
def _add_scaled(data: Pointer, factor: Any, d: int, to: Pointer, first: bool) -> None:
    for c in range(d):
        to[c] = data[c] * factor if first else to[c] + data[c] * factor


# --- Matrix products of a few rows, and exponentials -----------------------------------------------------------------


@regrouped
def dot_products(rows: Pointer, n: int, others: Pointer, m: int, d: int, out: Pointer, stride: int) -> None:
    """`out[j, i] = rows[i] . others[j]`, from `[n, d]` and `[m, d]` to `[m, n]`, the rows of which lie `stride` apart.

    Eight sums at a time, to use what is loaded often.
    """
    even_n, even_m = n - n % 4, m - m % 2
    for i in range(0, even_n, 4):
        r0, r1, r2, r3 = at(rows, i * d), at(rows, (i + 1) * d), at(rows, (i + 2) * d), at(rows, (i + 3) * d)
        for j in range(0, even_m, 2):
            u, v = at(others, j * d), at(others, (j + 1) * d)
            a0, a1, a2, a3 = ZERO, ZERO, ZERO, ZERO
            b0, b1, b2, b3 = ZERO, ZERO, ZERO, ZERO
            for c in range(d):
                a0 += load(r0, c) * u[c]
                b0 += load(r0, c) * v[c]
                a1 += load(r1, c) * u[c]
                b1 += load(r1, c) * v[c]
                a2 += load(r2, c) * u[c]
                b2 += load(r2, c) * v[c]
                a3 += load(r3, c) * u[c]
                b3 += load(r3, c) * v[c]
            first = j * stride + i
            out[first], out[first + 1], out[first + 2], out[first + 3] = a0, a1, a2, a3
            first += stride
            out[first], out[first + 1], out[first + 2], out[first + 3] = b0, b1, b2, b3
    for i in range(n):
        for j in range(even_m if i < even_n else 0, m):
            total = ZERO
            for c in range(d):
                total += load(rows, i * d + c) * others[j * d + c]
            out[j * stride + i] = total


@compiled
def add_products(factors: Pointer, stride: int, step: int, rows: Pointer, n: int, out: Pointer, m: int, d: int) -> None:
    """`out[i] += sum over j < n of factors[i * stride + j * step] * rows[j]`, from `[n, d]` to `[m, d]`.

    Two sums of four rows at a time, a slice of the width after the other, so that it stays in the first cache.
    """
    even_m, even_n = m - m % 2, n - n % 4
    for low in range(0, d, 256):
        width = min(256, d - low)
        for j in range(0, even_n, 4):
            four = at(rows, j * d + low)
            for i in range(0, even_m, 2):
                f, u = at(factors, i * stride + j * step), at(out, i * d + low)
                _add_eight(f, at(f, stride), step, four, d, width, u, at(u, d))
        for i in range(m):
            for j in range(even_n if i < even_m else 0, n):
                _add_one(factors[i * stride + j * step], at(rows, j * d + low), width, at(out, i * d + low))


@regrouped
def _add_eight(a: Pointer, b: Pointer, step: int, rows: Pointer, d: int, width: int, u: Pointer, v: Pointer) -> None:
    # Within `add_products` this loop would be checked for whether all of its rows are apart, which they aren't.
    a0, a1, a2, a3 = a[0], a[step], a[2 * step], a[3 * step]
    b0, b1, b2, b3 = b[0], b[step], b[2 * step], b[3 * step]
    r0, r1, r2, r3 = rows, at(rows, d), at(rows, 2 * d), at(rows, 3 * d)
    for c in range(width):
        x0, x1, x2, x3 = load(r0, c), load(r1, c), load(r2, c), load(r3, c)
        u[c] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
        v[c] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3


@regrouped
def _add_one(factor: Any, row: Pointer, width: int, out: Pointer) -> None:
    for c in range(width):
        out[c] += factor * load(row, c)


@loop
def _greatest(numbers: Pointer, n: int) -> Any:
    """The maximum of `n > 0` numbers, NaNs left out if there are others; in four independent chains."""
    a = b = c = e = numbers[0]
    for i in range(0, n - n % 4, 4):
        a, b = max(a, numbers[i]), max(b, numbers[i + 1])
        c, e = max(c, numbers[i + 2]), max(e, numbers[i + 3])
    for i in range(n - n % 4, n):
        a = max(a, numbers[i])
    return max(max(a, b), max(c, e))


@loop
def exponentials(numbers: Pointer, n: int, shift: Any) -> None:
    """`numbers = exp(numbers - shift)`, where that is not far above 1."""
    for i in range(n):
        numbers[i] = _exp(numbers[i] - shift)


@regrouped
def _total(numbers: Pointer, n: int) -> Any:
    """The sum of `n` numbers."""
    found = ZERO
    for i in range(n):
        found += numbers[i]
    return found


def _exp(x: Any) -> Any:
    """In a kernel: `exp(x)`; for float32 to its precision, by Cephes' polynomial, which runs in vectors."""
    raise NotImplementedError("only within a kernel")


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath={"contract"})
def _exp32(x: Any) -> Any:
    low = np.float32(-87)
    within = low if x < low else x
    shifted = within * np.float32(1.44269504) + np.float32(12582912)  # 1.5 * 2^23: its last bits are the exponent
    n = shifted - np.float32(12582912)
    r = within - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    power = as_float(np.uint32((as_bits(shifted) + np.uint32(127)) << np.uint32(23)))
    return ZERO if x < low else p * power


@overload(_exp, strict=False)
def _exp_of(x: Any) -> Any:
    if x == types.float32:
        return lambda x: _exp32(x)
    return lambda x: np.exp(x)
