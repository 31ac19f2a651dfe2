"""The learning rate over a training, by the recipe's `schedule` and `warmup`."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from transformers import get_scheduler, get_wsd_schedule

from ponet.config.training import TrainingOptions
from ponet.utils.errors import PoNetError

_HUGGING_FACE = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def warmup_steps(warmup: float, steps: int) -> int:
    """`warmup` in steps: a fraction of all `steps` where it is below 1.

    Raises:
        PoNetError: where no step is left after it.
    """
    count = math.ceil(warmup * steps) if warmup < 1 else round(warmup)
    if count >= steps and warmup >= 1:
        raise PoNetError(
            f"'training.warmup' takes {count} steps and the training has {steps}. Lower it, or give a fraction (0.1)."
        )
    return min(count, steps - 1)


def evaluation_interval(eval_every: int | float, steps: int) -> int:
    """`eval_every` in steps: a fraction of all `steps` where it is below 1, or 1.0 (1 is every step)."""
    fraction = eval_every < 1 or (isinstance(eval_every, float) and eval_every == 1)
    return max(1, round(eval_every * steps if fraction else eval_every))


def build_schedule(options: TrainingOptions, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The scheduler to step once an optimizer step, `steps` times.

    Raises:
        PoNetError: where the warm-up is longer than the training.
    """
    warmup = warmup_steps(options.warmup, steps)
    if options.schedule == "onecycle":
        phase = warmup if warmup != 1 else 1 + 1e-6  # from step 0 to step 0 torch divides by zero
        return OneCycleLR(
            optimizer,
            max_lr=options.learning_rate,
            total_steps=steps,
            pct_start=phase / steps,
            anneal_strategy="linear",
            cycle_momentum=True,
        )
    if options.schedule == "warmup_stable_decay":
        decay = min(round(options.decay * steps), steps - warmup)
        return get_wsd_schedule(
            optimizer, warmup, decay, num_training_steps=steps, warmup_type="linear", decay_type="linear"
        )
    scheduler: LRScheduler = get_scheduler(
        _HUGGING_FACE[options.schedule], optimizer, num_warmup_steps=warmup, num_training_steps=steps
    )
    return scheduler
