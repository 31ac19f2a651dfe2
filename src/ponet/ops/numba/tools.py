"""What the Numba kernels share: compiling, pointers, storage types.

Kernels work on pointers, since Numba counts references to arrays and lets their indices be negative, both of which keep
loops from running in vectors.
"""

import ctypes
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.compiler import Compiler
from numba.extending import intrinsic, overload

Pointer = Any
"""In a kernel: memory of numbers, those of bfloat16 as uint16, bools as uint8."""

# --- Compiling -------------------------------------------------------------------------------------------------------


class _NoAlias(Compiler):
    """For functions whose pointers lead to separate memory, so that loops need no checks whether they do."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):  # type: ignore[no-untyped-def]
        flags.noalias = True
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)


_REGROUP = {"reassoc", "contract", "nsz"}
_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))


class Kernel:
    """A function `(like: Pointer)` that `threads.Call` calls, on several threads at a time.

    It gets the address of its arguments, int64 numbers, as a pointer to numbers of the storage type, by which it knows
    that. Compiled for a type when first called with it; cached on disk where there is room.
    """

    def __init__(self, function: Callable[[Pointer], None]) -> None:
        self._compiled = _cached(function)
        self._entries: dict[Any, tuple[Callable[[Any], None], int]] = {}

    def entry(self, stored_as: Any) -> tuple[Callable[[Any], None], int]:
        """The machine code for a Numba type of storage: as a function that lets other threads run, and its address."""
        if stored_as not in self._entries:
            signature = (types.CPointer(stored_as),)
            self._compiled.compile(signature)
            code = self._compiled.overloads[signature]
            address = code.library.get_pointer_to_function(code.fndesc.llvm_cfunc_wrapper_name)
            self._entries[stored_as] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address), address
        return self._entries[stored_as]


def _cached(function: Callable[..., Any]) -> Any:
    """`numba.njit`. Its cache is renewed when any of this backend's files changes, not only the function's own."""
    options: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True}
    try:
        compiled = njit(cache=True, **options)(function)
        compiled._cache._cache_file._source_stamp = _SOURCES.hexdigest()
    except (RuntimeError, AttributeError):  # no folder to write to, or another Numba's cache
        return njit(**options)(function)
    return compiled


def compiled(function: Callable[..., Any]) -> Any:
    """`numba.njit` for a function that kernels call; no way in from Python, which would take time to compile."""
    return njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def loop(function: Callable[..., Any]) -> Any:
    """`compiled`, for a loop over channels: its pointers must not lead to the same memory where one is written to."""
    return njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_NoAlias)(function)


def regrouped(function: Callable[..., Any]) -> Any:
    """`loop`, with sums in any order, so that they run in vectors. Infinities and NaNs keep their meaning."""
    return njit(
        error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_NoAlias, fastmath=_REGROUP
    )(function)


# --- Pointers --------------------------------------------------------------------------------------------------------


def _pointer_to(element: Any) -> Any:
    """An intrinsic that makes an address a pointer to a type, or to that which a function gives for
    the storage type."""
    if callable(element) and not isinstance(element, types.Type):

        @intrinsic
        def pointer_like(_: Any, address: Any, like: Any) -> Any:
            to = types.CPointer(element(like.dtype))
            return to(address, like), lambda context, builder, _, arguments: builder.inttoptr(
                arguments[0], context.get_value_type(to)
            )

        return pointer_like

    @intrinsic
    def pointer(_: Any, address: Any) -> Any:
        to = types.CPointer(element)
        return to(address), lambda context, builder, _, arguments: builder.inttoptr(
            arguments[0], context.get_value_type(to)
        )

    return pointer


integers = _pointer_to(types.int64)
"""In a kernel: `integers(address)`, a tensor of int64."""
tokens = _pointer_to(types.int32)
"""In a kernel: `tokens(address)`, a tensor of int32."""
flags = _pointer_to(types.uint8)
"""In a kernel: `flags(address)`, a tensor of bool."""
stored = _pointer_to(lambda storage: storage)
"""In a kernel: `stored(address, like)`, a tensor of the storage type."""
sums = _pointer_to(lambda storage: types.float64 if storage == types.float64 else types.float32)
"""In a kernel: `sums(address, like)`, a tensor of the accumulator's type."""


