"""`ponet benchmark` as a user types it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ponet.benchmarks import documents, efficiency, ops
from ponet.benchmarks.measure import PeakMemory
from ponet.cli.app import app
from ponet.cli.errors import INTERRUPTED, MISTAKE


def ponet(*arguments: Any) -> Result:
    result = CliRunner().invoke(app, ["benchmark", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes of their own: tests of the measuring have those."""
    monkeypatch.setattr(efficiency, "_memory", lambda cell, patience: PeakMemory(2**20, 2**20, 0.01))


@pytest.mark.parametrize(
    ("sentence", "arguments"),
    [
        ("--lengths should be whole numbers", ["efficiency", "--lengths", "512,many"]),
        ("--lengths must rise", ["efficiency", "--lengths", "1k,512"]),
        ("Did you mean 'fourier'", ["efficiency", "--mixers", "furier"]),
        ("Did you mean 'base'", ["efficiency", "--config", "bse"]),
        ("Did you mean 'inference'", ["efficiency", "--kinds", "inferenc"]),
        ("give cpu or cuda", ["efficiency", "--device", "tpu"]),
        ("There is no 'none.parquet'", ["efficiency", "--documents", "none.parquet"]),
        ("--lengths doesn't go with --documents", ["efficiency", "--documents", "imdb", "--lengths", "512"]),
        ("is a folder: name a file", ["efficiency", "--json", "."]),
        ("float16 is for a GPU", ["ops", "--dtype", "float16"]),
        ("--rounds must be at least 1", ["ops", "--rounds", "0"]),
        ("--threads must be from 1 to", ["ops", "--threads", "0"]),
    ],
)
def test_mistakes_are_one_sentence(
    sentence: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = ponet(*arguments)
    assert result.exit_code == MISTAKE
    assert sentence in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_by_length(tmp_path: Path) -> None:
    sizes = ["--lengths", "16,32", "--batch-tokens", "32", "--rounds", "1", "--threads", "1"]
    result = ponet("efficiency", "--mixers", "pooling,fourier", *sizes, "--json", tmp_path / "lra")
    assert result.exit_code == 0, result.stderr
    assert "That will take about" in result.stdout
    assert "Training step, steps/s" in result.stdout
    assert json.loads((tmp_path / "lra.json").read_text())["lengths"] == [16, 32]
    assert {path.name for path in tmp_path.iterdir()} == {"lra.json", "lra-speed.png", "lra-memory.png"}


def test_quick_takes_the_main_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[efficiency.EfficiencyPlan] = []

    def stop(plan: efficiency.EfficiencyPlan) -> None:
        asked.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(efficiency, "calibrate", stop)
    result = ponet("efficiency", "--quick", "--json", tmp_path / "x.json")
    assert result.exit_code == INTERRUPTED
    assert result.stderr.strip() == "Stopped."
    [plan] = asked
    assert plan.lengths == efficiency.QUICK_LENGTHS
    assert plan.rounds == efficiency.QUICK_ROUNDS
    assert plan.limit == efficiency.QUICK_PATIENCE
    assert "linear" not in plan.chosen("training")
    assert "pooling-checkpointing" in plan.chosen("training")


def test_ctrl_c_says_where_the_figures_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Callable[[], object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(efficiency, "calibrate", lambda plan: {("pooling", kind): 0.1 for kind in plan.measured})
    monkeypatch.setattr(efficiency, "_group", interrupted)
    result = ponet("efficiency", "--mixers", "pooling", "--lengths", "16", "--json", tmp_path / "x.json")
    assert result.exit_code == INTERRUPTED
    assert result.stderr.strip() == "Stopped. Nothing was measured yet."


def test_the_list_of_mixers() -> None:
    lines = ponet("efficiency", "--list").stdout.splitlines()
    assert lines[0].split() == ["pooling", "PoNet"]
    assert any(line.startswith("fourier ") for line in lines)


def test_documents(tmp_path: Path) -> None:
    rows = [{"text": "One two three. " * (1 + i % 4), "label": i % 2} for i in range(20)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["--documents", tmp_path / "texts.jsonl", "--tokenizer", "bytes", "--max-length", "64", "--quick"]
    result = ponet("efficiency", *arguments, "--mixers", "fourier", "--json", tmp_path / "documents.json")
    assert result.exit_code == 0, result.stderr
    assert "Documents of" in result.stdout
    values = json.loads((tmp_path / "documents.json").read_text())
    assert values["setup"]["batches"] == 1
    assert values["documents"]["count"] == 20
    assert values["setup"]["batch"] == documents.BATCH


def test_ops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ops.Case("small", documents=1, length=16, width=4, heads=2, segments="pairs")
    monkeypatch.setattr(ops, "QUICK_CASES", {"lra-text": small})
    monkeypatch.setattr(ops, "QUICK_MIXER_TOKENS", 4)
    result = ponet("ops", "--quick", "--rounds", "1", "--threads", "1", "--json", tmp_path / "ops.json")
    assert result.exit_code == 0, result.stderr
    assert "segment_local_fusion backward" in result.stdout
    assert json.loads((tmp_path / "ops.json").read_text())["complete"] is True


def test_help_teaches() -> None:
    for command in ("ops", "efficiency"):
        text = ponet(command, "--help").stdout
        assert "Examples:" in text
        assert f"ponet benchmark {command} --quick" in text
