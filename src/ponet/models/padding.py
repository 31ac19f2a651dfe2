"""A batch as padded rows, in operations on tensors alone: what `torch.export` and `torch.compile` can follow.

By default the model packs its input, which needs the documents' lengths as numbers. A traced model has none: it
computes on rows as they are, padding included, with the same result at real tokens (`PoNetConfig.execution`).
"""

from typing import Any

import torch
from torch import Tensor

from ponet.mixers import takes_padded
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.packing import PackedBatch, check_inputs, derive_segment_ids, find_special_tokens
from ponet.ops.padded import PaddedLayout

_PACKED = ("cu_seqlens", "cu_seq_lens_q", "cu_seq_lens_k", "seq_idx")


def is_exported() -> bool:
    """Whether the computation is recorded to run elsewhere: `torch.export`, ONNX, `torch.jit.trace`."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def computes_on_rows(config: PoNetConfig, inputs: dict[str, Any]) -> bool:
    """Whether this batch is computed as padded rows.

    Args:
        config: `execution` "auto" does so in an exported or compiled graph, "padded" always, "packed" in an exported
            graph alone.
        inputs: the arguments of the model's `forward`. Packed input, and rows with position ids (which may be packed
            documents), are never computed as rows; a compiled graph then breaks.

    Raises:
        ValueError: where nothing but rows can be computed, and the mixer or the input allows for none.
    """
    must = is_exported() or config.execution == "padded"
    if not must and (config.execution == "packed" or not torch.compiler.is_compiling()):
        return False
    refused = _refusal(config, inputs)
    if refused and must:
        why = "torch.export and ONNX compute" if is_exported() else 'execution="padded" computes'
        raise ValueError(f"{why} on padded rows, and {refused}")
    return not refused


def _refusal(config: PoNetConfig, inputs: dict[str, Any]) -> str | None:
    """Why a batch can't be computed as rows."""
    packed_only = [name for name in dict.fromkeys(config.layer_mixers) if not takes_padded(name)]
    if packed_only:
        return f"the mixer '{packed_only[0]}' has no such form: use pooling, attention or fourier"
    if any(inputs.get(name) is not None for name in _PACKED):
        return "this input is packed: give input_ids [batch, length] with an attention_mask"
    if inputs.get("position_ids") is not None:
        return "position ids follow from attention_mask there: leave position_ids out"
    return None


def read_rows(
    config: PoNetConfig,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    segment_ids: Tensor | None = None,
    inputs_embeds: Tensor | None = None,
    special_tokens_mask: Tensor | None = None,
    **_: Any,
) -> PackedBatch:
    """As `packing.pack`, of padded input, without packing it: the tokens are `[B * N]`.

    Raises:
        ValueError: as `packing.pack`; in a traced graph, which can't look at values, a document longer than the model
            has positions fails where the graph runs.
    """
    given = check_inputs(
        config,
        input_ids,
        inputs_embeds,
        attention_mask=attention_mask,
        token_type_ids=token_type_ids,
        segment_ids=segment_ids,
        special_tokens_mask=special_tokens_mask,
    )
    if attention_mask is None:
        attention_mask = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
    special = None if special_tokens_mask is None else special_tokens_mask.bool()
    if special is None and input_ids is not None:
        special = find_special_tokens(config, input_ids)
    if special is not None:
        special = special & (attention_mask != 0)
    if segment_ids is None and input_ids is not None and special is not None:
        segment_ids = derive_segment_ids(special)
    layout = PaddedLayout.from_padded(attention_mask, segment_ids, special if config.clsgsepg else None)
    positions = layout.unpad(layout.place)
    if config.repeat_positions:
        positions = positions % config.max_position_embeddings
    elif not torch.compiler.is_compiling() and not torch.jit.is_tracing():
        longest = int(layout.document_lengths.max()) if layout.batch_size else 0
        config.check_length(longest)
    token_types = None if token_type_ids is None else layout.unpad(token_type_ids)
    return PackedBatch(layout.unpad(given), positions, token_types, layout, is_packed=False)
