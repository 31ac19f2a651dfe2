"""The "triton" backend: the ops of `ponet.ops.dispatch` on a GPU, at the speed of its memory."""

import torch

from ponet.ops.library import Kernels, make_backend
from ponet.ops.triton_attention import attention_pool as _attention_pool
from ponet.ops.triton_attention_backward import attention_pool_backward
from ponet.ops.triton_documents import document_mean as _document_mean
from ponet.ops.triton_pooling import pool_and_fuse as _pool_and_fuse
from ponet.ops.triton_pooling_backward import pool_and_fuse_backward
from ponet.ops.triton_tools import INTERPRETED

KERNELS = Kernels(_document_mean, _attention_pool, attention_pool_backward, _pool_and_fuse, pool_and_fuse_backward)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
document_mean, attention_pool, pool_and_fuse = make_backend("triton", KERNELS, "cpu" if INTERPRETED else "cuda", DTYPES)
