"""Mixing document by document, batched: documents of like length become padded rows, and nothing else is padded."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ponet.mixers.base import Mixer
from ponet.mixers.fused_linear import fused_linear
from ponet.ops.layout import Layout

_LEAST_FILL = 0.75  # of the longest in its rows: at most a third more work, and few batches for lengths however mixed
_SHORT = 16  # documents up to this length share rows: a batch more would cost more than their padding


@dataclass(frozen=True, eq=False)
class Rows:
    """`b` documents as padded rows of `n` tokens, and where their tokens lie among the `T` packed ones."""

    length: int
    """`n`."""
    lengths: Tensor
    """`[b]` int64: real tokens in each row."""
    mask: Tensor | None
    """`[b, n]` bool, True at real tokens; None where rows are full."""
    tokens: Tensor | None
    """Int64: the packed tokens of these rows, in order; None for all `T`."""
    places: Tensor | None
    """Int64: where those tokens lie in the flattened `[b * n]`; None where rows are full."""

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


def document_rows(layout: Layout, split_at: int = 0) -> tuple[list[Rows], Tensor | None]:
    """Each document as a row among others of like length, gaps closed; computed once a batch.

    Args:
        layout: of the batch.
        split_at: a length; no rows hold both documents up to it and longer ones.

    Returns:
        The rows, and where the packed tokens lie in the tokens of all rows one behind the other, `[T]` int64; None
        where that is their own order.
    """
    key = f"document_rows:{split_at}"
    if key not in layout.derived:
        layout.derived[key] = _like_rows(layout, split_at)
    found: tuple[list[Rows], Tensor | None] = layout.derived[key]
    return found


def padded_rows(layout: Layout, multiple: int = 1) -> tuple[list[Rows], None]:
    """The batch as it was padded, rows of padding alone and gaps included: what published code runs over.

    Args:
        layout: of the batch.
        multiple: rows are made longer, to a multiple of this.
    """
    key = f"padded_rows:{multiple}"
    if key not in layout.derived:
        n = -(-layout.padded_length // multiple) * multiple
        lengths = layout.cu_seqlens.diff()
        if layout.is_rectangular and n == layout.padded_length:
            rows = Rows(n, lengths, None, None, None)
        else:
            places = layout.document * n + layout.row_position
            mask = torch.zeros(layout.batch_size * n, dtype=torch.bool, device=places.device)
            mask[places] = True
            rows = Rows(n, lengths, mask.view(layout.batch_size, n), None, places)
        layout.derived[key] = [rows] if layout.num_tokens else []
    found: list[Rows] = layout.derived[key]
    return found, None


def _like_rows(layout: Layout, split_at: int) -> tuple[list[Rows], Tensor | None]:
    groups: list[list[int]] = []
    longest = 0
    for b in sorted((b for b, n in enumerate(layout.lengths) if n), key=lambda b: -layout.lengths[b]):
        n = layout.lengths[b]
        alike = n >= _LEAST_FILL * longest or longest <= _SHORT
        if not groups or not alike or (n <= split_at < longest):
            groups.append([])
            longest = n
        groups[-1].append(b)
    # In the order of the batch: a single group then is the packed tokens as they lie.
    rows = [_rows_of(layout, sorted(group), whole=len(groups) == 1) for group in groups]
    if len(rows) < 2:
        return rows, None
    tokens = torch.cat([each.tokens for each in rows if each.tokens is not None])
    order = torch.empty_like(tokens).index_copy_(0, tokens, torch.arange(len(tokens), device=tokens.device))
    return rows, order


def _rows_of(layout: Layout, documents: list[int], whole: bool) -> Rows:
    device = layout.document.device
    chosen = torch.tensor(documents, device=device)
    lengths = layout.cu_seqlens.diff()[chosen]
    numbers = [layout.lengths[b] for b in documents]
    n = max(numbers)
    inside = torch.arange(n, device=device) < lengths[:, None]  # [b, n]
    tokens = None
    if not whole:
        tokens = (layout.cu_seqlens[chosen][:, None] + torch.arange(n, device=device))[inside]
    if min(numbers) == n:
        return Rows(n, lengths, None, tokens, None)
    return Rows(n, lengths, inside, tokens, inside.flatten().nonzero().squeeze(1))


def mixing_dtype(dtype: torch.dtype) -> torch.dtype:
    """Float32 for half precision, as the published Arena code mixes; else the dtype itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


class DocumentAttention(Mixer):
    """Multi-head mixing within each document of projections of its tokens: BERT's queries, keys and values, or others.

    `config.mixer_form` "exact" gives each document a row of its own real tokens, so that the result doesn't depend on
    the batch; "published" gives the padded batch, for parity with the published Arena code. What is done with either
    is the subclass's `attend`. In float32 at least, under autocast too.
    """

    projections: tuple[str, ...] = ("query", "key", "value")
    """The names of the linear maps, in the order in which `attend` has them."""
    bias = True
    """Whether those have one."""

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
        """`[T, d]` -> `[T, d]`; the weights of all pairs of tokens are never computed, so there are none to give."""
        projected = fused_linear(hidden_states, [self.get_submodule(name) for name in self.projections])
        dtype = projected.dtype
        with torch.autocast(hidden_states.device.type, enabled=False):
            mixed = self.mix(projected.to(mixing_dtype(dtype)), layout)
        return mixed.to(dtype), None

    def mix(self, projected: Tensor, layout: Layout) -> Tensor:
        """The `p` projections side by side, `[T, p d]` -> `[T, d]`."""
        parts, order = self.rows(layout)
        if not parts:
            return projected.chunk(len(self.projections), 1)[-1]  # no token, but the graph that gradients go through
        mixed = []
        for rows in parts:
            padded = rows.pad(projected).unflatten(2, (len(self.projections), self.num_heads, -1))
            mixed.append(rows.unpad(self.attend(padded.permute(2, 0, 3, 1, 4), rows).transpose(1, 2).flatten(2)))
        together = torch.cat(mixed) if len(mixed) > 1 else mixed[0]
        return together if order is None else together.index_select(0, order)

    def rows(self, layout: Layout) -> tuple[list[Rows], Tensor | None]:
        """The documents as `attend` has them, and their order; see `document_rows`."""
        return padded_rows(layout) if self.published else document_rows(layout)

    def attend(self, projected: Tensor, rows: Rows) -> Tensor:
        """Projections `[p, b, h, n, e]`, zeros at padding -> `[b, h, n, e]`, of which real tokens count."""
        raise NotImplementedError
