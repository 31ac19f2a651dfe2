"""What the Triton kernels share: runs of tokens and the blocks that they are cut into.

A run is what is pooled: a document, or a segment in the order that sorts tokens by segment. Tokens are cut into blocks
of one length, one program each. A run no longer than a block belongs whole to the block where it begins, so short runs
are never cut. A longer one is cut at the ends of blocks: each block leaves a partial result in one of its two slots,
and a second launch combines a run's partial results, in order. So the work is balanced whatever the lengths, and
results do not depend on timing.

In kernels: `b_*` are blocks of values, `o_*` offsets, `m_*` masks; lengths in tokens. Offsets are int64.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs
# A kernel's arguments are typed by what it is launched with.

from collections.abc import Callable, Iterable
from typing import Any

import torch
import triton
import triton.language as tl

if not hasattr(triton, "knobs"):
    raise ImportError(f"the kernels need Triton 3.4 or newer, not {triton.__version__}")

INTERPRETED: bool = triton.knobs.runtime.interpret
"""Whether kernels run in Triton's interpreter, on CPU tensors: decided when this module is first imported."""
PRECISE = tl.constexpr("tf32x3")
"""How float32 is multiplied: as exact as float32 but for the last bits, on tensor cores."""
UPCAST = tl.constexpr(INTERPRETED)
NOWHERE = tl.constexpr(2**31 - 1)

OPTIONS = {"enable_fp_fusion": True}
"""For every launch: a product and a sum in one rounding."""

Sizes = dict[str, int]


def tuned(key: Iterable[str], configs: list[Sizes], interpreted: list[Sizes]) -> Callable[[Any], Any]:
    """`triton.autotune` over block sizes: the fastest of `configs` for each value of `key` and each dtype.

    A config gives a kernel's block sizes and its number of warps. Choices are kept on disk, since other sizes may round
    differently. Widths `BD` beyond the tensor's `d` are left out. The interpreter takes the widest of `interpreted`.
    """

    def config(sizes: Sizes) -> triton.Config:
        others = {name: size for name, size in sizes.items() if name not in ("warps", "stages")}
        return triton.Config(others, num_warps=sizes.get("warps", 4), num_stages=sizes.get("stages", 2))

    def suitable(configs: list[triton.Config], arguments: dict[str, Any], **constants: Any) -> list[triton.Config]:
        width = triton.next_power_of_2((arguments | constants)["d"])
        narrow = min(each.kwargs["BD"] for each in configs)
        left = [each for each in configs if each.kwargs["BD"] <= max(width, narrow)]
        if INTERPRETED:
            return left[-1:]
        # Nothing can be timed while a CUDA graph records.
        return left[:1] if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing() else left

    return triton.autotune(
        configs=[config(sizes) for sizes in (interpreted if INTERPRETED else configs)],
        key=list(key),
        prune_configs_by={"early_config_prune": suitable} if "BD" in configs[0] else None,
        cache_results=True,
    )


def size_class(T: int) -> int:
    """Which of three sizes of input: kernels are tuned for each, not for every `T`."""
    return (T > 2**12) + (T > 2**16)


def block_length(T: int, d: int) -> int:
    """Tokens a block: enough programs to fill a GPU, and beyond that no more partial results than needed."""
    return max(32, triton.next_power_of_2(T * triton.cdiv(d, 256) // 1024))


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """float32 rounded to the nearest number of another type; the interpreter would cut a bfloat16's bits off."""
    if UPCAST and dtype == tl.bfloat16:
        bits = x.to(tl.int32, bitcast=True)
        even = bits + 0x7FFF + ((bits >> 16) & 1)
        return (tl.where(x == x, even, 0x7FC00000) >> 16).to(tl.int16).to(tl.bfloat16, bitcast=True)
    return x.to(dtype)


@triton.jit
def find_run(offsets, runs, place):
    """The run that holds a place, of `runs`, some of which may be empty."""
    low = place * 0
    high = low + runs - 1
    while low < high:
        middle = (low + high + 1) // 2
        begun = tl.load(offsets + middle) <= place
        low = tl.where(begun, middle, low)
        high = tl.where(begun, high, middle - 1)
    return low


@triton.jit
def start_of_block(offsets, run, begin, block):
    """The first run and place of the block that begins at `begin`, within `run`: after one that belongs to the last."""
    start = tl.load(offsets + run)
    stop = tl.load(offsets + run + 1)
    before = (start < begin) & (stop - start <= block)
    return tl.where(before, run + 1, run), tl.where(before, stop, begin)


@triton.jit
def end_of_piece(start, stop, limit, block):
    """Where a block's piece of the run `start : stop` ends; `limit` is the block's own end."""
    return tl.where(stop - start <= block, stop, tl.minimum(stop, limit))


@triton.jit
def partial_slots(first, o_partial):
    """The slots of the partial results of a run that begins in the block `first`: its second there, then the firsts."""
    return tl.where(o_partial == 0, 2 * first + 1, 2 * (first + o_partial))


@triton.jit
def sum_of_partials(partials, first, last, o_d, m_d, d: tl.constexpr, R: tl.constexpr, BD: tl.constexpr):
    """The sum `[BD]` of a run's partial results from the block `first` to the block `last`."""
    b_sum = tl.zeros([R, BD], tl.float32)
    for partial in range(0, last - first + 1, R):
        o_partial = partial + tl.arange(0, R)
        mask = (o_partial <= last - first)[:, None] & m_d[None, :]
        b_sum += tl.load(partials + partial_slots(first, o_partial)[:, None] * d + o_d[None, :], mask=mask, other=0)
    return tl.sum(b_sum, 0)
