"""Pads and unpads at the public interface: a batch is packed once before the encoder, and padded once after it.

Packing needs the documents' lengths as numbers, which a traced model doesn't have: what `torch.export` and
`torch.compile` follow computes on rows as they are, padding included, with the same result at real tokens
(`PoNetConfig.execution`).
"""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, NamedTuple, TypedDict, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.utils.generic import can_return_tuple

from ponet.mixers import takes_padded
from ponet.models.configuration_ponet import PoNetConfig
from ponet.ops.layout import Layout
from ponet.ops.padded import AnyLayout, PaddedLayout, shifted


class PoNetInputs(TypedDict, total=False):
    """The arguments of every model's `forward`, all optional; `[B, N]` is `[1, T]` for packed input."""

    input_ids: Tensor | None
    """`[B, N]`; or else `inputs_embeds`."""
    attention_mask: Tensor | None
    """`[B, N]`, nonzero at real tokens; padding may lie anywhere. Default: all tokens are real."""
    token_type_ids: Tensor | None
    """`[B, N]`; default 0."""
    position_ids: Tensor | None
    """`[B, N]`; default 0, 1, ... over each document's real tokens.

    Where they restart (runs that rise by one, each from the lowest position again), a single row without
    `attention_mask` is packed input, a document for each run; several rows, or one with a mask, are an error. Other
    positions (constant, with jumps), and any beside `cu_seqlens`, are used as they are."""
    segment_ids: Tensor | None
    """`[B, N]`, any integers, local to a document.

    Default: from the special tokens (each of them, and each run between two, is a segment); with `inputs_embeds`, one
    segment for each document."""
    inputs_embeds: Tensor | None
    """`[B, N, d]`, in the place of `input_ids`."""
    special_tokens_mask: Tensor | None
    """`[B, N]`, nonzero where the special-token rule holds.

    Default: at the configuration's `cls_token_id` and `sep_token_id`; with `inputs_embeds`, nowhere."""
    cu_seqlens: Tensor | None
    """`[B + 1]` for packed input: where each document begins, and the number of tokens."""
    output_attentions: bool | None
    """Also returns each mixer's weights: `[B, h, N]` for pooling (stage 2 of global aggregation), `[B, h, N, N]` for
    attention, None for mixers without weights."""
    output_hidden_states: bool | None
    """Also returns the embeddings and each layer's output, `[B, N, d]` each."""
    cu_seq_lens_q: Tensor | None
    """As `cu_seqlens`: the name that `transformers.DataCollatorWithFlattening` gives it."""
    cu_seq_lens_k: Tensor | None
    """As `cu_seqlens`."""
    max_length_q: int | None
    """Of the same collator; not used."""
    max_length_k: int | None
    """Of the same collator; not used."""
    seq_idx: Tensor | None
    """`[1, T]`, the number of each token's document, rising from 0: of the same collator, in place of `cu_seqlens`."""


_FIRST = tuple(PoNetInputs.__annotations__)[:8]  # of every signature, as in BERT's models
Forward = TypeVar("Forward", bound=Callable[..., Any])


