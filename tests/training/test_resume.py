"""A training that was interrupted and resumed ends with the same bits as one that wasn't."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import Crash, at_step, crash, figures, history, make_recipe, weights
from tests.training.tiny import TinyTask

from ponet.artifacts import MANIFEST
from ponet.config.recipe import Recipe
from ponet.training.evaluation import evaluate
from ponet.training.folder import CheckpointStore
from ponet.training.run import TrainingInterruptedError, train
from ponet.utils.errors import PoNetError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the plain recipe."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(make_recipe(), run, show=False)
    return run


@pytest.fixture(scope="module")
def often_evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("often") / "run"
    train(make_recipe("checkpoint_every=2", "eval_every=4"), run, show=False)
    return run


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
    for step in (3, 4) if case == "every third step" else (5,):  # the second time so many steps further on
        with monkeypatch.context() as patch:
            at_step(patch, step, crash)
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="for a CPU")
def test_what_auto_chose_at_first_holds_to_the_end(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = tiny_recipe(), tmp_path / "run"
    whole = train(tiny_recipe(), tmp_path / "float32", show=False)
    monkeypatch.setattr("ponet.utils.precision.cpu_computes_bf16", lambda: True)
    expected = train(recipe, tmp_path / "bf16", show=False)
    assert (whole["train"]["precision"], expected["train"]["precision"]) == ("float32", "bf16")
    assert weights(tmp_path / "bf16") != weights(tmp_path / "float32")
    with monkeypatch.context() as patch:
        at_step(patch, 5, crash)
        with pytest.raises(Crash):
            train(recipe, run, show=False)
    monkeypatch.setattr("ponet.utils.precision.cpu_computes_bf16", lambda: False)
    found = train(recipe, run)
    assert found["train"]["precision"] == "bf16"
    assert weights(run) == weights(tmp_path / "bf16")
    said = " ".join(capsys.readouterr().err.split())
    sentence = "The training began in bf16, so it is bf16 here too, though this machine is faster in float32."
    assert sentence in said
    assert evaluate(run)["metrics"] == found["test"]
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert evaluate(run, dtype="float32", show=False)["metrics"] != found["test"]


def failing(original: Callable[..., Any], at: int) -> Callable[..., Any]:
    """The function, whose `at`-th call is the process's end."""
    calls = 0

    def called(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Crash
        return original(*arguments, **named)

    return called


@pytest.mark.parametrize("where", ["an evaluation", "a checkpoint", "the choice of the best"])
def test_a_crash_in_between_changes_nothing(
    where: str, often_evaluated: Path, tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tests.training.tiny

    recipe, run = tiny_recipe("checkpoint_every=2", "eval_every=4"), tmp_path / "cut"
    with monkeypatch.context() as patch:
        if where == "an evaluation":
            patch.setattr(tests.training.tiny, "accuracy", failing(tests.training.tiny.accuracy, 3))
        elif where == "a checkpoint":
            patch.setattr(torch, "save", failing(torch.save, 8))  # three files a checkpoint
        else:
            patch.setattr("ponet.training.loop.load_file", failing(lambda: None, 1))
        with pytest.raises(Crash):
            train(recipe, run, show=False)
    again = train(recipe, run, show=False)
    assert weights(run) == weights(often_evaluated)
    assert history(run) == history(often_evaluated)
    assert figures(again) == figures(json.loads((often_evaluated / "result.json").read_text()))


def test_early_stopping_isn_t_forgotten_when_the_end_is_cut_off(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("patience=1", "eval_every=1", "learning_rate=1e-6", "epochs=50")
    with monkeypatch.context() as patch:
        patch.setattr("ponet.training.loop.load_file", failing(lambda: None, 1))
        with pytest.raises(Crash):
            train(recipe, tmp_path / "run", show=False)
    at_step(monkeypatch, 1, lambda: pytest.fail("a further step"))
    result = train(recipe, tmp_path / "run", show=False)
    assert result["train"] | {"stopped_by": "patience", "steps": 2} == result["train"]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose process died in step 8, with checkpoints of the steps 6 and 7."""
    run = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 8, crash)
        with pytest.raises(Crash):
            train(make_recipe(), run, show=False)
    return run


@pytest.fixture
def run(interrupted: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(interrupted, tmp_path / "run"))


@pytest.fixture
def store(run: Path) -> CheckpointStore:
    store = CheckpointStore(run / "checkpoints")
    assert {6, 7} <= set(store.steps())
    return store


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    run: Path, store: CheckpointStore, whole: Path, tiny_recipe: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = store.path(7) / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:1000])
    train(tiny_recipe(), run)
    said = capsys.readouterr().err
    assert "checkpoint-7' is damaged (optimizer.pt has 1,000 bytes where" in said
    assert "Resuming from step 6 of" in said
    assert weights(run) == weights(whole)
    assert history(run) == history(whole)


def test_no_whole_checkpoint_is_a_sentence(run: Path, store: CheckpointStore, tiny_recipe: Any) -> None:
    for step in store.steps():
        (store.path(step) / "model.safetensors").write_bytes(b"")
    with pytest.raises(PoNetError, match=r"No checkpoint in .* is whole"):
        train(tiny_recipe(), run, show=False)
    assert train(tiny_recipe("max_steps=1"), run, overwrite=True, show=False)["train"]["steps"] == 1


def test_other_data_than_it_began_with_is_refused(run: Path, tiny_recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = TinyTask.prepare

    def changed(self: TinyTask, recipe: Recipe) -> Any:
        prepared = prepare(self, recipe)
        prepared.train.examples[0]["labels"] ^= 1
        return prepared

    monkeypatch.setattr(TinyTask, "prepare", changed)
    with pytest.raises(PoNetError, match="training data isn't what the run"):
        train(tiny_recipe(), run, show=False)


def test_a_checkpoint_of_the_trainer_before_is_resumed(
    run: Path, store: CheckpointStore, whole: Path, tiny_recipe: Any, tmp_path: Path
) -> None:
    """Earlier versions, on Hugging Face's Trainer, wrote two files more; the others are the same."""
    shutil.copytree(store.path(7), tmp_path / "copy")
    with store.writing(7) as folder:
        for file in (tmp_path / "copy").iterdir():
            if file.name != MANIFEST:
                shutil.copy(file, folder)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": 7, "max_steps": 18}))
        (folder / "training_args.bin").write_bytes(b"anything: it is not read")
    train(tiny_recipe(), run, show=False)
    assert weights(run) == weights(whole)
    assert history(run) == history(whole)


def test_metrics_of_steps_that_are_done_again_are_cut(
    tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("checkpoint_every=3", "log_every=1")
    train(recipe, tmp_path / "whole", show=False)
    with monkeypatch.context() as patch:
        at_step(patch, 6, crash)
        with pytest.raises(Crash):
            train(recipe, tmp_path / "run", show=False)
    assert [line["step"] for line in history(tmp_path / "run")] == [1, 2, 3, 4, 5]
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # the process died in the middle of a line
    train(recipe, tmp_path / "run", show=False)
    assert history(tmp_path / "run") == history(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_with_a_checkpoint(
    number: signal.Signals, whole: Path, tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("checkpoint_every=1h")
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: os.kill(os.getpid(), number))
        with pytest.raises(TrainingInterruptedError, match=r"Stopped at step 4 of 18, with a checkpoint") as caught:
            train(recipe, tmp_path / "run", show=False)
    assert caught.value.signal == number
    assert CheckpointStore(tmp_path / "run" / "checkpoints").latest() == (4, [])
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    train(recipe, tmp_path / "run", show=False)
    assert weights(tmp_path / "run") == weights(whole)


def rewritten(store: CheckpointStore, step: int, values: Any) -> None:
    """A checkpoint with the caller's progress, and a manifest that fits."""
    shutil.copytree(store.path(step), store.folder.parent / "copy")
    with store.writing(step) as folder:
        for file in (store.folder.parent / "copy").iterdir():
            if file.name != MANIFEST:
                shutil.copy(file, folder)
        file = folder / "progress.json"
        file.write_text(values if isinstance(values, str) else json.dumps(json.loads(file.read_text()) | values))
    shutil.rmtree(store.folder.parent / "copy")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"step": 10**30}, "its progress.json is of step 1000000000000000000000000000000"),
        ({"step": 6}, "its progress.json is of step 6"),
        ({"step": -7}, "its progress.json is of step -7"),
        ({"step": "7"}, "step: Input should be a valid integer"),
        ({"step": True}, "step: Input should be a valid integer"),
        ({"seconds": float("nan")}, "seconds: Input should be a finite number"),
        ({"best_metrics": [1]}, "best_metrics: Input should be an object"),
        ({"figure_sums": {"a": 1}}, "figure_sums: Input should be a valid array"),
        ({"tokens": None}, "tokens: Input should be a valid integer"),
        ({"data": 3}, "data: Input should be a valid string"),
        ("[]", "isn't a checkpoint of step 7"),
        ("", "isn't a checkpoint of step 7"),
        ("[" * 100_000, "isn't a checkpoint of step 7"),
    ],
)
def test_a_forged_checkpoint_is_a_sentence(
    run: Path, store: CheckpointStore, tiny_recipe: Any, values: Any, problem: str
) -> None:
    rewritten(store, 7, values)
    with pytest.raises(PoNetError) as caught:
        train(tiny_recipe(), run, show=False)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {6, 7} <= set(store.steps())  # nothing is lost


def test_a_checkpoint_beyond_the_end_is_a_sentence(run: Path, store: CheckpointStore, tiny_recipe: Any) -> None:
    rewritten(store, 7, {"step": 10**9})
    store.path(7).rename(store.path(10**9))
    with pytest.raises(PoNetError, match=r"is of step 1,000,000,000, and this training has"):
        train(tiny_recipe(), run, show=False)
