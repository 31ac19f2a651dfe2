"""Examples in order, cut into batches by their tokens."""

import numpy as np


def cut(order: np.ndarray, lengths: np.ndarray, batch_tokens: int | None, batch_size: int | None) -> list[np.ndarray]:
    """Cuts `order` into consecutive batches, each as long as the two limits allow but at least one example."""
    tokens = np.cumsum(lengths[order], dtype=np.int64)
    batches, start = [], 0
    while start < len(order):
        end = len(order) if batch_size is None else min(len(order), start + batch_size)
        if batch_tokens is not None:
            before = int(tokens[start - 1]) if start else 0
            end = min(end, int(np.searchsorted(tokens, before + batch_tokens, side="right")))
        end = max(end, start + 1)
        batches.append(order[start:end])
        start = end
    return batches
