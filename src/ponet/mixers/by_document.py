"""Mixing document by document, batched: documents of similar length become padded rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from ponet.mixers.base import Mixer
from ponet.mixers.fused_linear import fused_linear
from ponet.ops.layout import Layout

Derived = TypeVar("Derived")

_LEAST_FILL = 0.75  # of the longest in its rows: at most a third more work, and few batches for lengths however mixed
_SHORT = 16  # documents up to this length share rows: one more batch would cost more than their padding


@dataclass(frozen=True, eq=False)
class Rows:
    """`b` documents as padded rows of `n` tokens, and the places of their tokens among the `T` packed ones."""

    length: int
    """`n`."""
    lengths: Tensor
    """`[b]` int64: real tokens in each row."""
    mask: Tensor | None
    """`[b, n]` bool, True at real tokens; None where rows are full."""
    tokens: Tensor | None
    """Int64: the packed tokens of these rows, in order; None for all `T`."""
    places: Tensor | None
    """Int64: the places of those tokens in the flattened `[b * n]`; None where rows are full."""

    def pad(self, packed: Tensor) -> Tensor:
        """`[T, ...]` -> `[b, n, ...]`, zeros at padding."""
        x = packed if self.tokens is None else packed.index_select(0, self.tokens)
        shape = (len(self.lengths), self.length, *packed.shape[1:])
        if self.places is None:
            return x.reshape(shape)
        rows = x.new_zeros((shape[0] * shape[1], *packed.shape[1:]))
        return rows.index_copy(0, self.places, x).reshape(shape)

    def unpad(self, padded: Tensor) -> Tensor:
        """`[b, n, ...]` -> `[t, ...]`, the real tokens of these rows."""
        flat = padded.flatten(0, 1)
        return flat if self.places is None else flat.index_select(0, self.places)


class DocumentRows(NamedTuple):
    """All documents of a batch as padded rows."""

    rows: list[Rows]
    """Without empty documents; no rows for a batch without tokens."""
    order: Tensor | None
    """`[T]` int64: the place of each packed token among the tokens of all rows; None where that is their own order."""

    def map(self, packed: Tensor, function: Callable[[Tensor, Rows], Tensor]) -> Tensor:
        """`[T, ...]` -> `[T, ...]`, by a function of padded rows, `[b, n, ...]` -> `[b, n, ...]`; T is at least 1."""
        results = [rows.unpad(function(rows.pad(packed), rows)) for rows in self.rows]
        together = torch.cat(results) if len(results) > 1 else results[0]
        return together if self.order is None else together.index_select(0, self.order)


def derived(layout: Layout, key: str, make: Callable[[], Derived]) -> Derived:
    """What follows from a layout, computed once for each batch."""
    if key not in layout.derived:
        layout.derived[key] = make()
    found: Derived = layout.derived[key]
    return found


def document_rows(layout: Layout, split_at: int = 0) -> DocumentRows:
    """Each document as a row among others of similar length, gaps closed; no rows have both documents of up to
    `split_at` tokens and longer ones."""
    return derived(layout, f"document_rows:{split_at}", lambda: _group(layout, split_at))


def padded_rows(layout: Layout, multiple: int = 1) -> DocumentRows:
    """The batch as it was padded, rows of padding alone and gaps included: the input of published code. Rows are
    extended to a multiple of `multiple`."""
    return derived(layout, f"padded_rows:{multiple}", lambda: _as_padded(layout, multiple))


def _as_padded(layout: Layout, multiple: int) -> DocumentRows:
    n = -(-layout.padded_length // multiple) * multiple
    lengths = layout.cu_seqlens.diff()
    if layout.is_rectangular and n == layout.padded_length:
        rows = Rows(n, lengths, None, None, None)
    else:
        places = layout.document * n + layout.row_position
        mask = torch.zeros(layout.batch_size * n, dtype=torch.bool, device=places.device)
        mask[places] = True
        rows = Rows(n, lengths, mask.view(layout.batch_size, n), None, places)
    return DocumentRows([rows] if layout.num_tokens else [], None)


def _group(layout: Layout, split_at: int) -> DocumentRows:
    groups: list[list[int]] = []
    longest = 0
    for b in sorted((b for b, n in enumerate(layout.lengths) if n), key=lambda b: -layout.lengths[b]):
        n = layout.lengths[b]
        similar = n >= _LEAST_FILL * longest or longest <= _SHORT
        if not groups or not similar or (n <= split_at < longest):
            groups.append([])
            longest = n
        groups[-1].append(b)
    # In the order of the batch: a single group then is the packed tokens as they are.
    rows = [_rows_of(layout, sorted(group), whole=len(groups) == 1) for group in groups]
    if len(rows) < 2:
        return DocumentRows(rows, None)
    tokens = torch.cat([each.tokens for each in rows if each.tokens is not None])
    order = torch.empty_like(tokens).index_copy_(0, tokens, torch.arange(len(tokens), device=tokens.device))
    return DocumentRows(rows, order)


def _rows_of(layout: Layout, documents: list[int], whole: bool) -> Rows:
    chosen = torch.tensor(documents, device=layout.document.device)
    lengths = layout.cu_seqlens.diff()[chosen]
    numbers = [layout.lengths[b] for b in documents]
    n = max(numbers)
    place = torch.arange(n, device=chosen.device)
    inside = place < lengths[:, None]  # [b, n]
    tokens = None if whole else (layout.cu_seqlens[chosen][:, None] + place)[inside]
    if min(numbers) == n:
        return Rows(n, lengths, None, tokens, None)
    return Rows(n, lengths, inside, tokens, inside.flatten().nonzero().squeeze(1))


def mixing_dtype(dtype: torch.dtype) -> torch.dtype:
    """Float32 for half precision, as the published Arena code mixes; else the dtype itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


