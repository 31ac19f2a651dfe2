"""The transfer table, from results written by hand whose figures are known."""

import json
from pathlib import Path

import pytest

from ponet.report.registry import find_report, markdown
from ponet.report.tables import ABSENT
from ponet.report.transfer import SETS


def put(root: Path, task: str, start: str, seed: int, split: str, rate: float = 3e-4, **metrics: float) -> None:
    folder = root / "transfer" / task / start / f"seed{seed}"
    folder.mkdir(parents=True)
    other = "validation" if split == "test" else "test"
    values = {
        split: metrics,
        other: dict.fromkeys(metrics, 0.999),  # must never be shown
        "train": {},
        "machine": {"cpu": "Abacus", "cores": 2, "threads": 2},
        "recipe": {"model": {"init": "ponet-tiny"}, "training": {"learning_rate": rate}},
    }
    (folder / "result.json").write_text(json.dumps(values), encoding="utf-8")


def rows(root: Path) -> dict[str, list[str]]:
    [table] = find_report("transfer").tables(root)
    return {cells[0]: cells[1:] for cells in table.rows}


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    [table] = find_report("transfer").tables(tmp_path)
    assert table.rows == []
    assert "Nothing is measured yet" in table.notes[0]


def test_both_sides_and_their_difference(tmp_path: Path) -> None:
    for seed, accuracy in enumerate([0.70, 0.72, 0.74, 0.76, 0.78]):
        put(tmp_path, "hnd", "pretrained", seed, "test", accuracy=accuracy, f1=accuracy - 0.1)
        put(tmp_path, "hnd", "scratch", seed, "test", accuracy=0.76, f1=0.6)
    put(tmp_path, "cola", "pretrained", 0, "validation", matthews=0.2)
    put(tmp_path, "cola", "scratch", 0, "validation", matthews=0.05)
    put(tmp_path, "stsb", "pretrained", 0, "validation", pearson=0.5, spearman=0.45)
    found = rows(tmp_path)
    assert found["HND, accuracy"] == ["74.0 ± 3.2", "76.0 ± 0.0", "-2.0", "5 / 5", ABSENT]
    assert found["HND, F1"][2] == "+4.0"
    assert found["CoLA, Matthews correlation"] == ["20.0", "5.0", "+15.0", "1 / 1", "0.0"]
    assert found["STS-B, Spearman"] == ["45.0", "missing", ABSENT, "1 / 0 of 1", "73.6"]
    assert found["IMDb, accuracy"] == ["missing", "missing", ABSENT, "0 / 0 of 1", ABSENT]
    assert len(found) == sum(len(each.metrics) for each in SETS.values())
    text = markdown("transfer", tmp_path)
    assert "99.9" not in text
    assert "Pre-trained: ponet-tiny, learning rate 0.0003" in text
    assert "Abacus, 2 threads" in text


def test_a_side_s_several_rates_are_told_with_their_sets(tmp_path: Path) -> None:
    put(tmp_path, "cola", "scratch", 0, "validation", matthews=0.1)
    put(tmp_path, "imdb", "scratch", 0, "test", rate=1e-3, accuracy=0.8)
    put(tmp_path, "rte", "scratch", 0, "validation", rate=1e-3, accuracy=0.5)
    put(tmp_path, "rte", "pretrained", 0, "validation", accuracy=0.5)
    [table] = find_report("transfer").tables(tmp_path)
    assert table.notes[1].startswith(
        "Pre-trained: ponet-tiny, learning rate 0.0003. From scratch: ponet-tiny, learning rate 0.001 (IMDb, RTE); "
        "ponet-tiny, learning rate 0.0003 (CoLA)."
    )


@pytest.mark.parametrize(("runs", "cell"), [(4, "4 / 4 of 5"), (5, "5 / 5")])
def test_too_few_seeds_are_told(tmp_path: Path, runs: int, cell: str) -> None:
    for seed in range(runs):
        for start in ("pretrained", "scratch"):
            put(tmp_path, "hnd", start, seed, "test", accuracy=0.5, f1=0.5)
    assert rows(tmp_path)["HND, accuracy"][-2] == cell


def test_results_of_other_names_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "imdb", "trial", 0, "test", accuracy=0.9)
    put(tmp_path, "unknown", "scratch", 0, "test", accuracy=0.9)
    assert rows(tmp_path) == {}
