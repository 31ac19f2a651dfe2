"""The arithmetic that this machine is asked for: a recipe's `precision`, and `--dtype` on the command line.

Half precision is of the matrix products. LayerNorm, softmax, sums over tokens and losses are computed in float32 in any
case: by autocast in training, by the kernels themselves where the weights are in bf16.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from ponet.utils.errors import PoNetError, suggest

if TYPE_CHECKING:
    import torch

NAMES = {"float32": "float32", "bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "float16": "fp16"}
"""What people call them, and what a recipe does."""
AUTO = "auto"
PAYS = 1.3
"""How many times faster than float32 a product has to be in bf16, for a CPU to count as one that computes in it."""
SIZE, REPEATS = 512, 5
"""Of the probe's square matrices, and how often each is multiplied: some 30 ms on one core."""


def resolve_precision(wanted: str, option: str = "precision") -> str:
    """What to compute in on this machine: `float32`, `bf16` or `fp16`.

    Args:
        wanted: one of these, under PyTorch's names too, or `auto`: bf16 on a GPU or a CPU that computes in it, else
            float32.
        option: what the user wrote it for.

    Raises:
        PoNetError: an unknown name, or one that this machine doesn't compute in.
    """
    import torch

    if wanted != AUTO and wanted not in NAMES:
        raise PoNetError(f"{option}={wanted} is unknown.{suggest(wanted, [AUTO, *NAMES])}")
    if torch.cuda.is_available():
        has_bf16, machine = torch.cuda.is_bf16_supported(including_emulation=False), "GPU"
    else:
        has_bf16, machine = wanted in (AUTO, "bf16", "bfloat16") and cpu_computes_bf16(), "CPU"
    if wanted == AUTO:
        return "bf16" if has_bf16 else "float32"
    chosen = NAMES[wanted]
    if chosen == "fp16" and machine == "CPU":
        raise PoNetError(f"{option}={wanted} needs a GPU, and there is none here. Use float32, or auto.")
    if chosen == "bf16" and not has_bf16:
        raise PoNetError(f"This {machine} doesn't compute in bf16. Use {option}=float32, or auto.")
    return chosen


def torch_dtype(precision: str) -> "torch.dtype":
    """The type of weights and activations for a resolved precision."""
    import torch

    return {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


@lru_cache(maxsize=1)
def cpu_computes_bf16() -> bool:
    """Whether this CPU multiplies matrices faster in bf16 than in float32 (AVX512-BF16, AMX, SVE), found by trying.

    The time that one thread computes counts, and of a few turns each the best, so that other work on the machine
    doesn't change the answer. Once a process.
    """
    import torch

    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        whole = torch.randn(SIZE, SIZE)
    half = whole.bfloat16()

    def seconds(product: Callable[[], object]) -> float:
        start = time.thread_time()
        product()
        return time.thread_time() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with several, some wait for others that don't run
    try:
        turns = [(seconds(lambda: whole @ whole), seconds(lambda: half @ half)) for _ in range(REPEATS)]
    except RuntimeError:  # no such product in this build
        return False
    finally:
        torch.set_num_threads(threads)
    float32, bf16 = (min(column) for column in zip(*turns, strict=True))
    return float32 > PAYS * bf16
