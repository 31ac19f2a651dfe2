"""A backend from its kernels: what the backends that aren't plain PyTorch share.

`make_backend` registers each op and its backward as a `torch.library` custom op (`ponet::<backend>_<op>`) with fake and
autograd formulas, so that autograd works and a compiled graph stays whole. A kernel is a function from tensors to
tensors that it allocates; it gets contiguous tensors of one floating type on the backend's device, and a batch's layout
as `Places`. `T` tokens, `B` documents, `S` segments and `d` may each be 0. "Accumulator" is the type of sums: float64
for float64, else float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ponet.ops.dispatch import Backend
from ponet.ops.layout import Layout
from ponet.ops.reference import accumulator
from ponet.ops.registration import choose, eager, needs_grad, once, register


class Places(NamedTuple):
    """A `Layout`'s tensors, by their names there: offsets and indices int64, flags bool."""

    cu_seqlens: Tensor
    """`[B + 1]`."""
    document: Tensor
    """`[T]`."""
    cu_segments: Tensor
    """`[S + 1]`."""
    segment: Tensor
    """`[T]`."""
    segment_order: Tensor | None
    """`[T]`, or None where tokens lie sorted by segment."""
    joins_next: Tensor
    """`[T]`."""
    special: Tensor | None
    """`[T]`, or None where no token is special."""


class Kernels(NamedTuple):
    """The kernels of a backend; all results but the ones named are of the inputs' type, and contiguous."""

    document_mean: Callable[[Tensor, Tensor], Tensor]
    """`(x [T, d], cu_seqlens) -> mean [B, d]`, zeros for an empty document."""
    attention_pool: Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor, Tensor]]
    """`(x [T, d], queries [B, h, d], cu_seqlens, output_weights) -> (z [B, h, d], lse [B, h], weights [T, h])`.

    `lse`, in the accumulator's type, is the logarithm of each softmax's denominator; z and lse of an empty document are
    zeros. `weights` is `[0, h]` unless `output_weights`.
    """
    attention_pool_backward: Callable[
        [Tensor, Tensor | None, Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]
    ]
    """`(dz [B, h, d], dweights [T, h] or None, x, queries, lse, delta, cu_seqlens) -> (dx, dqueries)`.

    `delta [B, h]`, in the accumulator's type, is the sum over a document's tokens of weight times the weight's gradient
    (`dz . x`, plus `dweights` where given); so a score's gradient is `weight * (dz . x + dweights - delta)`.
    """
    pool_and_fuse: Callable[[Tensor, Tensor, Places, bool], tuple[Tensor, Tensor, Tensor]]
    """`(g [B, d], projections [T, 3 d], places, keep) -> (y [T, d], top [S, d], argmax [S, d] int32)`.

    `top` are the segment maxima and `argmax` the tokens that hold them, the first where tied, for the backward; both
    `[0, d]` unless `keep`.
    """
    pool_and_fuse_backward: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Places], tuple[Tensor, Tensor]]
    """`(dy [T, d], g, projections, top, argmax, places) -> (dg [B, d], dprojections [T, 3 d])`."""


