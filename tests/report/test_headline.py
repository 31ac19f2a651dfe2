"""The README's table from result files written by hand, whose figures are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from ponet.report.registry import find_report
from ponet.report.tables import ABSENT


def put(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def run(accuracy: float, steps: int) -> dict[str, Any]:
    return {"test": {"accuracy": accuracy, "f1": accuracy}, "train": {"steps": steps, "seconds": 10.0}}


def training(steps_per_second: float, peak_bytes: int) -> dict[str, Any]:
    return {"training": {"4096": {"steps_per_second": steps_per_second, "memory": {"peak_bytes": peak_bytes}}}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    put(tmp_path / "lra/listops/pooling/seed0/result.json", run(0.38, 5000))
    put(tmp_path / "lra/text/attention/seed0/result.json", run(0.51, 100))
    put(tmp_path / "documents/imdb/pooling/seed0/result.json", run(0.87, 100))
    variants = {
        "pooling": training(8.0, 100 * 2**20),
        "attention": training(0.5, 200 * 2**20),
        "attention-eager": training(0.25, 2**31),
    }
    values = {"setup": {"device": "cpu", "dtype": "float32"}, "variants": variants}
    put(tmp_path / "efficiency/lra-cpu.json", values)
    return tmp_path


def test_measured_stands_beside_published(results: Path) -> None:
    [table] = find_report("headline").tables(results)
    assert list(table.columns[1:]) == [
        *("PoNet, published", "PoNet, measured", "Transformer, published", "Transformer, measured"),
    ]
    assert [cells[1:] for cells in table.rows] == [
        ["37.80", "38.0", "37.10", ABSENT],
        ["69.82", ABSENT, "65.02", "51.0*"],
        ["93.0", "87.0", ABSENT, ABSENT],
        ["16.2", "8", "1.8", "0.5"],
        ["2.4 GB", "100 MiB", "23.8 GB", "200 MiB"],
    ]
    notes = " ".join(table.notes)
    assert "stores its weights: 0.25 steps/s, 2.0 GiB" in notes
    assert "16.0 times as fast as the Transformer's here, 9.0 times as published" in notes


def test_published_figures_stand_without_any_result(tmp_path: Path) -> None:
    [table] = find_report("headline").tables(tmp_path)
    speed, peak = table.rows[-2:]
    assert speed[1:] == ["16.2", ABSENT, "1.8", ABSENT]
    assert peak[1:] == ["2.4 GB", ABSENT, "23.8 GB", ABSENT]
    assert "times as fast" not in " ".join(table.notes)
