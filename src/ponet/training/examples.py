"""Splits and batches as the trainer needs them: as a data set, counted, and put back in order."""

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ponet.tasks.base import Example, Split


class Examples(Dataset):
    """A `Split` as torch and the Trainer want to see it."""

    def __init__(self, split: Split) -> None:
        self.examples, self.lengths = split.examples, split.lengths

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def without_prefix(metrics: dict[str, float], prefix: str = "eval_") -> dict[str, float]:
    """`eval_accuracy` -> `accuracy`."""
    return {name.removeprefix(prefix): value for name, value in metrics.items()}


def count_examples(batch: dict[str, Any]) -> int:
    """The number of examples in a batch: what the mean of its loss is over."""
    for key in ("labels", "input_ids", "inputs_embeds"):
        if batch.get(key) is not None:
            return max(1, len(batch[key]))
    return 1


def restore_order(values: Any, order: np.ndarray) -> Any:
    """Puts results in batch order back into the split's order; what isn't one result an example stays as it is."""
    if isinstance(values, (list, tuple)):
        return type(values)(restore_order(value, order) for value in values)
    if values is None or len(values) != len(order):
        return values
    restored = np.empty_like(values)
    restored[order] = values
    return restored