def make_backend(name: str, kernels: Kernels, device: str, dtypes: tuple[torch.dtype, ...]) -> Backend:
    """The three ops on the kernels of a backend, for tensors of one of `dtypes` on a `device` ("cpu", "cuda").

    The ops raise `ValueError` for other tensors, and have first derivatives: a second backward raises `RuntimeError`.
    """
    mean = _document_mean(name, kernels, device)
    attend = _attention_pool(name, kernels, device, mean)
    fuse = _pool_and_fuse(name, kernels, device)

    def check(layout: Layout, *tensors: Tensor) -> None:
        first = tensors[0]
        for tensor in (*tensors, layout.cu_seqlens):
            if tensor.device.type != device:
                raise ValueError(
                    f"the {name} backend computes on a device of type '{device}', not on '{tensor.device}'; "
                    "use the 'reference' backend"
                )
        if first.dtype not in dtypes or any(tensor.dtype != first.dtype for tensor in tensors):
            known, found = (
                ", ".join(sorted({str(dtype).removeprefix("torch.") for dtype in types}))
                for types in (dtypes, [tensor.dtype for tensor in tensors])
            )
            raise ValueError(
                f"the {name} backend takes tensors of one type out of {known}, not {found}; use the 'reference' backend"
            )

    def document_mean(x: Tensor, layout: Layout) -> Tensor:
        check(layout, x)
        return mean(x, layout.cu_seqlens, layout.document)

    def attention_pool(
        x: Tensor, queries: Tensor, layout: Layout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        check(layout, x, queries)
        z, _, weights = attend(x, queries, layout.cu_seqlens, layout.document, output_weights)
        return z, weights if output_weights else None

    def pool_and_fuse(g: Tensor, projections: Tensor, layout: Layout) -> Tensor:
        check(layout, g, projections)
        return fuse(g, projections, *(getattr(layout, field) for field in Places._fields))

    return Backend(document_mean, attention_pool, pool_and_fuse)


# --- document_mean ---------------------------------------------------------------------------------------------------


def _document_mean(name: str, kernels: Kernels, device: str) -> Callable[..., Tensor]:
    def compute(x: Tensor, cu_seqlens: Tensor, document: Tensor) -> Tensor:
        return kernels.document_mean(x.contiguous(), cu_seqlens)

    op = register(f"{name}_document_mean(Tensor x, Tensor cu_seqlens, Tensor document) -> Tensor", compute, device)

    @op.register_fake
    def _(x: Tensor, cu_seqlens: Tensor, document: Tensor) -> Tensor:
        return x.new_empty(cu_seqlens.shape[0] - 1, x.shape[1])

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    def backward(ctx: Any, dmean: Tensor) -> tuple[Tensor, None, None]:
        cu_seqlens, document = ctx.saved_tensors
        return (dmean / cu_seqlens.diff().clamp(min=1)[:, None]).index_select(0, document), None, None

    op.register_autograd(backward, setup_context=keep)
    in_eager_mode = eager(compute, keep, backward)

    def call(*inputs: Any) -> Tensor:
        return choose(op, in_eager_mode, compute, inputs[:1])(*inputs)

    return call


# --- attention_pool --------------------------------------------------------------------------------------------------


def _attention_pool(
    name: str, kernels: Kernels, device: str, mean: Callable[..., Tensor]
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    def compute(
        x: Tensor, queries: Tensor, cu_seqlens: Tensor, document: Tensor, output_weights: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        return kernels.attention_pool(x.contiguous(), queries.contiguous(), cu_seqlens, output_weights)

    op = register(
        f"{name}_attention_pool(Tensor x, Tensor queries, Tensor cu_seqlens, Tensor document, bool output_weights)"
        " -> (Tensor, Tensor, Tensor)",
        compute,
        device,
    )

    @op.register_fake
    def _(
        x: Tensor, queries: Tensor, cu_seqlens: Tensor, document: Tensor, output_weights: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        h = queries.shape[1]
        lse = queries.new_empty(queries.shape[:2], dtype=accumulator(x.dtype))
        return queries.new_empty(queries.shape), lse, x.new_empty(x.shape[0] if output_weights else 0, h)

    def compute_gradients(
        dz: Tensor, dweights: Tensor | None, x: Tensor, queries: Tensor, lse: Tensor, delta: Tensor, cu_seqlens: Tensor
    ) -> tuple[Tensor, Tensor]:
        dweights = None if dweights is None else dweights.contiguous()
        return kernels.attention_pool_backward(
            dz.contiguous(), dweights, x.contiguous(), queries.contiguous(), lse, delta, cu_seqlens
        )

    gradients = register(
        f"{name}_attention_pool_backward(Tensor dz, Tensor? dweights, Tensor x, Tensor queries, Tensor lse, "
        "Tensor delta, Tensor cu_seqlens) -> (Tensor, Tensor)",
        compute_gradients,
        device,
    )

    @gradients.register_fake
    def _(dz: Tensor, dweights: Tensor | None, x: Tensor, queries: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        return x.new_empty(x.shape), queries.new_empty(queries.shape)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        *tensors, output_weights = inputs
        z, lse, weights = output
        ctx.mark_non_differentiable(lse)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, z, lse, weights if output_weights else None)

    def backward(ctx: Any, dz: Tensor | None, _: Any, dweights: Tensor | None) -> tuple[Tensor | None, ...]:
        x, queries, cu_seqlens, document, z, lse, weights = ctx.saved_tensors
        if weights is None:
            dweights = None
        if dz is None and dweights is None:
            return (None,) * 5
        dz = torch.zeros_like(z) if dz is None else dz
        delta = (z.to(lse.dtype) * dz).sum(-1)
        if dweights is not None:
            # Not by `index_add`, which on a GPU adds in no fixed order
            products = weights.to(lse.dtype) * dweights
            delta = delta + mean(products, cu_seqlens, document) * cu_seqlens.diff()[:, None]
        compute_ = choose(gradients, gradients, compute_gradients, (dz, x, queries))
        return *compute_(dz, dweights, x, queries, lse, delta, cu_seqlens), None, None, None

    op.register_autograd(backward, setup_context=keep)
    once(gradients, name)
    in_eager_mode = eager(compute, keep, backward)

    def call(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        return choose(op, in_eager_mode, compute, inputs[:2])(*inputs)

    return call


# --- pool_and_fuse ---------------------------------------------------------------------------------------------------


def _pool_and_fuse(name: str, kernels: Kernels, device: str) -> Callable[..., Tensor]:
    layout = ", ".join(
        f"Tensor{'?' if field in ('segment_order', 'special') else ''} {field}" for field in Places._fields
    )

    def compute(g: Tensor, projections: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
        *places, keep = others
        return kernels.pool_and_fuse(g.contiguous(), projections.contiguous(), Places(*places), keep)

    op = register(
        f"{name}_pool_and_fuse(Tensor g, Tensor projections, {layout}, bool keep) -> (Tensor, Tensor, Tensor)",
        compute,
        device,
    )

    @op.register_fake
    def _(g: Tensor, projections: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
        *places, keep = others
        top = g.new_empty(Places(*places).cu_segments.shape[0] - 1 if keep else 0, g.shape[1])
        return g.new_empty(projections.shape[0], g.shape[1]), top, top.new_empty(top.shape, dtype=torch.int32)

    def compute_gradients(dy: Tensor, g: Tensor, projections: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        top, argmax, *places = others
        return kernels.pool_and_fuse_backward(
            dy.contiguous(), g.contiguous(), projections.contiguous(), top, argmax, Places(*places)
        )

    gradients = register(
        f"{name}_pool_and_fuse_backward(Tensor dy, Tensor g, Tensor projections, Tensor top, Tensor argmax, {layout})"
        " -> (Tensor, Tensor)",
        compute_gradients,
        device,
    )

    @gradients.register_fake
    def _(dy: Tensor, g: Tensor, projections: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        return g.new_empty(g.shape), projections.new_empty(projections.shape)

    def keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        g, projections, *places, _ = inputs
        _, top, argmax = output
        ctx.mark_non_differentiable(top, argmax)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, projections, top, argmax, *places)

    def backward(ctx: Any, dy: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        if dy is None:
            return (None,) * 10
        saved = ctx.saved_tensors
        return *choose(gradients, gradients, compute_gradients, (dy, *saved[:2]))(dy, *saved), *(None,) * 8

    op.register_autograd(backward, setup_context=keep_for_backward)
    once(gradients, name)
    in_eager_mode = eager(compute, keep_for_backward, backward)

    def call(g: Tensor, projections: Tensor, *places: Any) -> Tensor:
        keep = needs_grad(g, projections)
        return choose(op, in_eager_mode, compute, (g, projections))(g, projections, *places, keep)[0]

    return call
