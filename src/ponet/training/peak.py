"""What this machine can do: the rate of a large matrix product, which a training's own rate is compared with."""

import time

import torch

REPEATS = 5


def peak_flops(precision: str) -> float:
    """Floating-point operations a second of the best of some square matrix products, on the device that trains.

    Measured, not from a data sheet: on shared or throttled hardware the sheet says nothing.

    Args:
        precision: float32, bf16 or fp16.
    """
    gpu = torch.cuda.is_available()
    size = 8192 if gpu else 1024
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    matrix = torch.ones(size, size, dtype=dtype, device="cuda" if gpu else "cpu")
    best = float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        if gpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
