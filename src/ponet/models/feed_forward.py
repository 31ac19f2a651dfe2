"""The feed-forward's second half that keeps one tensor for the way back in the place of two."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from transformers.activations import GELUActivation

from ponet.mixers.fused_linear import is_plain
from ponet.ops.dropout import RepeatableDropout, repeatable_dropout
from ponet.ops.hooks import are_plain, has_hooks, is_transformed


def gelu_linear(x: Tensor, activation: nn.Module, dropout: nn.Module, linear: nn.Module) -> Tensor | None:
    """`linear(dropout(activation(x)))`, of which only `x` is kept: the way back computes GELU and dropout again.

    What lies between two matrix products is most of what a training step keeps, and half of that is GELU's result,
    which costs little to make anew. The result is that of the modules called one by one.

    Args:
        x: `[T, f]`.
        activation: Hugging Face's "gelu".
        dropout: an `nn.Dropout`; while it drops, only where dropout can be repeated (on a CPU with Numba).
        linear: an `nn.Linear` of `f` inputs with a bias.

    Returns:
        `[T, d]`; None where the modules have to be called: they are others than these or have hooks, nothing is kept
        anyway, or a compiler sees to it.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or is_transformed():
        return None
    if not _is_gelu(activation):
        return None
    weight, bias = getattr(linear, "weight", None), getattr(linear, "bias", None)
    if not is_plain(linear) or not are_plain(x) or bias is None:
        return None
    drop = repeatable_dropout(x, dropout)
    if drop is None:
        return None
    result: Tensor = _GeluLinear.apply(x, weight, bias, drop)
    return result


def _is_gelu(activation: nn.Module) -> bool:
    # Hugging Face's class can also be asked for a slower formula of its own
    plain = type(activation) is GELUActivation and getattr(activation, "act", None) is F.gelu
    return plain and not has_hooks(activation)


class _GeluLinear(Function):
    """`x, weight, bias` -> `drop(gelu(x)) W' + b`; twice differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, drop: RepeatableDropout) -> Tensor:
        x = x.contiguous()  # what drops goes by places in memory, which then are those of the gradient
        ctx.save_for_backward(x, weight)
        ctx.drop, ctx.bias_dtype = drop, bias.dtype
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        with torch.autocast(device, enabled=False):
            return F.linear(drop.in_place(F.gelu(x)).to(dtype), weight.to(dtype), bias.to(dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        x, weight = ctx.saved_tensors
        # somebody wants second derivatives, or the gradients of several outputs at once (`is_grads_batched`)
        watched = torch.is_grad_enabled() or not are_plain(dy)
        drop = ctx.drop if watched else ctx.drop.in_place
        dx = d_weight = d_bias = None
        with torch.autocast(x.device.type, enabled=False):
            if ctx.needs_input_grad[1]:
                d_weight = (dy.T @ drop(F.gelu(x)).to(dy.dtype)).to(weight.dtype)
            if ctx.needs_input_grad[2]:
                d_bias = dy.sum(0).to(ctx.bias_dtype)
            if ctx.needs_input_grad[0]:
                dropped = drop((dy @ weight.to(dy.dtype)).to(x.dtype))
                if watched:
                    dx = torch.ops.aten.gelu_backward(dropped, x)
                else:
                    dx = torch.ops.aten.gelu_backward.grad_input(dropped, x, grad_input=dropped)
        return dx, d_weight, d_bias, None
