"""The loss of distillation: the teacher's hidden states, layer by layer, and its mean vectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ponet.ops import Layout, document_mean
from ponet.tasks.distillation.options import DistillationOptions
from ponet.tasks.pretraining.flops import forward_flops
from ponet.tasks.pretraining.objective import TRAINING

if TYPE_CHECKING:
    from ponet.models.configuration_ponet import PoNetConfig
    from ponet.models.modeling_ponet import PoNetModel


class DistillationObjective:
    """Errors of the student against a teacher that reads the same passages.

    `hidden`: the squared error of each matched layer's states over the variance of the teacher's layer, the mean over
    tokens, channels and layers; `last`: that of the last layer once more; `cosine`: 1 - cosine between the mean vectors
    of a passage. Where the teacher reads a passage in windows, its vector is the mean of the windows' normalised ones.

    Args:
        config: the student's.
        teacher: as `open_teacher` gives it.
        layers: the teacher's layer, from 1, that each layer of the student matches.
        variances: of those layers' states, as `layer_variances` finds them.
        options: the weights of the losses.
    """

    def __init__(
        self,
        config: "PoNetConfig",
        teacher: "PoNetModel",
        layers: Sequence[int],
        variances: Sequence[float],
        options: DistillationOptions,
    ) -> None:
        self.config, self.teacher, self.layers, self.variances = config, teacher, list(layers), list(variances)
        self.weights = {"hidden": options.hidden, "last": options.last, "cosine": options.cosine}

    def counts(self, batch: dict[str, Tensor]) -> Tensor:
        """`[2]`: tokens and passages."""
        return torch.tensor([batch["input_ids"].shape[1], batch["cu_seqlens"].shape[0] - 1], dtype=torch.float64)

    def __call__(self, model: nn.Module, batch: dict[str, Tensor], totals: Tensor) -> tuple[Tensor, Tensor]:
        """As `ponet.tasks.base.Objective`: the weighted sum of losses, and what figures are made of."""
        states, vectors = teacher_targets(self.teacher, self.layers, batch)
        nothing = torch.zeros(0, dtype=torch.int64, device=states[0].device)
        output = model(
            input_ids=batch["input_ids"],
            segment_ids=batch["segment_ids"],
            cu_seqlens=batch["cu_seqlens"],
            prediction_positions=nothing,
            output_hidden_states=True,
        )
        # the error summed over tokens, a number for each layer
        errors = torch.stack(
            [
                (hidden[0].float() - target).square().mean(1).sum() / variance
                for hidden, target, variance in zip(output.hidden_states[1:], states, self.variances, strict=True)
            ]
        )
        mean = document_mean(output.hidden_states[-1][0].float(), Layout.from_packed(batch["cu_seqlens"]))
        distances = (1 - torch.cosine_similarity(mean, vectors)).sum()
        tokens, passages = totals.to(errors).clamp(min=1)
        weights = self.weights
        loss = (weights["hidden"] * errors.mean() + weights["last"] * errors[-1]) / tokens
        loss = loss + weights["cosine"] * distances / passages
        # every weight has a gradient, which DDP insists on
        loss = loss + 0.0 * (output.prediction_logits.sum() + output.seq_relationship_logits.sum())
        sums = torch.cat([self.counts(batch).to(errors), distances[None], errors]).detach().double()
        return loss, sums

    def figures(self, sums: Tensor) -> dict[str, float]:
        """`loss`, `hidden_loss`, `last_loss`, `cosine` (of the mean vectors), and the error of each layer."""
        tokens, passages, distance, *errors = sums.tolist()
        layers = [error / max(tokens, 1) for error in errors]
        found = {"hidden": sum(layers) / len(layers), "last": layers[-1], "cosine": distance / max(passages, 1)}
        return {
            "loss": sum(self.weights[name] * value for name, value in found.items()),
            "hidden_loss": found["hidden"],
            "last_loss": found["last"],
            "cosine": 1 - found["cosine"],
            **{f"layer_{number}_error": error for number, error in enumerate(layers, 1)},
        }

    def flops(self, batch: dict[str, Tensor]) -> float:
        """Operations of a training step over this batch: the student's, and the teacher's forward pass."""
        read = batch.get("teacher_cu_seqlens", batch["cu_seqlens"])
        teacher = forward_flops(self.teacher.config, _lengths(read), 0)
        return TRAINING * forward_flops(self.config, _lengths(batch["cu_seqlens"]), 0) + teacher


@torch.no_grad()
def teacher_targets(
    teacher: "PoNetModel", layers: Sequence[int], batch: dict[str, Tensor]
) -> tuple[list[Tensor], Tensor]:
    """The teacher's states of each matched layer, `[T, d]` each, and its vectors of the passages, `[B, d]`."""
    device = batch["input_ids"].device
    if teacher.device != device:
        teacher.to(device)
    windowed = "teacher_places" in batch
    prefix = "teacher_" if windowed else ""
    cu_seqlens = batch[f"{prefix}cu_seqlens"]
    output = teacher(
        input_ids=batch[f"{prefix}input_ids"],
        segment_ids=torch.zeros_like(batch[f"{prefix}input_ids"]),
        cu_seqlens=cu_seqlens,
        output_hidden_states=True,
    )
    states = [output.hidden_states[layer][0].float() for layer in layers]
    vectors = document_mean(output.last_hidden_state[0].float(), Layout.from_packed(cu_seqlens))
    vectors = nn.functional.normalize(vectors)
    if windowed:
        states = [state.index_select(0, batch["teacher_places"]) for state in states]
        windows = batch["teacher_documents"]
        passages = vectors.new_zeros(batch["cu_seqlens"].shape[0] - 1, vectors.shape[1])
        vectors = passages.index_add(0, windows, vectors)  # a cosine doesn't ask for the mean's length
    return states, vectors


def layer_variances(teacher: "PoNetModel", layers: Sequence[int], batch: dict[str, Tensor]) -> list[float]:
    """The variance of each named layer's states over the tokens of a batch, the mean over channels."""
    states, _ = teacher_targets(teacher, layers, batch)
    return [float(state.var(0).mean()) for state in states]


def _lengths(cu_seqlens: Tensor) -> list[int]:
    lengths: list[int] = cu_seqlens.diff().tolist()
    return lengths
