"""What the reports of the benchmarks share: their result files, and a machine in words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ponet.report.tables import ABSENT, Table
from ponet.report.targets import target_table
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json

Values = dict[str, Any]
"""The content of a result file."""
INSTEAD = {"timeout": "too slow", "out_of_memory": "OOM", "error": "failed"}
"""What stands where a figure could not be measured."""


def load_benchmarks(folder: Path, suite: str, *needed: str) -> dict[str, Values]:
    """The results `folder/suite/*.json` by the file's name without its ending; none where there is no such folder.

    Raises:
        PoNetError: for a file that can't be read, or isn't one of a benchmark, which has the keys `needed`.
    """
    found = {}
    for path in sorted(Path(folder, suite).glob("*.json")):
        values = read_json(path)
        if not isinstance(values, dict) or not {"setup", *needed} <= values.keys():
            raise PoNetError(f"'{path}' is not a result of `ponet benchmark {suite}`: remove it or measure again.")
        found[path.stem] = values
    return found


def collect(
    results: Path, suite: str, title: str, tables: Callable[[Values], list[Table]], *needed: str
) -> list[Table]:
    """The tables of every result file of a suite (`tables` makes those of one), with its targets; where nothing is
    measured, a table with this title that names the command. Arguments else as those of `load_benchmarks`."""
    made: list[Table] = []
    for name, values in load_benchmarks(results, suite, *needed).items():
        made += tables(values)
        targets = target_table(results, f"{suite}/{name}", f"Targets of {suite}/{name}", values)
        made += [targets] if targets else []
    return made or [Table(title, (f"Nothing is measured yet: `ponet benchmark {suite}`",))]


def absent(cell: Values) -> str:
    """What stands in the place of a figure that a cell doesn't have."""
    return INSTEAD.get(str(cell.get("status")), ABSENT)


def spread(cell: Values, middle: str = "median_seconds", ends: str = "quartiles_seconds") -> float | None:
    """Half the distance of the quartiles over the median; None where nothing was measured."""
    if middle not in cell or ends not in cell:
        return None
    low, high = cell[ends]
    return float((high - low) / 2 / cell[middle])


def greatest_spread(spreads: list[float | None]) -> str:
    """`±3 %`, the greatest of several."""
    known = [value for value in spreads if value is not None]
    return f"±{100 * max(known):.0f} %" if known else ABSENT


def machine_note(values: Values) -> str:
    """`Measured on X, 2 cores, 2 threads, float32, at commit abc.`"""
    machine, setup = values.get("machine", {}), values["setup"]
    where = machine.get("gpu") or "a GPU"
    if setup["device"] == "cpu":
        where = f"{machine.get('cpu', '?')}, {machine.get('cores', '?')} cores, {machine.get('threads', '?')} threads"
    commit, torch = values.get("commit"), values.get("versions", {}).get("torch")
    at = f", at commit `{commit[:10]}`" if isinstance(commit, str) else ""
    unfinished = "" if values.get("complete", True) else " The measurement was stopped before its end."
    return f"Measured on {where}, {setup['dtype']}{f', torch {torch}' if torch else ''}{at}.{unfinished}"


def made_by(values: Values) -> str:
    """The command that made a result."""
    command = values.get("command")
    return f"Made by `{command}`." if command else ""
