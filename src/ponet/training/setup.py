"""From a recipe's options to what torch and the Trainer need: precision, arguments, the fingerprint of the data."""

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from transformers import TrainingArguments

from ponet.config.training import TrainingOptions
from ponet.ops import use_backend
from ponet.tasks.base import Split
from ponet.utils.errors import PoNetError

FINGERPRINT_EXAMPLES = 256
TORCHRUN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What processes that train together find each other by."""


def check_environment() -> None:
    """That the environment variables which decide how we compute can be followed, before anything is read or written.

    Raises:
        PoNetError: an unknown `PONET_BACKEND`, or as `process_count`.
    """
    process_count()
    if "PONET_BACKEND" in os.environ:
        try:
            with use_backend(os.environ["PONET_BACKEND"]):
                pass
        except ValueError as error:
            raise PoNetError(f"The environment variable PONET_BACKEND: {error}. Choose one, or unset it.") from error


def process_index() -> int:
    """Which of the processes that `torchrun` started this is; 0 alone. The first one keeps the run folder.

    Raises:
        PoNetError: as `process_count`.
    """
    process_count()
    return _counted("RANK", 0)


def process_count() -> int:
    """How many processes train together.

    Raises:
        PoNetError: where the environment variables of `torchrun` are incomplete, or aren't numbers that fit together.
    """
    count, index = _counted("WORLD_SIZE", 1), _counted("RANK", 0)
    advice = "Start with torchrun, which sets all of its variables, or unset them"
    lacking = [name for name in TORCHRUN if not os.environ.get(name)]
    if lacking and (count > 1 or os.environ.get("LOCAL_RANK")):
        named = "LOCAL_RANK is set" if count == 1 else f"WORLD_SIZE is set to {count}"
        raise PoNetError(f"{named}, but not {' and '.join(lacking)}. {advice}.")
    if count < 1 or index >= count or _counted("LOCAL_RANK", 0) > index:
        named = ", ".join(f"{name}={os.environ[name]}" for name in ("WORLD_SIZE", *TORCHRUN) if name in os.environ)
        raise PoNetError(f"The environment's {named} can't be. {advice}.")
    _counted("MASTER_PORT", 0)
    return count


def _counted(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise PoNetError(f"The environment variable {name} should be a whole number, 0 or more, not '{text[:40]}'.")
    return int(text)


def wait_for_all() -> None:
    """Lets the processes that train together meet here; nothing alone."""
    if process_count() > 1:
        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def resolve_precision(wanted: str) -> str:
    """`auto` as what serves here: bf16 on a GPU that computes in it, else float32.

    Raises:
        PoNetError: where this machine can't compute in what is wanted.
    """
    gpu = torch.cuda.is_available()
    if wanted == "auto":
        return "bf16" if gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if wanted == "fp16" and not gpu:
        raise PoNetError("precision=fp16 needs a GPU, and there is none here. Use float32, or bf16.")
    if wanted == "bf16" and gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise PoNetError("This GPU doesn't compute in bf16. Use precision=fp16 or float32.")
    return wanted


def training_arguments(
    options: TrainingOptions, folder: Path, seed: int, steps: int, precision: str, may_leave_unused: bool = True
) -> TrainingArguments:
    """What the Trainer itself decides: the optimizer, precision and device; everything else is ours.

    Args:
        may_leave_unused: whether some weights may have no part in the loss, which costs DDP a search in each step.

    Raises:
        PoNetError: sharded training of a single process.
    """
    if options.sharded and process_count() == 1:
        raise PoNetError(
            "training.sharded spreads a model over several processes, and this is one: start with torchrun, or leave "
            "it out."
        )
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1,  # batches come from the stream
        gradient_accumulation_steps=options.gradient_accumulation,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        adam_beta1=options.adam_beta1,
        adam_beta2=options.adam_beta2,
        adam_epsilon=options.adam_eps,
        max_grad_norm=options.max_grad_norm,
        seed=seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        torch_compile=options.compile,
        ddp_find_unused_parameters=may_leave_unused if process_count() > 1 else None,
        fsdp=True if options.sharded else None,  # type: ignore[arg-type]
        fsdp_config={"transformer_layer_cls_to_wrap": ["PoNetLayer"], "version": 2} if options.sharded else None,
        logging_strategy="no",
        eval_strategy="no",
        save_strategy="no",
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )


def fingerprint(split: Split) -> str:
    """Tells one training split from another: all lengths, and the tokens and labels of examples all over it."""
    digest = hashlib.sha256(np.asarray(split.lengths, dtype=np.int64).tobytes())
    for index in np.unique(np.linspace(0, len(split) - 1, FINGERPRINT_EXAMPLES).astype(np.int64)).tolist():
        example = split.examples[index]
        for key in ("input_ids", "segment_ids", "labels"):
            if example.get(key) is not None:
                digest.update(np.ascontiguousarray(np.asarray(example[key], dtype=np.float64)).tobytes())
    return digest.hexdigest()
