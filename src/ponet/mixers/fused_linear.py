"""Several linear maps of one input as one matrix product, without changing their parameters."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from ponet.ops.hooks import are_plain, has_hooks, is_transformed, needs_grad


def fused_linear(x: Tensor, maps: Sequence[nn.Module]) -> Tensor:
    """The outputs of linear maps of one input, side by side: `[T, d]` -> `[T, sum of their widths]`.

    The weights of plain linear layers are concatenated for one matrix product. Maps that
    are more than their weight and bias (wrapped by LoRA, quantized, hooked) are called one by one, and so are all
    where tokens are few or `torch.func` transforms the computation.
    """
    if (
        not all(is_plain(each) for each in maps)
        or len({(each.weight.dtype, each.bias is None) for each in maps}) > 1
        or not (torch.compiler.is_exporting() or are_plain(x))
        or is_transformed()
        # with few tokens, concatenating the weights takes longer than one product saves
        or (not torch.compiler.is_compiling() and 2 * x.shape[0] < x.shape[1])
    ):
        return torch.cat([each(x) for each in maps], -1)
    weights: list[Tensor] = [each.weight for each in maps]  # type: ignore[misc]
    biases: list[Tensor] = [each.bias for each in maps if each.bias is not None]  # type: ignore[misc, redundant-expr]
    if torch.compiler.is_compiling() or not needs_grad(x, *weights, *biases):
        return F.linear(x, torch.cat(weights), torch.cat(biases) if biases else None)
    fused: Tensor = _FusedLinear.apply(x, len(weights), *weights, *biases)
    return fused


def is_plain(linear: nn.Module) -> bool:
    """Whether a module is exactly a linear layer, without hooks, whose weight and bias are plain tensors in memory."""
    if type(linear) is not nn.Linear or has_hooks(linear):
        return False
    if torch.compiler.is_exporting():
        return True  # its weights are stand-ins without numbers
    return are_plain(linear.weight) and (linear.bias is None or are_plain(linear.bias))  # type: ignore[redundant-expr]


class _FusedLinear(Function):
    """`x, W_1, ..., W_count, b_1, ...` -> `x W' + b`; saves no copy of the weights; twice differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, *parameters: Tensor) -> Tensor:
        weight = torch.cat(parameters[:count])
        bias = torch.cat(parameters[count:]) if parameters[count:] else None
        device = x.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        ctx.count = count
        ctx.save_for_backward(x, *parameters)
        with torch.autocast(device, enabled=False):
            return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        x, *parameters = ctx.saved_tensors
        weights, biases = parameters[: ctx.count], parameters[ctx.count :]
        widths = [each.shape[0] for each in weights]
        dx, d_weights, d_biases = None, [None] * len(weights), [None] * len(biases)
        needs_x, _, *needs = ctx.needs_input_grad
        with torch.autocast(x.device.type, enabled=False):
            if needs_x:
                dx = dy @ torch.cat(weights).to(dy.dtype)
            if any(needs[: ctx.count]):
                d_weights = (dy.T @ x).to(weights[0].dtype).split(widths)
            if any(needs[ctx.count :]):
                d_biases = dy.sum(0, dtype=biases[0].dtype).split(widths)
        return dx, None, *d_weights, *d_biases
