"""Where documents and segments are in a batch of packed tokens: built once a batch, shared by all layers."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layout:
    """The shape of a batch of `B` documents packed into `T` real tokens with `S` segments.

    Packed order is row by row, left to right, real tokens only. Made by `from_padded` or `from_packed`.
    """

    lengths: tuple[int, ...]
    """Real tokens in each document (`B` numbers; 0 for a row of padding alone)."""
    padded_length: int
    """`N`: the length of the padded rows; for packed input the longest document's."""
    cu_seqlens: Tensor
    """`[B + 1]` int64: document `b` holds the tokens `cu_seqlens[b] : cu_seqlens[b + 1]`."""
    document: Tensor
    """`[T]` int64: the document of each token."""
    row_position: Tensor
    """`[T]` int64: the place of each token in its padded row."""
    segment: Tensor
    """`[T]` int64: the segment of each token, 0..S-1 over the whole batch, by document and then by rising id."""
    num_segments: int
    """`S`."""
    cu_segments: Tensor
    """`[S + 1]` int64: where each segment's run begins in `segment_order` (or, where that is None, in the tokens)."""
    segment_order: Tensor | None
    """`[T]` int64: the tokens sorted by segment, stably; None where they lie sorted already, as text does."""
    joins_next: Tensor
    """`[T]` bool: token `t + 1` is the right-hand neighbour of `t` in the same row (no gap in the mask between)."""
    special: Tensor | None
    """`[T]` bool: [CLS] and [SEP], to which the special-token rule applies; None where it applies to none."""
    derived: dict[str, Any] = field(default_factory=dict, repr=False)
    """What backends and mixers compute from the rest once a batch, by names of their own; shared by all layers."""

    @property
    def batch_size(self) -> int:
        """`B`. From a tensor's shape, which may be dynamic in a compiled graph; a tuple's length may not."""
        return self.cu_seqlens.shape[0] - 1

    @property
    def num_tokens(self) -> int:
        """`T`."""
        return self.document.shape[0]

    @property
    def document_lengths(self) -> Tensor:
        """`[B]` int64: the real tokens of each document, as a tensor."""
        return self.cu_seqlens.diff()

    def real_tokens(self) -> Tensor:
        """`[B, N]` bool: where real tokens are in padded rows."""
        return self.pad(torch.ones_like(self.document, dtype=torch.bool))

    @property
    def is_rectangular(self) -> bool:
        """True where every row is full, so that packed and padded tokens are the same memory."""
        return self.num_tokens == self.batch_size * self.padded_length

    @classmethod
    def from_padded(
        cls, attention_mask: Tensor, segment_ids: Tensor | None = None, special: Tensor | None = None
    ) -> tuple["Layout", Tensor]:
        """The layout of padded rows, and the `[T]` int64 places of their real tokens in the flattened `[B * N]`.

        Args:
            attention_mask: `[B, N]`, nonzero at real tokens; padding may lie anywhere.
            segment_ids: `[B, N]` integers, of which those at real tokens count; None makes each document one segment.
            special: `[B, N]` bool, see `special` above.
        """
        padded_length = attention_mask.shape[1]
        indices = attention_mask.reshape(-1).nonzero().squeeze(1)
        lengths = (attention_mask != 0).sum(1)
        layout = cls._build(
            lengths,
            padded_length,
            row_position=indices % max(padded_length, 1),
            segment_ids=None if segment_ids is None else segment_ids.reshape(-1)[indices],
            special=None if special is None else special.reshape(-1)[indices],
        )
        return layout, indices

    @classmethod
    def from_packed(
        cls, cu_seqlens: Tensor, segment_ids: Tensor | None = None, special: Tensor | None = None
    ) -> "Layout":
        """The layout of documents that are packed already.

        Args:
            cu_seqlens: `[B + 1]` integers that rise from 0 to `T`.
            segment_ids: `[T]` integers, local to a document; None makes each document one segment.
            special: `[T]` bool, see `special` above.

        Raises:
            ValueError: where `cu_seqlens` doesn't rise from 0 to the number of tokens.
        """
        lengths = cu_seqlens.long().diff()
        total = int(cu_seqlens[-1])
        given = segment_ids if segment_ids is not None else special
        if int(cu_seqlens[0]) != 0 or bool((lengths < 0).any()) or (given is not None and given.shape[0] != total):
            raise ValueError("cu_seqlens must rise from 0 to the number of packed tokens")
        starts = cu_seqlens[:-1].long().repeat_interleave(lengths)
        row_position = torch.arange(total, device=cu_seqlens.device) - starts
        padded_length = int(lengths.max()) if lengths.numel() else 0
        return cls._build(lengths, padded_length, row_position, segment_ids, special)

    @classmethod
    def _build(
        cls,
        lengths: Tensor,
        padded_length: int,
        row_position: Tensor,
        segment_ids: Tensor | None,
        special: Tensor | None,
    ) -> "Layout":
        device = row_position.device
        num_tokens = row_position.shape[0]
        cu_seqlens = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        document = torch.arange(lengths.shape[0], device=device).repeat_interleave(lengths, output_size=num_tokens)
        segment, segment_order, run_lengths = _number_segments(document, segment_ids)
        same_document = document[1:] == document[:-1]
        adjacent = row_position[1:] == row_position[:-1] + 1
        return cls(
            lengths=tuple(lengths.tolist()),
            padded_length=padded_length,
            cu_seqlens=cu_seqlens,
            document=document,
            row_position=row_position,
            segment=segment,
            num_segments=run_lengths.shape[0],
            cu_segments=torch.nn.functional.pad(run_lengths.cumsum(0), (1, 0)),
            segment_order=segment_order,
            joins_next=torch.nn.functional.pad(same_document & adjacent, (0, min(num_tokens, 1))),
            special=special,
        )

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> "Layout":
        """The same layout on another device; accelerate calls this where a model's layers are spread over several."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved, derived={})

    def part(self, begin: int, end: int) -> "Layout":
        """The layout of the tokens `begin : end` alone, which must be one at least."""
        first, last = int(self.document[begin]), int(self.document[end - 1]) + 1
        return self._build(
            self.cu_seqlens[first : last + 1].clamp(begin, end).diff(),
            self.padded_length,
            self.row_position[begin:end],
            self.segment[begin:end],
            None if self.special is None else self.special[begin:end],
        )

    def pad(self, packed: Tensor) -> Tensor:
        """`[T, ...]` -> `[B, N, ...]`, zeros at padding."""
        shape = (self.batch_size, self.padded_length, *packed.shape[1:])
        if self.is_rectangular:
            return packed.reshape(shape)
        places = self.document * self.padded_length + self.row_position
        rows = packed.new_zeros((self.batch_size * self.padded_length, *packed.shape[1:]))
        return rows.index_copy(0, places, packed).reshape(shape)

    def unpad(self, padded: Tensor) -> Tensor:
        """`[B, N, ...]` -> `[T, ...]`, the real tokens."""
        flat = padded.reshape(-1, *padded.shape[2:])
        if self.is_rectangular:
            return flat
        return flat.index_select(0, self.document * self.padded_length + self.row_position)

    def first_tokens(self, packed: Tensor) -> Tensor:
        """`[T, ...]` -> `[B, ...]`: each document's first real token; zeros for an empty document."""
        if not self.num_tokens:
            return packed.new_zeros((self.batch_size, *packed.shape[1:]))
        first = packed.index_select(0, self.cu_seqlens[:-1].clamp(max=self.num_tokens - 1))
        if 0 not in self.lengths:
            return first
        empty = (self.cu_seqlens.diff() == 0).reshape(-1, *[1] * (packed.dim() - 1))
        return first.masked_fill(empty, 0)


def _number_segments(document: Tensor, segment_ids: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
    """`segment [T]`, `segment_order [T]` or None, and the length of each segment's run `[S]`."""
    if segment_ids is None:
        segment_ids = torch.zeros_like(document)
    segment_ids = segment_ids.long()
    order = None
    document_changes = document[1:] != document[:-1]
    if bool(((segment_ids[1:] < segment_ids[:-1]) & ~document_changes).any()):
        # Ranks in the place of ids keep the sort key small, whatever the ids are.
        _, ranks = segment_ids.unique(return_inverse=True)
        key = document * (ranks.max() + 1) + ranks
        order = key.argsort(stable=True)
        document, segment_ids = document[order], segment_ids[order]
        document_changes = document[1:] != document[:-1]
    begins = document_changes | (segment_ids[1:] != segment_ids[:-1])
    sorted_segment = torch.nn.functional.pad(begins.long().cumsum(0), (min(document.shape[0], 1), 0))
    _, run_lengths = sorted_segment.unique_consecutive(return_counts=True)
    if order is None:
        return sorted_segment, None, run_lengths
    return torch.empty_like(sorted_segment).index_copy_(0, order, sorted_segment), order, run_lengths
