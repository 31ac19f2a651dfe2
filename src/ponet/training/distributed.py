"""One process or several: torchrun's environment, the accelerator, and weights sharded over processes (FSDP2)."""

import os
import re
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    FullyShardedDataParallelPlugin,
    GradientAccumulationPlugin,
)
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from ponet.ops import use_backend
from ponet.utils.errors import PoNetError

TORCHRUN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""The variables through which processes that train together find each other."""


def check_environment() -> None:
    """Raises PoNetError for environment variables by which nothing can be computed, before anything is read."""
    process_count()
    if "PONET_BACKEND" in os.environ:
        try:
            with use_backend(os.environ["PONET_BACKEND"]):
                pass
        except ValueError as error:
            raise PoNetError(f"The environment variable PONET_BACKEND: {error}. Choose one, or unset it.") from error


def process_index() -> int:
    """The rank of this process among those that `torchrun` started; 0 alone. Rank 0 writes the run folder."""
    process_count()
    return _whole_number("RANK", 0)


def process_count() -> int:
    """How many processes train together. Raises PoNetError where the environment variables of `torchrun` are
    incomplete, or aren't numbers that fit together."""
    count, index = _whole_number("WORLD_SIZE", 1), _whole_number("RANK", 0)
    advice = "Start with torchrun, which sets all of its variables, or unset them"
    lacking = [name for name in TORCHRUN if not os.environ.get(name)]
    if lacking and (count > 1 or os.environ.get("LOCAL_RANK")):
        named = "LOCAL_RANK is set" if count == 1 else f"WORLD_SIZE is set to {count}"
        raise PoNetError(f"{named}, but not {' and '.join(lacking)}. {advice}.")
    if count < 1 or index >= count or _whole_number("LOCAL_RANK", 0) > index:
        named = ", ".join(f"{name}={os.environ[name]}" for name in ("WORLD_SIZE", *TORCHRUN) if name in os.environ)
        raise PoNetError(f"The environment's {named} can't be. {advice}.")
    _whole_number("MASTER_PORT", 0)
    return count


def _whole_number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise PoNetError(f"The environment variable {name} should be a whole number, 0 or more, not '{text[:40]}'.")
    return int(text)


def wait_for_all() -> None:
    """A barrier for the processes that train together; nothing for a single one."""
    if process_count() > 1:
        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def make_accelerator(
    precision: str, sharded: bool = False, compiled: bool = False, find_unused_parameters: bool = True
) -> Accelerator:
    """A new accelerator on the GPU where there is one, else on the CPU.

    Args:
        precision: float32, bf16 or fp16.
        sharded: whether weights are spread over the processes (FSDP2) instead of copied to each.
        compiled: whether models that it prepares are compiled.
        find_unused_parameters: whether weights may take no part in the loss, which costs DDP a search in each step.
    """
    plugin = None
    os.environ.pop("ACCELERATE_USE_FSDP", None)  # left by an earlier accelerator, it would make this one shard too
    if sharded:
        if process_count() == 1:
            raise PoNetError(
                "training.sharded spreads a model over several processes, and this is one: start with torchrun, or "
                "leave it out."
            )
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2,
            auto_wrap_policy="TRANSFORMER_BASED_WRAP",
            cpu_ram_efficient_loading=False,
            state_dict_type="FULL_STATE_DICT",
            reshard_after_forward=True,
        )
    AcceleratorState._reset_state(reset_partial_state=True)  # an earlier one's precision would stay
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no" if precision == "float32" else precision,
        fsdp_plugin=plugin,
        dynamo_backend="inductor" if compiled else None,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # the loop divides by itself
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters)],
    )
    accelerator.sync_gradients = True  # a state of the process, which a loop that was cut short may have left off
    if plugin is not None and accelerator.device.type == "cpu":  # accelerate shards over GPUs only: tests use gloo
        shared = accelerator.state._shared_state  # a property of the process, with no setter
        shared["distributed_type"], shared["fsdp_plugin"] = DistributedType.FSDP, plugin
    return accelerator


def prepare_training(
    accelerator: Accelerator, model: PreTrainedModel, optimizer: torch.optim.Optimizer
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """The model and the optimizer on their device, copied (DDP) or sharded (FSDP) where there are several processes."""
    sharded = accelerator.distributed_type == DistributedType.FSDP
    if sharded:
        # The decoder's bias has two owners (BERT's layout), and the groups of shards that accelerate would make of
        # embeddings and heads may not share a weight: with neither to be found, all are in one group.
        model.get_input_embeddings = model.get_output_embeddings = lambda: None  # type: ignore[method-assign, assignment]
    try:
        wrapped, optimizer = accelerator.prepare(model, optimizer)
        return wrapped, optimizer
    finally:
        if sharded:
            del model.get_input_embeddings, model.get_output_embeddings


def gathered(values: Any) -> Any:
    """Nested values with whole tensors on the CPU in the place of sharded ones; all processes call it together.

    A checkpoint of these is as a single process writes it, and any number of processes can resume from it.
    """
    if isinstance(values, DTensor):
        return values.full_tensor().cpu()
    if isinstance(values, dict):
        return {key: gathered(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(gathered(value) for value in values)
    return values


@torch.no_grad()
def load_sharded_weights(model: torch.nn.Module, file: Path) -> None:
    """Whole weights from a safetensors file into a sharded model."""
    weights = load_file(file)
    for name, parameter in model.named_parameters():  # tied ones once
        parameter.copy_(_shard_like(parameter, weights[name]))
    for name, buffer in model.named_buffers():
        if name in weights:
            buffer.copy_(weights[name])


def load_sharded_optimizer(optimizer: torch.optim.Optimizer, whole: dict[str, Any]) -> None:
    """The state of an optimizer of whole weights into that of a sharded model."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    whole["state"] = {
        index: {
            name: _shard_like(parameters[index], value)
            if isinstance(value, torch.Tensor) and value.shape == parameters[index].shape and value.dim()
            else value
            for name, value in entries.items()
        }
        for index, entries in whole["state"].items()
    }
    optimizer.load_state_dict(whole)


def _shard_like(parameter: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    if not isinstance(parameter, DTensor):
        return whole
    return distribute_tensor(whole.to(parameter.device), parameter.device_mesh, parameter.placements)
