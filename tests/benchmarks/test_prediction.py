"""A run in each precision and runtime: all answer alike, and the figures are those of `ponet evaluate`."""

import json
from pathlib import Path

import pytest

from ponet.benchmarks.prediction import PredictionPlan, count_ways, measure_prediction
from ponet.config.recipe import load_recipe
from ponet.report.registry import find_report
from ponet.training.evaluation import evaluate
from ponet.training.run import train
from ponet.utils.errors import PoNetError

SIZE = (
    "model.init=null",
    "model.hidden_size=32",
    "model.num_attention_heads=4",
    "model.num_hidden_layers=1",
    "model.intermediate_size=64",
    "training.max_steps=8",
    "training.precision=float32",
)


def write_rows(folder: Path, number: bool) -> None:
    words = ("good", "bad")
    for split, rows in (("train", 40), ("test", 21)):
        labels = [i / 7.3 if number else i % 2 for i in range(rows)]
        texts = [f"{words[i % 2]} film number {i}. " * (i % 7 + 1) for i in range(rows)]
        lines = [json.dumps({"text": text, "label": label}) for text, label in zip(texts, labels, strict=True)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("number", [False, True])
def test_every_way_answers_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: bool) -> None:
    monkeypatch.setattr("ponet.utils.precision.cpu_computes_bf16", lambda: True)
    pytest.importorskip("onnxruntime", reason="pip install 'ponet[onnx]'")
    data = tmp_path / "data"
    data.mkdir()
    write_rows(data, number)
    recipe = load_recipe("finetune/base-scratch", [f"data.path={data}", "name=films", *SIZE])
    train(recipe, tmp_path / "run", show=False)
    progress: list[float] = []
    plan = PredictionPlan(str(tmp_path / "run"), rounds=2)
    path = tmp_path / "results" / "predict" / "films.json"
    values = measure_prediction(plan, path, lambda word, amount=1.0: progress.append(amount))
    rows = {row["way"]: row for row in values["rows"]}
    assert len(rows) == count_ways()
    assert sum(progress) == pytest.approx(count_ways())
    metrics = evaluate(tmp_path / "run", show=False)["metrics"]
    # a correlation, which answers in another order would change, however little they differ
    metric, apart = ("pearson", 1e-4) if number else ("accuracy", 0)
    for way in ("ponet float32", "pipeline float32 1", "pipeline float32 32", "onnx"):
        assert rows[way]["figures"][metric] == pytest.approx(metrics[metric], abs=apart), way
        assert rows[way].get("agreement", 1) == 1
    assert min(row.get("agreement", 1) for row in rows.values()) > 0.8
    assert all(row["time"]["rounds"] == 2 for row in rows.values())
    [table] = find_report("predict").tables(tmp_path / "results")
    assert [row[0] for row in table.rows][:2] == ["ponet predict, float32", "ponet predict, bf16"]
    with pytest.raises(PoNetError, match="no dev documents"):
        measure_prediction(PredictionPlan(plan.run, split="dev"), path, lambda word, amount=1.0: None)
