"""The part of our trainer for a task with an `Objective`: counts, sums and figures over batches and processes."""

from typing import Any, cast

import torch
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from ponet.tasks.base import Objective
from ponet.training.batching import EvaluationBatches
from ponet.training.progress import Progress


class ObjectiveTrainer(Trainer):
    """What `PoNetTrainer` stands on."""

    objective: Objective | None = None
    progress: Progress
    _totals: torch.Tensor
    """Of the objective's counts, over a step."""
    _sums: torch.Tensor | None = None
    """Of the objective's figures, since they were logged."""

    def _count(self, batches: list[Any], device: torch.device) -> None:
        """What the objective's means are over in this step, and the operations it takes."""
        assert self.objective is not None
        counts = [self.objective.counts(batch).to(device) for batch in batches]
        flops = sum(self.objective.flops(batch) for batch in batches)
        totals = torch.cat([torch.stack(counts).sum(0), torch.tensor([flops], dtype=counts[0].dtype, device=device)])
        if self.args.world_size > 1:
            totals = self.accelerator.reduce(totals, "sum")
        self._totals = totals[:-1]
        self.progress.flops += float(totals[-1])

    def _gathered_sums(self) -> torch.Tensor | None:
        """The sums behind figures since they were logged, over all processes."""
        if self.args.world_size == 1 or self._sums is None:
            return self._sums
        return cast(torch.Tensor, self.accelerator.reduce(self._sums, "sum"))

    def _evaluate_objective(self, model: torch.nn.Module, dataloader: DataLoader, prefix: str) -> EvalLoopOutput:
        assert self.objective is not None
        total: torch.Tensor | None = None
        for inputs in dataloader:
            inputs = self._prepare_inputs(inputs)
            with torch.no_grad(), self.compute_loss_context_manager():
                _, sums = self.objective(model, inputs, self.objective.counts(inputs).to(self.args.device))
            total = sums if total is None else total + sums
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        figures = {} if total is None else self.objective.figures(total)
        order = cast(EvaluationBatches, dataloader.batch_sampler).order
        named = {f"{prefix}_{name}": value for name, value in figures.items()}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=named, num_samples=len(order))  # type: ignore[arg-type]
