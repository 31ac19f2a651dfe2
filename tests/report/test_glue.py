"""The GLUE table, from results written by hand whose figures are known."""

import json
from pathlib import Path
from typing import Any

from ponet.config.files import available_recipes
from ponet.report.glue import MODELS, SETS
from ponet.report.registry import find_report, markdown
from ponet.report.tables import ABSENT, Table

TARGETS = [
    {
        "results": "glue",
        "what": "over BERT",
        "at least": 0.957,
        "figure": "average.{variant}",
        "ratio": ["ponet", "bert"],
    },
    {
        "results": "glue",
        "what": "over FNet",
        "at least": 1.045,
        "figure": "average.{variant}",
        "ratio": ["ponet", "fnet"],
    },
]


def put(root: Path, task: str, model: str, seed: int = 0, rows: int = 10**6, **splits: Any) -> None:
    folder = root / "glue" / task / model / f"seed{seed}"
    folder.mkdir(parents=True)
    values = {
        **splits,
        "train": {},
        "data": {"splits": {"train": {"rows": rows}}},
        "machine": {"cpu": "Abacus", "cores": 2, "threads": 2},
        "recipe": {
            "model": {"init": "sentence-transformers/all-MiniLM-L6-v2"},
            "training": {"learning_rate": 1e-4, "batch_size": 16, "epochs": 4},
        },
    }
    (folder / "result.json").write_text(json.dumps(values), encoding="utf-8")


def tables(root: Path) -> dict[str, Table]:
    return {table.title: table for table in find_report("glue").tables(root)}


def test_the_report_knows_every_recipe() -> None:
    known = {name for name in available_recipes() if name.startswith("glue/")}
    assert known == {f"glue/{each.task}/{model}" for each in SETS.values() for model in MODELS}


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    [table] = find_report("glue").tables(tmp_path)
    assert all(cell in ("missing", ABSENT) for row in table.rows[:-1] for cell in row[1:5])
    assert "Nothing is measured yet" in table.notes[0]


def test_averages_ratios_and_goals(tmp_path: Path) -> None:
    (tmp_path / "targets.json").write_text(json.dumps(TARGETS))
    figures = {"bert": 0.8, "fnet": 0.7, "ponet": 0.78}
    for model, value in figures.items():
        put(tmp_path, "mnli", model, validation={"accuracy": value}, test={"accuracy": value - 0.1})
        put(tmp_path, "mrpc", model, validation={"accuracy": value, "f1": value + 0.1}, test={"accuracy": 0.999})
        put(tmp_path, "wnli", model, validation={"accuracy": 0.1})
    put(tmp_path, "qqp", "ponet", rows=5, validation={"accuracy": 0.5, "f1": 0.6})
    for seed, value in enumerate((0.4, 0.5)):
        put(tmp_path, "cola", "ponet", seed, validation={"matthews": value})
    (tmp_path / "glue" / "mnli" / "bert" / "grid.json").write_text(json.dumps({"cells": [{}] * 20}))
    found = tables(tmp_path)
    rows = {cells[0]: cells[1:] for cells in found["GLUE"].rows}
    assert rows["MNLI, mismatched, accuracy"][:5] == ["70.0", "60.0", "68.0", "missing", "97.1 %"]
    assert rows["MRPC, accuracy and F1"][2:3] == ["83.0"]
    assert rows["QQP*, accuracy and F1"] == ["missing"] * 2 + [
        "55.0",
        "missing",
        ABSENT,
        ABSENT,
        "0 / 0 / 1 / 0 of 3",
        "87.55",
    ]
    assert rows["CoLA, Matthews correlation"][2] == "45.0 ± 7.1"
    # over MNLI (twice) and MRPC, which all three have: (0.8 + 0.7 + 0.85) / 3 and so on
    assert rows["Average"] == ["78.3", "68.3", "76.3", ABSENT, "97.4 %", "111.7 %", ABSENT, "76.80"]
    assert [row[-1] for row in found["GLUE: goals"].rows] == ["met", "met"]
    assert found["GLUE: learning rate, batch, epochs and how pairs are read"].rows[0][:3] == [
        "MNLI",
        "0.0001, 16, 4 (of 20)",
        "0.0001, 16, 4",
    ]
    text = markdown("glue", tmp_path)
    assert "99.9" not in text
    assert "QQP: 5 of 363,846 training rows" in text
    assert "QQP, SNLI and MultiNLI" in text
    assert "Average over MNLI, matched, MNLI, mismatched, MRPC." in text
