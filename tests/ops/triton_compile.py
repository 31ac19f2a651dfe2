"""Compiles Triton's kernels for a GPU that isn't there, with the arguments that they would be launched with."""

from collections.abc import Callable, Iterator
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
    grid: Callable[[dict[str, Any]], tuple[int, ...]] | tuple[int, ...]

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
                assert parameter.do_not_specialize, f"{parameter.name} would be compiled for each number anew"
                signature[parameter.name] = "i32" if value < 2**31 else "i64"
        source = ASTSource(self.kernel, signature, constants, attributes)
        options = {"num_warps": self.config.num_warps, "num_stages": self.config.num_stages}
        options |= {name: value for name, value in values.items() if name not in self.kernel.arg_names}
        return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Within the block kernels aren't run: their launches are kept, one for each config that would be tried."""
    launches: list[Launch] = []

    def keep(kernel: JITFunction, configs: list[triton.Config], args: tuple[Any, ...], named: dict[str, Any]) -> None:
        grid = named.pop("grid")
        arguments = dict(zip(kernel.arg_names, args, strict=False)) | named
        launches.extend(Launch(kernel, arguments, config, grid) for config in configs)

    def run(self: JITFunction, *args: Any, warmup: bool, **named: Any) -> None:
        keep(self, [triton.Config({})], args, named)

    def run_tuned(self: Autotuner, *args: Any, warmup: bool, **named: Any) -> None:
        self.nargs = dict(zip(self.arg_names, args, strict=False))
        keep(self.fn, self.prune_configs(named), args, dict(named))

    before = JITFunction.run, Autotuner.run
    JITFunction.run, Autotuner.run = run, run_tuned
    try:
        yield launches
    finally:
        JITFunction.run, Autotuner.run = before


def launches_of(kernels: Any, T: int, d: int, heads: int, dtype: torch.dtype, every: bool) -> list[Launch]:
    """The launches of all ops, forward and backward; with `every`, also those with weights, flags and orders."""
    from ponet.ops import Layout
    from ponet.ops.library import Places

    layout = Layout.from_packed(torch.tensor([0, T // 2, T]))
    tensors = {"dtype": dtype}
    x, projections = torch.zeros(T, d, **tensors), torch.zeros(T, 3 * d, **tensors)
    queries, g = torch.zeros(2, heads, d, **tensors), torch.zeros(2, d, **tensors)
    with recorded() as launches:
        kernels.document_mean(x, layout.cu_seqlens)
        for weights in (False, True)[: 1 + every]:
            z, lse, a = kernels.attention_pool(x, queries, layout.cu_seqlens, weights)
            kernels.attention_pool_backward(z, a if weights else None, x, queries, lse, lse, layout.cu_seqlens)
        for special, unsorted, keep in ((True, False, True), (False, True, False), (True, True, True))[: 1 + 2 * every]:
            places = Places(*(getattr(layout, field) for field in Places._fields))
            places = places._replace(
                special=torch.zeros(T, dtype=torch.bool) if special else None,
                segment_order=torch.arange(T) if unsorted else None,
            )
            y, top, argmax = kernels.pool_and_fuse(g, projections, places, keep)
            if keep:
                kernels.pool_and_fuse_backward(y, g, projections, top, argmax, places)
    return launches
