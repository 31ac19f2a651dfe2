"""Ratios that are aimed at, of results whose figures are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from ponet.report.targets import target_table
from ponet.utils.errors import PoNetError

RESULT = {
    "lengths": [512, 1024, 4096],
    "variants": {
        "pooling": {"512": {"time": 1.0}, "1024": {"time": 2.0}, "4096": {"time": float("nan")}},
        "attention": {"512": {"time": 2.0}, "1024": {"time": 3.0}, "4096": {"time": 64.0}},
    },
}
SPEED = {
    "results": "efficiency/lra-*",
    "what": "speed",
    "at least": 2.0,
    "figure": "variants.{variant}.{case}.time",
    "ratio": ["attention", "pooling"],
}


def row(folder: Path, entry: dict[str, Any], values: dict[str, Any], name: str = "efficiency/lra-cpu") -> list[str]:
    (folder / "targets.json").write_text(json.dumps([entry]))
    table = target_table(folder, name, "Targets", values)
    return list(table.rows[0]) if table else []


def test_met_and_missed_by_case(tmp_path: Path) -> None:
    measured = "512: 2.00, 1,024: 1.50, 4,096: nan"
    assert row(tmp_path, SPEED, RESULT) == ["speed", "≥ 2", measured, "missed at 1,024, 4,096"]
    assert row(tmp_path, SPEED | {"cases": ["512", "8192"]}, RESULT) == ["speed", "≥ 2", "512: 2.00", "met"]
    assert row(tmp_path, SPEED | {"from": 1024, "at least": 9.0}, RESULT)[3] == "missed"
    slower = {key: value for key, value in SPEED.items() if key != "at least"} | {"at most": 1.5}
    assert row(tmp_path, slower | {"cases": ["1024"]}, RESULT) == ["speed", "≤ 1.5", "1,024: 1.50", "met"]


def test_what_was_not_measured(tmp_path: Path) -> None:
    assert row(tmp_path, SPEED | {"ratio": ["fourier", "pooling"]}, RESULT)[2:] == [
        "512: –, 1,024: –, 4,096: –",
        "not measured",
    ]
    assert row(tmp_path, SPEED, RESULT, "efficiency/base-cpu") == []
    (tmp_path / "targets.json").unlink()
    assert target_table(tmp_path, "efficiency/lra-cpu", "Targets", RESULT) is None


def test_results_without_lengths(tmp_path: Path) -> None:
    entry = {
        "results": "ops/cpu",
        "what": "over a copy",
        "at most": 2.0,
        "figure": "groups.{case}.fuse forward.{variant}",
        "ratio": ["numba", "copy"],
    }
    groups = {"base": {"fuse forward": {"copy": 1.0, "numba": 1.5}}, "mixer": {"forward": {"ours": 1.0}}}
    assert row(tmp_path, entry, {"groups": groups}, "ops/cpu") == ["over a copy", "≤ 2", "base: 1.50", "met"]
    one = entry | {"figure": "groups.mixer.forward.{variant}", "ratio": ["ours", "ours"]}
    assert row(tmp_path, one, {"groups": groups}, "ops/cpu")[2] == "1.00"


@pytest.mark.parametrize("gone", ["results", "at least", "figure", "ratio"])
def test_an_entry_of_another_form(tmp_path: Path, gone: str) -> None:
    with pytest.raises(PoNetError, match="isn't a target"):
        row(tmp_path, {key: value for key, value in SPEED.items() if key != gone}, RESULT)


@pytest.mark.parametrize(
    "wrong", [{"at least": "fast"}, {"figure": 3}, {"cases": 5}, {"from": "512"}, {"ratio": ["one"]}]
)
def test_a_value_of_another_type(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(PoNetError, match="isn't a target"):
        row(tmp_path, SPEED | wrong, RESULT)
