"""The border: padded Hugging Face batches are packed once on the way in, and padded once on the way out."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

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
    packed: bool
    """Whether the caller gave packed input, and so gets packed output."""


@dataclass
class PackedOutputs:
    """What the encoder makes of a batch: packed, with the way back."""

    hidden: Tensor
    """`[T, d]`, the last layer's states."""
    layout: Layout
    packed: bool
    """Whether the caller gave packed input, and so gets packed output."""
    hidden_states: tuple[Tensor, ...] | None = None
    """As Hugging Face gives them: the embeddings' output, then each layer's, `[B, N, d]` or `[1, T, d]`."""
    attentions: tuple[Tensor | None, ...] | None = None
    """For each layer `[B, h, N]` (pooling), `[B, h, N, N]` (attention) or None (mixers without weights)."""

    def to_border(self, tokens: Tensor) -> Tensor:
        """`[T, ...]` -> `[B, N, ...]`, zeros at padding, or `[1, T, ...]` for packed input."""
        return pad(tokens, self.layout, self.packed)

    def from_border(self, labels: Tensor) -> Tensor:
        """Labels of tokens: `[B, N]` or `[1, T]` -> `[T]`.

        Raises:
            ValueError: where they have another shape than the input.
        """
        layout = self.layout
        shape = (1, layout.num_tokens) if self.packed else (layout.batch_size, layout.padded_length)
        if labels.shape != shape:
            raise ValueError(f"labels have the shape {list(labels.shape)}; the input's is {list(shape)}")
        return unpad(labels, layout, self.packed)


def pad(tokens: Tensor, layout: Layout, packed: bool) -> Tensor:
    """`[T, ...]` -> `[B, N, ...]`, zeros at padding, or `[1, T, ...]` for packed input."""
    return tokens[None] if packed else layout.pad(tokens)


def unpad(rows: Tensor, layout: Layout, packed: bool) -> Tensor:
    """`[B, N, ...]`, or `[1, T, ...]` for packed input, -> `[T, ...]`."""
    return rows[0] if packed else layout.unpad(rows)


Forward = TypeVar("Forward", bound=Callable[..., Any])
_FLATTENED = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")


def takes_flattened(forward: Forward) -> Forward:
    """Lets a `forward` with `cu_seqlens` also take the names that `transformers.DataCollatorWithFlattening` gives them.

    Those are `cu_seq_lens_q` and `cu_seq_lens_k`, `max_length_q` and `max_length_k` (of no use here), and `seq_idx`.
    """

    @wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in _FLATTENED if name in kwargs}
        if given:
            kwargs["cu_seqlens"] = _flattened_offsets(kwargs.get("cu_seqlens"), given)
        return forward(self, *args, **kwargs)

    # Libraries that look at the signature (sentence-transformers) leave out what isn't in it.
    signature = inspect.signature(forward)
    names = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in _FLATTENED]
    wrapper.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *names])  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def _flattened_offsets(cu_seqlens: Tensor | None, given: dict[str, Any]) -> Tensor | None:
    """`cu_seqlens` from what `takes_flattened` names."""
    offsets = [
        each for each in (cu_seqlens, given.get("cu_seq_lens_q"), given.get("cu_seq_lens_k")) if each is not None
    ]
    if any(not torch.equal(each.long(), offsets[0].long()) for each in offsets[1:]):
        raise ValueError("cu_seqlens, cu_seq_lens_q and cu_seq_lens_k must be the same: where each document begins")
    if offsets:
        return offsets[0]
    numbers = given.get("seq_idx")
    if numbers is None:
        return None
    if numbers.dim() != 2 or numbers.shape[0] != 1 or bool((numbers.diff() < 0).any()) or bool((numbers < 0).any()):
        raise ValueError("seq_idx must be [1, tokens], the number of each token's document, rising from 0 on")
    return torch.nn.functional.pad(numbers[0].bincount().cumsum(0), (1, 0))


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

    Position ids that restart (see `_document_starts`) in a single row without a mask make it packed input.

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
        packed = True
        layout = Layout.from_packed(cu_seqlens.to(given.device), _first_row(segment_ids), _first_row(ruled))
        indices = None
    else:
        packed = False
        mask = attention_mask
        if mask is None:
            mask = torch.ones(shape, dtype=torch.bool, device=given.device)
        layout, indices = Layout.from_padded(mask, segment_ids, ruled)

    def select(padded: Tensor | None) -> Tensor | None:
        if padded is None:
            return None
        flat = padded.reshape(-1, *padded.shape[2:])
        return flat if indices is None or layout.is_rectangular else flat.index_select(0, indices)

    positions = select(position_ids)
    starts = None if packed or positions is None else _document_starts(positions, layout)
    if starts is not None:
        if shape[0] != 1 or attention_mask is not None:
            raise ValueError(
                "position_ids restart within a row, as those of documents packed one behind the other do: "
                "give packed documents as one row without attention_mask, or with cu_seqlens"
            )
        packed = True
        layout = Layout.from_packed(starts, _first_row(segment_ids), _first_row(ruled))
    room = config.max_position_embeddings
    if positions is None:
        positions = torch.arange(layout.num_tokens, device=given.device) - layout.cu_seqlens[layout.document]
        longest = max(layout.lengths, default=0)
        if config.repeat_positions:
            positions = positions % room
        elif longest > room:
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
    return PackedInputs(words, positions, select(token_type_ids), layout, packed)


def _document_starts(positions: Tensor, layout: Layout) -> Tensor | None:
    """`cu_seqlens` of the documents whose positions restart within a row; None where they do in none.

    They restart in a row whose real tokens are two or more runs that rise by one, all of which begin at the row's
    lowest position (the first run may begin later), and not all of one token. Any other positions (constant, with
    jumps, in another order) are somebody's own, of one document.

    Args:
        positions: `[T]`.
        layout: of the rows as they were given.
    """
    same_row = layout.document[1:] == layout.document[:-1]
    rises = positions[1:] == positions[:-1] + 1
    begins = same_row & ~rises
    if not bool(begins.any()):
        return None
    rows, B = layout.document, layout.batch_size
    lowest = positions.new_zeros(B).scatter_reduce(0, rows, positions, "amin", include_self=False)
    elsewhere = begins & (positions[1:] != lowest[rows[1:]])
    counts = torch.zeros(3, B, dtype=torch.int64, device=positions.device).index_add(
        1, rows[1:], torch.stack([begins, elsewhere, same_row & rises]).long()
    )
    if not bool(((counts[0] > 0) & (counts[1] == 0) & (counts[2] > 0)).any()):
        return None
    ends = [begins.nonzero().squeeze(1) + 1, begins.new_full((1,), layout.num_tokens, dtype=torch.int64)]
    return torch.nn.functional.pad(torch.cat(ends), (1, 0))


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
