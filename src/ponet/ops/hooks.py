"""Whether a fast path may be taken: not with hooks, wrapped tensors, or a transformed or recorded computation."""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

_PLAIN = (Tensor, nn.Parameter)


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has to be called: for hooks of its own, or a `forward` set on the instance (accelerate).

    Hooks of all modules don't count: counters of operations have them, and would count other operations.
    """
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in module.__dict__


def are_plain(*tensors: Tensor) -> bool:
    """Whether tensors are nothing but numbers in memory.

    Not of a subclass (quantized, sharded), not on "meta", not wrapped by a transform (`is_grads_batched` too).
    """
    return all(type(tensor) in _PLAIN and not tensor.is_meta and not _is_wrapped(tensor) for tensor in tensors)


def _is_wrapped(tensor: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return False
    functorch = torch._C._functorch
    return functorch.is_functorch_wrapped_tensor(tensor) or functorch.is_legacy_batchedtensor(tensor)


def is_transformed() -> bool:
    """Whether `torch.func` or forward-mode AD transforms the computation: only PyTorch's own operations then work."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def is_recorded() -> bool:
    """Whether each operation is recorded, by a dispatch mode or a trace."""
    return is_in_torch_dispatch_mode() or torch.jit.is_tracing()


def needs_grad(*tensors: Tensor) -> bool:
    """Whether autograd records what is computed from these tensors."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
