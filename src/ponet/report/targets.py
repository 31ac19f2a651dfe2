"""What this project aims at: ratios of two figures of one benchmark result, listed in `results/targets.json`.

An entry there has these keys:

- `results`: which result files, as `efficiency/lra-cpu`; `*` is allowed
- `what`: in words, then `at least` or `at most`: the wanted ratio
- `figure`: the dotted path of a figure in the result file, with `{variant}` and, where there are several, `{case}`
- `ratio`: the two variants, the first over the second
- `cases`: a list of cases, by default all; lengths below `from` are left out
"""

import operator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ponet.report.tables import ABSENT, Table
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json

FILE = "targets.json"
BOUNDS = {"at least": "≥", "at most": "≤"}


def target_table(results: Path, name: str, title: str, values: dict[str, Any]) -> Table | None:
    """The targets of one result, what was measured, and whether they are met; None where it has none.

    Args:
        results: the folder of all results.
        name: of the result file in it, without its ending: `efficiency/lra-cpu`.
        title: of the table.
        values: the content of the result file.

    Raises:
        PoNetError: for an entry of another form.
    """
    table = Table(title, ("Target", "Wanted", "Measured", "Verdict"))
    path = Path(results, FILE)
    for entry in read_json(path) if path.is_file() else []:
        try:
            if not fnmatch(name, entry["results"]):
                continue
            [bound] = [each for each in BOUNDS if each in entry]
            wanted, measured = float(entry[bound]), _measured(entry, values)
            if measured:
                shown = (f"{_case(case)}: {_ratio(value)}" if case else _ratio(value) for case, value in measured)
                verdict = _verdict(bound, wanted, dict(measured))
                table.rows.append([entry["what"], f"{BOUNDS[bound]} {wanted:g}", ", ".join(shown), verdict])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PoNetError(f"'{path}' has an entry that isn't a target: {entry!r}. Correct it.") from error
    return table if table.rows else None


def _measured(entry: dict[str, Any], values: dict[str, Any]) -> list[tuple[str, float | None]]:
    """Case -> ratio, None where one of its figures is missing."""
    before, _, after = entry["figure"].partition("{case}")
    numerator, denominator = entry["ratio"]
    cases = [""]
    if after and "cases" in entry:
        cases = entry["cases"]
    elif after:
        found = [_read(values, before.format(variant=variant).rstrip(".")) for variant in entry["ratio"]]
        cases = list(dict.fromkeys(case for each in found if isinstance(each, dict) for case in each))
    known, least = values.get("lengths"), entry.get("from", 0)
    ratios: list[tuple[str, float | None]] = []
    for case in cases:
        if case.isdecimal() and (int(case) not in (known or []) or int(case) < least):
            continue
        first, second = (_read(values, entry["figure"].format(variant=v, case=case)) for v in (numerator, denominator))
        ratio = first / second if first is not None and second else None
        if ratio is not None or "lengths" in values:  # a length that wasn't measured is shown as such
            ratios.append((case, ratio))
    return ratios


def _read(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _verdict(bound: str, wanted: float, measured: dict[str, float | None]) -> str:
    """NaN never meets anything."""
    known = {case: value for case, value in measured.items() if value is not None}
    met = operator.ge if bound == "at least" else operator.le
    missed = [_case(case) for case, value in known.items() if not met(value, wanted)]
    if not known:
        return "not measured"
    if not missed:
        return "met"
    return "missed" if len(missed) == len(known) else f"missed at {', '.join(missed)}"


def _case(case: str) -> str:
    return f"{int(case):,}" if case.isdecimal() else case


def _ratio(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"
