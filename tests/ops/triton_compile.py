"""Compiles Triton's kernels for a GPU that isn't there, with the arguments that they would be launched with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction

_TYPES = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.uint8: "*u8",
}


class Launch(NamedTuple):
    """One kernel with one config."""

    kernel: JITFunction
    arguments: dict[str, Any]
    config: triton.Config
    key: tuple[Any, ...] = ()
    """What configs are tuned for."""

    def __str__(self) -> str:
        return f"{self.kernel.fn.__module__.removeprefix('ponet.ops.')}.{self.kernel.fn.__name__} {self.config}"

    def compile(self, capability: int) -> Any:
        """The kernel for CUDA's compute capability (80, 90)."""
        values = self.arguments | self.config.kwargs
        signature, constants, attributes = {}, {}, {}
        for place, parameter in enumerate(self.kernel.params):
            value = values[parameter.name]
            if parameter.is_constexpr:
                signature[parameter.name], constants[(place,)] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                signature[parameter.name] = _TYPES[value.dtype]
                attributes[(place,)] = [["tt.divisibility", 16]]
            else:
                assert parameter.do_not_specialize, f"{parameter.name} would be compiled for each number"
                signature[parameter.name] = "i32" if value < 2**31 else "i64"
        source = ASTSource(self.kernel, signature, constants, attributes)
        options = {"num_warps": self.config.num_warps, "num_stages": self.config.num_stages}
        options |= {name: value for name, value in values.items() if name not in self.kernel.arg_names}
        return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Within the block kernels aren't run: their launches are kept, one for each config that would be tried."""
    launches: list[Launch] = []

    def run(self: JITFunction, *args: Any, grid: Any, warmup: bool, **named: Any) -> None:
        arguments = dict(zip(self.arg_names, args, strict=False)) | named
        launches.append(Launch(self, arguments, triton.Config({})))

    def run_tuned(self: Autotuner, *args: Any, grid: Any, warmup: bool, **named: Any) -> None:
        self.nargs = dict(zip(self.arg_names, args, strict=False))
        arguments = self.nargs | named
        key = tuple(arguments[name] for name in self.keys)
        launches.extend(Launch(self.fn, arguments, config, key) for config in self.prune_configs(named))

    before = JITFunction.run, Autotuner.run
    JITFunction.run, Autotuner.run = run, run_tuned
    try:
        yield launches
    finally:
        JITFunction.run, Autotuner.run = before


def launches_of(
    kernels: Any, T: int, d: int, heads: int, dtype: torch.dtype, every: bool, device: str = "cpu"
) -> list[Launch]:
    """The launches of all ops, forward and backward; with `every`, also those with weights, flags and orders.

    On the device "meta" tensors have no values, so that whoever looks at one fails.
    """
    from ponet.ops.autograd import LayoutTensors

    B, S, numbers = 2, T // 30, {"dtype": torch.int64, "device": device}
    tensors = {"dtype": dtype, "device": device}
    x, projections = torch.empty(T, d, **tensors), torch.empty(T, 3 * d, **tensors)
    queries, g = torch.empty(B, heads, d, **tensors), torch.empty(B, d, **tensors)
    cu_seqlens, cu_segments = torch.empty(B + 1, **numbers), torch.empty(S + 1, **numbers)
    flags, tokens = torch.empty(T, dtype=torch.bool, device=device), torch.empty(T, **numbers)
    with recorded() as launches:
        layout = LayoutTensors(cu_seqlens, tokens, cu_segments, tokens, None, flags, None)
        kernels.mean_aggregation(x, layout)
        for weights in (False, True)[: 1 + every]:
            z, lse, a = kernels.softmax_aggregation(x, queries, layout, weights)
            kernels.softmax_aggregation_backward(z, a if weights else None, x, queries, lse, lse, layout)
        for special, unsorted, keep in ((True, False, True), (False, True, False), (True, True, True))[: 1 + 2 * every]:
            order, some = tokens if unsorted else None, flags if special else None
            layout = LayoutTensors(cu_seqlens, tokens, cu_segments, tokens, order, flags, some)
            y, top, argmax = kernels.segment_local_fusion(g, projections, layout, keep)
            if keep:
                kernels.segment_local_fusion_backward(y, g, projections, top, argmax, layout)
    return launches
