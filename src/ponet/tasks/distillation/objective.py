"""The loss of distillation: the teacher's hidden states, layer by layer, and its mean vectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ponet.config.distillation import LOSSES, DistillationOptions
from ponet.ops import Layout, mean_aggregation
from ponet.tasks.pretraining.objective import INPUTS, TRAINING, forward_flops

if TYPE_CHECKING:
    from ponet.models.configuration_ponet import PoNetConfig
    from ponet.models.modeling_ponet import PoNetModel


class DistillationObjective:
    """Errors of the student against a teacher that reads the same passages, and those of its own heads on masked pairs.

    `hidden`: the squared error of each matched layer's states over the variance of the teacher's layer, the mean over
    tokens, channels and layers; `last`: that of the last layer once more; `cosine`: 1 - cosine between the mean vectors
    of a passage. Where the teacher reads a passage in windows, its vector is the mean of the windows' normalised ones.
    `mlm` and `sso`: as in pre-training.

    Args:
        config: the student's. Its `distillation` has `layers`, the teacher's layer, from 1, that each layer of the
            student matches, and the `variances` of their states, as `layer_variances` finds them.
        teacher: as `open_teacher` gives it.
        options: the weights of the losses.
        projection: from the student's states to the teacher's, where the student hasn't `teacher_projection` itself.
    """

    def __init__(
        self,
        config: "PoNetConfig",
        teacher: "PoNetModel",
        options: DistillationOptions,
        projection: nn.Module | None = None,
    ) -> None:
        self.config, self.teacher, self.projection = config, teacher, projection or nn.Identity()
        self.layers: list[int] = config.distillation["layers"]
        self.variances: list[float] = config.distillation["variances"]
        self.weights = {name: getattr(options, name) for name in LOSSES}

    def counts(self, batch: dict[str, Tensor]) -> Tensor:
        """`[4]`: tokens of passages, passages, masked words, pairs."""
        ends = batch["passage_cu_seqlens"]
        counts = [int(ends[-1]), len(ends) - 1, len(batch["labels"]), len(batch["sentence_labels"])]
        return torch.tensor(counts, dtype=torch.float64)

    def __call__(self, model: nn.Module, batch: dict[str, Tensor], totals: Tensor) -> tuple[Tensor, Tensor]:
        """As `ponet.tasks.base.Objective`: the weighted sum of losses, and what figures are made of."""
        output = model(**{name: batch[name] for name in INPUTS}, output_hidden_states=True)
        words, order = output.prediction_logits.float(), output.seq_relationship_logits.float()
        ends = batch["passage_cu_seqlens"]
        passages = len(ends) - 1
        if passages:
            states, vectors = teacher_targets(self.teacher, self.layers, batch)
            project = getattr(getattr(model, "module", model), "teacher_projection", self.projection)
            ours = [project(hidden[0, : len(states[0])]).float() for hidden in output.hidden_states[1:]]
            # summed over tokens, a number for each layer
            errors = [
                (hidden - state).square().mean(1).sum() / variance
                for hidden, state, variance in zip(ours, states, self.variances, strict=True)
            ]
            mean = mean_aggregation(ours[-1], Layout.from_packed(ends))
            distance = (1 - torch.cosine_similarity(mean, vectors)).sum()
        else:
            errors, distance = [words.new_zeros(())] * len(self.layers), words.new_zeros(())
        mlm = cross_entropy(words, batch["labels"], reduction="sum")
        sso = cross_entropy(order[passages:], batch["sentence_labels"], reduction="sum")
        counts = totals.to(words).clamp(min=1)
        hidden, last = torch.stack(errors).mean() / counts[0], errors[-1] / counts[0]
        losses = (hidden, last, distance / counts[1], mlm / counts[2], sso / counts[3])
        loss = torch.stack([self.weights[name] * value for name, value in zip(LOSSES, losses, strict=True)]).sum()
        loss = loss + 0.0 * (words.sum() + order.sum())  # every weight has a gradient, which DDP insists on
        right = [
            (scores.argmax(-1) == labels).sum()
            for scores, labels in ((words, batch["labels"]), (order[passages:], batch["sentence_labels"]))
        ]
        parts = torch.stack([part.detach().double() for part in (distance, mlm, sso, *right, *errors)])
        return loss, torch.cat([self.counts(batch).to(parts), parts])

    def figures(self, sums: Tensor) -> dict[str, float]:
        """`loss`; `hidden_loss`, `last_loss`, `cosine` (of the mean vectors) and the error of each layer; where there
        are pairs, `mlm_loss`, `mlm_accuracy`, `sso_loss`, `sso_accuracy`."""
        tokens, passages, masked, pairs, distance, mlm, sso, words, orders, *errors = sums.tolist()
        layers = [error / max(tokens, 1) for error in errors]
        means = (distance / max(passages, 1), mlm / max(masked, 1), sso / max(pairs, 1))
        losses = dict(zip(LOSSES, (sum(layers) / len(layers), layers[-1], *means), strict=True))
        found = {"loss": sum(self.weights[name] * value for name, value in losses.items())}
        found |= {"hidden_loss": losses["hidden"], "last_loss": losses["last"], "cosine": 1 - losses["cosine"]}
        if pairs:
            found |= {"mlm_loss": losses["mlm"], "mlm_accuracy": words / max(masked, 1)}
            found |= {"sso_loss": losses["sso"], "sso_accuracy": orders / pairs}
        return found | {f"layer_{number}_error": error for number, error in enumerate(layers, 1)}

    def flops(self, batch: dict[str, Tensor]) -> float:
        """Operations of a training step over this batch: the student's, and the teacher's forward pass."""
        read = _lengths(batch.get("teacher_cu_seqlens", batch["passage_cu_seqlens"]))
        student = forward_flops(self.config, _lengths(batch["cu_seqlens"]), len(batch["labels"]))
        return TRAINING * student + forward_flops(self.teacher.config, read, 0)


@torch.no_grad()
def teacher_targets(
    teacher: "PoNetModel", layers: Sequence[int], batch: dict[str, Tensor]
) -> tuple[list[Tensor], Tensor]:
    """The teacher's states of each matched layer, `[t, d]` each, and its vectors of the passages, `[P, d]`."""
    if teacher.device != batch["input_ids"].device:
        nn.Module.to(teacher, batch["input_ids"].device)
    windowed = "teacher_places" in batch
    if windowed:
        ids, cu_seqlens = batch["teacher_input_ids"], batch["teacher_cu_seqlens"]
    else:
        cu_seqlens = batch["passage_cu_seqlens"]
        ids = batch["input_ids"][:, : int(cu_seqlens[-1])]
    output = teacher(input_ids=ids, cu_seqlens=cu_seqlens, output_hidden_states=True)
    states = [output.hidden_states[layer][0].float() for layer in layers]
    vectors = mean_aggregation(output.last_hidden_state[0].float(), Layout.from_packed(cu_seqlens))
    vectors = nn.functional.normalize(vectors)
    if windowed:
        states = [state.index_select(0, batch["teacher_places"]) for state in states]
        windows = batch["teacher_documents"]
        passages = vectors.new_zeros(batch["passage_cu_seqlens"].shape[0] - 1, vectors.shape[1])
        vectors = passages.index_add(0, windows, vectors)  # a cosine doesn't ask for the mean's length
    return states, vectors


def layer_variances(teacher: "PoNetModel", layers: Sequence[int], batch: dict[str, Tensor]) -> list[float]:
    """The variance of each named layer's states over the tokens of a batch, the mean over channels."""
    states, _ = teacher_targets(teacher, layers, batch)
    return [float(state.var(0).mean()) for state in states]


def _lengths(cu_seqlens: Tensor) -> list[int]:
    lengths: list[int] = cu_seqlens.diff().tolist()
    return lengths
