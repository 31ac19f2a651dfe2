"""The loss with class weights, in the form that the Trainer takes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.data.labels import LabelSpace, check_weights
from ponet.tasks.base import ComputeLoss

if TYPE_CHECKING:
    from torch import Tensor


def class_weights(wanted: str | dict[str, float], space: LabelSpace, labels: np.ndarray) -> np.ndarray | None:
    """The weight of each class `[C]`, or None where all count alike.

    `balanced` is n / (C * n_c) for single-label and (n - n_c) / n_c for the positives of multi-label. Weights of
    single-label classes are scaled to a mean of 1 over the training rows, so that the learning rate keeps its meaning.

    Raises:
        PoNetError: weights for numbers, or for an unknown class.
    """
    check_weights(wanted, space)
    if wanted == "none":
        return None
    if space.kind == "multi_label":
        positive = labels.sum(axis=0)
        if isinstance(wanted, dict):
            return np.array([wanted.get(name, 1.0) for name in space.names])
        return np.where(positive > 0, (len(labels) - positive) / np.maximum(positive, 1), 1.0)
    counts = np.bincount(labels, minlength=len(space.names))
    if isinstance(wanted, dict):
        weights = np.array([wanted.get(name, 1.0) for name in space.names])
    else:
        weights = np.where(counts > 0, len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 1.0)
    mean = float((weights * counts).sum() / counts.sum())
    return weights / mean if mean > 0 else weights


def weighted_loss(weights: np.ndarray, space: LabelSpace) -> ComputeLoss:
    """Cross-entropy `[B, C], [B]`, or binary cross-entropy `[B, C], [B, C]`, with the class weights `[C]`.

    The sum over a batch is divided by the number of labels in all batches of the step, so gradient accumulation
    changes nothing.
    """
    import torch
    import torch.nn.functional as F

    table = torch.tensor(weights, dtype=torch.float32)

    def compute(outputs: Any, labels: "Tensor", num_items_in_batch: "Tensor | int | None" = None) -> "Tensor":
        logits = (outputs["logits"] if isinstance(outputs, dict) else outputs[0]).float()
        weight = table.to(logits.device)
        if space.kind == "multi_label":
            loss = F.binary_cross_entropy_with_logits(logits, labels.float(), pos_weight=weight, reduction="sum")
        else:
            loss = (F.cross_entropy(logits, labels, reduction="none") * weight[labels]).sum()
        return loss / (labels.numel() if num_items_in_batch is None else num_items_in_batch)

    return compute
