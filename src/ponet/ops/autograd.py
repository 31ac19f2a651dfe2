"""From kernels to a backend: custom ops with their autograd formulas, for the backends that aren't plain PyTorch.

`make_backend` registers each op and its backward as a `torch.library` custom op (`ponet::<backend>_<op>`) with fake and
autograd formulas, so that autograd works and a compiled graph stays whole. Kernels get contiguous tensors of one
floating type on the backend's device. `T` tokens, `B` documents, `S` segments and `d` may each be 0. "Accumulator" is
the type of sums: float64 for float64, else float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from ponet.ops.hooks import are_plain, is_recorded, is_transformed, needs_grad
from ponet.ops.layout import Layout
from ponet.ops.reference import Backend, accumulator


class LayoutTensors(NamedTuple):
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

    @classmethod
    def of(cls, layout: Layout) -> "LayoutTensors":
        """Those of a layout."""
        return cls(
            *(layout.cu_seqlens, layout.document, layout.cu_segments, layout.segment),
            *(layout.segment_order, layout.joins_next, layout.special),
        )


class Kernels(NamedTuple):
    """The kernels of a backend: the ops, with what their backward needs besides, and these backwards.

    All results but the ones named are of the inputs' type, and contiguous.
    """

    mean_aggregation: Callable[[Tensor, LayoutTensors], Tensor]
    """`(x [T, d], layout) -> mean [B, d]`, zeros for an empty document."""
    softmax_aggregation: Callable[[Tensor, Tensor, LayoutTensors, bool], tuple[Tensor, Tensor, Tensor]]
    """`(x [T, d], queries [B, h, d], layout, output_weights) -> (z [B, h, d], lse [B, h], weights [T, h])`.

    `lse`, in the accumulator's type, is the logarithm of each softmax's denominator; z and lse of an empty document are
    zeros. `weights` is `[0, h]` unless `output_weights`.
    """
    softmax_aggregation_backward: Callable[
        [Tensor, Tensor | None, Tensor, Tensor, Tensor, Tensor, LayoutTensors], tuple[Tensor, Tensor]
    ]
    """`(dz [B, h, d], dweights [T, h] or None, x, queries, lse, delta, layout) -> (dx, dqueries)`.

    `delta [B, h]`, in the accumulator's type, is the sum over a document's tokens of weight times the weight's gradient
    (`dz . x`, plus `dweights` where given); so a score's gradient is `weight * (dz . x + dweights - delta)`.
    """
    segment_local_fusion: Callable[[Tensor, Tensor, LayoutTensors, bool], tuple[Tensor, Tensor, Tensor]]
    """`(g [B, d], projections [T, 3 d], layout, save_maxima) -> (y [T, d], top [S, d], argmax [S, d] int32)`.

    `top` are the segment maxima and `argmax` the tokens that hold them, the first where tied, for the backward; both
    `[0, d]` unless `save_maxima`.
    """
    segment_local_fusion_backward: Callable[
        [Tensor, Tensor, Tensor, Tensor, Tensor, LayoutTensors], tuple[Tensor, Tensor]
    ]
    """`(dy [T, d], g, projections, top, argmax, layout) -> (dg [B, d], dprojections [T, 3 d])`."""


def make_backend(name: str, kernels: Kernels, device: str, dtypes: tuple[torch.dtype, ...]) -> Backend:
    """The three ops on the kernels of a backend, for tensors of one of `dtypes` on a `device` ("cpu", "cuda").

    The ops raise `ValueError` for other tensors, and have first derivatives: a second backward raises `RuntimeError`.
    """
    mean = _mean_aggregation(name, kernels, device)
    softmax = _softmax_aggregation(name, kernels, device, mean)
    fusion = _segment_local_fusion(name, kernels, device)

    def checked(layout: Layout, *tensors: Tensor) -> LayoutTensors:
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
        return LayoutTensors.of(layout)

    def mean_aggregation(x: Tensor, layout: Layout) -> Tensor:
        return mean(x, *checked(layout, x))

    def softmax_aggregation(
        x: Tensor, queries: Tensor, layout: Layout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        z, _, weights = softmax(x, queries, *checked(layout, x, queries), output_weights)
        return z, weights if output_weights else None

    def segment_local_fusion(g: Tensor, projections: Tensor, layout: Layout) -> Tensor:
        tensors = checked(layout, g, projections)
        y: Tensor = fusion(g, projections, *tensors, needs_grad(g, projections))[0]
        return y

    return Backend(mean_aggregation, softmax_aggregation, segment_local_fusion)


_OPTIONAL = ("segment_order", "special")
_LAYOUT = ", ".join(f"Tensor{'?' if field in _OPTIONAL else ''} {field}" for field in LayoutTensors._fields)
"""In the schema of a custom op, which takes a layout's tensors one by one."""
_NO_GRADIENTS = (None,) * len(LayoutTensors._fields)
"""Of a layout's tensors."""


