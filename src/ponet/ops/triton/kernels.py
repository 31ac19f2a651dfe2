"""The "triton" backend: the ops of `ponet.ops.dispatch` on a GPU, at the speed of its memory.

float32, bfloat16 and float16, with sums in float32; first derivatives. Importing this module imports Triton; kernels
are compiled and tuned at their first call with a type and a `d` (`tools.tuned`), which a CUDA graph must come
after. Launchers look at shapes alone and never wait for the GPU. Results don't depend on timing: no atomics.

Where `TRITON_INTERPRET=1` is set before the import, kernels run on CPU tensors, in Triton's interpreter: for tests.

What an op must move, for `T` tokens of `d` channels of `e` bytes, `S` segments and `h` heads:

| op | launches | read | written |
| --- | --- | --- | --- |
| `document_mean` | 2 | `T d e` | `B d e` |
| its backward | PyTorch's gather | `B d e` | `T d e` |
| `attention_pool` | 2 (3 with weights) | `T d e` | `B h d e` |
| its backward | 2 | `T d e` | `T d e` |
| `pool_and_fuse` | 3 | `3 T d e` | `T d e` |
| its backward | 3 | `4 T d e`, `dy` twice | `3 T d e` |

Besides, `pool_and_fuse` writes `S d (e + 4)` bytes of maxima and their places and reads the maxima again, and its
backward reads both and writes and reads `S d e` of gradients; documents, segments and flags are 16 to 18 bytes a token.
A document or segment longer than a block (`tools.block_length`, 32 tokens and more; 128 and more in
`attention_pool`) leaves a part in every block that it crosses: `d (e + 4)` bytes of maxima and places, `4 d` of a sum,
`4 h d` of an attention pool. `attention_pool` is `4 h d` operations a token, its backward `10 h d`, on tensor cores,
with `h` filled up to 16. Where `d` is greater than 1024 (backward: 512) in 16 bits, or than 256 (128) in 32, it is a
launch more, and reads `x` once more, and scores of `4 h` bytes a token (8 in backward).
"""

import torch

from ponet.ops.autograd import Kernels, make_backend
from ponet.ops.triton.documents import document_mean as _document_mean
from ponet.ops.triton.global_aggregation import attention_pool as _attention_pool
from ponet.ops.triton.global_aggregation_backward import attention_pool_backward
from ponet.ops.triton.segment_local import pool_and_fuse as _pool_and_fuse
from ponet.ops.triton.segment_local_backward import pool_and_fuse_backward
from ponet.ops.triton.tools import INTERPRETED

KERNELS = Kernels(_document_mean, _attention_pool, attention_pool_backward, _pool_and_fuse, pool_and_fuse_backward)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
DEVICE = "cpu" if INTERPRETED else "cuda"
document_mean, attention_pool, pool_and_fuse = make_backend("triton", KERNELS, DEVICE, DTYPES)
