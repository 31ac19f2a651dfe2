"""The loss of scoring sentences, and the figures of either task."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ponet.tasks.sentences.encode import INPUTS
from ponet.tasks.sentences.metrics import boundary_counts, f1, pk, window_diff

if TYPE_CHECKING:
    from ponet.models.configuration_ponet import PoNetConfig

THRESHOLDS = np.arange(1, 20) / 20
"""Probabilities from which on a topic may end, among which an evaluation names the best."""


@dataclass(frozen=True)
class SentenceObjective:
    """Binary cross-entropy over sentences; one with the label 1 counts `positive_weight` times as much as one with
    0."""

    config: "PoNetConfig"
    positive_weight: float = 1.0

    def counts(self, batch: dict[str, Tensor]) -> Tensor:
        """`[1]`: sentences."""
        return torch.tensor([len(batch["labels"])], dtype=torch.float64)

    def __call__(self, model: nn.Module, batch: dict[str, Tensor], totals: Tensor) -> tuple[Tensor, Tensor]:
        """As `ponet.tasks.base.Objective`. Sums: the loss, sentences, documents, then the task's own."""
        output = model(**{name: batch[name] for name in INPUTS})
        logits, labels = output.logits.index_select(0, batch["owned"]).float(), batch["labels"]
        weight = logits.new_tensor(self.positive_weight)
        total = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weight, reduction="sum")
        ends = batch["cu_sentences"].tolist()
        probabilities = logits.detach().sigmoid().cpu().numpy()
        wanted = labels.cpu().numpy() > 0.5
        own = sum((self.document_sums(probabilities[a:b], wanted[a:b]) for a, b in pairwise(ends)), np.zeros(1))
        sums = np.concatenate([[float(total.detach()), len(labels), len(ends) - 1], own])
        loss = total / totals.to(total)[0].clamp(min=1)
        return loss, torch.tensor(sums, dtype=torch.float64, device=loss.device)

    def figures(self, sums: Tensor) -> dict[str, float]:
        """`loss`, and the task's own."""
        loss, sentences, documents, *rest = sums.tolist()
        return {"loss": loss / max(sentences, 1), **self.document_figures(np.array(rest), max(documents, 1))}

    def flops(self, batch: dict[str, Tensor]) -> float:
        """Not counted."""
        return 0.0

    def document_sums(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Of one document, given the probability `[k]` and the label `[k]` of each sentence."""
        raise NotImplementedError

    def document_figures(self, sums: np.ndarray, documents: float) -> dict[str, float]:
        """From sums over so many documents."""
        raise NotImplementedError


class SegmentationObjective(SentenceObjective):
    """`pk` and `window_diff` (means over documents), and `f1`, `precision` and `recall` of boundaries (over all of
    them), at the configuration's threshold; `best_f1` and `best_pk`, at the one of several with the largest F1 - Pk,
    `best_threshold`: F1 alone hardly changes over a wide range, in which Pk does. A document's end isn't counted."""

    def document_sums(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """`[5 + 4 * thresholds]`."""
        probabilities, labels = probabilities[:-1], labels[:-1]
        chosen = probabilities >= self.config.sentence_threshold
        windows = [pk(labels, chosen), window_diff(labels, chosen)] if len(labels) else [0.0, 0.0]
        every = probabilities >= THRESHOLDS[:, None]
        errors = [pk(labels, each) for each in every]
        return np.concatenate(
            [windows, boundary_counts(labels, chosen), boundary_counts(labels, every).ravel(), errors]
        )

    def document_figures(self, sums: np.ndarray, documents: float) -> dict[str, float]:
        right, wrong, missed = sums[2:5]
        counts, errors = np.split(sums[5:], [3 * len(THRESHOLDS)])
        every, errors = f1(counts.reshape(-1, 3)), errors / documents
        best = int((every - errors).argmax())
        return {
            "pk": sums[0] / documents,
            "window_diff": sums[1] / documents,
            "f1": float(f1(sums[2:5])),
            "precision": right / max(right + wrong, 1),
            "recall": right / max(right + missed, 1),
            "best_f1": float(every[best]),
            "best_pk": float(errors[best]),
            "best_threshold": float(THRESHOLDS[best]),
        }


class SummarizationObjective(SentenceObjective):
    """`oracle_share`: the share of a document's oracle sentences among as many with the highest scores, the mean over
    documents."""

    def document_sums(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """`[1]`."""
        wanted = int(labels.sum())
        if not wanted:
            return np.zeros(1)
        top = np.argsort(-probabilities, kind="stable")[:wanted]
        return np.array([labels[top].mean()])

    def document_figures(self, sums: np.ndarray, documents: float) -> dict[str, float]:
        return {"oracle_share": sums[0] / documents}
