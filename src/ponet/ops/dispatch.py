"""The public ops: one signature each, and the backend that computes them chosen here.

`"auto"` takes the fastest backend that can compute the inputs at hand; `"reference"` is plain PyTorch and computes all.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor

from ponet.ops.layout import Layout
from ponet.ops.reference import attention_pool as _attention_pool
from ponet.ops.reference import document_mean as _document_mean
from ponet.ops.reference import pool_and_fuse as _pool_and_fuse


class Backend(NamedTuple):
    """The passes over tokens that a backend implements, with the signatures of `ponet.ops.reference`."""

    document_mean: Callable[[Tensor, Layout], Tensor]
    attention_pool: Callable[[Tensor, Tensor, Layout, bool], tuple[Tensor, Tensor | None]]
    pool_and_fuse: Callable[[Tensor, Tensor, Tensor, Tensor, Layout], Tensor]


_BACKENDS = {"reference": Backend(_document_mean, _attention_pool, _pool_and_fuse)}
_chosen = os.environ.get("PONET_BACKEND", "auto")


def backends() -> tuple[str, ...]:
    """The names that `use_backend` and `$PONET_BACKEND` take."""
    return ("auto", *_BACKENDS)


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Within the block every op runs on the named backend.

    Raises:
        ValueError: for a name that isn't in `backends()`.
    """
    global _chosen
    _check(name)
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


def document_mean(x: Tensor, layout: Layout, backend: str | None = None) -> Tensor:
    """The mean over each document's tokens: `[T, d]` -> `[B, d]`; zeros for an empty document."""
    return _backend(backend).document_mean(x, layout)


def attention_pool(
    x: Tensor, queries: Tensor, layout: Layout, output_weights: bool = False, backend: str | None = None
) -> tuple[Tensor, Tensor | None]:
    """Attention-weighted means of each document's tokens `x [T, d]` under its queries `[B, h, d]`.

    Returns:
        `[B, h, d]`, and the weights `[T, h]` where asked for.
    """
    return _backend(backend).attention_pool(x, queries, layout, output_weights)


def pool_and_fuse(g: Tensor, o: Tensor, s: Tensor, l: Tensor, layout: Layout, backend: str | None = None) -> Tensor:  # noqa: E741
    """SMP, LMP and PF in one op: `g [B, d]` and `o, s, l [T, d]` -> `y [T, d]` (paper, section 3)."""
    return _backend(backend).pool_and_fuse(g, o, s, l, layout)


def _backend(name: str | None) -> Backend:
    name = name or _chosen
    if name == "auto":
        name = "reference"
    _check(name)
    return _BACKENDS[name]


def _check(name: str) -> None:
    if name not in backends():
        raise ValueError(f"unknown backend '{name}'; known: {', '.join(backends())}")
