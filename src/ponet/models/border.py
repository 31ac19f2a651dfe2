"""The border: padded Hugging Face batches are packed once on the way in, and padded once on the way out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ponet.models.configuration_ponet import PoNetConfig
from ponet.ops.layout import Layout


@dataclass
class PackedInputs:
    """One batch behind the border."""

    words: Tensor
    """`[T]` ids, or `[T, d]` embeddings."""
    positions: Tensor
    """`[T]`."""
    token_types: Tensor | None
    """`[T]`, or None where all are 0."""
    layout: Layout


@dataclass
class PackedOutputs:
    """What the encoder makes of a batch: packed, with the way back."""

    hidden: Tensor
    """`[T, d]`, the last layer's states."""
    layout: Layout
    packed: bool
    """Whether the caller gave packed input, and so gets packed output."""
    states: list[Tensor] | None = None
    weights: list[Tensor | None] | None = None

    def to_border(self, tokens: Tensor) -> Tensor:
        """`[T, ...]` -> `[B, N, ...]`, zeros at padding, or `[1, T, ...]` for packed input."""
        return tokens[None] if self.packed else self.layout.pad(tokens)

    def from_border(self, labels: Tensor) -> Tensor:
        """Labels of tokens: `[B, N]` or `[1, T]` -> `[T]`.

        Raises:
            ValueError: where they have another shape than the input.
        """
        layout = self.layout
        shape = (1, layout.num_tokens) if self.packed else (layout.batch_size, layout.padded_length)
        if labels.shape != shape:
            raise ValueError(f"labels have the shape {list(labels.shape)}; the input's is {list(shape)}")
        return labels[0] if self.packed else layout.unpad(labels)

    @property
    def hidden_states(self) -> tuple[Tensor, ...] | None:
        """As Hugging Face gives them: the embeddings' output, then each layer's."""
        return None if self.states is None else tuple(self.to_border(state) for state in self.states)

    @property
    def attentions(self) -> tuple[Tensor | None, ...] | None:
        """For each layer `[B, h, N]` (pooling), `[B, h, N, N]` (attention) or None (mixers without weights)."""
        if self.weights is None:
            return None
        return tuple(self.layout.pad(w).transpose(1, 2) if w is not None and w.dim() == 2 else w for w in self.weights)


def pack(
    config: PoNetConfig,
    input_ids: Tensor | None,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
    segment_ids: Tensor | None,
    inputs_embeds: Tensor | None,
    special_tokens_mask: Tensor | None,
    cu_seqlens: Tensor | None,
) -> PackedInputs:
    """Packs the arguments of a model's `forward`, checked.

    Raises:
        ValueError: for arguments that don't fit together, or a document longer than the model has positions.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise ValueError("give either input_ids or inputs_embeds")
    given = input_ids if input_ids is not None else inputs_embeds
    assert given is not None
    if input_ids is not None and (input_ids.dim() != 2 or input_ids.is_floating_point()):
        raise ValueError(f"input_ids must be integers [batch, length], not {describe(input_ids)}")
    if inputs_embeds is not None and (inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != config.hidden_size):
        raise ValueError(
            f"inputs_embeds must be [batch, length, {config.hidden_size}] (hidden_size), not {describe(inputs_embeds)}"
        )
    shape = given.shape[:2]
    for name, value in {
        "attention_mask": attention_mask,
        "token_type_ids": token_type_ids,
        "segment_ids": segment_ids,
        "special_tokens_mask": special_tokens_mask,
    }.items():
        if value is not None and value.shape != shape:
            raise ValueError(f"{name} has the shape {list(value.shape)}; the input's is {list(shape)}")
    if position_ids is not None:
        try:
            position_ids = position_ids.expand(shape)  # `[N]` and `[1, N]` are usual too
        except RuntimeError:
            have = list(position_ids.shape)
            raise ValueError(f"position_ids have the shape {have}; the input's is {list(shape)}") from None

    special = None if special_tokens_mask is None else special_tokens_mask.bool()
    if special is None and input_ids is not None:
        special = find_special_tokens(config, input_ids)
    if attention_mask is not None and special is not None:
        special = special & (attention_mask != 0)
    if segment_ids is None and input_ids is not None and special is not None:
        segment_ids = derive_segment_ids(special)
    ruled = special if config.clsgsepg else None

    if cu_seqlens is not None:
        if cu_seqlens.dim() != 1 or not cu_seqlens.numel() or cu_seqlens.is_floating_point():
            raise ValueError(f"cu_seqlens must be integers [documents + 1], not {describe(cu_seqlens)}")
        if shape[0] != 1:
            raise ValueError(f"packed input (cu_seqlens given) has one row; this has {shape[0]}")
        if attention_mask is not None and not bool(attention_mask.all()):
            raise ValueError("packed input (cu_seqlens given) has no padding, but attention_mask has zeros")
        if int(cu_seqlens[-1]) != shape[1]:
            raise ValueError(f"cu_seqlens ends at {int(cu_seqlens[-1])}; there are {shape[1]} packed tokens")
        layout = Layout.from_packed(
            cu_seqlens.to(given.device), _first_row(segment_ids), None if ruled is None else ruled[0]
        )
        indices = None
    else:
        if attention_mask is None:
            attention_mask = torch.ones(shape, dtype=torch.bool, device=given.device)
        layout, indices = Layout.from_padded(attention_mask, segment_ids, ruled)

    def select(padded: Tensor | None) -> Tensor | None:
        if padded is None:
            return None
        flat = padded.reshape(-1, *padded.shape[2:])
        return flat if indices is None or layout.is_rectangular else flat.index_select(0, indices)

    positions = select(position_ids)
    room = config.max_position_embeddings
    if positions is None:
        positions = torch.arange(layout.num_tokens, device=given.device) - layout.cu_seqlens[layout.document]
        longest = max(layout.lengths, default=0)
        if longest > room:
            raise ValueError(
                f"a document of {longest} tokens, but the model has {room} positions: "
                f"truncate it, or call model.resize_position_embeddings({longest}) first"
            )
    elif positions.numel():
        first, last = (int(end) for end in positions.aminmax())
        if first < 0 or last >= room:
            raise ValueError(f"position_ids run from {first} to {last}, but the model has {room} positions, from 0 on")
    words = select(given)
    assert words is not None
    return PackedInputs(words, positions, select(token_type_ids), layout)


def describe(value: Tensor) -> str:
    """A tensor's type and shape, for error messages."""
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def find_special_tokens(config: PoNetConfig, input_ids: Tensor) -> Tensor:
    """Where [CLS] and [SEP] stand: ids of any shape -> bool of the same."""
    special = torch.zeros_like(input_ids, dtype=torch.bool)
    for token in (config.cls_token_id, config.sep_token_id):
        if token is not None:
            special |= input_ids == token
    return special


def derive_segment_ids(special: Tensor) -> Tensor:
    """Segments where none are given: each special token, and each run between two, is one. `[B, N]` -> `[B, N]`."""
    begins = special.clone()
    begins[:, 1:] |= special[:, :-1]
    return begins.long().cumsum(1)


def _first_row(rows: Tensor | None) -> Tensor | None:
    return None if rows is None else rows[0]
