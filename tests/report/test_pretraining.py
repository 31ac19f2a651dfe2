"""The tables and curves of pre-trainings, from results written by hand whose figures are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from ponet.report.command import report
from ponet.report.pretraining import PLOT, curve_of, name_of
from ponet.report.registry import find_report
from ponet.report.results import load_results
from ponet.report.tables import ABSENT, Table
from ponet.utils.errors import PoNetError

END = "Pre-training, tiny: at the end"


def put(
    root: Path,
    mixer: str,
    evaluations: list[tuple[int, float, float]],
    seed: int = 0,
    second: str | None = "sso",
    size: str = "tiny",
    **train: Any,
) -> Path:
    """A filed run; `evaluations` has (step, seconds, accuracy): a loss is 10 minus ten times the accuracy, and the
    second objective's accuracy is half a point of MLM's further up."""
    folder = root / "pretraining" / size / mixer / f"seed{seed}"
    folder.mkdir(parents=True)
    lines: list[dict[str, Any]] = [{"step": 1, "seconds": 0.1, "loss": 9.9, "mlm_loss": 9.0, "mlm_accuracy": 0.0}]
    for step, seconds, accuracy in evaluations:
        figures = {"mlm_loss": 10 - 10 * accuracy, "mlm_accuracy": accuracy}
        if second:
            figures |= {f"{second}_loss": 1 - accuracy, f"{second}_accuracy": accuracy + 0.005}
        lines.append({"step": step, "tokens": step * 1000, "seconds": seconds, "validation": figures})
    steps, seconds, _ = evaluations[-1]
    values = {
        "validation": lines[-1]["validation"],
        "train": {"steps": steps, "seconds": seconds, "tokens": steps * 1000, "tokens_per_second": 5.0} | train,
        "machine": {"cpu": "Abacus", "cores": 2, "threads": 2},
        "recipe": {"model": {"num_hidden_layers": 4, "hidden_size": 128}},
    }
    (folder / "result.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def rows(made: list[Table], title: str) -> dict[str, list[str]]:
    [table] = [table for table in made if table.title == title]
    return {cells[0]: cells[1:] for cells in table.rows}


def test_nothing_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [table] = find_report("pretraining").tables(tmp_path)
    assert table.rows == []
    assert "Nothing is measured yet" in table.notes[0]
    report("pretraining", tmp_path, plots=tmp_path / "docs")
    assert "nothing to draw" in capsys.readouterr().out


def test_at_the_end(tmp_path: Path) -> None:
    put(tmp_path, "fourier", [(100, 60, 0.1), (200, 120, 0.2)])
    put(tmp_path, "pooling", [(100, 90, 0.2), (200, 180, 0.3)])
    put(tmp_path, "pooling", [(100, 90, 0.3), (200, 180, 0.4)], seed=1)
    made = find_report("pretraining").tables(tmp_path)
    found = rows(made, END)
    assert list(found) == ["PoNet", "FNet"]
    assert found["FNet"] == ["4", "128", "1", "200", "200,000", "2.0", "1,667", "8.000", "20.0", "0.800", "20.5"]
    assert found["PoNet"][2:] == [
        *("2", "200", "200,000", "3.0", "1,111", "6.500", "35.0 ± 7.1", "0.650", "35.5 ± 7.1"),
    ]
    assert "Abacus, 2 threads" in made[0].notes[0]


def test_after_the_shortest_run_s_time(tmp_path: Path) -> None:
    put(tmp_path, "fourier", [(100, 60, 0.1), (200, 120, 0.2)])
    put(tmp_path, "pooling", [(100, 90, 0.2), (200, 180, 0.3)])
    put(tmp_path, "attention", [(100, 150, 0.3), (200, 300, 0.4)])
    found = rows(find_report("pretraining").tables(tmp_path), "Pre-training, tiny: after 2.0 minutes each")
    assert found["FNet"] == ["200,000", "8.000", "20.0", "0.800", "20.5"]
    assert found["PoNet"] == ["133,333", "7.667", "23.3", "0.767", "23.8"], (
        "a third of the way to the second evaluation"
    )
    assert found["BERT"] == ["80,000", *[ABSENT] * 4], "not evaluated by then"


def test_after_the_shortest_run_s_tokens(tmp_path: Path) -> None:
    put(tmp_path, "pooling", [(100, 90, 0.2), (200, 180, 0.3)])
    put(tmp_path, "attention", [(50, 150, 0.1), (150, 450, 0.4)])
    made = find_report("pretraining").tables(tmp_path)
    found = rows(made, "Pre-training, tiny: after 0.1 million tokens each")
    assert found["PoNet"] == ["2.2", "7.500", "25.0", "0.750", "25.5"], "half the way to the second evaluation"
    assert found["BERT"] == ["7.5", "6.000", "40.0", "0.600", "40.5"]
    assert "hadn't decayed to 0" in made[1].notes[0]


def test_equal_tokens_at_the_end_need_no_second_table(tmp_path: Path) -> None:
    put(tmp_path, "pooling", [(100, 90, 0.2)])
    put(tmp_path, "attention", [(100, 150, 0.1)])
    assert [table.title.split(": ")[1] for table in find_report("pretraining").tables(tmp_path)] == [
        "at the end",
        "after 1.5 minutes each",
    ]


def test_a_constant_rate_is_said(tmp_path: Path) -> None:
    for mixer in ("pooling", "attention"):
        file = put(tmp_path, mixer, [(100, 90, 0.2)]) / "result.json"
        values = json.loads(file.read_text(encoding="utf-8"))
        values["recipe"]["training"] = {"schedule": "constant"}
        file.write_text(json.dumps(values), encoding="utf-8")
    assert "constant after its warm-up" in find_report("pretraining").tables(tmp_path)[1].notes[0]


def test_a_step_timed_alone_counts(tmp_path: Path) -> None:
    """Trainings side by side slow each other: their clock is no measure."""
    put(tmp_path, "pooling", [(100, 900, 0.2), (200, 1800, 0.3)], timed_step_seconds=0.6)
    assert rows(find_report("pretraining").tables(tmp_path), END)["PoNet"][5:7] == ["2.0", "1,667"]
    [result] = load_results(tmp_path, "pretraining")
    curve = curve_of(result)
    assert curve is not None
    assert curve.seconds == pytest.approx([60, 120])
    assert curve.tokens == [100_000, 200_000]


def test_one_mixer_is_compared_with_none(tmp_path: Path) -> None:
    put(tmp_path, "pooling", [(100, 90, 0.2)])
    put(tmp_path, "attention", [(100, 90, 0.2)], size="mini")
    assert [table.title for table in find_report("pretraining").tables(tmp_path)] == [
        "Pre-training, mini: at the end",
        "Pre-training, tiny: at the end",
    ]


def test_other_objectives(tmp_path: Path) -> None:
    put(tmp_path, "pooling-mlm", [(100, 90, 0.2)], second=None)
    put(tmp_path, "pooling-mlm+nsp", [(100, 90, 0.3)], second="nsp")
    found = rows(find_report("pretraining").tables(tmp_path), END)
    assert found["PoNet, MLM alone"][-4:] == ["8.000", "20.0", ABSENT, ABSENT]
    assert found["PoNet, MLM + NSP"][-4:] == ["7.000", "30.0", "0.700", "30.5"]
    assert name_of("pooling+attention") == "PoNet + BERT"


def test_without_metrics_the_kept_checkpoint_s_figures_stand(tmp_path: Path) -> None:
    (put(tmp_path, "pooling", [(100, 90, 0.2)]) / "metrics.jsonl").unlink()
    assert rows(find_report("pretraining").tables(tmp_path), END)["PoNet"][-3] == "20.0"


def test_curves_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mixer in ("fourier", "pooling", "attention"):
        put(tmp_path, mixer, [(100, 60, 0.1), (200, 120, 0.2)])
        put(tmp_path, mixer, [(100, 60, 0.1), (200, 120, 0.2)], size="mini")
    put(tmp_path, "pooling-mlm", [(100, 60, 0.1), (200, 120, 0.2)], second=None)
    report("pretraining", tmp_path, plots=tmp_path / "docs")
    drawn = tmp_path / "docs" / PLOT
    assert capsys.readouterr().out.strip() == str(drawn)
    from PIL import Image

    with Image.open(drawn) as image:
        assert image.width > 1000
        colours = image.convert("RGB").getcolors(image.width * image.height)
        assert colours is not None
        assert len(colours) > 100, "curves in many colours"


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 3, "tokens": 9, "seconds": 1, "validation": {}}',
        '{"step": 3, "tokens": 9, "seconds": 1, "validation": {"mlm_loss": null}}',
        '{"step": 3, "tokens": 9, "seconds": 1, "validation": {"mlm_loss": 1.0, "mlm_accuracy": 0.5}}',
        "no JSON",
    ],
)
def test_broken_metrics_are_named(tmp_path: Path, line: str) -> None:
    folder = put(tmp_path, "pooling", [(100, 90, 0.2)])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(PoNetError, match="line 3, is no evaluation of a run"):
        find_report("pretraining").tables(tmp_path)
