"""Numba kernels: how they are compiled, how they get their arguments, and how they run on several threads.

A kernel has one list of arguments, a NamedTuple. `Launch` packs its values into one piece of memory, an int64 for each
number and each tensor's address; `arguments`, within the kernel, makes the same NamedTuple of them again, its tensors
as pointers of the types that the annotations of the fields give:

    class _Scale(NamedTuple):
        n: int
        x: Storage
        y: Storage
        scratch: PerThread

    @compiled
    def _scale_step(step, task, a, scratch):
        ...  # one task; returns whether a document or segment is cut, see `Launch.cut`

    @Kernel
    def _scale(like):
        run_tasks(_scale_step, arguments(_Scale, like), like)

    Launch(_scale, x.dtype, _Scale(n, x, y, per_thread(n, 4))).run(step=0, tasks=8, work=n)

Pointers, since Numba counts references to arrays and lets their indices be negative, and neither lets loops run in
vectors.
"""

import ctypes
import hashlib
import os
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core.compiler import Compiler
from numba.extending import intrinsic, overload
from torch import Tensor

# --- Compiling -------------------------------------------------------------------------------------------------------


class _NoAlias(Compiler):
    """For functions whose pointers lead to separate memory, so that loops need no checks whether they do."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):  # type: ignore[no-untyped-def]
        flags.noalias = True
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)


_OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True}
_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))


def compiled(function: Callable[..., Any]) -> Any:
    """`numba.njit` for a function that kernels call; not callable from Python, which would take time to compile."""
    return njit(no_cfunc_wrapper=True, **_OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """`compiled`, for a function of many arguments (a kernel's fields) that is called for each token or segment."""
    return njit(no_cfunc_wrapper=True, forceinline=True, **_OPTIONS)(function)


def loop(function: Callable[..., Any]) -> Any:
    """`compiled`, for a loop over channels: its pointers must not lead to the same memory where one is written to."""
    return njit(no_cfunc_wrapper=True, pipeline_class=_NoAlias, **_OPTIONS)(function)


def regrouped(function: Callable[..., Any]) -> Any:
    """`loop`, with sums in any order, so that they run in vectors. Infinities and NaNs have their usual meaning."""
    fastmath = {"reassoc", "contract", "nsz"}
    return njit(no_cfunc_wrapper=True, pipeline_class=_NoAlias, fastmath=fastmath, **_OPTIONS)(function)


class Kernel:
    """A function `(like: Pointer)` that `Launch` calls, on several threads at a time.

    It gets the packed arguments as a pointer whose type is that of the stored numbers. Compiled for a type at the first
    launch with it; the cache on disk is invalidated when any file of this backend changes, not only the function's own.
    """

    def __init__(self, function: Callable[[Any], None]) -> None:
        try:
            self._compiled = njit(cache=True, **_OPTIONS)(function)
            self._compiled._cache._cache_file._source_stamp = _SOURCES.hexdigest()
        except (RuntimeError, AttributeError):  # no folder to write to, or another Numba's cache
            self._compiled = njit(**_OPTIONS)(function)
        self._entries: dict[Any, tuple[Callable[[int], None], int]] = {}

    def entry(self, storage: Any) -> tuple[Callable[[int], None], int]:
        """The machine code for a Numba type of storage: as a function that releases the GIL, and its address."""
        if storage not in self._entries:
            signature = (types.CPointer(storage),)
            self._compiled.compile(signature)
            code = self._compiled.overloads[signature]
            address = code.library.get_pointer_to_function(code.fndesc.llvm_cfunc_wrapper_name)
            self._entries[storage] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address), address
        return self._entries[storage]


# --- Arguments -------------------------------------------------------------------------------------------------------

Pointer = Any
"""In a kernel: a tensor's memory, its bfloat16 numbers as uint16."""
Storage = Annotated[Any, lambda storage: storage]
"""A field: a tensor of the type that the kernel is launched for."""
Accumulator = Annotated[Any, lambda storage: types.float64 if storage == types.float64 else types.float32]
"""A field: a tensor of the type in which sums run, `ponet.ops.reference.accumulator`."""
Int64 = Annotated[Any, lambda _: types.int64]
Int32 = Annotated[Any, lambda _: types.int32]
Bool = Annotated[Any, lambda _: types.uint8]
_STORAGE = {torch.float32: types.float32, torch.float64: types.float64, torch.bfloat16: types.uint16}


