"""The `training` section of a recipe, field by field."""

import math
import re
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from ponet.config.schema import MAX_COUNT, Count, Share, options, short
from ponet.utils.errors import PoNetError

MOST_STEPS = MAX_COUNT
"""More optimizer steps than anyone takes: a training of more is a typing mistake."""
COUNTED_EPOCHS = 100
"""Where each epoch has a number of batches of its own, those of so many epochs are counted before a training begins;
later ones are taken to have the mean."""


def check_steps(epochs: float, steps: float) -> None:
    """Raises PoNetError where so many epochs, which are about so many steps, are more than `MOST_STEPS`."""
    if steps > MOST_STEPS:
        raise PoNetError(f"'training.epochs' is {epochs:g}: that is more than {MOST_STEPS:,} steps. Lower it.")


Beta = Annotated[float, Field(ge=0, lt=1)]


@options("training")
class TrainingOptions:
    """How to train: the recipe's `training` section."""

    learning_rate: PositiveFloat = 1e-4
    """AdamW's highest learning rate."""
    head_learning_rate: PositiveFloat | None = None
    """The highest learning rate of the weights that `model.init` lacks, such as a new classifier's. null:
    `learning_rate`."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Layer-wise decay of the learning rate: that of an encoder layer is multiplied by this to the power of the number
    of layers above it, so that of embeddings is the lowest and that of the head is `learning_rate` itself. 1: none."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay, on everything but biases and normalisation weights."""
    adam_beta1: Beta = 0.9
    """Decay of the running mean of gradients. `schedule: onecycle` cycles it between 0.95 and 0.85 instead."""
    adam_beta2: Beta = 0.999
    """Decay of the running mean of squared gradients."""
    adam_eps: PositiveFloat = 1e-8
    """Added to AdamW's denominator."""
    schedule: Literal["linear", "cosine", "constant", "warmup_stable_decay", "onecycle"] = "linear"
    """The learning rate after the warm-up: linear or cosine decay to 0, constant, or constant and then a linear decay
    to 0 (`decay`). onecycle: torch's `OneCycleLR` with linear annealing, as the paper's Long Range Arena runs have
    it."""
    warmup: Annotated[float, Field(ge=0, le=MAX_COUNT)] = 0.1
    """Warm-up, as a fraction of all steps if below 1, else in steps."""
    decay: Share = 0.4
    """The share of all steps over which `warmup_stable_decay` lowers the learning rate."""
    epochs: Annotated[float, Field(gt=0, le=MAX_COUNT)] = 3.0
    """Passes over the training split. Ignored where `max_steps` is given. With `batch_tokens` the batches of
    a pass differ in number: of more than 100 passes the total is an estimate."""
    max_steps: Count | None = None
    """Number of optimizer steps, however many epochs that takes."""
    budget: str | None = None
    """Time for the training steps of a new run (90s, 25m, 2h), without evaluations: some steps are timed first, and
    `max_steps` becomes the number that fills it, which the schedule then fits exactly. Use the machine for nothing
    else."""
    step_seconds: PositiveFloat | None = None
    """Seconds of one step, where they are known from a trial on an idle machine: `budget` then times nothing."""
    batch_tokens: Count | None = 16384
    """Real tokens in a batch, at most; its documents are of similar length. null: `batch_size` documents at random."""
    batch_size: Count | None = None
    """Documents in a batch, at most. null: as many as `batch_tokens` allows."""
    drop_last: bool = False
    """Whether, where `batch_tokens` is null, an epoch leaves out the documents that fill no batch of `batch_size`."""
    gradient_accumulation: Count = 1
    """Batches in one optimizer step; the loss is the mean over all their examples."""
    max_grad_norm: NonNegativeFloat = 1.0
    """The gradient is scaled down to this norm where it is longer; 0 leaves it as it is."""
    eval_every: Count | Annotated[float, Field(gt=0, le=MAX_COUNT)] | None = None
    """Steps between evaluations on the validation split, or a fraction of all steps: below 1, or 1.0 for the last step
    alone. null: once an epoch. The last step always has one."""
    metric: str | None = None
    """The validation metric that chooses the best checkpoint. null: the task's own."""
    patience: Count | None = None
    """Training stops after this many evaluations without a better metric. null: never early."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward and backward pass. auto: bf16 on a GPU or a CPU that computes in it, found by
    a short probe, else float32."""
    workers: Annotated[int, Field(ge=0, le=1000)] = 0
    """Processes that make training batches ahead of their use. They change no batch. 0: none."""
    sharded: bool = False
    """Whether weights, gradients and optimizer are spread over the processes (FSDP) instead of copied to each (DDP)."""
    compile: bool = False
    """Whether `torch.compile` is used."""
    checkpoint_every: int | str = "2m"
    """From one checkpoint to resume from to the next: steps (100) or time (90s, 5m, 1h). Evaluations make one too."""
    keep_checkpoints: bool = False
    """Whether `checkpoints/` stays in the run folder once the run is complete."""
    log_every: Count = 10
    """Steps between lines in metrics.jsonl."""

    def __post_init__(self) -> None:
        if self.batch_tokens is None and self.batch_size is None:
            raise PoNetError("One of 'training.batch_tokens' and 'training.batch_size' is needed; both are null.")
        self.checkpoint_interval()
        if self.budget_seconds() is None and self.step_seconds is not None:
            raise PoNetError("'training.step_seconds' is there for a training.budget to be filled: give that too.")

    def checkpoint_interval(self) -> tuple[int | None, float | None]:
        """`checkpoint_every` as (steps, None) or (None, seconds)."""
        every = self.checkpoint_every
        if isinstance(every, int):
            if 0 < every <= MOST_STEPS:
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
