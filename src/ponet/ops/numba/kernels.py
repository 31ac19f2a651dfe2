"""The "numba" backend: the ops of `ponet.ops.dispatch` on a CPU, at the speed of its memory.

float32, bfloat16 (computed in float32) and float64; first derivatives. Importing this module imports Numba; kernels are
compiled at their first call with a type, and then come from a cache on disk.
"""

import torch

from ponet.ops.autograd import Kernels, make_backend
from ponet.ops.numba.global_aggregation import attention_pool as _attention_pool
from ponet.ops.numba.global_aggregation import document_mean as _document_mean
from ponet.ops.numba.global_aggregation_backward import attention_pool_backward
from ponet.ops.numba.segment_local import pool_and_fuse as _pool_and_fuse
from ponet.ops.numba.segment_local_backward import pool_and_fuse_backward

KERNELS = Kernels(_document_mean, _attention_pool, attention_pool_backward, _pool_and_fuse, pool_and_fuse_backward)
DTYPES = (torch.float32, torch.bfloat16, torch.float64)
document_mean, attention_pool, pool_and_fuse = make_backend("numba", KERNELS, "cpu", DTYPES)
