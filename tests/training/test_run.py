"""What ends up in a run folder, and whose folder it is."""

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import at_step
from transformers import BertForSequenceClassification

import ponet
from ponet.artifacts import locked
from ponet.config.recipe import load_recipe
from ponet.training.evaluation import evaluate, load_model
from ponet.training.run import train
from ponet.utils.errors import PoNetError


def test_a_run_folder_says_everything_about_itself(tiny_recipe: Any, tmp_path: Path) -> None:
    from ponet.tasks.registry import get_task

    recipe, run = tiny_recipe("seed=3", "model.hidden_size=128"), tmp_path / "runs" / "tiny"
    result = train(recipe, run, show=False, command="ponet train tiny")
    names = {path.name for path in run.iterdir()}
    assert names == {"README.md", "config.json", "metrics.jsonl", "model.safetensors", "recipe.yaml", "result.json"}
    assert json.loads((run / "result.json").read_text()) == result
    assert result["recipe"] == recipe.to_dict()
    assert result["seed"] == 3
    assert result["command"] == "ponet train tiny"
    assert result["versions"]["torch"] == torch.__version__
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["memory_bytes"] > 2**28
    assert result["data"] == {"rows": 48}
    figures = result["train"]
    assert figures["steps"] == 18
    assert figures["tokens"] == 3 * int(get_task("tiny").prepare(recipe).train.lengths.sum())
    # `seconds` is rounded to a thousandth, one in a hundred where a run is this short
    assert figures["tokens"] / figures["tokens_per_second"] == pytest.approx(figures["seconds"], abs=0.001)
    assert figures["peak_memory_bytes"] > 2**20
    card = (run / "README.md").read_text()
    assert f"{result['test']['accuracy']:.4f}" in card
    assert "The data is made up." in card
    assert (run / "model.safetensors").stat().st_mode & 0o777 == (run / "recipe.yaml").stat().st_mode & 0o777
    assert load_recipe(run / "recipe.yaml").training == recipe.training


def test_the_model_is_that_of_the_best_evaluation(tiny_recipe: Any, tmp_path: Path) -> None:
    recipe = tiny_recipe("eval_every=1", "keep_checkpoints=true", "metric=loss", "learning_rate=0.1")
    result = train(recipe, tmp_path / "run", show=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["validation"]["loss"] for line in lines if "validation" in line}
    assert len(losses) == result["train"]["steps"] == 18
    best = min(losses, key=lambda step: losses[step])
    assert result["best"]["step"] == best
    assert result["validation"]["loss"] == losses[best]
    assert evaluate(tmp_path / "run", split="validation", show=False)["metrics"] == result["validation"]
    assert evaluate(tmp_path / "run", show=False)["metrics"] == result["test"]
    fresh = evaluate(tmp_path / "run", fresh_test_seed=7, show=False)
    assert fresh["fresh_test_seed"] == 7
    assert fresh["metrics"] != result["test"]
    kept = load_model(tmp_path / "run" / "checkpoints" / f"checkpoint-{best}")
    final = load_model(tmp_path / "run")
    for one, other in zip(kept.parameters(), final.parameters(), strict=True):
        assert torch.equal(one, other)


def test_learning_works(tiny_recipe: Any, tmp_path: Path) -> None:
    recipe = tiny_recipe("examples=400", "epochs=12", "batch_tokens=256", "checkpoint_every=1h", "test=200")
    assert train(recipe, tmp_path / "run", show=False)["test"]["accuracy"] > 0.9


def test_a_complete_run_is_returned_and_not_trained_again(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(tiny_recipe(), tmp_path, show=False)
    with monkeypatch.context() as patch:
        at_step(patch, 1, lambda: pytest.fail("a further step"))
        assert train(tiny_recipe("log_every=5"), tmp_path) == first
    assert "is complete; this is its result. --overwrite trains it again." in capsys.readouterr().err
    again = train(tiny_recipe(), tmp_path, overwrite=True, show=False)
    assert again["finished"] >= first["finished"]
    assert again["test"] == first["test"]


@pytest.mark.parametrize("change", ["seed=1", "data.examples=20", "learning_rate=1e-5", "model.hidden_size=64"])
def test_another_run_s_folder_is_left_alone(change: str, tiny_recipe: Any, tmp_path: Path) -> None:
    train(tiny_recipe("max_steps=1"), tmp_path, show=False)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())
    with pytest.raises(PoNetError, match=rf"holds another run: \S*{change.split('=')[0].split('.')[-1]} is .* there"):
        train(tiny_recipe("max_steps=1", change), tmp_path, show=False)
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())


