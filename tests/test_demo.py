"""The demo from end to end on a tiny setting, and its parts on figures that are known."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from ponet.benchmarks import common, measure
from ponet.demo import race, run_demo
from ponet.demo.race import MODELS, Data, accuracy, batch, build, learn, make_data, time_by_length
from ponet.demo.run import STEPS, plot, table
from ponet.utils.errors import PoNetError


def model_result(accuracy: float, times: list[dict[str, Any]], memory: list[dict[str, Any]]) -> dict[str, Any]:
    return {"parameters": 100, "accuracy": accuracy, "tokens_per_second": 5e4, "time": times, "memory": memory}


@pytest.fixture
def result() -> dict[str, Any]:
    def fast(seconds: float) -> dict[str, Any]:
        return {"status": "ok", "median_seconds": seconds, "tokens_per_second": 512 / seconds}

    too_slow = {"status": "timeout", "message": "x"}
    pooling = model_result(0.4321, [fast(0.01), fast(0.02)], [{"status": "ok", "peak_bytes": 2**20}] * 2)
    attention = model_result(0.4, [fast(0.03), too_slow], [{"status": "out_of_memory"}] * 2)
    return {
        "models": {"pooling": pooling, "attention": attention},
        "scaling": {"lengths": [512, 1024]},
        "data": {"test": 2000},
    }


def test_table_says_what_was_measured_and_what_was_not(result: dict[str, Any]) -> None:
    rows = {row[0]: row[1:] for row in table(result).rows}
    assert rows["accuracy on 2,000 new lists, %"] == ["43.2", "40.0", ""]
    assert rows["training step at 512 tokens"] == ["10 ms", "30 ms", "3×"]
    assert rows["tokens/s at 512 tokens"] == ["51,200", "17,067", ""]
    assert rows["training step at 1,024 tokens"] == ["20 ms", "too slow", "–"]
    assert rows["peak memory at 1,024 tokens"] == ["1 MiB", "out of memory", "–"]


def test_plot_is_a_picture_of_both_curves(result: dict[str, Any], tmp_path: Path) -> None:
    from matplotlib import image

    plot(result, tmp_path / "plot.png")
    pixels = image.imread(tmp_path / "plot.png")[..., :3]
    assert pixels.shape[0] > 400
    for colour in ((0.0, 0.447, 0.698), (0.835, 0.369, 0.0)):
        assert (abs(pixels - np.array(colour, dtype=np.float32)).max(axis=-1) < 0.02).sum() > 100


def test_models_differ_in_the_mixer_alone() -> None:
    models = {mixer: build(mixer, 64, seed=1) for mixer in MODELS}
    for name, weight in models["pooling"].named_parameters():
        if ".self." not in name:
            assert weight.shape == dict(models["attention"].named_parameters())[name].shape
    again = build("pooling", 64, seed=1)
    for one, other in zip(models["pooling"].parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_batch_is_packed_with_segments_local_to_a_document() -> None:
    data = make_data(seed=0, steps=1, test=0)
    inputs = batch(data.all, np.array([3, 0]))
    first, second = data.all[3], data.all[0]
    assert inputs["cu_seqlens"].tolist() == [0, len(first), len(first) + len(second)]
    np.testing.assert_array_equal(inputs["input_ids"][0], np.concatenate([first, second]))
    assert inputs["segment_ids"][0, : len(first)].tolist() == [i // 16 for i in range(len(first))]
    assert inputs["segment_ids"][0, len(first)] == 0
    assert inputs["labels"].tolist() == [data.all.labels[3], data.all.labels[0]]


def test_training_and_test_data_are_disjoint() -> None:
    data = make_data(seed=0, steps=4, test=50)
    train, test = ({data.all[int(i)].tobytes() for i in part} for part in (data.train, data.test))
    assert len(train) == 128
    assert len(test) == 50
    assert not train & test


def test_accuracy_is_the_share_of_right_answers() -> None:
    data = make_data(seed=0, steps=1, test=40)
    model = build("pooling", 256, seed=0)
    with torch.no_grad():
        model.classifier[-1].weight.zero_()
        model.classifier[-1].bias.copy_(torch.nn.functional.one_hot(torch.tensor(9), 10))
    assert accuracy(model, data) == (data.all.labels[data.test] == 9).mean() > 0


@pytest.mark.slow
def test_both_models_learn() -> None:
    data = make_data(seed=0, steps=STEPS, test=1000)
    learned = learn(data, seed=0, advance=lambda state: None)
    for model in learned.values():
        assert model.accuracy > data.guess + 0.08
        assert np.mean(model.losses[-20:]) < np.mean(model.losses[:20]) - 0.3


def test_steps_lower_the_loss_of_both() -> None:
    """On one batch again and again, which any working training step fits."""
    data = make_data(seed=0, steps=1, test=8)
    again = Data(data.all, np.tile(data.train, 30), data.test)
    for model in learn(again, seed=0, advance=lambda state: None).values():
        assert model.losses[-1] < 0.85 * model.losses[0]
        assert model.tokens == 30 * data.all.lengths[:32].sum()


def test_a_model_that_is_too_slow_is_left_out_at_greater_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def steps(mixer: str, length: int, seed: int) -> Callable[[], object]:
        def step() -> None:
            nonlocal now
            now += length if mixer == "attention" else 1

        return step

    monkeypatch.setattr(race, "training_step", steps)
    monkeypatch.setattr(race, "PATIENCE", 300)
    monkeypatch.setattr(measure, "clock", lambda: now)
    timings = time_by_length([100, 500, 1000], seed=0, seconds=1e6, advance=lambda what: None)
    assert [timing.status for timing in timings["attention"]] == ["ok", "timeout", "timeout"]
    assert [bool(timing.seconds) for timing in timings["attention"]] == [True, True, False]
    assert [timing.median for timing in timings["pooling"]] == [1, 1, 1]


def test_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_demo(tmp_path / "a", seed=7, steps=3, lengths=(64,), test=64, seconds_a_length=0.2, checkpoint=False)
    shown = capsys.readouterr().out
    assert "training step at 64 tokens" in shown
    assert "plot.png" in shown
    assert (tmp_path / "a/plot.png").stat().st_size > 1000
    assert json.loads((tmp_path / "a/result.json").read_text()) == result
    same, other = (learn(make_data(seed, 3, 64), seed, advance=lambda state: None) for seed in (7, 8))
    for mixer in MODELS:
        model = result["models"][mixer]
        assert model["loss"] == same[mixer].losses != other[mixer].losses
        assert model["accuracy"] == same[mixer].accuracy
        assert [entry["status"] for entry in model["time"] + model["memory"]] == ["ok"] * 2
        assert model["memory"][0]["peak_bytes"] >= 0


def test_without_matplotlib_only_the_plot_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run_demo(tmp_path, seed=7, steps=1, lengths=(64,), test=8, seconds_a_length=0.1, checkpoint=False)
    shown = capsys.readouterr().out
    assert "The plot isn't drawn. This needs matplotlib" in shown
    assert "pip install 'ponet[plots]'" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_that_cannot_be_written_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PoNetError, match="file"):
        run_demo(tmp_path / "file")


def test_without_a_terminal_a_line_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    moments = iter([0.0, 10.0, 20.0, 100.0])
    monkeypatch.setattr(common.time, "monotonic", lambda: next(moments))
    with common.stage(Console(file=text, force_terminal=False), "training", 3) as advance:
        for word in ("loss 3", "loss 2", "loss 1"):
            advance(word)
    assert text.getvalue() == "training 2/3: loss 2; 10 s left\n"
