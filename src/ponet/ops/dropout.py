"""Dropout and the residual sum after it, on a CPU as one pass where the Numba backend is available."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from ponet.ops.dispatch import chosen_backend
from ponet.ops.hooks import are_plain, has_hooks, is_recorded, is_transformed

# By name, not by an import statement: a saved model's folder has a copy of this file, and not of the kernel.
_KERNEL = "ponet.ops.numba.dropout"


def dropout(x: Tensor, module: nn.Module, residual: Tensor | None = None) -> Tensor:
    """`module(x)`, or `residual + module(x)`, where `module` is an `nn.Dropout` or its replacement.

    Args:
        x: any shape.
        module: gives the probability, and whether it is training.
        residual: of the same shape; of another type too, as a product in bf16 has beside a sum in float32 (autocast).
    """
    drop = repeatable_dropout(x, module, residual)
    if drop is not None:
        return drop(x, residual)
    dropped = module(x)
    return dropped if residual is None else residual + dropped


def repeatable_dropout(x: Tensor, module: nn.Module, residual: Tensor | None = None) -> "RepeatableDropout | None":
    """Dropout as `module` would do it now, to `x` and to others like it; None where only the module can."""
    if type(module) is not nn.Dropout or module.inplace or has_hooks(module):
        return None
    if not module.training or module.p == 0:
        return _NO_DROPOUT
    if module.p == 1 or not _suits(x, residual):
        return None
    seed = int(torch.randint(2**63 - 1, ()))  # from PyTorch's own generator, so that its seed decides
    return RepeatableDropout(module.p, seed)


@dataclass(frozen=True)
class RepeatableDropout:
    """Drops the same numbers of every tensor of one shape, so that no mask is saved; its own backward."""

    p: float
    seed: int

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """`dropout(x)`, or `residual + dropout(x)`; any shape, differentiable."""
        if self.p == 0:
            return x if residual is None else residual + x
        if residual is not None and x.dtype != residual.dtype:
            wide = torch.promote_types(x.dtype, residual.dtype)
            x, residual = x.to(wide), residual.to(wide)
        if not are_plain(x):  # a backward for several outputs at once (`is_grads_batched`)
            return x * self.in_place(torch.ones(x.shape, dtype=x.dtype, device=x.device))
        return _Dropout.apply(x, residual, self.p, self.seed)

    def in_place(self, x: Tensor) -> Tensor:
        """On a tensor of any shape, contiguous, and not recorded by autograd."""
        if self.p:
            importlib.import_module(_KERNEL).dropout(x, None, self.p, self.seed, out=x)
        return x


_NO_DROPOUT = RepeatableDropout(0.0, 0)


def _suits(x: Tensor, residual: Tensor | None) -> bool:
    given = (x,) if residual is None else (x, residual)
    return (
        not torch.compiler.is_compiling()
        and all(are_plain(each) and (each.device, each.shape) == (x.device, x.shape) for each in given)
        and all(each.dtype in (torch.float32, torch.bfloat16, torch.float64) for each in given)
        and x.device.type == "cpu"
        and not (is_transformed() or is_recorded())
        and chosen_backend(x) == "numba"
    )


class _Dropout(Function):
    """The backward drops the same numbers again: nothing is saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, p: float, seed: int) -> Tensor:
        ctx.p, ctx.seed = p, seed
        compute: Callable[..., Tensor] = importlib.import_module(_KERNEL).dropout
        return compute(x.contiguous(), None if residual is None else residual.contiguous(), p, seed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        dx = None
        if ctx.needs_input_grad[0]:
            dx = RepeatableDropout(ctx.p, ctx.seed)(dy)
        return dx, dy if ctx.needs_input_grad[1] else None, None, None
