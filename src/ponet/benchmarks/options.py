"""Options that all benchmarks share, checked before anything is measured."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ponet.training.distributed import check_environment
from ponet.utils.errors import PoNetError, suggest

MOST_THREADS = 1024
DTYPES = ("float32", "bfloat16", "float16")


def numbers(text: str, option: str) -> tuple[int, ...]:
    """`512,1024,4k` as whole numbers in the given order; `k` stands for 1024.

    Raises:
        PoNetError: for anything else, naming the option.
    """
    found = []
    for part in text.split(","):
        word = part.strip().lower().replace("_", "")
        scale = 1024 if word.endswith("k") else 1
        digits = word.removesuffix("k")
        if not digits.isdecimal() or int(digits) < 1:
            raise PoNetError(f"{option} should be whole numbers, as in 512,1024 or 4k; '{part.strip()}' isn't one.")
        found.append(int(digits) * scale)
    return tuple(found)


@dataclass(frozen=True)
class Machine:
    """Where and in what precision to measure.

    Raises:
        PoNetError: for a device or precision that isn't there.
    """

    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    """Threads of torch; None for its own choice."""

    def __post_init__(self) -> None:
        if self.device not in ("cpu", "cuda"):
            raise PoNetError(f"There is no device '{self.device}' to measure on: give cpu or cuda.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise PoNetError("There is no GPU here: use --device cpu.")
        if self.dtype not in DTYPES:
            raise PoNetError(f"There is no precision '{self.dtype}' to measure in.{suggest(self.dtype, DTYPES)}")
        if self.dtype == "float16" and self.device == "cpu":
            raise PoNetError("float16 is for a GPU: use float32 or bfloat16 on a CPU.")
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise PoNetError(f"--threads must be from 1 to {MOST_THREADS:,}, not {self.threads}.")
        check_environment()

    @property
    def synchronize(self) -> Callable[[], object] | None:
        """What `interleave` calls before it reads the clock."""
        return torch.cuda.synchronize if self.device == "cuda" else None

    @contextmanager
    def threaded(self) -> Iterator[None]:
        """Within the block torch uses that many threads."""
        before = torch.get_num_threads()
        try:
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            yield
        finally:
            torch.set_num_threads(before)
