"""What the reports of both benchmarks share: their result files, their targets, and a machine in words."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ponet.report.tables import ABSENT, Table
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json

Values = Mapping[str, Any]
"""The content of a result file."""

INSTEAD = {"timeout": "too slow", "out_of_memory": "OOM", "error": "failed"}
"""What stands where a figure could not be measured."""
SIGNS = {"at least": "≥", "at most": "≤"}


def load_benchmarks(folder: Path, suite: str, *needed: str) -> dict[str, dict[str, Any]]:
    """The results `folder/suite/*.json` by the file's name without its ending; none where there is no such folder.

    Args:
        folder: of all results.
        suite: its folder in there.
        needed: keys that every file must have.

    Raises:
        PoNetError: for a file that can't be read, or isn't one of a benchmark.
    """
    found = {}
    for path in sorted(Path(folder, suite).glob("*.json")):
        values = read_json(path)
        if not isinstance(values, dict) or not {"setup", "targets", *needed} <= values.keys():
            raise PoNetError(f"'{path}' is not a result of `ponet benchmark {suite}`: remove it or measure again.")
        found[path.stem] = values
    return found


def collect(
    results: Path, suite: str, title: str, tables: Callable[[Values], list[Table]], *needed: str
) -> list[Table]:
    """The tables of every result file of a suite; where there is none, one that says which command makes it.

    Args:
        results: the folder of all results.
        suite: its folder in there, and the benchmark's name.
        title: of the one table where nothing is measured.
        tables: makes those of one result.
        needed: keys that every file must have.
    """
    made = [table for values in load_benchmarks(results, suite, *needed).values() for table in tables(values)]
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


def target_table(title: str, values: Values) -> Table | None:
    """The targets, what was measured, and whether they are met; None where the result has none."""
    table = Table(title, ("Target", "Wanted", "Measured", "Verdict"))
    for target in values["targets"]:
        figures = target["measured"].items()
        measured = ", ".join(f"{_case(case)}: {_figure(value)}" if case else _figure(value) for case, value in figures)
        wanted = f"{SIGNS[target['bound']]} {target['wanted']:g}"
        table.rows.append([target["what"], wanted, measured, _verdict(target)])
    return table if table.rows else None


def target_lines(values: Values) -> list[str]:
    """The same, a line each, for a terminal of any width."""
    table = target_table("", values)
    return (
        [f"{verdict}: {what} {wanted}: {measured}" for what, wanted, measured, verdict in table.rows] if table else []
    )


def _verdict(target: Values) -> str:
    met = target["met"]
    if not met:
        return "not measured"
    missed = [_case(case) for case, fine in met.items() if not fine]
    if not missed:
        return "met"
    return "missed" if len(missed) == len(met) else f"missed at {', '.join(missed)}"


def _case(case: str) -> str:
    return f"{int(case):,}" if case.isdecimal() else case


def _figure(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def machine_note(values: Values) -> str:
    """`Measured on X, 2 cores, 2 threads, float32, at commit abc.`"""
    machine, setup = values.get("machine", {}), values["setup"]
    if setup["device"] == "cpu":
        where = f"{machine.get('cpu', '?')}, {machine.get('cores', '?')} cores, {machine.get('threads', '?')} threads"
    else:
        where = machine.get("gpu") or "a GPU"
    commit = values.get("commit")
    at = f", at commit `{commit[:10]}`" if isinstance(commit, str) else ""
    torch = values.get("versions", {}).get("torch")
    unfinished = "" if values.get("complete", True) else " The measurement was stopped before its end."
    return f"Measured on {where}, {setup['dtype']}{f', torch {torch}' if torch else ''}{at}.{unfinished}"


def made_by(values: Values) -> str:
    """The command that made a result."""
    command = values.get("command")
    return f"Made by `{command}`." if command else ""
