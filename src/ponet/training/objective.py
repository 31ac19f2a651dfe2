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

    _flops: float = 0.0
    """Of the steps since the progress was told."""

    def _count(self, batches: list[Any], device: torch.device) -> None:
        """What the objective's means are over in this step, and the operations it takes."""
        assert self.objective is not None
        totals = torch.stack([self.objective.counts(batch) for batch in batches]).sum(0).to(device)
        self._totals = self.accelerator.reduce(totals, "sum") if self.args.world_size > 1 else totals
        self._flops += sum(self.objective.flops(batch) for batch in batches)

    def _settle_flops(self) -> None:
        """Adds this process's operations, and the others', to the progress: seldom, for it waits for the device."""
        flops = torch.tensor(self._flops, dtype=torch.float64, device=self.args.device)
        self.progress.flops += float(self.accelerator.reduce(flops, "sum") if self.args.world_size > 1 else flops)
        self._flops = 0.0

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
