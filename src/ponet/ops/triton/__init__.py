"""The "triton" backend: the ops of `ponet.ops.dispatch` on a GPU, at the speed of its memory.

float32, bfloat16 and float16, with sums in float32; first derivatives. Importing this package imports Triton; kernels
are compiled and tuned at their first call with a type and a `d` (`blocks.tuned`), which a CUDA graph must come
after. Launchers look at shapes alone and never wait for the GPU. Results don't depend on timing: no atomics.

Where `TRITON_INTERPRET=1` is set before the import, kernels run on CPU tensors, in Triton's interpreter: for tests.

What an op must move, for `T` tokens of `d` channels of `e` bytes, `S` segments and `h` heads:

| op | launches | read | written |
| --- | --- | --- | --- |
| `mean_aggregation` | 2 | `T d e` | `B d e` |
| its backward | PyTorch's gather | `B d e` | `T d e` |
| `softmax_aggregation` | 2 (3 with weights) | `T d e` | `B h d e` |
| its backward | 2 | `T d e` | `T d e` |
| `segment_local_fusion` | 3 | `3 T d e` | `T d e` |
| its backward | 3 | `4 T d e`, `dy` twice | `3 T d e` |

Besides, `segment_local_fusion` writes `S d (e + 4)` bytes of maxima and the tokens that hold them and reads the maxima
again, and its backward reads both and writes and reads `S d e` of gradients; documents, segments and flags are 16 to 18
bytes a token. A document or segment longer than a block (`blocks.block_length`, 32 tokens and more; 128 and more in
`softmax_aggregation`) leaves a partial result in every block that it crosses: `d (e + 4)` bytes of maxima and tokens,
`4 d` of a sum, `4 h d` of a softmax-weighted sum. `softmax_aggregation` is `4 h d` operations a token, its backward
`10 h d`, on tensor cores, with `h` filled up to 16. Where `d` is greater than 1024 (backward: 512) in 16 bits, or than
256 (128) in 32, it is a launch more, and reads `x` once more, and scores of `4 h` bytes a token (8 in backward).
"""

import torch

from ponet.ops.autograd import Kernels, make_backend
from ponet.ops.triton.blocks import INTERPRETED
from ponet.ops.triton.global_aggregation import mean_aggregation, softmax_aggregation
from ponet.ops.triton.global_aggregation_backward import softmax_aggregation_backward
from ponet.ops.triton.segment_local import segment_local_fusion
from ponet.ops.triton.segment_local_backward import segment_local_fusion_backward

KERNELS = Kernels(
    mean_aggregation,
    softmax_aggregation,
    softmax_aggregation_backward,
    segment_local_fusion,
    segment_local_fusion_backward,
)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BACKEND = make_backend("triton", KERNELS, "cpu" if INTERPRETED else "cuda", DTYPES)
