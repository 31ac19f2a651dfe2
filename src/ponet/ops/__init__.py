"""The mathematics of PoNet on packed tokens: `Layout`, the reference, and the ops that pick a backend."""

from ponet.ops.dispatch import backends, mean_aggregation, segment_local_fusion, softmax_aggregation, use_backend
from ponet.ops.layout import Layout

__all__ = ["Layout", "backends", "mean_aggregation", "segment_local_fusion", "softmax_aggregation", "use_backend"]
