"""Whether a module may be computed by its weights alone, in the place of being called."""

from torch import nn


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody waits for a module to be called, forward or on the way back."""
    return any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks))
