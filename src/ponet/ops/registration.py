"""Custom ops, and how to do without them: in eager mode and on plain tensors, where nobody looks on, a backend's
functions are called directly, since PyTorch's dispatcher and its autograd for custom ops cost more than small inputs
take.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ponet.ops.hooks import are_plain, is_recorded, is_transformed


def register(signature: str, compute: Callable[..., Any], device: str) -> Any:
    """The custom op `ponet::<signature>`."""
    name, schema = signature.split("(", 1)
    return torch.library.custom_op(f"ponet::{name}", compute, mutates_args=(), device_types=device, schema=f"({schema}")


def eager(compute: Callable[..., Any], keep: Callable[..., None], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A custom op's function with its autograd formula, but without PyTorch's dispatcher."""

    class Eager(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            outputs = compute(*inputs)
            keep(ctx, inputs, outputs)
            return outputs

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return backward(ctx, *gradients)

    apply: Callable[..., Any] = Eager.apply
    return apply


def choose(
    op: Callable[..., Any], eager: Callable[..., Any], compute: Callable[..., Any], tensors: tuple[Tensor, ...]
) -> Callable[..., Any]:
    """What to call: the custom op where someone traces, transforms or wraps the tensors, else what costs less."""
    if torch.compiler.is_compiling() or not are_plain(*tensors) or is_transformed() or is_recorded():
        return op
    return eager if needs_grad(*tensors) else compute


def needs_grad(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def once(op: Any, name: str) -> None:
    """Gives the op of a backward an autograd formula that says why there is none."""

    def refuse(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(
            f"the {name} backend has no second derivatives; compute with the reference: "
            "`with ponet.ops.use_backend('reference'):`, or PONET_BACKEND=reference"
        )

    op.register_autograd(refuse)