def test_a_folder_of_other_things_is_left_alone(tiny_recipe: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(PoNetError, match="isn't empty and isn't a run folder"):
            train(tiny_recipe(), tmp_path, overwrite=overwrite, show=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(PoNetError, match="is a file"):
        train(tiny_recipe(), tmp_path / "thesis.tex", show=False)
    with pytest.raises(PoNetError, match="needs a folder where a file stands"):
        train(tiny_recipe(), tmp_path / "thesis.tex" / "run", show=False)


def test_what_comes_to_nothing_leaves_nothing(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change, sentence in (
        ("metric=f7", "no metric 'f7'"),
        ("warmup=1000", "'training.warmup' takes 1000 steps"),
        ("precision=fp16", "needs a GPU"),
    ):
        if change.startswith("precision") and torch.cuda.is_available():
            continue
        with pytest.raises(PoNetError, match=sentence):
            train(tiny_recipe(change), tmp_path / "new" / "run", show=False)
        assert not (tmp_path / "new").exists(), change
    with pytest.raises(PoNetError, match="patience"):
        train(tiny_recipe("patience=1", "validation=0"), tmp_path / "new" / "run", show=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder_is_a_sentence(tiny_recipe: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PoNetError, match="No permission"):
            train(tiny_recipe(), tmp_path / "run", show=False)
        with pytest.raises(PoNetError, match="No permission"):
            train(tiny_recipe(), tmp_path, show=False)
    finally:
        tmp_path.chmod(0o755)


def test_a_folder_that_can_t_be_made_is_a_sentence(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, *arguments: Any, **named: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(PoNetError, match=r"No permission for '.*run'. Choose another folder"):
        train(tiny_recipe(), tmp_path / "run", show=False)


def test_one_process_at_a_time(tiny_recipe: Any, tmp_path: Path) -> None:
    with locked(tmp_path, "held"), pytest.raises(PoNetError, match="Another process is training in"):
        train(tiny_recipe(), tmp_path, show=False)
    assert train(tiny_recipe("max_steps=1"), tmp_path, show=False)["train"]["steps"] == 1


def test_a_loss_that_isn_t_finite_stops_the_training(tiny_recipe: Any, tmp_path: Path) -> None:
    recipe = tiny_recipe("learning_rate=1e30", "max_grad_norm=0", "schedule=constant", "warmup=0")
    with pytest.raises(PoNetError, match=r"number at step \d+ \(the last .* of step \d+\)\. Lower training.learning"):
        train(recipe, tmp_path, show=False)
    assert not (tmp_path / "result.json").exists()


def test_a_full_disk_stops_the_training_and_leaves_the_checkpoints(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    whole = train(tiny_recipe(), tmp_path / "whole", show=False)
    saved = BertForSequenceClassification.save_pretrained
    calls = 0

    def full(self: Any, folder: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        saved(self, folder, **named)
        if calls == 4:
            Path(folder, "model.safetensors").write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(BertForSequenceClassification, "save_pretrained", full)
        with pytest.raises(PoNetError, match="The disk is full"):
            train(tiny_recipe(), tmp_path / "run", show=False)
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    assert train(tiny_recipe(), tmp_path / "run", show=False)["test"] == whole["test"]


def test_too_little_memory_is_a_sentence(tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, 2, lambda: torch.empty(2**60))
    with pytest.raises(PoNetError, match="memory isn't enough"):
        train(tiny_recipe(), tmp_path, show=False)


def test_evaluate_wants_a_complete_run_with_a_whole_model(tiny_recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match="There is no"):
        evaluate(tmp_path / "missing", show=False)
    with pytest.raises(PoNetError, match="isn't a run folder"):
        evaluate(tmp_path, show=False)
    run = tmp_path / "run"
    train(tiny_recipe("max_steps=1"), run, show=False)
    weights = (run / "model.safetensors").read_bytes()
    for damaged in (weights[:100], weights[: len(weights) // 2], b""):
        (run / "model.safetensors").write_bytes(damaged)
        with pytest.raises(PoNetError, match="can't be read"):
            evaluate(run, show=False)
    (run / "model.safetensors").unlink()
    with pytest.raises(PoNetError, match="can't be read"):
        evaluate(run, show=False)
    (run / "model.safetensors").write_bytes(weights)
    (run / "config.json").write_text("{")
    with pytest.raises(PoNetError, match="doesn't name a model"):
        evaluate(run, show=False)
    (run / "result.json").unlink()
    with pytest.raises(PoNetError, match="isn't complete"):
        evaluate(run, show=False)


def test_the_commit_is_that_of_the_package_s_own_checkout() -> None:
    from ponet.training.result import commit

    package = Path(ponet.__file__).parent
    tracked = subprocess.run(["git", "-C", package, "ls-files", "__init__.py"], capture_output=True, text=True)
    if not tracked.stdout.strip():
        assert commit() is None
    else:
        head = subprocess.run(["git", "-C", package, "rev-parse", "HEAD"], capture_output=True, text=True)
        assert commit() in (head.stdout.strip(), head.stdout.strip() + "-dirty")
