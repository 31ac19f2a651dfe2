"""Reformer's attention (Kitaev et al., arXiv 2001.04451): each token attends to tokens that hash alike."""

from typing import Any

import torch
from torch import Tensor
from transformers import initialization as init

from ponet.mixers.base import register_mixer
from ponet.mixers.by_document import DocumentAttention, DocumentRows, Rows, document_rows, padded_rows
from ponet.ops.layout import Layout


@register_mixer("lsh")
class LSHMixer(DocumentAttention):
    """Attention with shared queries and keys among the tokens of a chunk and of the chunk before: its section 2.

    In each of `config.lsh_hashes` (the Arena's 2) rounds a document's tokens are sorted by bucket, stably, and cut into
    chunks of `config.lsh_chunk_length` (64). Buckets are about twice as many as full chunks, a power of two. A token
    attends to itself only where there is no other. A document of one chunk has full attention. The hashes have no
    gradient. Without bias, as published.

    The random rotations (`rotations [h, e, hashes, 2 chunk lengths]`; of which a document uses as many columns as
    its number of buckets needs) are drawn once, when the mixer is made, and saved with the model.
    So results repeat; but rounding decides the bucket of a token between two buckets, and may differ by batch and
    dtype.

    `mixer_form="published"` hashes and cuts the padded rows, as `transformers.LSHSelfAttention` in the published Arena
    code does: the padded length N determines the number of buckets, and a round's first chunk looks back at the padding
    behind the last one. The two forms are the same where documents fill their rows and N is a multiple of a chunk.

    `LSHSelfAttention` itself isn't used, though the published form and it agree to rounding: it supports only
    padded batches, draws rotations at every call, and has the number of buckets of the first length that it gets.
    """

    title = "Reformer"
    projections = ("query_key", "value")
    bias = False
    hashed_at_once = 2**22
    """Numbers, at most, of the rotated tokens of which the largest is sought at once."""
    rotations: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.num_hashes = config.lsh_hashes
        self.chunk_length = config.lsh_chunk_length
        shape = (self.num_heads, config.hidden_size // self.num_heads, self.num_hashes, 2 * self.chunk_length)
        self.register_buffer("rotations", torch.empty(shape))
        self.init_buffers()

    def init_buffers(self) -> None:
        """Draws `rotations` from PyTorch's default generator, as weights are, unless a checkpoint has it."""
        if not self.rotations.is_meta:
            init.copy_(self.rotations, torch.randn(self.rotations.shape, device="cpu"))

    def rows(self, layout: Layout) -> DocumentRows:
        """See `DocumentAttention.rows`."""
        if self.published:
            return padded_rows(layout, multiple=self.chunk_length)
        return document_rows(layout, split_at=self.chunk_length)

    def attend(self, projected: Tensor, rows: Rows) -> Tensor:
        """See `DocumentAttention.attend`."""
        n, c = rows.length, self.chunk_length
        mask = rows.mask
        if n <= c:
            places = torch.arange(n, device=projected.device).expand(1, 1, 1, n)
            real = None if mask is None else mask[:, None, None]  # [b, 1, 1, n]
            x, v = projected[:, :, :, None]
            mixed, _ = _attend(x, _keys(x), v, places, places, real)
            return mixed[:, :, 0]
        if n % c:  # fill the last chunk
            mask = projected.new_ones((len(rows.lengths), n), dtype=torch.bool) if mask is None else mask
            mask = torch.nn.functional.pad(mask, (0, -n % c))
            projected = torch.nn.functional.pad(projected, (0, 0, 0, -n % c))
        return self._attend_to_buckets(projected, mask, rows.lengths)[:, :, :n]

    def _attend_to_buckets(self, projected: Tensor, mask: Tensor | None, lengths: Tensor) -> Tensor:
        """`[2, b, h, n, e]`, n a multiple of the chunk length -> `[b, h, n, e]`."""
        _, b, h, n, e = projected.shape
        R, c = self.num_hashes, self.chunk_length
        C = n // c
        with torch.no_grad():
            order = self._buckets(projected[0], mask, lengths).argsort(dim=3, stable=True)  # [b, h, R, n]
            inverse = torch.empty_like(order).scatter_(3, order, torch.arange(n, device=order.device).expand_as(order))
        index = order.flatten(2, 3)[..., None].expand(b, h, R * n, e)
        x, v = (t.gather(2, index).unflatten(2, (R * C, c)) for t in projected)  # [b, h, RC, c, e]
        places = order.reshape(b, h, R * C, c)
        real = None
        if mask is not None:
            real = mask[:, None].expand(b, h, n).gather(2, places.flatten(2)).unflatten(2, (R * C, c))
        before = self._chunk_before(b, C, lengths if mask is not None else None, order.device)
        k, v, around = (_with_chunk_before(t, before) for t in (_keys(x), v, places))
        mixed, sums = _attend(x, k, v, places, around, None if real is None else _with_chunk_before(real, before))
        # Back to the order of tokens, and the rounds weighted by what each one's softmax summed up.
        mixed, sums = mixed.reshape(b, h, R, n, e), sums.reshape(b, h, R, n)
        mixed = mixed.gather(3, inverse[..., None].expand_as(mixed))
        return (mixed * sums.gather(3, inverse).softmax(2)[..., None]).sum(2)

    def _buckets(self, x: Tensor, mask: Tensor | None, lengths: Tensor) -> Tensor:
        """`[b, h, n, e]` -> `[b, h, R, n]`, padding in the last bucket of all."""
        b, h, n, _ = x.shape
        rotations = self.rotations.to(x.dtype)
        counted = [n] * b if self.published else lengths.tolist()
        exponents = [self._bucket_exponent(length) for length in counted]
        step = max(1, self.hashed_at_once // (b * h * self.num_hashes * 2 * self.chunk_length))
        buckets = x.new_empty((b, h, self.num_hashes, n), dtype=torch.int64)  # of x, so that vmap has one for each
        for exponent in sorted(set(exponents)):
            which = torch.tensor([i for i, p in enumerate(exponents) if p == exponent], device=x.device)
            for begin in range(0, n, step):
                part = slice(begin, begin + step)
                buckets[which, :, :, part] = _hash(x[which, :, part], rotations, exponent, self.chunk_length)
        if mask is not None:
            buckets.masked_fill_(~mask[:, None, None], torch.iinfo(torch.int64).max)
        return buckets

    def _bucket_exponent(self, length: int) -> int:
        """p for the 2^p buckets of that many tokens; no more than two factors of the rotations' columns give."""
        most = 2 * ((2 * self.chunk_length).bit_length() - 1)
        return min((2 * (length // self.chunk_length)).bit_length() - 1, most)

    def _chunk_before(self, b: int, C: int, lengths: Tensor | None, device: torch.device) -> Tensor:
        """`[b, RC]`: the chunk that each one looks back at; the first of a round at the last of the round before."""
        chunks = torch.arange(self.num_hashes * C, device=device)
        before = ((chunks - 1) % (self.num_hashes * C)).expand(b, -1)
        if lengths is None or self.published:
            return before
        # A document's last chunk: those after it hold nothing but padding.
        empty = C - (lengths + self.chunk_length - 1) // self.chunk_length
        return torch.where(chunks % C == 0, before - empty[:, None], before)


def _hash(x: Tensor, rotations: Tensor, exponent: int, chunk_length: int) -> Tensor:
    """`x [b, h, n, e]`, `rotations [h, e, R, w]` -> `[b, h, R, n]`, from 0 below `2^exponent`."""
    factors = [exponent]
    if 2**exponent > 2 * chunk_length:  # many buckets as pairs of few, so that hashing stays linear in the tokens
        factors = [exponent // 2, exponent - exponent // 2]
    buckets: Tensor | int = 0
    begin = shift = 0
    for factor in factors:
        width = 2**factor // 2
        rotated = torch.einsum("bhne,herw->bhrnw", x, rotations[..., begin : begin + width])
        buckets = buckets + (torch.cat([rotated, -rotated], 4).argmax(4) << shift)
        begin, shift = begin + width, shift + factor
    assert isinstance(buckets, Tensor)
    return buckets


def _keys(x: Tensor) -> Tensor:
    """Queries as keys: of length 1, and scaled for the product with queries. As `transformers` has it."""
    e = x.shape[-1]
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * e**-0.5


def _with_chunk_before(chunks: Tensor, before: Tensor) -> Tensor:
    """`[b, h, RC, c, ...]` -> `[b, h, RC, 2 c, ...]`: each chunk behind the one that it looks back at."""
    index = before.view(*before.shape[:1], 1, -1, *[1] * (chunks.dim() - 3)).expand_as(chunks)
    return torch.cat([chunks.gather(2, index), chunks], 3)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, places: Tensor, around: Tensor, real: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Attention in chunks: `[b, h, r, c, e]`, and the logarithm of what each softmax divides by, `[b, h, r, c]`.

    Args:
        q, k, v: `[b, h, r, c, e]`, and for keys and values `[b, h, r, s, e]`.
        places, around: the tokens that queries and keys are, `[b, h, r, c]` and `[b, h, r, s]`.
        real: `[b, h, r, s]` bool, the keys that count; None for all.
    """
    scores = q @ k.transpose(3, 4)
    if real is not None:
        scores = scores.masked_fill(~real[:, :, :, None], -1e9)
    # Above that of padding: a token with no other to attend to attends to itself.
    scores = scores.masked_fill(places[..., None] == around[:, :, :, None], -1e5)
    sums = scores.logsumexp(4)
    return (scores - sums[..., None]).exp() @ v, sums
