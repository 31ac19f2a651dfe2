"""Fully sharded training (FSDP2), also over processes of a CPU, where it is tested and accelerate leaves it out."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel


def shard_on_cpu(accelerator: Accelerator, plugin_arguments: dict[str, Any]) -> None:
    """Makes an accelerator of CPU processes (gloo) shard the model as one of GPUs would.

    Args:
        accelerator: of several processes.
        plugin_arguments: as the Trainer made them of its `fsdp_config`.
    """
    plugin = FullyShardedDataParallelPlugin(**plugin_arguments)
    shared = accelerator.state._shared_state  # a property of the process, with no setter
    shared["distributed_type"], shared["fsdp_plugin"] = DistributedType.FSDP, plugin


def keep_tied_together(accelerator: Accelerator) -> None:
    """Lets embeddings and heads be one group of shards: the decoder's bias has a second owner (BERT's layout), and
    the groups that accelerate would make of them for itself may not share a weight."""
    prepare = accelerator.prepare

    def prepare_hidden(*objects: Any, **options: Any) -> Any:
        models = [each for each in objects if isinstance(each, PreTrainedModel)]
        for model in models:
            model.get_input_embeddings = model.get_output_embeddings = lambda: None  # type: ignore[method-assign, assignment]
        try:
            return prepare(*objects, **options)
        finally:
            for model in models:
                del model.get_input_embeddings, model.get_output_embeddings

    accelerator.prepare = prepare_hidden


def gathered(values: Any) -> Any:
    """Nested values with whole tensors on the CPU in the place of sharded ones: all processes must ask together.

    A checkpoint of these is one as a single process writes it, and can be gone on with by any number of them.
    """
    if isinstance(values, DTensor):
        return values.full_tensor().cpu()
    if isinstance(values, dict):
        return {key: gathered(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(gathered(value) for value in values)
    return values


def load_weights(model: torch.nn.Module, file: Path) -> None:
    """Whole weights from a safetensors file into a sharded model."""
    weights = load_file(file)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # tied ones once
            parameter.copy_(_as(parameter, weights[name]))
        for name, buffer in model.named_buffers():
            if name in weights:
                buffer.copy_(weights[name])


def load_optimizer(optimizer: torch.optim.Optimizer, file: Path) -> None:
    """A whole optimizer state into that of a sharded model."""
    whole = torch.load(file, map_location="cpu", weights_only=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    whole["state"] = {
        index: {
            name: _as(parameters[index], value)
            if isinstance(value, torch.Tensor) and value.shape == parameters[index].shape and value.dim()
            else value
            for name, value in entries.items()
        }
        for index, entries in whole["state"].items()
    }
    optimizer.load_state_dict(whole)


def _as(parameter: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    if not isinstance(parameter, DTensor):
        return whole
    return distribute_tensor(whole.to(parameter.device), parameter.device_mesh, parameter.placements)
