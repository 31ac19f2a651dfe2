"""The "numba" backend: the ops of `ponet.ops.dispatch` on a CPU, at the speed of its memory.

float32, bfloat16 (computed in float32) and float64; first derivatives. Importing this package imports Numba; kernels
are compiled at their first call with a type, and then come from a cache on disk.
"""

import torch

from ponet.ops.autograd import Kernels, make_backend
from ponet.ops.numba.global_aggregation import mean_aggregation, softmax_aggregation
from ponet.ops.numba.global_aggregation_backward import softmax_aggregation_backward
from ponet.ops.numba.segment_local import segment_local_fusion
from ponet.ops.numba.segment_local_backward import segment_local_fusion_backward

KERNELS = Kernels(
    mean_aggregation,
    softmax_aggregation,
    softmax_aggregation_backward,
    segment_local_fusion,
    segment_local_fusion_backward,
)
DTYPES = (torch.float32, torch.bfloat16, torch.float64)
BACKEND = make_backend("numba", KERNELS, "cpu", DTYPES)
