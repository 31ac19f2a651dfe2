"""Figures from predictions: scikit-learn's and SciPy's, never NaN."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ponet.data.labels import LabelSpace, check_weights
from ponet.tasks.base import ComputeLoss

if TYPE_CHECKING:
    from transformers import EvalPrediction


BEST = {"single_label": "accuracy", "multi_label": "f1_micro", "regression": "pearson"}
"""The metric that chooses the checkpoint, by kind."""


def metrics_of(space: LabelSpace) -> "Callable[[EvalPrediction], dict[str, float]]":
    """The function that the Trainer calls with logits and labels."""

    def compute(prediction: "EvalPrediction") -> dict[str, float]:
        output = prediction.predictions
        logits = np.asarray(output[0] if isinstance(output, tuple) else output)
        return measure(space, decide(space, logits), np.asarray(prediction.label_ids))

    return compute


def decide(space: LabelSpace, logits: np.ndarray) -> np.ndarray:
    """Logits `[n, C]` -> what they say: class ids `[n]`, 0/1 `[n, C]` (probability above a half), or numbers `[n]`."""
    if space.kind == "regression":
        return logits.reshape(len(logits))
    return (logits > 0).astype(np.int64) if space.kind == "multi_label" else logits.argmax(axis=-1)


def measure(space: LabelSpace, predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The figures of a split, by kind.

    - single label: accuracy, f1_macro (over the classes that occur), f1_micro, matthews; with two classes also f1, of
      the second one (`LabelSpace.positive`)
    - multi-label: f1_micro, f1_macro (over all classes), subset_accuracy (every label of a row right)
    - regression: pearson, spearman (0 where one side is constant), mse

    Args:
        predicted: as `decide` gives it.
        labels: `[n]` or `[n, C]`.
    """
    if space.kind == "regression":
        from scipy.stats import rankdata

        predicted, labels = predicted.astype(np.float64), labels.reshape(-1).astype(np.float64)
        return {
            "pearson": _correlation(predicted, labels),
            "spearman": _correlation(rankdata(predicted), rankdata(labels)),
            "mse": float(np.mean((predicted - labels) ** 2)),
        }
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    labels = labels.astype(np.int64)
    exact = "subset_accuracy" if space.kind == "multi_label" else "accuracy"
    figures = {exact: accuracy_score(labels, predicted)}
    if space.positive is not None:
        figures["f1"] = f1_score(labels, predicted, pos_label=1, average="binary", zero_division=0)
    for average in ("macro", "micro"):
        figures[f"f1_{average}"] = f1_score(labels, predicted, average=average, zero_division=0)
    if space.kind == "single_label":
        one_class = len(np.union1d(labels, predicted)) < 2  # where scikit-learn gives 0 too, with a warning
        figures["matthews"] = 0.0 if one_class else matthews_corrcoef(labels, predicted)
    return {name: float(value) for name, value in figures.items()}


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's r, 0 where it isn't defined: a constant says nothing about the other side."""
    from scipy.stats import pearsonr

    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nearly constant input
        value = float(pearsonr(one, other).statistic)
    return value if np.isfinite(value) else 0.0


def class_weights(wanted: str | dict[str, float], space: LabelSpace, labels: np.ndarray) -> np.ndarray | None:
    """The weight of each class `[C]`, or None where all count alike.

    `balanced` is n / (C * n_c) for single-label and (n - n_c) / n_c for the positives of multi-label. Weights of
    single-label classes are scaled to a mean of 1 over the training rows, so that the learning rate keeps its meaning.
    Raises PoNetError: weights for numbers, or for an unknown class."""
    check_weights(wanted, space)
    if wanted == "none":
        return None
    several = space.kind == "multi_label"
    counts = labels.sum(axis=0) if several else np.bincount(labels, minlength=len(space.names))
    if isinstance(wanted, dict):
        weights = np.array([wanted.get(name, 1.0) for name in space.names])
    else:
        least = np.maximum(counts, 1)
        balanced = (len(labels) - counts) / least if several else len(labels) / (np.count_nonzero(counts) * least)
        weights = np.where(counts > 0, balanced, 1.0)
    if several:
        return weights
    mean = float((weights * counts).sum() / counts.sum())
    return weights / mean if mean > 0 else weights


def weighted_loss(weights: np.ndarray, space: LabelSpace) -> ComputeLoss:
    """Cross-entropy `[B, C], [B]`, or binary cross-entropy `[B, C], [B, C]`, with the class weights `[C]`.

    The sum over a batch is divided by the number of labels in all batches of the step, so gradient accumulation
    changes nothing.
    """
    table = torch.tensor(weights, dtype=torch.float32)

    def compute(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        logits = (outputs["logits"] if isinstance(outputs, dict) else outputs[0]).float()
        weight = table.to(logits.device)
        if space.kind == "multi_label":
            loss = F.binary_cross_entropy_with_logits(logits, labels.float(), pos_weight=weight, reduction="sum")
        else:
            loss = (F.cross_entropy(logits, labels, reduction="none") * weight[labels]).sum()
        return loss / (labels.numel() if num_items_in_batch is None else num_items_in_batch)

    return compute
