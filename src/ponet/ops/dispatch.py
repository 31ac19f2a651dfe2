"""The public ops: one signature each, and the backend that computes them chosen here.

`"auto"` takes the fastest backend that can compute the inputs at hand; `"reference"` is plain PyTorch and computes all;
`"numba"` computes float32 and bfloat16 (and float64, if asked for by name) on the CPU, `"triton"` float32, bfloat16 and
float16 on a GPU; neither computes second derivatives. Padded rows (`PaddedLayout`) have one form, `ponet.ops.padded`.
"""

import importlib
import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from ponet.ops.hooks import is_transformed
from ponet.ops.layout import Layout
from ponet.ops.padded import BACKEND as PADDED
from ponet.ops.padded import AnyLayout, PaddedLayout
from ponet.ops.reference import BACKEND, Backend

_BACKENDS = {"reference": BACKEND}
# Backends that need a package of the same name, and the module that is imported when they are first used. By name, not
# by an import statement: a saved model's folder has a copy of this file, and not of those.
_MODULES = {"numba": "ponet.ops.numba", "triton": "ponet.ops.triton"}
_EXTRAS = {"numba": "fast", "triton": "gpu"}
_DEVICES = {"cpu": "numba", "cuda": "triton"}
_DTYPES = {
    "numba": (torch.float32, torch.bfloat16),
    "triton": (torch.float32, torch.bfloat16, torch.float16),
}
"""What "auto" gives to each. float64 goes to the reference: it is used where second derivatives may be needed."""
_AUTO_NUMBERS = 2**14
"""Numbers in `[T, d]` from which "auto" uses kernels: with fewer they save little, and have to be compiled."""
_CHOICE = "backend"  # in `Layout.derived`
_missing: dict[str, str] = {}
_noticed = False
_DEFAULT = os.environ.get("PONET_BACKEND", "auto")
_chosen: ContextVar[str | None] = ContextVar("ponet_backend", default=None)
"""What `use_backend` selects, in each thread and task."""


def backends() -> tuple[str, ...]:
    """The names that `use_backend` and `$PONET_BACKEND` take on this machine."""
    return ("auto", "reference", *(name for name in _MODULES if importlib.util.find_spec(name) and _has_device(name)))