class Scratch(int):
    """In the place of a tensor: so many bytes of memory with undefined contents."""


class PerThread(NamedTuple):
    """Scratch memory of which each thread has a share."""

    memory: Accumulator
    numbers: int
    """Of one share."""


def per_thread(numbers: int, item_size: int) -> PerThread:
    """So many numbers of the accumulator's type, each of so many bytes, for each thread."""
    return PerThread(Scratch(numbers * item_size * torch.get_num_threads()), numbers)


@cache
def _kind(field: Any, storage: Any) -> Any:
    """The Numba type of a field (a number, a pointer, a NamedTuple of fields), by its annotation."""
    if field in (int, bool):
        return types.int64 if field is int else types.boolean
    if isinstance(field, type) and issubclass(field, tuple):
        hints = get_type_hints(field, include_extras=True).values()
        return types.BaseTuple.from_types([_kind(hint, storage) for hint in hints], field)
    (element,) = field.__metadata__
    return types.CPointer(element(storage))


@intrinsic
def arguments(_: Any, fields: Any, like: Any) -> Any:
    """In a kernel: its arguments, as a NamedTuple `fields`."""
    to = _kind(fields.instance_class, like.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = ir.IntType(64)
        numbers, places = builder.bitcast(values[1], number.as_pointer()), count(len(Header._fields))

        def make(kind: Any) -> Any:
            if isinstance(kind, types.BaseTuple):
                return context.make_tuple(builder, kind, [make(each) for each in kind])
            value = builder.load(builder.gep(numbers, [ir.Constant(number, next(places))]))
            if isinstance(kind, types.CPointer):
                return builder.inttoptr(value, context.get_value_type(kind))
            return value if kind == types.int64 else builder.icmp_unsigned("!=", value, ir.Constant(number, 0))

        return make(to)

    return to(fields, like), generate


# --- Launching -------------------------------------------------------------------------------------------------------


class Header(NamedTuple):
    """What precedes the packed arguments: int64 numbers that the threads share."""

    next_task: int
    next_thread: int
    tasks: int
    step: int
    """Of a kernel that makes several, one after the other."""
    cut: int
    """Whether a task found that a document or segment is cut by the end of a block."""


_NEXT_TASK, _NEXT_THREAD, _TASKS, _STEP, _CUT = range(len(Header._fields))


@intrinsic
def _take(_: Any, numbers: Any, i: Any) -> Any:
    """In a kernel: `numbers[i]`, and increments it, so that no other thread gets the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(arguments[0], [context.cast(builder, arguments[1], i, types.intp)])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(numbers, i), generate


@compiled
def run_tasks(run: Any, a: Any, like: Pointer) -> None:
    """In a kernel: a thread's work, `run(step, task, a, scratch) -> cut` for tasks until none is left."""
    header = pointer_to(types.int64, address_of(like))
    scratch = at(a.scratch.memory, _take(header, _NEXT_THREAD) * a.scratch.numbers)
    tasks, step = header[_TASKS], header[_STEP]
    task = _take(header, _NEXT_TASK)
    while task < tasks:
        if run(step, task, a, scratch):
            header[_CUT] = 1
        task = _take(header, _NEXT_TASK)


_WORTH_A_THREAD = 2**16
"""Numbers to go through, in some hundredths of a millisecond, that are worth another thread."""


def _pack(fields: tuple[Any, ...], into: list[Any]) -> None:
    """Appends the numbers of fields, those of nested fields in their place; a `Scratch` as it is."""
    for value in fields:
        kind = type(value)  # cheaper than `isinstance`
        if kind is int or kind is bool or kind is Scratch:
            into.append(value)
        elif value is None:
            into.append(0)
        elif isinstance(value, Tensor):
            into.append(value.data_ptr())
        else:
            _pack(value, into)


class Launch:
    """A kernel with its arguments, for tensors of a type; on at most as many threads as torch uses now."""

    def __init__(self, kernel: Kernel, dtype: torch.dtype, fields: tuple[Any, ...]) -> None:
        self._function, self._address = kernel.entry(_STORAGE[dtype])
        self._fields = fields  # the tensors must live as long as their addresses are used
        values: list[Any] = [0] * len(Header._fields)
        _pack(fields, values)
        scratch = [i for i, value in enumerate(values) if type(value) is Scratch]
        places = [0]
        for i in scratch:
            places.append(places[-1] + (values[i] + 63) // 64 * 64)  # apart by whole lines of the cache
        self._scratch = torch.empty(places.pop(), dtype=torch.uint8)
        start = self._scratch.data_ptr()
        for i, place in zip(scratch, places, strict=True):
            values[i] = start + place
        self._numbers = array("q", values)
        self._start = self._numbers.buffer_info()[0]

    def run(self, step: int, tasks: int, work: int) -> None:
        """Runs a step of so many tasks, on fewer threads where there is little `work`: numbers in memory in all."""
        self._numbers[_NEXT_TASK], self._numbers[_NEXT_THREAD] = 0, 0
        self._numbers[_TASKS], self._numbers[_STEP] = tasks, step
        threads = min(torch.get_num_threads(), tasks, work // _WORTH_A_THREAD)
        if threads <= 1:
            self._function(self._start)
        elif _openmp is not None and os.getpid() == _owner:
            _openmp(self._address, self._start, threads, 0)
        else:
            _run_on_python_threads(self._function, self._start, threads)

    @property
    def cut(self) -> bool:
        """Whether a task has returned True."""
        return bool(self._numbers[_CUT])


def _find_openmp() -> Callable[..., None] | None:
    """`GOMP_parallel` of the very OpenMP that torch uses, whose threads are up; None where torch has another kind."""
    try:
        function = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")).GOMP_parallel
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    function.restype = None
    return function


_openmp = _find_openmp()
_owner = os.getpid()
"""The process whose OpenMP this is: one that is forked from it has the memory of threads, but not the threads."""
_executor: ThreadPoolExecutor | None = None
_executor_owner = 0


def _run_on_python_threads(function: Callable[[int], None], numbers: int, threads: int) -> None:
    """Slower to start than OpenMP's. Not Numba's, which abort a process that was forked or that has two computing."""
    global _executor, _executor_owner
    if _executor is None or _executor_owner != os.getpid():
        _executor, _executor_owner = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="ponet"), os.getpid()
    others = [_executor.submit(function, numbers) for _ in range(threads - 1)]
    function(numbers)
    for other in others:
        if not other.cancel():  # one that hasn't begun by now would find nothing to do
            other.result()


# --- Pointers and stored numbers -------------------------------------------------------------------------------------


@intrinsic
def pointer_to(_: Any, element: Any, address: Any) -> Any:
    """In a kernel: an address as a pointer to a type (`types.int32`)."""
    to = types.CPointer(element.instance_type)
    return to(element, address), lambda context, builder, _, arguments: builder.inttoptr(
        arguments[1], context.get_value_type(to)
    )


@intrinsic
def pointer_like(_: Any, like: Any, address: Any) -> Any:
    """In a kernel: an address as a pointer of the type of another."""
    return like(like, address), lambda context, builder, _, arguments: builder.inttoptr(
        arguments[1], context.get_value_type(like)
    )


@intrinsic
def at(_: Any, pointer: Any, i: Any) -> Any:
    """In a kernel: the pointer `i` numbers further."""
    return pointer(pointer, i), lambda context, builder, _, arguments: builder.gep(arguments[0], [arguments[1]])


@intrinsic
def address_of(_: Any, pointer: Any) -> Any:
    """In a kernel: a pointer's address, by which the memory can be used as another type's."""
    return types.int64(pointer), lambda context, builder, _, arguments: builder.ptrtoint(arguments[0], ir.IntType(64))


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


@overload(load, strict=False)
def _load(data: Any, i: Any) -> Any:
    if data.dtype == types.uint16:
        return lambda data, i: as_float(np.uint32(np.uint32(data[i]) << np.uint32(16)))
    return lambda data, i: data[i]


def store(data: Pointer, i: int, value: Any) -> None:
    """In a kernel: `data[i] = value`, rounded to the nearest where the storage is bfloat16."""
    raise NotImplementedError("only within a kernel")


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


def cast(value: Any, data: Pointer) -> Any:
    """In a kernel: a number in the type in which numbers of `data`'s type are computed with."""
    raise NotImplementedError("only within a kernel")


@overload(cast, strict=False)
def _cast(value: Any, data: Any) -> Any:
    if data.dtype == types.float64:
        return lambda value, data: np.float64(value)
    return lambda value, data: np.float32(value)


ZERO = np.float32(0)
"""Of the narrowest type to compute with, so that it widens no other."""


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
