"""The loss of pre-training, `mlm_loss + sso_loss` (paper, section 3.4), and its figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ponet.tasks.pretraining.flops import forward_flops

if TYPE_CHECKING:
    from ponet.models.configuration_ponet import PoNetConfig

INPUTS = ("input_ids", "segment_ids", "token_type_ids", "cu_seqlens", "prediction_positions")
TRAINING = 3
"""Forward, and the gradients of inputs and weights: three times the products."""


@dataclass(frozen=True)
class PretrainingObjective:
    """Cross-entropy over masked words, and over the relation of the two spans where the objective has one.

    Args:
        config: the model's.
        second: name of the second objective in figures, "sso" or "nsp"; None without one.
    """

    config: "PoNetConfig"
    second: str | None = "sso"

    def counts(self, batch: dict[str, Tensor]) -> Tensor:
        """`[2]`: words to predict, pairs."""
        return torch.tensor([len(batch["labels"]), len(batch["sentence_labels"])], dtype=torch.float64)

    def __call__(self, model: nn.Module, batch: dict[str, Tensor], totals: Tensor) -> tuple[Tensor, Tensor]:
        """As `ponet.tasks.base.Objective`. Sums `[6]`: for either part the loss, how many are right, how many are."""
        output = model(**{name: batch[name] for name in INPUTS if name in batch})
        words, word_labels = output.prediction_logits, batch["labels"]
        word_loss = F.cross_entropy(words.float(), word_labels, reduction="sum")
        totals = totals.to(word_loss)  # whole numbers below 2^24, and not every device has float64
        loss = word_loss / totals[0].clamp(min=1)
        parts = [word_loss, (words.argmax(-1) == word_labels).sum(), torch.tensor(len(word_labels))]
        pairs, pair_labels = output.seq_relationship_logits, batch["sentence_labels"]
        if self.second is None:
            loss = loss + 0.0 * pairs.sum()  # every weight has a gradient, which DDP insists on
            parts += [torch.zeros(())] * 3
        else:
            pair_loss = F.cross_entropy(pairs.float(), pair_labels, reduction="sum")
            loss = loss + pair_loss / totals[1].clamp(min=1)
            parts += [pair_loss, (pairs.argmax(-1) == pair_labels).sum(), torch.tensor(len(pair_labels))]
        return loss, torch.stack([part.detach().to(loss.device, torch.float64) for part in parts])

    def figures(self, sums: Tensor) -> dict[str, float]:
        """`mlm_loss`, `mlm_accuracy`, `sso_loss`, `sso_accuracy`, and `loss`, their sum."""
        values = sums.tolist()
        found: dict[str, float] = {}
        for name, (loss, right, count) in (("mlm", values[:3]), (self.second, values[3:])):
            if name is not None:
                found[f"{name}_loss"] = loss / max(count, 1)
                found[f"{name}_accuracy"] = right / max(count, 1)
        return {"loss": sum(value for name, value in found.items() if name.endswith("_loss")), **found}

    def flops(self, batch: dict[str, Tensor]) -> float:
        """Operations of a training step over this batch."""
        lengths = (batch["cu_seqlens"][1:] - batch["cu_seqlens"][:-1]).tolist()
        return TRAINING * forward_flops(self.config, lengths, len(batch["labels"]))
