"""The C library's allocator (glibc's), for processes that are ours: what becomes of memory that is freed.

By default glibc maps a block of more than 32 MiB afresh each time, and the system then fills it with zeros page by page
before anything is written to it. Kept, it is used again. MALLOC_* and GLIBC_TUNABLES in the environment come first;
other C libraries stay as they are.
"""

import ctypes
import os
from functools import lru_cache
from typing import Any

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_LARGE = 2**30
_PAD = 2**26
_kept = [False]


@lru_cache
def _libc() -> Any:
    """The process's C library where it is glibc, else None."""
    if os.name != "posix":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def keep_freed_memory() -> bool:
    """Has glibc keep what is freed for the next large tensor; whether that is so now.

    For a whole process, so it is for its owner to call: `ponet`'s commands do. Steps with tensors above 32 MiB gain by
    it; what the process holds stays at its peak until `return_free_memory`.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ) or _libc() is None:
        return False
    options = ((_TRIM_THRESHOLD, _LARGE), (_TOP_PAD, _PAD), (_MMAP_THRESHOLD, _LARGE))
    done = [_libc().mallopt(option, size) == 1 for option, size in options]
    _kept[0] = all(done)
    return _kept[0]


def keeps_freed_memory() -> bool:
    """Whether `keep_freed_memory` has done so."""
    return _kept[0]


def keep_nothing_back() -> None:
    """Has glibc give freed memory back at once, so that what is resident is what is held: for measurements of memory,
    where what it keeps would differ by a fifth from run to run."""
    if _libc() is not None:
        if _kept[0]:
            _libc().mallopt(_TRIM_THRESHOLD, 2**17)
            _libc().mallopt(_TOP_PAD, 0)
        _libc().mallopt(_MMAP_THRESHOLD, 2**16)
        _kept[0] = False


def return_free_memory() -> None:
    """Gives the memory that is free inside the heap back to the system.

    Batches of ever other sizes leave holes that fit nothing later: without this, a training of a small model came to
    hold 9 GB in 5,000 steps (`results/lra/listops/pooling`).
    """
    if _libc() is not None:
        _libc().malloc_trim(0)