def _has_device(name: str) -> bool:
    """Whether this machine has the backend's device; Triton's interpreter needs no GPU."""
    return name != "triton" or torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Within the block every op of this thread and task (`contextvars`) runs on the named backend.

    An op raises `ValueError` for inputs that the backend can't compute. Threads that are started within the block have
    the default backend; tasks (`asyncio`) that of the context in which they were created.

    Raises:
        ValueError: for a name that isn't in `backends()`.
    """
    _check(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@torch.compiler.disable
def choose_for(layout: Layout) -> None:
    """Stores the backend that is selected now in a layout, for code that can't read the context variable.

    This is the case in a compiled graph, and in autograd's own threads, which recompute layers on a GPU.
    """
    layout.derived[_CHOICE] = _chosen.get() or _DEFAULT


def mean_aggregation(x: Tensor, layout: AnyLayout, backend: str | None = None) -> Tensor:
    """The mean over each document's tokens, as in global aggregation's stage 1.

    Args:
        x: `[T, d]`.
        layout: where the documents begin.
        backend: its name; by default the selected one, see `use_backend`.

    Returns:
        `[B, d]`; zeros for an empty document.
    """
    return _backend(backend, layout, x).mean_aggregation(x, layout)


def softmax_aggregation(
    x: Tensor, queries: Tensor, layout: AnyLayout, output_weights: bool = False, backend: str | None = None
) -> tuple[Tensor, Tensor | None]:
    """Softmax-weighted means of each document's tokens, one per head: global aggregation's stage 2.

    Args:
        x: `[T, d]`.
        queries: `[B, h, d]`, scaled.
        layout: where the documents begin.
        output_weights: whether to return the weights.
        backend: its name; by default the selected one, see `use_backend`.

    Returns:
        `[B, h, d]`, and the weights `[T, h]` or None.
    """
    return _backend(backend, layout, x, queries).softmax_aggregation(x, queries, layout, output_weights)


def segment_local_fusion(g: Tensor, projections: Tensor, layout: AnyLayout, backend: str | None = None) -> Tensor:
    """Segment max-pooling, local max-pooling and pooling fusion in one op (paper, section 3).

    Args:
        g: `[B, d]`, global aggregation's result.
        projections: `[T, 3 d]`: the output, segment and local projections `o | s | l`.
        layout: where documents and segments begin.
        backend: its name; by default the selected one, see `use_backend`.

    Returns:
        `[T, d]`.
    """
    return _backend(backend, layout, projections, g).segment_local_fusion(g, projections, layout)


def chosen_backend(tokens: Tensor, *others: Tensor) -> str:
    """The name of the backend for an op on `tokens [T, d]` and other tensors, if the call names none."""
    name = _chosen.get() or _DEFAULT
    return _automatic(tokens, *others) if name == "auto" else name


def _automatic(tokens: Tensor, *others: Tensor) -> str:
    fused = _fused(tokens, *others)
    return fused if fused is not None and _loads(fused, notice=True) else "reference"


def _backend(name: str | None, layout: AnyLayout, tokens: Tensor, *others: Tensor) -> Backend:
    """The backend of that name, by default the chosen one, for an op on `tokens [T, d]` and other tensors."""
    if isinstance(layout, PaddedLayout):
        return PADDED
    if name is None:
        name = None if torch.compiler.is_compiling() else _chosen.get()
        name = name or layout.derived.get(_CHOICE) or _choice_when_compiled()
    if name not in ("auto", "reference") and is_transformed():
        raise ValueError(
            f"the {name} backend can't be transformed by torch.func or forward-mode AD: use the 'reference' backend, "
            "or 'auto', which then takes that"
        )
    if name == "auto":
        name = _automatic(tokens, *others)
    elif name not in _BACKENDS:
        _check(name)
        if not _loads(name, notice=False):
            raise ValueError(f"the {name} backend can't be loaded: {_missing[name]}")
    return _BACKENDS[name]


@torch.compiler.assume_constant_result
def _choice_when_compiled() -> str:
    return _chosen.get() or _DEFAULT


def _fused(tokens: Tensor, *others: Tensor) -> str | None:
    """The backend with kernels for these inputs; None where they are few, mixed, or in a graph to run elsewhere."""
    name = _DEVICES.get(tokens.device.type)
    suits = (
        name is not None
        and tokens.dtype in _DTYPES[name]
        and all(tensor.dtype == tokens.dtype and tensor.device == tokens.device for tensor in others)
        and not torch.compiler.is_exporting()
        and not is_transformed()
        and not torch.jit.is_tracing()
        and (torch.compiler.is_compiling() or tokens.numel() >= _AUTO_NUMBERS)
    )
    return name if suits else None


@torch.compiler.assume_constant_result
def _loads(name: str, notice: bool) -> bool:
    """Whether a backend can be imported, tried at the first call. If not, a single warning says so if `notice`."""
    global _noticed
    if name not in _BACKENDS and name not in _missing:
        try:
            _BACKENDS[name] = importlib.import_module(_MODULES[name]).BACKEND
        except (ImportError, OSError) as error:
            _missing[name] = str(error)
    if name in _missing and notice and not _noticed:
        _noticed = True
        warnings.warn(
            f"tokens are mixed in plain PyTorch, many times slower than by {name} ({_missing[name]}); "
            f"to install it: pip install 'ponet[{_EXTRAS[name]}]'",
            RuntimeWarning,
            stacklevel=2,
        )
    return name in _BACKENDS


def _check(name: str) -> None:
    if name not in backends():
        needs = ""
        if name in _MODULES:
            device = "a GPU and " if name == "triton" else ""
            needs = f" (it needs {device}the package {name}: pip install 'ponet[{_EXTRAS[name]}]')"
        raise ValueError(f"unknown backend '{name}'{needs}; known: {', '.join(backends())}")
