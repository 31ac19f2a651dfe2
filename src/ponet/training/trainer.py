"""The Hugging Face Trainer with our batches, evaluation, schedules and checkpoints."""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import EvalLoopContainer
from transformers.trainer_utils import EvalLoopOutput, EvalPrediction, denumpify_detensorize
from transformers.utils import SAFE_WEIGHTS_NAME

from ponet.config.training import TrainingOptions
from ponet.tasks.base import BatchStream, Collate, Metrics, Objective, Split
from ponet.training.batching import EvaluationBatches
from ponet.training.checkpoints import CheckpointStore
from ponet.training.examples import Examples, count_examples, restore_order, without_prefix
from ponet.training.memory import peak_bytes
from ponet.training.objective import ObjectiveTrainer
from ponet.training.progress import Progress
from ponet.training.schedules import build_schedule
from ponet.training.sharding import gathered, keep_tied_together, load_optimizer, load_weights, shard_on_cpu
from ponet.utils.allocator import return_free_memory
from ponet.utils.errors import PoNetError, suggest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PROGRESS_FILE, OPTIMIZER_NAME, SCHEDULER_NAME = "progress.json", "optimizer.pt", "scheduler.pt"
TRIM_EVERY = 50
"""Steps on a CPU: seldom enough not to be seen in the time, often enough for the heap to stay small."""


