r"""PoNet's mixer by its definition, one token at a time (paper: arXiv 2110.02442, section 3).

For one document, a row of `N` places of which some hold real tokens, with `h` heads of `e = d / h` channels:

    q, k, o, s, l   linear projections of x                                              [N, d] each
    g     = mean of q[n] over real tokens                          GA, stage 1           [h, e]
    a[n]  = softmax over real n of (g . k[n]) / sqrt(e)            GA, stage 2, per head
    g'    = sum_n a[n] k[n]                                                              [d]
    s'[n] = max of s[m] over real m in the segment of n            SMP, per channel
    l'[n] = max of l[n - 1], l[n], l[n + 1], real ones             LMP, per channel
    y[n]  = (g' + s'[n]) * o[n] + l'[n]                            PF

Special tokens ([CLS], [SEP]) are left out of their neighbours' windows and have `s' = l' = 0` themselves; they take
part in everything else. Every other implementation is tested against this one.

The paper's ablations leave parts out: without the second stage of GA, `g' = g`; without GA, SMP or LMP, `g'`, `s'` or
`l'` is 0.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PARTS = ("ga1", "ga2", "smp", "lmp")


def pooling_mixer(
    q: Array,
    k: Array,
    o: Array,
    s: Array,
    l: Array,  # noqa: E741
    real: NDArray,
    segment: NDArray,
    special: NDArray,
    heads: int,
    parts: Sequence[str] = PARTS,
) -> tuple[Array, Array]:
    """Projections `[N, d]`; `real`, `special` `[N]` bool, `segment` `[N]` -> `y [N, d]`, `a [h, N]`; 0 at padding."""
    N, d = k.shape
    e = d // heads
    y, a = np.zeros((N, d)), np.zeros((heads, N))
    tokens = [n for n in range(N) if real[n]]
    if not tokens:
        return y, a
    g = np.mean([q[n] for n in tokens], axis=0)
    pooled = np.zeros(d)
    for h in range(heads):
        channels = slice(h * e, (h + 1) * e)
        scores = np.array([g[channels] @ k[n, channels] / np.sqrt(e) for n in tokens])
        weights = np.exp(scores - scores.max())
        a[h, tokens] = weights / weights.sum()
        pooled[channels] = sum(a[h, n] * k[n, channels] for n in tokens)
    if "ga2" not in parts:
        pooled = g if "ga1" in parts else np.zeros(d)
    for n in tokens:
        segment_max = np.max([s[m] for m in tokens if segment[m] == segment[n]], axis=0)
        window = [n, *(m for m in (n - 1, n + 1) if m in tokens and not special[m])]
        local_max = np.max([l[m] for m in window], axis=0)
        if special[n] or "smp" not in parts:
            segment_max = np.zeros(d)
        if special[n] or "lmp" not in parts:
            local_max = np.zeros(d)
        y[n] = (pooled + segment_max) * o[n] + local_max
    return y, a
