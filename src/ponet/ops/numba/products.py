"""Small matrix products and exponentials for GA's passes, in Numba: a few rows of tokens under all heads at a time."""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from ponet.ops.numba.tools import ZERO, Pointer, as_bits, as_float, at, compiled, load, loop, regrouped


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
def greatest(numbers: Pointer, n: int) -> Any:
    """The maximum of `n > 0` numbers, NaNs left out if there are others; four at a time, each of which waits for its
    last."""
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
def total(numbers: Pointer, n: int) -> Any:
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
