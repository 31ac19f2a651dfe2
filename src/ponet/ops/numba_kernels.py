"""The "numba" backend: the ops of `ponet.ops.dispatch` on a CPU, at the speed of its memory.

Each op is a `torch.library` custom op, so that a compiled graph stays whole, around Numba kernels. float32, bfloat16
(computed in float32) and float64; first derivatives. Importing this module imports Numba; kernels are compiled at
their first call with a type, and then come from a cache on disk.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ponet.ops import numba_attention, numba_pooling
from ponet.ops.layout import Layout
from ponet.ops.numba_calls import accumulator, array, block_size, partials, pieces, rows, run, runs, scratch, tokens

DTYPES = (torch.float32, torch.bfloat16, torch.float64)


def document_mean(x: Tensor, layout: Layout) -> Tensor:
    """`reference.document_mean`: `[T, d]` -> `[B, d]`.

    Raises:
        ValueError: for tensors that the backend can't compute, like all ops here.
    """
    _check(layout, x)
    return _document_mean(x, layout.cu_seqlens, layout.document)


def attention_pool(
    x: Tensor, queries: Tensor, layout: Layout, output_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """`reference.attention_pool`: `x [T, d]`, `queries [B, h, d]` -> `[B, h, d]`, and `[T, h]` where asked for."""
    _check(layout, x, queries)
    z, weights, _ = _attention_pool(x, queries, layout.cu_seqlens, layout.document, output_weights)
    return z, weights if output_weights else None


def pool_and_fuse(g: Tensor, o: Tensor, s: Tensor, l: Tensor, layout: Layout) -> Tensor:  # noqa: E741
    """`reference.pool_and_fuse`: `g [B, d]`, `o, s, l [T, d]` -> `[T, d]`."""
    _check(layout, g, o, s, l)
    keep = torch.is_grad_enabled() and (g.requires_grad or o.requires_grad or s.requires_grad or l.requires_grad)
    runs = (layout.cu_seqlens, layout.cu_segments, layout.segment_order, layout.joins_next, layout.special)
    return _pool_and_fuse(g, o, s, l, *runs, keep)[0]


def _check(layout: Layout, *tensors: Tensor) -> None:
    first = tensors[0]
    for tensor in (*tensors, layout.cu_seqlens):
        if tensor.device.type != "cpu":
            raise ValueError(f"the numba backend computes on the CPU, not on '{tensor.device}'; use another backend")
    if first.dtype not in DTYPES or any(tensor.dtype != first.dtype for tensor in tensors):
        found = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}))
        raise ValueError(
            f"the numba backend takes tensors of one type, float32, bfloat16 or float64, not {found}; "
            "use the 'reference' backend"
        )


# --- document_mean ---------------------------------------------------------------------------------------------------


@torch.library.custom_op("ponet::numba_document_mean", mutates_args=(), device_types="cpu")
def _document_mean(x: Tensor, cu_seqlens: Tensor, document: Tensor) -> Tensor:
    d = x.shape[1]
    mean = x.new_zeros(cu_seqlens.shape[0] - 1, d)
    if x.numel():
        block = block_size(d)
        partial = partials(x, block, d)
        blocks = partial.size // (2 * d)
        arguments = (block, d, pieces(d), array(x), runs(cu_seqlens), array(mean), partial, scratch(x, d))
        run(numba_attention.document_mean, blocks, x.numel(), 0, *arguments)
        run(numba_attention.document_mean, blocks * pieces(d), partial.size // 2, 1, *arguments)
    return mean


@_document_mean.register_fake
def _(x: Tensor, cu_seqlens: Tensor, document: Tensor) -> Tensor:
    return x.new_empty(cu_seqlens.shape[0] - 1, x.shape[1])


def _keep_document_mean(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _document_mean_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    cu_seqlens, document = ctx.saved_tensors
    return (gradient / cu_seqlens.diff().clamp(min=1)[:, None]).index_select(0, document), None, None


_document_mean.register_autograd(_document_mean_backward, setup_context=_keep_document_mean)


# --- attention_pool --------------------------------------------------------------------------------------------------


@torch.library.custom_op("ponet::numba_attention_pool", mutates_args=(), device_types="cpu")
def _attention_pool(
    x: Tensor, queries: Tensor, cu_seqlens: Tensor, document: Tensor, output_weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`z`, the weights (of no tokens where they aren't asked for), and each softmax's logarithm of its denominator."""
    (T, d), h = x.shape, queries.shape[1]
    z, lse = torch.zeros_like(queries), queries.new_zeros(queries.shape[:2], dtype=accumulator(x))
    weights = x.new_empty(T if output_weights else 0, h)
    if x.numel():
        block = block_size(d, least=8 * h)
        partial = partials(x, block, h * d)
        blocks = partial.size // (2 * h * d)
        arguments = (
            *(block, h, d, array(x), array(queries.to(lse.dtype)), runs(cu_seqlens), array(z), array(lse)),
            *(array(weights), output_weights, array(torch.empty_like(weights, dtype=lse.dtype))),
            *(partial, partials(x, block, h), partials(x, block, h), scratch(x, h * (4 * block + d + 2))),
        )
        run(numba_attention.attention_pool, blocks, 4 * x.numel(), 0, *arguments)
        run(numba_attention.attention_pool, blocks * h, partial.size // 2, 1, *arguments)
        if output_weights:
            run(numba_attention.attention_pool, blocks, 8 * weights.numel(), 2, *arguments)
    return z, weights, lse


@_attention_pool.register_fake
def _(
    x: Tensor, queries: Tensor, cu_seqlens: Tensor, document: Tensor, output_weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    h = queries.shape[1]
    weights = x.new_empty(x.shape[0] if output_weights else 0, h)
    return torch.empty_like(queries), weights, queries.new_empty(queries.shape[:2], dtype=accumulator(x))


def _keep_attention_pool(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, output_weights = inputs
    z, weights, lse = output
    ctx.mark_non_differentiable(lse)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, z, lse, weights if output_weights else None)


def _attention_pool_backward(ctx: Any, dz: Tensor | None, dweights: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    x, queries, cu_seqlens, document, z, lse, weights = ctx.saved_tensors
    dz = torch.zeros_like(z) if dz is None else dz
    delta = (z.to(lse.dtype) * dz).sum(-1)
    if weights is None or dweights is None:
        dweights = None
    else:
        delta = delta.index_add(0, document, (weights * dweights).to(lse.dtype))
    dx, dqueries = _attention_pool_gradients(dz, dweights, x, queries, lse, delta, cu_seqlens)
    return dx, dqueries, None, None, None


_attention_pool.register_autograd(_attention_pool_backward, setup_context=_keep_attention_pool)


@torch.library.custom_op("ponet::numba_attention_pool_backward", mutates_args=(), device_types="cpu")
def _attention_pool_gradients(
    dz: Tensor, dweights: Tensor | None, x: Tensor, queries: Tensor, lse: Tensor, delta: Tensor, cu_seqlens: Tensor
) -> tuple[Tensor, Tensor]:
    d, h = x.shape[1], queries.shape[1]
    dx, dqueries = x.new_empty(x.shape), queries.new_zeros(queries.shape)
    if x.numel():
        block = block_size(d, least=8 * h)
        partial = partials(x, block, h * d)
        blocks = partial.size // (2 * h * d)
        weighted = dweights is not None
        arguments = (
            *(
                block,
                h,
                d,
                pieces(h * d),
                array(dz.to(lse.dtype)),
                array(x.new_empty(0) if dweights is None else dweights),
            ),
            *(weighted, array(x), array(queries.to(lse.dtype)), array(lse), array(delta), runs(cu_seqlens)),
            *(array(dx), array(dqueries), partial, scratch(x, 6 * block * h + (16 + h) * d)),
        )
        run(numba_attention.attention_pool_backward, blocks, 8 * x.numel(), 0, *arguments)
        run(numba_attention.attention_pool_backward, blocks * pieces(h * d), partial.size // 2, 1, *arguments)
    return dx, dqueries


@_attention_pool_gradients.register_fake
def _(
    dz: Tensor, dweights: Tensor | None, x: Tensor, queries: Tensor, lse: Tensor, delta: Tensor, cu_seqlens: Tensor
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), queries.new_empty(queries.shape)


# --- pool_and_fuse ---------------------------------------------------------------------------------------------------


@torch.library.custom_op("ponet::numba_pool_and_fuse", mutates_args=(), device_types="cpu")
def _pool_and_fuse(
    g: Tensor,
    o: Tensor,
    s: Tensor,
    l: Tensor,  # noqa: E741
    cu_seqlens: Tensor,
    cu_segments: Tensor,
    segment_order: Tensor | None,
    joins_next: Tensor,
    special: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`y`, and if `keep` each segment's maxima and their tokens, `[S, d]` and `[S, d]` int32, else of no segments."""
    (T, d), S = o.shape, cu_segments.shape[0] - 1 if keep else 0
    y, top, argmax = o.new_empty(T, d), o.new_empty(S, d), o.new_empty(S, d, dtype=torch.int32)
    if o.numel():
        block, cut = block_size(d), np.zeros(1, np.int64)
        partial = partials(o, block, d)
        blocks = partial.size // (2 * d)
        arguments = (
            *(block, d, pieces(d), array(g), rows(o), rows(s), rows(l), runs(cu_seqlens), runs(cu_segments)),
            *(tokens(segment_order, joins_next, special), array(y), keep, array(top), array(argmax)),
            *(partial, np.empty(partial.size, np.int32), scratch(o, 2 * d), scratch(o, d, torch.int32), cut),
        )
        run(numba_pooling.pool_and_fuse, blocks, 4 * o.numel(), 0, *arguments)
        if cut[0]:
            run(numba_pooling.pool_and_fuse, blocks * pieces(d), partial.size // 2, 1, *arguments)
            run(numba_pooling.pool_and_fuse, blocks, 3 * o.numel(), 2, *arguments)
    return y, top, argmax


@_pool_and_fuse.register_fake
def _(
    g: Tensor,
    o: Tensor,
    s: Tensor,
    l: Tensor,  # noqa: E741
    cu_seqlens: Tensor,
    cu_segments: Tensor,
    segment_order: Tensor | None,
    joins_next: Tensor,
    special: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    (T, d), S = o.shape, cu_segments.shape[0] - 1 if keep else 0
    return o.new_empty(T, d), o.new_empty(S, d), o.new_empty(S, d, dtype=torch.int32)


def _keep_pool_and_fuse(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    g, o, _, l, *runs, _ = inputs  # noqa: E741
    _, top, argmax = output
    ctx.mark_non_differentiable(top, argmax)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(g, o, l, top, argmax, *runs)


def _pool_and_fuse_backward(ctx: Any, dy: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 10
    return (*_pool_and_fuse_gradients(dy, *ctx.saved_tensors), *(None,) * 6)


_pool_and_fuse.register_autograd(_pool_and_fuse_backward, setup_context=_keep_pool_and_fuse)


@torch.library.custom_op("ponet::numba_pool_and_fuse_backward", mutates_args=(), device_types="cpu")
def _pool_and_fuse_gradients(
    dy: Tensor,
    g: Tensor,
    o: Tensor,
    l: Tensor,  # noqa: E741
    top: Tensor,
    argmax: Tensor,
    cu_seqlens: Tensor,
    cu_segments: Tensor,
    segment_order: Tensor | None,
    joins_next: Tensor,
    special: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of `g`, `o`, `s`, `l`."""
    T, d = o.shape
    dg = g.new_zeros(g.shape)
    do, ds, dl = (o.new_empty(T, d) for _ in range(3))
    if o.numel():
        block, cut = block_size(d), np.zeros(1, np.int64)
        partial = partials(o, block, d)
        blocks = partial.size // (2 * d)
        arguments = (
            *(block, d, pieces(d), rows(dy), array(g), rows(o), rows(l), array(top), array(argmax)),
            *(runs(cu_seqlens), runs(cu_segments), tokens(segment_order, joins_next, special)),
            *(array(dg), array(do), array(ds), array(dl), partial, partials(o, block, d)),
            *(scratch(o, 3 * d), scratch(o, 3 * d, torch.int32), cut),
        )
        run(numba_pooling.pool_and_fuse_backward, blocks, 6 * o.numel(), 0, *arguments)
        run(numba_pooling.pool_and_fuse_backward, blocks * pieces(d), partial.size // 2, 1, *arguments)
        if cut[0]:
            run(numba_pooling.pool_and_fuse_backward, blocks, o.numel(), 2, *arguments)
    return dg, do, ds, dl


@_pool_and_fuse_gradients.register_fake
def _(
    dy: Tensor,
    g: Tensor,
    o: Tensor,
    l: Tensor,  # noqa: E741
    top: Tensor,
    argmax: Tensor,
    cu_seqlens: Tensor,
    cu_segments: Tensor,
    segment_order: Tensor | None,
    joins_next: Tensor,
    special: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    T, d = o.shape
    return g.new_empty(g.shape), o.new_empty(T, d), o.new_empty(T, d), o.new_empty(T, d)
