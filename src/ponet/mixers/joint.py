"""Several linear maps of one input as one matrix product, without a copy of their weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ponet.ops.hooks import has_hooks


def joint_linear(x: Tensor, maps: Sequence[nn.Module]) -> Tensor:
    """The outputs of linear maps of one input, side by side: `[T, d]` -> `[T, sum of their widths]`.

    Plain linear layers become one matrix product. At the first call their weights move into one block of memory, of
    which each parameter then is a part; parameters, their names and what an optimizer does to them stay the same.
    Where memory can't be rearranged (a compiled graph, sharded or shared weights) the weights are put together on
    every call; maps that are more than their weight and bias (wrapped by LoRA, quantized) are called one by one.
    """
    if not all(is_plain(each) for each in maps) or any(each.bias is None for each in maps):
        return torch.cat([each(x) for each in maps], -1)
    weights: list[Tensor] = [each.weight for each in maps]  # type: ignore[misc]
    biases: list[Tensor] = [each.bias for each in maps]  # type: ignore[misc]
    if torch.compiler.is_compiling() or not (_adjoin(weights) and _adjoin(biases)):
        return F.linear(x, torch.cat(weights), torch.cat(biases))
    joined: Tensor = _JointLinear.apply(x, *weights, *biases)
    return joined


def is_plain(linear: nn.Module) -> bool:
    """Whether a module does no more than its own weight and bias say."""
    if type(linear) is not nn.Linear or linear.weight.is_meta:
        return False
    return not has_hooks(linear)


class _JointLinear(torch.autograd.Function):
    """`x, weights..., biases...` -> `x W' + b`, weights and biases adjoining in memory; twice differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        half = len(parameters) // 2
        weight, bias = _joined(parameters[:half]), _joined(parameters[half:])
        device = x.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        ctx.save_for_backward(x, *parameters)
        with torch.autocast(device, enabled=False):
            return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, *parameters = ctx.saved_tensors
        half = len(parameters) // 2
        weights = parameters[:half]
        dx: Tensor | None = None
        parts: list[Tensor | None] = [None] * len(parameters)
        with torch.autocast(x.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                # With grad enabled here somebody wants second derivatives, which must reach each weight.
                weight = torch.cat(weights) if torch.is_grad_enabled() else _joined(weights)
                dx = gradient @ weight.to(gradient.dtype)
            sizes = [each.shape[0] for each in weights]
            if any(ctx.needs_input_grad[1 : half + 1]):
                parts[:half] = (gradient.T @ x).to(weights[0].dtype).split(sizes)
            if any(ctx.needs_input_grad[half + 1 :]):
                parts[half:] = gradient.sum(0, dtype=parameters[half].dtype).split(sizes)
        return dx, *parts


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Adjoining tensors as one, along the first dimension."""
    first = parts[0].detach()
    return first.as_strided((sum(part.shape[0] for part in parts), *first.shape[1:]), first.stride())


def _adjoin(parts: Sequence[Tensor]) -> bool:
    """Whether tensors of one shape but for the first dimension lie one behind the other; makes it so where it may."""
    end = parts[0].data_ptr()
    for part in parts:
        if part.data_ptr() != end or not part.is_contiguous():
            return _move_together(parts)
        end += part.numel() * part.element_size()
    return all(part.untyped_storage().data_ptr() == parts[0].untyped_storage().data_ptr() for part in parts[1:])


def _move_together(parts: Sequence[Tensor]) -> bool:
    """Gives parameters one block of memory; False where one isn't a plain parameter in memory of its own."""
    first = parts[0]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # FSDP2 lends a parameter memory that it fills anew before each pass, and such a parameter looks like any other
        return False
    if len({id(part) for part in parts}) < len(parts):
        return False
    for part in parts:
        alike = part.dtype == first.dtype and part.device == first.device and part.shape[1:] == first.shape[1:]
        whole = type(part) is nn.Parameter and part.is_contiguous() and not part.is_inference()
        if not (alike and whole) or (part.is_shared() and not part.is_cuda):
            return False
        # more memory than its own: somebody else (FSDP, ZeRO) has laid parameters out in blocks
        if part.untyped_storage().nbytes() != part.numel() * part.element_size():
            return False
    with torch.inference_mode(False), torch.no_grad():
        block = torch.cat([part.detach() for part in parts])
        for part, place in zip(parts, block.split([part.shape[0] for part in parts]), strict=True):
            part.data = place
    return True
