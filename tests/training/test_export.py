"""Runs among the results: small, whole, without a machine's folders, and `evaluate` opens them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ponet.config.recipe import load_recipe
from ponet.training.evaluation import evaluate
from ponet.training.export import TRAINING_LINES, export_run
from ponet.training.run import train
from ponet.utils.errors import PoNetError

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    small = ["train_size=24", "validation_size=8", "test_size=8", "data.workers=1", "batch_size=4", "max_steps=4"]
    overrides = [*small, f"data.cache={folder / 'cache'}", "seed=3", "log_every=1", "eval_every=2"]
    command = f"ponet train lra/listops/pooling data.cache={folder / 'cache'} max_steps=4 --out {folder / 'run'} seed=3"
    train(load_recipe("lra/listops/pooling", overrides), folder / "run", show=False, command=command)
    return folder / "run"


def test_an_exported_run_is_small_and_evaluates_as_the_run_does(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = export_run(run, tmp_path / "results")
    assert target == tmp_path / "results" / "lra" / "listops" / "pooling" / "seed3"
    names = {path.name for path in target.iterdir()}
    assert names == {"README.md", "config.json", "metrics.jsonl", "model.safetensors", "recipe.yaml", "result.json"}
    assert sum(path.stat().st_size for path in target.iterdir()) < 1.1e6
    for path in target.iterdir():
        assert str(run.parent).encode() not in path.read_bytes(), path.name
    monkeypatch.setenv("PONET_CACHE", str(tmp_path / "elsewhere"))
    assert evaluate(target, fresh_test_seed=5, show=False)["metrics"]["loss"] == pytest.approx(
        evaluate(run, fresh_test_seed=5, show=False)["metrics"]["loss"], abs=1e-6
    )
    result = json.loads((target / "result.json").read_text())
    assert result["test"] == json.loads((run / "result.json").read_text())["test"]
    assert result["command"] == "ponet train lra/listops/pooling max_steps=4 seed=3"
    assert result["recipe"] == load_recipe(target / "recipe.yaml").to_dict()


def test_the_data_folder_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    (data / "few").mkdir(parents=True)
    rows = "".join(f"{'a good one' if row % 2 else 'a bad one'} {row},{row % 2}\n" for row in range(40))
    for split in ("train", "test"):
        (data / "few" / f"{split}.csv").write_text(f"text,label\n{rows}")
    monkeypatch.setenv("PONET_DATA", str(data))
    shape = "data.path=few hidden_size=8 num_attention_heads=2 num_hidden_layers=1 intermediate_size=8 max_steps=1"
    train(load_recipe("documents/imdb/pooling", shape.split()), tmp_path / "run", show=False)
    target = export_run(tmp_path / "run", tmp_path / "results")
    splits = json.loads((target / "result.json").read_text())["data"]["splits"]
    assert splits["test"]["from"] == "few/test.csv"
    for path in target.iterdir():
        assert str(data).encode() not in path.read_bytes(), path.name


def test_no_result_of_this_project_names_a_folder_of_a_machine() -> None:
    absolute = re.compile(r"(?<![\w.:/)\]}-])/(?:[\w.-]+/)+[\w.-]+")
    for path in RESULTS.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".md", ".yaml", ".txt"):
            found = absolute.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path}: {found}"


def test_a_result_that_is_there_is_replaced_only_if_wanted(run: Path, tmp_path: Path) -> None:
    target = export_run(run, tmp_path)
    (target / "stray.md").write_text("of another run")
    with pytest.raises(PoNetError, match="--overwrite replaces what is there"):
        export_run(run, tmp_path)
    with pytest.raises(PoNetError, match="is a result already"):
        export_run(target, tmp_path, overwrite=True)
    with pytest.raises(PoNetError, match=r"holds other things too, such as 'stray.md'"):
        export_run(run, tmp_path, overwrite=True)
    assert (target / "stray.md").read_text() == "of another run"
    (target / "stray.md").unlink()
    (target / "vocab.txt").write_text("of the result before")
    assert export_run(run, tmp_path, overwrite=True) == target
    assert not (target / "vocab.txt").exists()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_large_weights_stay_where_they_are(run: Path, tmp_path: Path) -> None:
    target = export_run(run, tmp_path, weights_mb=0.1)
    assert {path.name for path in target.iterdir()} == {"README.md", "metrics.jsonl", "recipe.yaml", "result.json"}


def test_long_metrics_are_thinned_and_evaluations_kept(run: Path, tmp_path: Path) -> None:
    lines = []
    for step in range(1, 1002):
        lines.append({"step": step, "loss": 1 / step})
        if step % 100 == 0:
            lines.append({"step": step, "validation": {"accuracy": 0.5}})
    copy = tmp_path / "run"
    copy.mkdir()
    for path in run.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    filed = (export_run(copy, tmp_path / "results") / "metrics.jsonl").read_text().splitlines()
    kept: list[dict[str, Any]] = [json.loads(line) for line in filed]
    assert sum("validation" in line for line in kept) == 10
    assert TRAINING_LINES * 0.8 < len(kept) - 10 <= TRAINING_LINES
    assert kept[-1]["step"] == 1001
    assert [line["step"] for line in kept] == sorted(line["step"] for line in kept)


def test_what_can_t_be_filed(tiny_recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match="isn't a run folder"):
        export_run(tmp_path)
    train(tiny_recipe("max_steps=2"), tmp_path / "run", show=False)
    with pytest.raises(PoNetError, match="a result's place is suite/task/mixer"):
        export_run(tmp_path / "run", tmp_path / "results")
