"""The loss of pre-training, `mlm_loss + sso_loss` (paper, section 3.4), its figures, and the operations it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


def forward_flops(config: "PoNetConfig", lengths: Sequence[int], predicted: int) -> float:
    """Floating-point operations of one forward pass over documents of these lengths, with so many words scored over the
    vocabulary; matrix products and FFTs only, 0 where a mixer isn't counted.

    A multiplication and an addition are two. Pooling is counted as it is computed here, with three projections (the
    published five would flatter it).
    """
    d, tokens = config.hidden_size, sum(lengths)
    dense = 2 * d * d * tokens
    feed_forward = 4 * d * config.intermediate_size * tokens
    total = 0.0
    for mixer in config.layer_mixers:
        if mixer == "pooling":
            parts = config.pooling_parts or ("ga1", "ga2", "smp", "lmp")
            maps = 1 + ("ga1" in parts or "smp" in parts) + ("smp" in parts) + ("lmp" in parts)  # output, o, s, l
            total += maps * dense
            if "ga2" in parts:
                total += 4 * config.num_attention_heads * d * tokens  # scores and their sum
        elif mixer == "attention":
            windows = [-(-n // (config.attention_window or max(n, 1))) or 1 for n in lengths]
            total += 4 * dense + sum(4 * d * n * n / count for n, count in zip(lengths, windows, strict=True))
        elif mixer == "fourier":
            total += sum(5 * n * d * (math.log2(max(n, 2)) + math.log2(d)) for n in lengths)
        else:
            return 0.0
        total += feed_forward
    total += predicted * (2 * d * d + 2 * d * config.vocab_size)
    return total + len(lengths) * 2 * d * d
