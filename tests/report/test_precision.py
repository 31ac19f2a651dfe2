"""What bf16 changes, from results written by hand whose figures are known."""

import json
from pathlib import Path

from ponet.report.registry import find_report
from ponet.report.tables import ABSENT


def put(root: Path, task: str, side: str, seed: int, **validation: float) -> None:
    folder = root / "precision" / task / side / f"seed{seed}"
    folder.mkdir(parents=True)
    train = {"tokens_per_second": {"float32": 1000.0, "bf16": 2500.0}[side]}
    machine = {"cpu": "Abacus", "cores": 2, "threads": 2}
    values = {"validation": validation, "train": train, "machine": machine}
    (folder / "result.json").write_text(json.dumps(values), encoding="utf-8")


def test_seeds_are_compared_one_by_one(tmp_path: Path) -> None:
    for seed, (whole, half) in enumerate([(0.80, 0.81), (0.84, 0.82)]):
        put(tmp_path, "imdb", "float32", seed, accuracy=whole, loss=0.5)
        put(tmp_path, "imdb", "bf16", seed, accuracy=half, loss=0.6)
    put(tmp_path, "imdb", "bf16", 2, accuracy=0.1, loss=9.0)  # has no other side
    put(tmp_path, "stsb", "float32", 0, loss=0.5)  # without its metric
    put(tmp_path, "stsb", "bf16", 0, pearson=0.8, loss=0.5)
    [table] = find_report("precision").tables(tmp_path)
    stsb, imdb = table.rows
    assert imdb == ["IMDb, accuracy %", "82.0 ± 2.8", "81.5 ± 0.7", "+1.0, -2.0", "0.5000", "0.6000", "2.50×", "0, 1"]
    assert stsb[3] == ABSENT
    assert "Abacus, 2 threads" in table.notes[0]


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    [table] = find_report("precision").tables(tmp_path)
    assert table.rows == []
    assert "Nothing is measured yet" in table.notes[0]
