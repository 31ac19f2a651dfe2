"""AdamW with its parameter groups, and the learning rate over a training, by the recipe's `schedule` and `warmup`."""

import math
import re
from collections.abc import Collection

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from transformers import get_scheduler, get_wsd_schedule

from ponet.config.training import TrainingOptions
from ponet.utils.errors import PoNetError

NOT_DECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Names of weights without weight decay, in lower case; so are those of every `nn.LayerNorm`. The Trainer's rule."""
LAYER = re.compile(r"(?:^|\.)layers?\.([0-9]+)\.")
EMBEDDINGS = re.compile(r"(?:^|\.)embeddings\.")
_HUGGING_FACE = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def make_optimizer(options: TrainingOptions, model: nn.Module, new_weights: Collection[str] = ()) -> Optimizer:
    """AdamW over the weights of a model that need a gradient.

    The first two groups have the full learning rate, with and without weight decay; weights whose learning rate
    `layer_decay` or `head_learning_rate` changes have groups of their own after them.

    Raises PoNetError where `head_learning_rate` is given, which is for the `new_weights` that no checkpoint has, and
    there are none.
    """
    if options.head_learning_rate is not None and not new_weights:
        raise PoNetError(
            "'training.head_learning_rate' is for weights that 'model.init' lacks, and there are none: leave it out."
        )
    normalisation = {
        parameter for module in model.modules() if isinstance(module, nn.LayerNorm) for parameter in module.parameters()
    }
    depth = 1 + max(
        (int(match[1]) for name, _ in model.named_parameters() if (match := LAYER.search(name))), default=-1
    )
    base = options.learning_rate
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(base, True): [], (base, False): []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if options.head_learning_rate is not None and name in new_weights:
            rate = options.head_learning_rate
        else:
            rate = base * options.layer_decay ** _layers_above(name, depth)
        decayed = parameter not in normalisation and not NOT_DECAYED.search(name.lower())
        groups.setdefault((rate, decayed), []).append(parameter)
    return AdamW(
        [
            {"params": parameters, "lr": rate, "weight_decay": options.weight_decay if decayed else 0.0}
            for (rate, decayed), parameters in groups.items()
        ],
        lr=base,
        betas=(options.adam_beta1, options.adam_beta2),
        eps=options.adam_eps,
        fused=True,
    )


def _layers_above(name: str, depth: int) -> int:
    """How many of the `depth` encoder layers are above a weight: all above embeddings, none above a head."""
    if match := LAYER.search(name):
        return depth - 1 - int(match[1])
    return depth if EMBEDDINGS.search(name) else 0


def build_schedule(options: TrainingOptions, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The scheduler to step once an optimizer step, `steps` times; each group keeps its ratio to the others. Raises
    PoNetError where the warm-up is longer than the training."""
    warmup = warmup_steps(options.warmup, steps)
    if options.schedule == "onecycle":
        phase = warmup if warmup != 1 else 1 + 1e-6  # from step 0 to step 0 torch divides by zero
        return OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
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


def warmup_steps(warmup: float, steps: int) -> int:
    """`warmup` in steps: a fraction of all `steps` where it is below 1. Raises PoNetError where no step is left after
    it."""
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
