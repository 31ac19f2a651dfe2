"""The result file of a benchmark, written after every group of cells: an interruption loses one group at most."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ponet.training.result import origin
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, is_stream, write_json

KERNELS = ("numba", "triton")
"""Packages whose version decides how fast the ops are."""


class BenchmarkInterruptedError(PoNetError):
    """A benchmark that was stopped by hand.

    Attributes:
        signal: the number of the signal that asked.
    """

    signal = int(signal.SIGINT)


class Record:
    """What a benchmark has measured so far, and where it comes from.

    Args:
        path: the JSON file; its folder is made where it isn't there.
        seed: of weights and inputs.
        values: what is known before measuring; more is put into `values` as it comes.

    Raises:
        PoNetError: where the folder can't be written to: before minutes of work, not after.
    """

    def __init__(self, path: Path, seed: int, values: dict[str, Any]) -> None:
        self.path = path
        self.values = values
        try:
            if not is_stream(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=path.parent):
                    pass
        except OSError as error:
            raise explain(error, path) from error
        self._origin = origin(seed)
        self._origin["versions"] |= {name: _version(name) for name in KERNELS}
        self._complete = self._saved = False

    @property
    def content(self) -> dict[str, Any]:
        """What the file holds."""
        return {"complete": self._complete, **self.values, **self._origin}

    def save(self, complete: bool = False) -> None:
        """Writes everything measured so far, whole or not at all."""
        self._complete = complete
        write_json(self.path, self.content)
        self._saved = True

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Around the measuring: Ctrl-C becomes one sentence that says where the figures so far are.

        Raises:
            BenchmarkInterruptedError: on Ctrl-C.
        """
        try:
            yield
        except KeyboardInterrupt as error:
            kept = f"What was measured until then is in '{self.path}'." if self._saved else "Nothing was measured yet."
            raise BenchmarkInterruptedError(f"Stopped. {kept}") from error


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
