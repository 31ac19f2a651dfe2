"""The result files under a folder: `<suite>/<task>/<mixer>/seed<k>/result.json`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponet.utils.errors import PoNetError
from ponet.utils.files import explain

FIGURES = ("test", "validation", "train")
"""Where a run's result has its figures; it has one of them at least."""


@dataclass(frozen=True)
class Result:
    """One measured run."""

    suite: str
    task: str
    mixer: str
    seed: int
    values: dict[str, Any]
    """The content of `result.json`."""
    folder: Path | None = None
    """Where it lies, with the run's other files."""

    def number(self, path: str) -> float | None:
        """A figure by its dotted path (`test.accuracy`), None where the file doesn't give it.

        Raises:
            PoNetError: where the file gives something that is not a number.
        """
        value: Any = self.values
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[key]
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            where = f"{self.suite}/{self.task}/{self.mixer}/seed{self.seed}/result.json"
            raise PoNetError(f"'{path}' in {where} is not a number but {value!r}. Run that recipe again.")
        return float(value)


def load_results(folder: Path, suite: str) -> list[Result]:
    """All results of a suite, by task, mixer and seed. None are found where there is no such folder.

    Raises:
        PoNetError: for a file that can't be read or isn't a result.
    """
    results: list[Result] = []
    for path in sorted(Path(folder).glob(f"{suite}/*/*/seed*/result.json")):
        task, mixer, run = path.parts[-4:-1]
        seed = re.fullmatch(r"seed(\d+)", run)
        if seed is None:
            continue
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise explain(error, path) from error
        except (ValueError, RecursionError) as error:
            raise PoNetError(f"'{path}' is not a result file: {error}. Remove it or run its recipe again.") from error
        if not isinstance(values, dict) or not any(isinstance(values.get(part), dict) for part in FIGURES):
            raise PoNetError(f"'{path}' is not a result file: it holds no figures by name.")
        results.append(Result(suite, task, mixer, int(seed[1]), values, path.parent))
    return sorted(results, key=lambda result: (result.task, result.mixer, result.seed))