def _register(
    name: str,
    device: str,
    schema: tuple[str, str, str],
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    backward: Callable[..., Any],
    save: Callable[[Any, tuple[Any, ...], Any], None] = lambda ctx, inputs, output: None,
) -> Callable[..., Any]:
    """Registers the custom op `ponet::<name>`, of tensors, a layout's tensors, and flags.

    Args:
        name: of the op.
        device: the type of device.
        schema: the arguments before the layout and behind it, and the results.
        kernel: the function, of contiguous tensors.
        fake: the function of shapes and types.
        backward: `(ctx, *gradients) -> gradients of all arguments`.
        save: `(ctx, inputs, output)`; saves what `backward` needs.

    Returns:
        The function to call. It calls the op only where it is traced, transformed or recorded, since PyTorch's
        dispatcher and its autograd for custom ops take longer than small inputs.
    """
    first, flags, results = schema
    num_tensors = first.count("Tensor")
    behind = num_tensors + len(LayoutTensors._fields)

    def compute(*inputs: Any) -> Any:
        tensors = [None if tensor is None else tensor.contiguous() for tensor in inputs[:num_tensors]]
        return kernel(*tensors, LayoutTensors(*inputs[num_tensors:behind]), *inputs[behind:])

    op = torch.library.custom_op(
        f"ponet::{name}",
        compute,
        mutates_args=(),
        device_types=device,
        schema=f"({first}, {_LAYOUT}{flags}) -> {results}",
    )
    op.register_fake(fake)
    op.register_autograd(backward, setup_context=save)

    class Eager(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = compute(*inputs)
            save(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return backward(ctx, *gradients)

    def call(*inputs: Any) -> Any:
        tensors = [tensor for tensor in inputs[:num_tensors] if tensor is not None]
        if torch.compiler.is_compiling() or not are_plain(*tensors) or is_transformed() or is_recorded():
            return op(*inputs)
        return Eager.apply(*inputs) if needs_grad(*tensors) else compute(*inputs)

    return call


def _once(backend: str) -> Callable[..., Any]:
    """The autograd formula of a backward, which says why there is none."""

    def refuse(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(
            f"the {backend} backend has no second derivatives; compute with the reference: "
            "`with ponet.ops.use_backend('reference'):`, or PONET_BACKEND=reference"
        )

    return refuse


def _mean_aggregation(name: str, kernels: Kernels, device: str) -> Callable[..., Tensor]:
    def fake(x: Tensor, *layout: Any) -> Tensor:
        return x.new_empty(LayoutTensors(*layout).cu_seqlens.shape[0] - 1, x.shape[1])

    def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        layout = LayoutTensors(*inputs[1:])
        ctx.save_for_backward(layout.cu_seqlens, layout.document)

    def backward(ctx: Any, dmean: Tensor) -> tuple[Tensor | None, ...]:
        cu_seqlens, document = ctx.saved_tensors
        return (dmean / cu_seqlens.diff().clamp(min=1)[:, None]).index_select(0, document), *_NO_GRADIENTS

    schema = "Tensor x", "", "Tensor"
    return _register(f"{name}_mean_aggregation", device, schema, kernels.mean_aggregation, fake, backward, save)


def _softmax_aggregation(
    name: str, kernels: Kernels, device: str, mean: Callable[..., Tensor]
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    gradients = _register(
        f"{name}_softmax_aggregation_backward",
        device,
        (
            "Tensor dz, Tensor? dweights, Tensor x, Tensor queries, Tensor lse, Tensor delta",
            "",
            "(Tensor, Tensor)",
        ),
        kernels.softmax_aggregation_backward,
        fake=lambda dz, dweights, x, queries, *_: (x.new_empty(x.shape), queries.new_empty(queries.shape)),
        backward=_once(name),
    )

    def fake(x: Tensor, queries: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
        lse = queries.new_empty(queries.shape[:2], dtype=accumulator(x.dtype))
        weights = x.new_empty(x.shape[0] if others[-1] else 0, queries.shape[1])
        return queries.new_empty(queries.shape), lse, weights

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, queries, *layout, output_weights = inputs
        z, lse, weights = output
        ctx.mark_non_differentiable(lse)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, queries, z, lse, weights if output_weights else None, *layout)

    def backward(ctx: Any, dz: Tensor | None, _: Any, dweights: Tensor | None) -> tuple[Tensor | None, ...]:
        x, queries, z, lse, weights, *layout = ctx.saved_tensors
        if weights is None:
            dweights = None
        if dz is None and dweights is None:
            return (None, None, *_NO_GRADIENTS, None)
        dz = torch.zeros_like(z) if dz is None else dz
        delta = (z.to(lse.dtype) * dz).sum(-1)
        if dweights is not None:
            # Not by `index_add`, which on a GPU adds in no fixed order
            lengths = LayoutTensors(*layout).cu_seqlens.diff()
            delta = delta + mean(weights.to(lse.dtype) * dweights, *layout) * lengths[:, None]
        return *gradients(dz, dweights, x, queries, lse, delta, *layout), *_NO_GRADIENTS, None

    schema = "Tensor x, Tensor queries", ", bool output_weights", "(Tensor, Tensor, Tensor)"
    return _register(f"{name}_softmax_aggregation", device, schema, kernels.softmax_aggregation, fake, backward, save)


def _segment_local_fusion(name: str, kernels: Kernels, device: str) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    gradients = _register(
        f"{name}_segment_local_fusion_backward",
        device,
        ("Tensor dy, Tensor g, Tensor projections, Tensor top, Tensor argmax", "", "(Tensor, Tensor)"),
        kernels.segment_local_fusion_backward,
        fake=lambda dy, g, projections, *_: (g.new_empty(g.shape), projections.new_empty(projections.shape)),
        backward=_once(name),
    )

    def fake(g: Tensor, projections: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
        *layout, save_maxima = others
        top = g.new_empty(LayoutTensors(*layout).cu_segments.shape[0] - 1 if save_maxima else 0, g.shape[1])
        return g.new_empty(projections.shape[0], g.shape[1]), top, top.new_empty(top.shape, dtype=torch.int32)

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        g, projections, *layout, _ = inputs
        _, top, argmax = output
        ctx.mark_non_differentiable(top, argmax)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, projections, top, argmax, *layout)

    def backward(ctx: Any, dy: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        if dy is None:
            return (None, None, *_NO_GRADIENTS, None)
        return *gradients(dy, *ctx.saved_tensors), *_NO_GRADIENTS, None

    schema = "Tensor g, Tensor projections", ", bool save_maxima", "(Tensor, Tensor, Tensor)"
    return _register(f"{name}_segment_local_fusion", device, schema, kernels.segment_local_fusion, fake, backward, save)
