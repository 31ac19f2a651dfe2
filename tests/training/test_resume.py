"""A training that was cut off and taken up again ends with the same bits as one that wasn't."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ponet.config.recipe import Recipe
from ponet.training.checkpoints import MANIFEST, CheckpointStore
from ponet.training.run import TrainingInterruptedError, train
from ponet.training.trainer import PoNetTrainer
from ponet.utils.errors import PoNetError


class Crash(BaseException):
    """Nothing catches it: the process is as good as gone."""


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def history(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what a clock says."""
    train = {key: result["train"][key] for key in ("steps", "epochs", "tokens", "stopped_by")}
    return {**{key: result[key] for key in ("test", "validation", "best")}, "train": train}


def crash(monkeypatch: pytest.MonkeyPatch, at: int, method: str = "training_step") -> None:
    """The process dies in the `at`-th call of a trainer's method."""
    original = getattr(PoNetTrainer, method)
    calls = 0

    def dying(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Crash
        return original(self, *arguments, **named)

    monkeypatch.setattr(PoNetTrainer, method, dying)


CASES = {
    "every third step": ("checkpoint_every=3", "eval_every=5"),
    "onecycle": ("checkpoint_every=2", "schedule=onecycle", "warmup=5"),
    "accumulation": ("checkpoint_every=2", "gradient_accumulation=3", "epochs=6"),
    "patience": ("checkpoint_every=1", "patience=5", "eval_every=2", "learning_rate=1e-5"),
    "no validation": ("checkpoint_every=4", "data.validation=0"),
    "steps over several epochs": ("checkpoint_every=4", "max_steps=15", "log_every=7"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_crash_at_any_step_changes_nothing(
    case: str, tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(*CASES[case])
    whole = train(recipe, tmp_path / "whole", show=False)
    run = tmp_path / "cut"
    for at in (5, 7):  # the second time so many calls further on
        with monkeypatch.context() as patch:
            crash(patch, at)
            with pytest.raises(Crash):
                train(recipe, run, show=False)
        assert not (run / "result.json").exists()
    again = train(recipe, run, show=False)
    assert weights(run) == weights(tmp_path / "whole")
    assert history(run) == history(tmp_path / "whole")
    assert figures(again) == figures(whole)
    assert not (run / "checkpoints").exists()
    if case == "patience":
        assert whole["train"]["stopped_by"] == "patience"


@pytest.mark.parametrize("method", ["evaluation_loop", "_save_checkpoint", "_load_best_model"])
def test_a_crash_in_between_changes_nothing(
    method: str, tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("checkpoint_every=2", "eval_every=4")
    whole = train(recipe, tmp_path / "whole", show=False)
    run = tmp_path / "cut"
    with monkeypatch.context() as patch:
        crash(patch, 1 if method == "_load_best_model" else 3, method)
        with pytest.raises(Crash):
            train(recipe, run, show=False)
    again = train(recipe, run, show=False)
    assert weights(run) == weights(tmp_path / "whole")
    assert history(run) == history(tmp_path / "whole")
    assert figures(again) == figures(whole)


def test_early_stopping_isn_t_forgotten_when_the_end_is_cut_off(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("patience=1", "eval_every=1", "learning_rate=1e-6", "epochs=50")
    with monkeypatch.context() as patch:
        crash(patch, 1, "_load_best_model")
        with pytest.raises(Crash):
            train(recipe, tmp_path / "run", show=False)
    monkeypatch.setattr(PoNetTrainer, "training_step", None)  # no further step may be made
    result = train(recipe, tmp_path / "run", show=False)
    assert result["train"] | {"stopped_by": "patience", "steps": 2} == result["train"]


def cut_off(recipe: Recipe, run: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointStore:
    with monkeypatch.context() as patch:
        crash(patch, 8)
        with pytest.raises(Crash):
            train(recipe, run, show=False)
    store = CheckpointStore(run / "checkpoints")
    assert {6, 7} <= set(store.steps())
    return store


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe()
    train(recipe, tmp_path / "whole", show=False)
    store = cut_off(recipe, tmp_path / "run", monkeypatch)
    file = store.path(7) / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:1000])
    train(recipe, tmp_path / "run")
    said = capsys.readouterr().err
    assert "checkpoint-7' is damaged (optimizer.pt has 1,000 bytes where" in said
    assert "Going on from step 6 of" in said
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert history(tmp_path / "run") == history(tmp_path / "whole")


def test_no_whole_checkpoint_is_a_sentence(tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = cut_off(tiny_recipe(), tmp_path / "run", monkeypatch)
    for step in store.steps():
        (store.path(step) / "model.safetensors").write_bytes(b"")
    with pytest.raises(PoNetError, match=r"No checkpoint in .* is whole"):
        train(tiny_recipe(), tmp_path / "run", show=False)
    assert train(tiny_recipe(), tmp_path / "run", overwrite=True, show=False)["train"]["steps"] > 0


def test_other_data_than_it_began_with_is_refused(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ponet.training.setup

    cut_off(tiny_recipe(), tmp_path / "run", monkeypatch)
    original = ponet.training.setup.fingerprint
    monkeypatch.setattr("ponet.training.run.fingerprint", lambda split: original(split) + "changed")
    with pytest.raises(PoNetError, match="training data isn't what the run"):
        train(tiny_recipe(), tmp_path / "run", show=False)


def test_metrics_of_steps_that_are_done_again_are_cut(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("checkpoint_every=3", "log_every=1")
    train(recipe, tmp_path / "whole", show=False)
    with monkeypatch.context() as patch:
        crash(patch, 6)
        with pytest.raises(Crash):
            train(recipe, tmp_path / "run", show=False)
    assert [line["step"] for line in history(tmp_path / "run")] == [1, 2, 3, 4, 5]
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # the process died in the middle of a line
    train(recipe, tmp_path / "run", show=False)
    assert history(tmp_path / "run") == history(tmp_path / "whole")


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_step_with_a_checkpoint(
    number: str, tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    recipe = tiny_recipe("checkpoint_every=1h")
    train(recipe, tmp_path / "whole", show=False)
    original = PoNetTrainer.training_step
    calls = 0

    def signalled(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            os.kill(os.getpid(), getattr(signal, number))
        return original(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(PoNetTrainer, "training_step", signalled)
        with pytest.raises(TrainingInterruptedError, match=r"Stopped at step 4 of 18, with a checkpoint") as caught:
            train(recipe, tmp_path / "run", show=False)
    assert caught.value.signal == getattr(signal, number)
    assert CheckpointStore(tmp_path / "run" / "checkpoints").latest() == (4, [])
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    train(recipe, tmp_path / "run", show=False)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def rewritten(store: CheckpointStore, step: int, name: str, values: Any) -> None:
    """A checkpoint's file of the caller's, with a manifest that fits."""
    shutil.copytree(store.path(step), store.folder.parent / "copy")
    with store.writing(step) as folder:
        for file in (store.folder.parent / "copy").iterdir():
            if file.name != MANIFEST:
                shutil.copy(file, folder)
        text = values if isinstance(values, str) else json.dumps(json.loads((folder / name).read_text()) | values)
        (folder / name).write_text(text)
    shutil.rmtree(store.folder.parent / "copy")


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("progress.json", {"step": 10**30}, "'progress.step' should be a whole number"),
        ("progress.json", {"step": 6}, "its files are of the steps 6 and 7"),
        ("progress.json", {"step": -7}, "its files are of the steps -7 and 7"),
        ("progress.json", {"step": "7"}, "'progress.step' should be a whole number"),
        ("progress.json", {"step": True}, "'progress.step' should be a whole number"),
        ("progress.json", {"seconds": float("nan")}, "'progress.seconds' should be a number"),
        ("progress.json", {"best_metrics": [1]}, "'progress.best_metrics' should be a mapping"),
        ("progress.json", {"figure_sums": {"a": 1}}, "'progress.figure_sums' should be a list"),
        ("progress.json", {"tokens": None}, "'progress.tokens' should be a whole number"),
        ("progress.json", {"data": 3}, "'progress.data' should be text"),
        ("progress.json", "[]", "isn't a checkpoint of step 7"),
        ("progress.json", "", "isn't a checkpoint of step 7"),
        ("progress.json", "[" * 100_000, "isn't a checkpoint of step 7"),
        ("trainer_state.json", {"global_step": 10**30}, "its files are of the steps 7 and 1"),
        ("trainer_state.json", {"global_step": "7"}, "its files are of the steps 7 and 7"),
        ("trainer_state.json", {"nonsense": 1}, "isn't a checkpoint of step 7"),
        ("trainer_state.json", "{", "isn't a checkpoint of step 7"),
        ("trainer_state.json", "[" * 100_000, "isn't a checkpoint of step 7"),
    ],
)
def test_a_forged_checkpoint_is_a_sentence(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, values: Any, problem: str
) -> None:
    store = cut_off(tiny_recipe(), tmp_path / "run", monkeypatch)
    rewritten(store, 7, name, values)
    with pytest.raises(PoNetError) as caught:
        train(tiny_recipe(), tmp_path / "run", show=False)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {6, 7} <= set(store.steps())  # nothing is lost


def test_a_checkpoint_beyond_the_end_is_a_sentence(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = cut_off(tiny_recipe(), tmp_path / "run", monkeypatch)
    rewritten(store, 7, "progress.json", {"step": 10**9})
    rewritten(store, 7, "trainer_state.json", {"global_step": 10**9})
    store.path(7).rename(store.path(10**9))
    with pytest.raises(PoNetError, match=r"is of step 1,000,000,000, and this training has"):
        train(tiny_recipe(), tmp_path / "run", show=False)