@intrinsic
def at(_: Any, pointer: Any, i: Any) -> Any:
    """In a kernel: the pointer `i` numbers on."""
    return pointer(pointer, i), lambda context, builder, _, arguments: builder.gep(arguments[0], [arguments[1]])


@intrinsic
def address_of(_: Any, pointer: Any) -> Any:
    """In a kernel: a pointer's address, by which the memory can be used as another type's."""
    return types.int64(pointer), lambda context, builder, _, arguments: builder.ptrtoint(arguments[0], ir.IntType(64))


# --- Storage types ---------------------------------------------------------------------------------------------------


def _bitcast(to: Any, width: Any) -> Any:
    """An intrinsic that reads the bits of a number as another type of the same size."""

    @intrinsic
    def cast(_: Any, value: Any) -> Any:
        return to(value), lambda context, builder, _, arguments: builder.bitcast(arguments[0], width)

    return cast


as_float = _bitcast(types.float32, ir.FloatType())
as_bits = _bitcast(types.uint32, ir.IntType(32))


def load(data: Pointer, i: int) -> Any:
    """In a kernel: `data[i]`, as float32 where the storage is bfloat16."""
    raise NotImplementedError("only within a kernel")


def store(data: Pointer, i: int, value: Any) -> None:
    """In a kernel: `data[i] = value`, rounded to the nearest where the storage is bfloat16."""
    raise NotImplementedError("only within a kernel")


def cast(value: Any, data: Pointer) -> Any:
    """In a kernel: a number in the type of `data`'s."""
    raise NotImplementedError("only within a kernel")


@overload(cast, strict=False)
def _cast(value: Any, data: Any) -> Any:
    if data.dtype == types.float64:
        return lambda value, data: np.float64(value)
    return lambda value, data: np.float32(value)


@overload(load, strict=False)
def _load(data: Any, i: Any) -> Any:
    if data.dtype == types.uint16:
        return lambda data, i: as_float(np.uint32(np.uint32(data[i]) << np.uint32(16)))
    return lambda data, i: data[i]


@overload(store, strict=False)
def _store(data: Any, i: Any, value: Any) -> Any:
    if data.dtype == types.uint16:

        def rounded(data, i, value):  # type: ignore[no-untyped-def]
            bits = as_bits(np.float32(value))
            nearest = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            # a NaN's bits mustn't be rounded
            data[i] = np.uint16(nearest) if value == value else np.uint16(0x7FC0)

        return rounded

    def plain(data, i, value):  # type: ignore[no-untyped-def]
        data[i] = value

    return plain


ZERO = np.float32(0)
"""Of the narrowest type to compute with, so that it widens no other."""


@compiled
def beats(value: Any, best: Any) -> bool:
    """Whether a later number takes the maximum: only a greater one does, or the first NaN."""
    return (not (value <= best)) & (best == best)


@compiled
def greater(best: Any, value: Any) -> Any:
    """The maximum, by `beats`."""
    return value if beats(value, best) else best


@loop
def fill(data: Pointer, n: int, value: Any) -> None:
    """`data[:n] = value`."""
    for c in range(n):
        store(data, c, value)


@loop
def copy(data: Pointer, n: int, to: Pointer) -> None:
    """`to[:n] = data[:n]`, of whatever types."""
    for c in range(n):
        store(to, c, load(data, c))


@loop
def add(data: Pointer, n: int, to: Pointer) -> None:
    """`to[:n] += data[:n]`."""
    for c in range(n):
        to[c] += load(data, c)
