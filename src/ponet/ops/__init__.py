"""The mathematics of PoNet on packed tokens: `Layout`, the reference, and the ops that pick a backend."""

from ponet.ops.dispatch import attention_pool, backends, document_mean, pool_and_fuse, use_backend
from ponet.ops.layout import Layout

__all__ = ["Layout", "attention_pool", "backends", "document_mean", "pool_and_fuse", "use_backend"]
