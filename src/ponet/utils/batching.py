"""Items in order, cut into batches that are bounded."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


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


def bounded(
    items: Iterable[Item | None], size: Callable[[Item], int], most_items: int, most_size: int
) -> Iterator[list[Item]]:
    """Consecutive items in lists of at most `most_items` and `most_size`, but at least one; None ends a list early."""
    batch: list[Item] = []
    total = 0
    for item in items:
        added = 0 if item is None else size(item)
        if batch and (item is None or len(batch) == most_items or total + added > most_size):
            yield batch
            batch, total = [], 0
        if item is not None:
            batch.append(item)
            total += added
    if batch:
        yield batch