class DocumentAttention(Mixer):
    """Multi-head mixing within each document of projections of its tokens: BERT's queries, keys and values, or others.

    With `config.mixer_form` "exact" the subclass's `attend` gets a row of real tokens for each document, so that the
    result doesn't depend on the batch; with "published" the padded batch, for parity with the published Arena code. In
    float32 at least, under autocast too.
    """

    projections: tuple[str, ...] = ("query", "key", "value")
    """The names of the linear maps, in the order of `attend`'s input."""
    bias = True
    """Whether they have a bias."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        d = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.published = config.mixer_form == "published"
        for name in self.projections:
            self.add_module(name, nn.Linear(d, d, bias=self.bias))

    def forward(
        self, hidden_states: Tensor, layout: Layout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and None: the weights of all pairs of tokens are never computed."""
        projected = fused_linear(hidden_states, [self.get_submodule(name) for name in self.projections])
        dtype = projected.dtype
        with torch.autocast(hidden_states.device.type, enabled=False):
            mixed = self.mix(projected.to(mixing_dtype(dtype)), layout)
        return mixed.to(dtype), None

    def mix(self, projected: Tensor, layout: Layout) -> Tensor:
        """The `p` projections side by side, `[T, p d]` -> `[T, d]`."""
        p = len(self.projections)
        if not layout.num_tokens:
            return projected.chunk(p, 1)[-1]  # nothing to mix, but part of the graph for gradients

        def attend(padded: Tensor, rows: Rows) -> Tensor:
            heads = padded.unflatten(2, (p, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
            return self.attend(heads, rows).transpose(1, 2).flatten(2)

        return self.rows(layout).map(projected, attend)

    def rows(self, layout: Layout) -> DocumentRows:
        """The documents as input of `attend`."""
        return padded_rows(layout) if self.published else document_rows(layout)

    def attend(self, projected: Tensor, rows: Rows) -> Tensor:
        """Projections `[p, b, h, n, e]`, zeros at padding -> `[b, h, n, e]`, of which real tokens count."""
        raise NotImplementedError