class PoNetTrainer(ObjectiveTrainer):
    """Trains along a `TrainingStream`, which is one epoch to the Trainer, and keeps `Progress` with each checkpoint.

    Args:
        model: trained in place.
        args: what the Trainer itself needs; logging, evaluation and saving are decided by our callbacks.
        options: the recipe's training section.
        collate, compute_metrics, processing_class, compute_loss_func, objective: the task's.
        train: the training split; None for evaluation only.
        validation: the validation split, if there is one.
        stream, store, progress: batches, checkpoints and counts of this training.
        metric, greater_is_better: chooses the best checkpoint.
        callbacks: added to the Trainer's flow.
    """

    loss_is_scaled_for_ga = True  # by compute_loss below, or by the task's own loss

    def __init__(
        self,
        model: "PreTrainedModel",
        args: TrainingArguments,
        options: TrainingOptions,
        collate: Collate,
        compute_metrics: Metrics | None,
        processing_class: "PreTrainedTokenizerBase | None" = None,
        compute_loss_func: Callable[..., Any] | None = None,
        train: Split | None = None,
        validation: Split | None = None,
        stream: BatchStream | None = None,
        objective: Objective | None = None,
        store: CheckpointStore | None = None,
        progress: Progress | None = None,
        metric: str | None = None,
        greater_is_better: bool = True,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        super().__init__(
            model=model,
            args=args,
            data_collator=collate,
            train_dataset=Examples(train) if train is not None else None,
            eval_dataset=Examples(validation) if validation is not None else None,
            processing_class=processing_class,
            compute_loss_func=compute_loss_func,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        self.options, self.stream, self.store = options, stream, store
        self.objective = objective
        self.progress = progress or Progress()
        self.metric, self.greater_is_better = metric, greater_is_better
        self._examples_in_step = 1
        self._kept: set[int] = set()
        self._mark = time.perf_counter()

    def create_accelerator_and_postprocess(self) -> None:
        """As the Trainer's, with what sharding needs besides."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp:
            if self.args.device.type == "cpu":
                shard_on_cpu(self.accelerator, self.args.fsdp_plugin_args)
                self.is_fsdp_enabled = True
            keep_tied_together(self.accelerator)

    # ---- batches

    def get_train_dataloader(self) -> DataLoader:
        """The stream's batches."""
        return self._loader(self.train_dataset, self.stream, self.options.workers)

    def get_eval_dataloader(self, eval_dataset: "str | Dataset | None" = None) -> DataLoader:
        """Batches by token budget over `Examples`; `batch_sampler.order` says how to put results back in order."""
        examples = cast(Examples, self.eval_dataset if eval_dataset is None else eval_dataset)
        return self._loader(
            examples, EvaluationBatches(examples.lengths, self.options.batch_tokens, self.options.batch_size)
        )

    def get_test_dataloader(self, test_dataset: Dataset) -> DataLoader:
        """As `get_eval_dataloader`."""
        return self.get_eval_dataloader(test_dataset)

    def _loader(self, examples: Any, batches: Any, workers: int = 0) -> DataLoader:
        ahead: dict[str, Any] = {}
        if workers:  # by spawn: Numba's threads don't survive a fork
            ahead = {"num_workers": workers, "multiprocessing_context": "spawn"}
        return DataLoader(
            examples,
            **ahead,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.device.type == "cuda",
            generator=torch.Generator(),  # a new loader draws a number: it must not be one of the training's
        )

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The batches of one optimizer step; counts their examples, over all processes, for `compute_loss`."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.objective is not None:
            self._count(batches, device)
            return batches, items
        count = sum(count_examples(batch) for batch in batches)
        if self.args.world_size > 1:
            count = int(self.accelerator.reduce(torch.tensor(count, device=device), "sum"))
        self._examples_in_step = max(1, count)
        return batches, items

    def take_up(self) -> None:
        """At the start of training: goes on where the progress is, with the loss that isn't logged yet."""
        self._tr_loss += self.progress.loss_sum
        self._globalstep_last_logged = self.progress.logged_step
        if self.progress.figure_sums and self.args.process_index == 0:  # they are over all processes
            self._sums = torch.tensor(self.progress.figure_sums, dtype=torch.float64, device=self.args.device)
        self._kept = self._needed()
        self._mark = time.perf_counter()

    # ---- optimisation

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The recipe's schedule."""
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer
            if optimizer is None:
                raise RuntimeError("the optimizer comes before its schedule")
            self.lr_scheduler = build_schedule(self.options, optimizer, num_training_steps)  # type: ignore[assignment]
            self._created_lr_scheduler = True
        return cast(torch.optim.lr_scheduler.LRScheduler, self.lr_scheduler)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean over all examples of an optimizer step, however they are spread over its batches and processes."""
        if self.objective is not None:
            totals = self._totals if model.training else self.objective.counts(inputs)
            loss, sums = self.objective(model, inputs, totals)
            if model.training:
                self._sums = sums if self._sums is None else self._sums + sums
                loss = loss * self.args.world_size  # gradients are averaged over processes
            return (loss, sums) if return_outputs else loss
        if self.compute_loss_func is not None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        count = count_examples(inputs)
        loss, outputs = super().compute_loss(model, inputs, True, None)
        if model.training:
            loss = loss * (count * self.args.world_size / self._examples_in_step)
        return (loss, outputs) if return_outputs else loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: the Trainer's estimate is made for decoders, and walks over all parameters at each step."""
        return 0

    def _maybe_log_save_evaluate(
        self, tr_loss: torch.Tensor, grad_norm: torch.Tensor | float | None, *args: Any, **kwargs: Any
    ) -> None:
        now = time.perf_counter()
        self.progress.seconds += now - self._mark
        if self.control.should_log or self.control.should_save or self.args.device.type == "cpu":
            self._check_finite(tr_loss, grad_norm)
            self.progress.peak_memory_bytes = max(self.progress.peak_memory_bytes, peak_bytes())
        if self.args.device.type == "cpu" and self.state.global_step % TRIM_EVERY == 0:
            return_free_memory()
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, *args, **kwargs)
        self._mark = time.perf_counter()

    def _check_finite(self, loss: torch.Tensor, grad_norm: torch.Tensor | float | None) -> None:
        norm = 0.0 if grad_norm is None or self.args.fp16 else float(grad_norm)  # fp16 skips such steps by itself
        if not (math.isfinite(float(loss)) and math.isfinite(norm)):
            what = "loss" if not math.isfinite(float(loss)) else "gradient"
            raise PoNetError(
                f"The {what} stopped being a finite number at step {self.state.global_step}. Lower "
                f"training.learning_rate (now {self.options.learning_rate:g}), or look for extreme values in the data, "
                "then start again with --overwrite."
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Hands logs to the callbacks; metrics.jsonl is their history, so checkpoints needn't carry it."""
        logs["epoch"] = self.progress.epoch
        if self.objective is not None and "loss" in logs:
            self._settle_flops()
            sums = self._gathered_sums()
            if sums is not None:
                logs |= {name: value for name, value in self.objective.figures(sums).items() if name != "loss"}
            self._sums = None
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)

    # ---- evaluation

    def evaluate_split(self, split: Split) -> dict[str, float]:
        """Metrics of a split by their plain names, apart from the training: no callback hears of it."""
        loader = self.get_eval_dataloader(Examples(split))
        return without_prefix(self.evaluation_loop(loader, description="Evaluation").metrics or {})

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Metrics of `Examples` (the validation split's where none are given), their names with the prefix."""
        started = time.perf_counter()
        output = self.evaluation_loop(
            self.get_eval_dataloader(eval_dataset),
            description="Evaluation",
            ignore_keys=ignore_keys,
            metric_key_prefix=metric_key_prefix,
        )
        metrics = output.metrics or {}
        if self.is_in_train:
            self.progress.evaluation_seconds += time.perf_counter() - started
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As the Trainer's, but the loss is the mean over examples and predictions come in the split's order.

        With several processes each one evaluates the whole split.
        """
        loss_only = self.compute_metrics is None if prediction_loss_only is None else prediction_loss_only
        model = self._model_for_evaluation()
        self.callback_handler.eval_dataloader = dataloader
        if self.objective is not None:
            return self._evaluate_objective(model, dataloader, metric_key_prefix)
        loss_sum, examples = 0.0, 0
        all_logits = EvalLoopContainer(do_nested_concat=True, padding_index=-100)
        all_labels = EvalLoopContainer(do_nested_concat=True, padding_index=-100)
        for inputs in dataloader:
            count = count_examples(inputs)
            loss, logits, labels = self.prediction_step(model, inputs, loss_only, ignore_keys)
            if loss is not None:
                loss_sum += float(loss) * count
                examples += count
            for container, values in ((all_logits, logits), (all_labels, labels)):
                if values is not None:
                    container.add(values)
                    container.to_cpu_and_numpy()
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        order = cast(EvaluationBatches, dataloader.batch_sampler).order
        logits = restore_order(all_logits.get_arrays(), order)
        labels = restore_order(all_labels.get_arrays(), order)
        metrics: dict[str, Any] = {}
        if self.compute_metrics is not None and logits is not None and labels is not None:
            metrics = dict(self.compute_metrics(EvalPrediction(predictions=logits, label_ids=labels)))
        if examples:
            metrics["loss"] = loss_sum / examples
        named = {f"{metric_key_prefix}_{name}": value for name, value in denumpify_detensorize(metrics).items()}
        return EvalLoopOutput(predictions=logits, label_ids=labels, metrics=named, num_samples=len(order))

    def _model_for_evaluation(self) -> torch.nn.Module:
        model = self._wrap_model(cast(torch.nn.Module, self.model), training=False)
        if len(self.accelerator._models) == 0 and model is self.model:  # training prepares it too: not twice
            model = self.accelerator.prepare_model(model, evaluation_mode=True)
        model.eval()
        return model

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        values = without_prefix(metrics)
        if self.metric not in values:
            raise PoNetError(
                f"The validation split has no metric '{self.metric}' for 'training.metric'."
                f"{suggest(str(self.metric), values)}"
            )
        ahead = self.progress.evaluated(values, self.metric, self.greater_is_better)
        if self.options.patience is not None and self.progress.waited >= self.options.patience:
            self.progress.stopped = self.progress.stopped or "patience"
            self.control.should_training_stop = True
        return ahead

    # ---- checkpoints

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        if self.store is None:
            raise RuntimeError("this trainer was made without a checkpoint store")
        step = self.state.global_step
        self.progress.loss_sum = float(self._tr_loss)
        self.progress.logged_step = self._globalstep_last_logged
        if self.objective is not None:
            self._settle_flops()
            sums = self._gathered_sums()
            self.progress.figure_sums = [] if sums is None else sums.tolist()
            self._sums = sums if self.args.process_index == 0 else None if sums is None else torch.zeros_like(sums)
        weights, optimizer = None, None
        if self.is_fsdp_enabled:
            assert self.model is not None
            assert self.optimizer is not None
            weights, optimizer = gathered(self.model.state_dict()), gathered(self.optimizer.state_dict())
        if not self.args.should_save:  # another process than the first: only its own random state
            self.accelerator.wait_for_everyone()
            self._save_rng_state(str(self.store.staging(step)))
            self.accelerator.wait_for_everyone()
            return
        with self.store.writing(step) as folder:
            self.accelerator.wait_for_everyone()
            if optimizer is not None:
                self._save(str(folder), state_dict=weights)
                torch.save(optimizer, folder / OPTIMIZER_NAME)
                assert self.lr_scheduler is not None
                torch.save(self.lr_scheduler.state_dict(), folder / SCHEDULER_NAME)
            else:
                self.save_model(str(folder), _internal_call=True)
                self._save_optimizer_and_scheduler(str(folder))
            self._save_scaler(str(folder))
            self._save_rng_state(str(folder))
            self.state.save_to_json(str(folder / "trainer_state.json"))
            (folder / PROGRESS_FILE).write_text(json.dumps(self.progress.to_dict(), indent=2), encoding="utf-8")
            self.accelerator.wait_for_everyone()
        # The one before stays, with the best one it knows: should this one be found damaged, nothing is lost.
        self.store.keep_only(self._needed() | self._kept)
        self._kept = self._needed()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """As the Trainer's; a sharded model takes its parts of whole weights."""
        if not self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        elif model is not None:  # asked without one before the model is sharded
            load_weights(model, Path(resume_from_checkpoint) / SAFE_WEIGHTS_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """As the Trainer's, likewise."""
        if checkpoint is None or not self.is_fsdp_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        load_optimizer(self.optimizer, Path(checkpoint) / OPTIMIZER_NAME)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))

    def _needed(self) -> set[int]:
        """The steps whose checkpoints a resume from the present one needs."""
        return {step for step in (self.progress.step, self.progress.best_step) if step is not None}
