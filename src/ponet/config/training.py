"""The `training` section of a recipe, field by field."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from ponet.config.values import short
from ponet.utils.errors import PoNetError

MOST_STEPS = 10**9
"""More optimizer steps than anyone takes; a training of more is a slip of the hand."""
MOST_WORKERS = 1_000
COUNTED_EPOCHS = 100
"""Where each epoch has a number of batches of its own, those of so many epochs are counted before a training begins;
later ones are taken to have the mean."""


def check_steps(epochs: float, steps: float) -> None:
    """Raises PoNetError where so many epochs, which are about so many steps, are more than `MOST_STEPS`."""
    if steps > MOST_STEPS:
        raise PoNetError(f"'training.epochs' is {epochs:g}: that is more than {MOST_STEPS:,} steps. Lower it.")


@dataclass
class TrainingOptions:
    """How training goes: the recipe's `training` section."""

    learning_rate: float = 1e-4
    """AdamW's highest learning rate."""
    head_learning_rate: float | None = None
    """The highest learning rate of the weights that `model.init` lacks, such as a new classifier's. null:
    `learning_rate`."""
    layer_decay: float = 1.0
    """Layer-wise decay of the learning rate: that of an encoder layer is multiplied by this to the power of the number
    of layers above it, so that of embeddings is the lowest and that of the head is `learning_rate` itself. 1: none."""
    weight_decay: float = 0.01
    """Decoupled weight decay, on everything but biases and normalisation weights."""
    adam_beta1: float = 0.9
    """Decay of the running mean of gradients. `schedule: onecycle` cycles it between 0.95 and 0.85 instead."""
    adam_beta2: float = 0.999
    """Decay of the running mean of squared gradients."""
    adam_eps: float = 1e-8
    """Added to AdamW's denominator."""
    schedule: Literal["linear", "cosine", "constant", "warmup_stable_decay", "onecycle"] = "linear"
    """The learning rate after the warm-up: linear or cosine decay to 0, constant, or constant and then a linear decay
    to 0 (`decay`). onecycle: torch's `OneCycleLR` with linear annealing, as the paper's Long Range Arena runs have
    it."""
    warmup: float = 0.1
    """Warm-up, as a fraction of all steps if below 1, else in steps."""
    decay: float = 0.4
    """The share of all steps over which `warmup_stable_decay` lets the learning rate fall."""
    epochs: float = 3.0
    """Passes over the training split. Not looked at where `max_steps` is given. With `batch_tokens` the batches of
    a pass differ in number: of more than 100 passes the total is an estimate."""
    max_steps: int | None = None
    """Number of optimizer steps, however many epochs that takes."""
    budget: str | None = None
    """Time for the training steps of a new run (90s, 25m, 2h), evaluations not counted: some steps are timed first, and
    `max_steps` becomes the number that fills it. The schedule then fits it exactly; keep the machine to this run."""
    step_seconds: float | None = None
    """Seconds of one step, where they are known from a trial on a quiet machine: `budget` then times nothing."""
    batch_tokens: int | None = 16384
    """Real tokens in a batch, at most; its documents are of like length. null: `batch_size` documents at random."""
    batch_size: int | None = None
    """Documents in a batch, at most. null: as many as `batch_tokens` allows."""
    drop_last: bool = False
    """Whether, where `batch_tokens` is null, an epoch leaves out the documents that fill no batch of `batch_size`."""
    gradient_accumulation: int = 1
    """Batches to one optimizer step; the loss is the mean over all their examples."""
    max_grad_norm: float = 1.0
    """The gradient is scaled down to this norm where it is longer; 0 leaves it as it is."""
    eval_every: int | float | None = None
    """Steps between evaluations on the validation split, or a fraction of all steps: below 1, or 1.0 for the last step
    alone. null: once an epoch. The last step always has one."""
    metric: str | None = None
    """The validation metric that chooses the kept checkpoint. null: the task's own."""
    patience: int | None = None
    """Training stops after this many evaluations without a better metric. null: never early."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward and backward pass. auto: bf16 on a GPU that has it, else float32."""
    workers: int = 0
    """Processes that make training batches ahead of their use. They change no batch. 0: none."""
    sharded: bool = False
    """Whether weights, gradients and optimizer are spread over the processes (FSDP) instead of copied to each (DDP)."""
    compile: bool = False
    """Whether `torch.compile` is used."""
    checkpoint_every: int | str = "2m"
    """From one checkpoint to resume from to the next: steps (100) or time (90s, 5m, 1h). Evaluations make one too."""
    keep_checkpoints: bool = False
    """Whether `checkpoints/` stays in the run folder once the run is complete."""
    log_every: int = 10
    """Steps between lines in metrics.jsonl."""

    def __post_init__(self) -> None:
        positive = ("learning_rate", "head_learning_rate", "adam_eps", "epochs", "gradient_accumulation", "log_every")
        positive_or_null = ("max_steps", "step_seconds", "batch_tokens", "batch_size", "eval_every", "patience")
        not_negative = ("weight_decay", "warmup", "max_grad_norm", "workers")
        for name in (*positive, *positive_or_null, *not_negative):
            value = getattr(self, name)
            if value is None:
                continue
            if not (value >= 0 if name in not_negative else value > 0) or value == float("inf"):
                least = "0 or more" if name in not_negative else "greater than 0"
                raise PoNetError(f"'training.{name}' should be {least}, not {value}.")
        counts = ("max_steps", "batch_tokens", "batch_size", "gradient_accumulation", "eval_every", "patience")
        for name in (*counts, "epochs", "log_every", "warmup", "checkpoint_every", "workers"):
            value, most = getattr(self, name), MOST_WORKERS if name == "workers" else MOST_STEPS
            if isinstance(value, (int, float)) and value > most:
                raise PoNetError(f"'training.{name}' should be at most {most:,}, not {value:g}.")
        for name in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise PoNetError(f"'training.{name}' should be at least 0 and below 1, not {getattr(self, name)}.")
        if not 0 < self.layer_decay <= 1:
            raise PoNetError(f"'training.layer_decay' should be greater than 0 and at most 1, not {self.layer_decay}.")
        if not 0 <= self.decay <= 1:
            raise PoNetError(f"'training.decay' should be between 0 and 1, not {self.decay}.")
        if self.batch_tokens is None and self.batch_size is None:
            raise PoNetError("One of 'training.batch_tokens' and 'training.batch_size' is needed; both are null.")
        self.checkpoint_interval()
        if self.budget_seconds() is None and self.step_seconds is not None:
            raise PoNetError("'training.step_seconds' is there for a training.budget to be filled: give that too.")

    def checkpoint_interval(self) -> tuple[int | None, float | None]:
        """`checkpoint_every` as (steps, None) or (None, seconds)."""
        every = self.checkpoint_every
        if isinstance(every, int):
            if every > 0:
                return every, None
        elif seconds := _seconds(every):
            return None, seconds
        raise PoNetError(
            f"'training.checkpoint_every' should be steps (100) or time (90s, 5m, 1h), not '{short(str(every))}'."
        )

    def budget_seconds(self) -> float | None:
        """`budget` in seconds; None without one."""
        if self.budget is None:
            return None
        if seconds := _seconds(self.budget):
            return seconds
        raise PoNetError(f"'training.budget' should be a time such as 90s, 25m or 2h, not '{short(self.budget)}'.")


def _seconds(text: str) -> float | None:
    """`90s`, `5m` or `1h` in seconds; None for anything else, and for no time at all."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([smh])\s*", text)
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    return seconds if 0 < seconds < math.inf else None
