"""The table of long documents, from results written by hand whose figures are known."""

import json
from pathlib import Path

from ponet.report.registry import find_report

TARGETS = [
    {
        "results": "long/imdb",
        "what": "over TF-IDF",
        "at least": 1.0,
        "figure": "accuracy.{variant}",
        "ratio": ["ponet", "tfidf"],
    },
    {
        "results": "long/imdb",
        "what": "over BERT",
        "at least": 0.99,
        "figure": "accuracy.{variant}",
        "ratio": ["ponet", "bert"],
    },
]


def put(root: Path, task: str, model: str, accuracy: float, seed: int = 0) -> None:
    folder = root / "long" / task / model / f"seed{seed}"
    folder.mkdir(parents=True)
    values = {
        "test": {"accuracy": accuracy, "f1": accuracy - 0.1, "f1_macro": accuracy - 0.2},
        "validation": {"accuracy": 0.999},
        "inference": {"seconds": 5.0, "examples": 10, "tokens": 4000},
        "train": {"seconds": 90.0, "peak_memory_bytes": 2**30},
        "recipe": {"training": {"learning_rate": 5e-5}},
    }
    (folder / "result.json").write_text(json.dumps(values), encoding="utf-8")


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    [table] = find_report("long").tables(tmp_path)
    assert "Nothing is measured yet" in table.notes[0]


def test_rows_published_figures_and_goals(tmp_path: Path) -> None:
    (tmp_path / "targets.json").write_text(json.dumps(TARGETS))
    (tmp_path / "long").mkdir()
    (tmp_path / "long" / "cpu.json").write_text("{}")  # another report's
    put(tmp_path, "imdb", "ponet", 0.92)
    put(tmp_path, "imdb", "tfidf", 0.9)
    put(tmp_path, "imdb", "bert", 0.95)
    put(tmp_path, "imdb", "ponet-deeper", 0.93)
    for seed, accuracy in enumerate((0.7, 0.8)):
        put(tmp_path, "hnd", "ponet", accuracy, seed)
    tables = {table.title: table for table in find_report("long").tables(tmp_path)}
    rows = {cells[0]: cells[1:] for cells in tables["IMDb"].rows}
    assert rows["PoNet"] == ["92.0", "82.0", "1", "400", "90.0 s", "500 ms", "1.0 GiB", "5e-05"]
    assert rows["TF-IDF + logistic regression"][-1] == "–"
    assert rows["FNet"][0] == "missing"
    assert rows["ponet-deeper"][0] == "93.0", "a remedy is a row of its own"
    assert rows["Published: PoNet-Base"][1] == "93.0"
    assert [row[-1] for row in tables["IMDb: goals"].rows] == ["met", "missed"]
    hnd = tables["Hyperpartisan News Detection (HND), split anew"].rows[0]
    assert hnd[1:4] == ["75.0 ± 7.1", "65.0 ± 7.1", "2 of 5"]