def model_forward(forward: Forward) -> Forward:
    """Gives `forward(self, ..., **inputs: Unpack[PoNetInputs])` a signature that names each of the inputs.

    Libraries read the signature and drop what it doesn't name: the Trainer columns of a data set, sentence-transformers
    arguments. The inputs up to `cu_seqlens` come first and may be given by position. With `return_dict=False` the
    result is a tuple.
    """
    signature = inspect.signature(forward)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]

    def parameters(names: Iterable[str], kind: Any) -> list[inspect.Parameter]:
        types = PoNetInputs.__annotations__
        return [inspect.Parameter(name, kind, default=None, annotation=types[name]) for name in names]

    first = parameters(_FIRST, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    rest = parameters(list(PoNetInputs.__annotations__)[len(_FIRST) :], inspect.Parameter.KEYWORD_ONLY)
    names = [*_FIRST, *(each.name for each in own[1:])]

    @wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return forward(self, **dict(zip(names[: len(args)], args, strict=True)), **kwargs)

    wrapper.__signature__ = signature.replace(parameters=[own[0], *first, *own[1:], *rest])  # type: ignore[attr-defined]
    made: Forward = can_return_tuple(wrapper)
    return made


class PackedBatch(NamedTuple):
    """A batch as the model computes with it: `T` real tokens, and how they lie in the caller's rows."""

    tokens: Tensor
    """`[T]` ids, or `[T, d]` embeddings."""
    positions: Tensor
    """`[T]`."""
    token_types: Tensor | None
    """`[T]`, or None where all are 0."""
    layout: AnyLayout
    """A `PaddedLayout` where the batch isn't packed at all, and padding counts among the `T` tokens."""
    is_packed: bool
    """Whether the caller gave packed input, and so gets packed output."""

    def pad(self, tokens: Tensor) -> Tensor:
        """`[T, ...]` -> `[B, N, ...]`, zeros at padding, or `[1, T, ...]` for packed input."""
        return tokens[None] if self.is_packed else self.layout.pad(tokens)

    def unpad(self, rows: Tensor) -> Tensor:
        """`[B, N, ...]`, or `[1, T, ...]` for packed input, -> `[T, ...]`."""
        return rows[0] if self.is_packed else self.layout.unpad(rows)

    def unpad_labels(self, labels: Tensor) -> Tensor:
        """Labels of tokens: `[B, N]` or `[1, T]` -> `[T]`. Raises ValueError where they have another shape than the
        input."""
        layout = self.layout
        shape = (1, layout.num_tokens) if self.is_packed else (layout.batch_size, layout.padded_length)
        if labels.shape != shape:
            raise ValueError(f"labels have the shape {list(labels.shape)}; the input's is {list(shape)}")
        if isinstance(layout, PaddedLayout):
            labels = labels.masked_fill(~layout.real, -100)
        return self.unpad(labels)


def read_inputs(
    config: PoNetConfig,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    segment_ids: Tensor | None = None,
    inputs_embeds: Tensor | None = None,
    special_tokens_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Whichever of ids and embeddings is given, the segments as given or derived, and the tokens of the special-token
    rule, if everything has its shape.

    Raises:
        ValueError: both or none of ids and embeddings, or a wrong shape or type.
    """
    given = input_ids if input_ids is not None else inputs_embeds
    if given is None or (input_ids is not None and inputs_embeds is not None):
        raise ValueError("give either input_ids or inputs_embeds")
    if input_ids is not None and (input_ids.dim() != 2 or input_ids.is_floating_point()):
        raise ValueError(f"input_ids must be integers [batch, length], not {_describe(input_ids)}")
    if inputs_embeds is not None and (inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != config.hidden_size):
        raise ValueError(
            f"inputs_embeds must be [batch, length, {config.hidden_size}] (hidden_size), not {_describe(inputs_embeds)}"
        )
    others = {
        "attention_mask": attention_mask,
        "token_type_ids": token_type_ids,
        "segment_ids": segment_ids,
        "special_tokens_mask": special_tokens_mask,
    }
    for name, value in others.items():
        if value is not None and value.shape != given.shape[:2]:
            raise ValueError(f"{name} has the shape {list(value.shape)}; the input's is {list(given.shape[:2])}")
    special = None if special_tokens_mask is None else special_tokens_mask.bool()
    if special is None and input_ids is not None:
        special = find_special_tokens(config, input_ids)
    if attention_mask is not None and special is not None:
        special = special & (attention_mask != 0)
    if segment_ids is None and input_ids is not None and special is not None:
        segment_ids = derive_segment_ids(special)
    return given, segment_ids, special if config.clsgsepg else None


def pack(
    config: PoNetConfig,
    position_ids: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seq_lens_q: Tensor | None = None,
    cu_seq_lens_k: Tensor | None = None,
    max_length_q: int | None = None,
    max_length_k: int | None = None,
    seq_idx: Tensor | None = None,
    **rows: Any,
) -> PackedBatch:
    """Checks and packs the arguments of a model's `forward` (see `PoNetInputs`). Raises ValueError: for arguments that
    don't fit together, or a document longer than the model has positions."""
    given, segment_ids, excluded = read_inputs(config, **rows)
    attention_mask, token_type_ids = rows.get("attention_mask"), rows.get("token_type_ids")
    shape = given.shape[:2]
    if position_ids is not None:
        try:
            position_ids = position_ids.expand(shape)  # `[N]` and `[1, N]` are common, too
        except RuntimeError:
            have = list(position_ids.shape)
            raise ValueError(f"position_ids have the shape {have}; the input's is {list(shape)}") from None
    cu_seqlens = _document_offsets(cu_seqlens, cu_seq_lens_q, cu_seq_lens_k, seq_idx)

    def packed_layout(offsets: Tensor) -> Layout:
        first_rows = (None if rows is None else rows[0] for rows in (segment_ids, excluded))
        return Layout.from_packed(offsets.to(given.device), *first_rows)

    indices = None
    if cu_seqlens is not None:
        _check_packed(cu_seqlens, shape, attention_mask)
        layout = packed_layout(cu_seqlens)
    else:
        mask = attention_mask
        if mask is None:
            mask = torch.ones(shape, dtype=torch.bool, device=given.device)
        layout, indices = Layout.from_padded(mask, segment_ids, excluded)

    def real_tokens(rows: Tensor) -> Tensor:
        flat = rows.reshape(-1, *rows.shape[2:])
        return flat if indices is None or layout.is_rectangular else flat.index_select(0, indices)

    positions = None if position_ids is None else real_tokens(position_ids)
    tokens, token_types = real_tokens(given), None if token_type_ids is None else real_tokens(token_type_ids)
    is_packed = cu_seqlens is not None
    if not is_packed and positions is not None:
        offsets = _restarts(positions, layout)
        if offsets is not None:
            if shape[0] != 1 or attention_mask is not None:
                raise ValueError(
                    "position_ids restart within a row, as those of documents packed one behind the other do: "
                    "give packed documents as one row without attention_mask, or with cu_seqlens"
                )
            layout, is_packed = packed_layout(offsets), True
    positions = _default_positions(config, layout) if positions is None else _checked_positions(config, positions)
    return PackedBatch(tokens, positions, token_types, layout, is_packed)


def _document_offsets(
    cu_seqlens: Tensor | None, cu_seq_lens_q: Tensor | None, cu_seq_lens_k: Tensor | None, seq_idx: Tensor | None
) -> Tensor | None:
    """`cu_seqlens` by whichever name it was given, or from the number of each token's document."""
    offsets = [each for each in (cu_seqlens, cu_seq_lens_q, cu_seq_lens_k) if each is not None]
    if any(not torch.equal(each.long(), offsets[0].long()) for each in offsets[1:]):
        raise ValueError("cu_seqlens, cu_seq_lens_q and cu_seq_lens_k must be the same: where each document begins")
    if offsets:
        return offsets[0]
    if seq_idx is None:
        return None
    if seq_idx.dim() != 2 or seq_idx.shape[0] != 1 or bool((seq_idx.diff() < 0).any()) or bool((seq_idx < 0).any()):
        raise ValueError("seq_idx must be [1, tokens], the number of each token's document, rising from 0 on")
    return F.pad(seq_idx[0].bincount().cumsum(0), (1, 0))


def _check_packed(cu_seqlens: Tensor, shape: torch.Size, attention_mask: Tensor | None) -> None:
    if cu_seqlens.dim() != 1 or not cu_seqlens.numel() or cu_seqlens.is_floating_point():
        raise ValueError(f"cu_seqlens must be integers [documents + 1], not {_describe(cu_seqlens)}")
    if shape[0] != 1:
        raise ValueError(f"packed input (cu_seqlens given) has one row; this has {shape[0]}")
    if attention_mask is not None and not bool(attention_mask.all()):
        raise ValueError("packed input (cu_seqlens given) has no padding, but attention_mask has zeros")
    if int(cu_seqlens[-1]) != shape[1]:
        raise ValueError(f"cu_seqlens ends at {int(cu_seqlens[-1])}; there are {shape[1]} packed tokens")


def find_special_tokens(config: PoNetConfig, input_ids: Tensor) -> Tensor:
    """Where [CLS] and [SEP] are: ids of any shape -> bool of the same."""
    special = torch.zeros_like(input_ids, dtype=torch.bool)
    for token in (config.cls_token_id, config.sep_token_id):
        if token is not None:
            special |= input_ids == token
    return special


def derive_segment_ids(special: Tensor) -> Tensor:
    """Segments where none are given: each special token, and each run between two, is one. `[B, N]` -> `[B, N]`."""
    special = special.long()
    return (special | shifted(special, 0)).cumsum(1)


def _restarts(positions: Tensor, layout: Layout) -> Tensor | None:
    """`cu_seqlens` of the documents whose positions restart within a row; None where they restart in no row.

    They restart in a row whose real tokens are two or more runs that rise by one, all of which begin at the row's
    lowest position (the first run may begin later), and not all of one token. Any other positions (constant, with
    jumps, in another order) are those of a single document.

    `positions [T]`, and the layout of the rows as they were given.
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
    return F.pad(torch.cat(ends), (1, 0))


def _default_positions(config: PoNetConfig, layout: Layout) -> Tensor:
    """0, 1, ... over each document's real tokens: `[T]`."""
    limit = config.max_position_embeddings
    config.check_length(max(layout.lengths, default=0))
    tokens = torch.arange(layout.num_tokens, device=layout.document.device)
    positions = tokens - layout.cu_seqlens[layout.document]
    return positions % limit if config.repeat_positions else positions


def _checked_positions(config: PoNetConfig, positions: Tensor) -> Tensor:
    limit = config.max_position_embeddings
    if positions.numel():
        first, last = (int(end) for end in positions.aminmax())
        if first < 0 or last >= limit:
            raise ValueError(f"position_ids run from {first} to {last}, but the model has {limit} positions, from 0 on")
    return positions


def _describe(value: Tensor) -> str:
    """A tensor's type and shape, for error messages."""
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


_PACKED = ("cu_seqlens", "cu_seq_lens_q", "cu_seq_lens_k", "seq_idx")
_ROWS = ("input_ids", "attention_mask", "token_type_ids", "segment_ids", "inputs_embeds", "special_tokens_mask")


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


def read_rows(config: PoNetConfig, **inputs: Any) -> PackedBatch:
    """As `pack`, of padded input, without packing it: the tokens are `[B * N]`. Raises ValueError: as
    `pack`; in a traced graph, which can't look at values, a document longer than the model has positions fails
    where the graph runs."""
    rows = {name: inputs.get(name) for name in _ROWS}
    given, segment_ids, excluded = read_inputs(config, **rows)
    mask, token_types = rows["attention_mask"], rows["token_type_ids"]
    if mask is None:
        mask = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
    layout = PaddedLayout.from_padded(mask, segment_ids, excluded)
    positions = layout.unpad(layout.place)
    if config.repeat_positions:
        positions = positions % config.max_position_embeddings
    elif not torch.compiler.is_compiling() and not torch.jit.is_tracing():
        config.check_length(int(layout.document_lengths.max()) if layout.batch_size else 0)
    token_types = None if token_types is None else layout.unpad(token_types)
    return PackedBatch(layout.unpad(given), positions, token_types, layout, is_packed=False)
