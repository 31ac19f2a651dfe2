"""`ponet lra`: what it prints, and how it ends where something is wrong."""

import json
from pathlib import Path

from PIL import Image
from typer.testing import CliRunner, Result

from ponet.cli.app import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lra", *arguments])


def test_data_prints_counts_folder_and_differences(tmp_path: Path) -> None:
    sizes = ["contour_length=6", "train_size=40", "validation_size=5", "test_size=6", "workers=1", f"cache={tmp_path}"]
    result = run("data", "pathfinder", *sizes)
    assert result.exit_code == 0, result.output
    assert "train            40 examples, 1,024 to 1,024 tokens" in result.output
    assert str(tmp_path / "pathfinder-") in result.output
    assert "note    train: 40 examples as chosen, officially 160,000." in result.output
    result = run("data", "pathfinder", *sizes, "--verify", "--json")
    facts = json.loads(result.stdout)
    assert facts["examples"] == {"train": 40, "validation": 5, "test": 6}
    assert Path(facts["folder"]).parent == tmp_path


def test_mistakes_are_one_sentence_and_2(tmp_path: Path) -> None:
    for arguments, message in (
        (["listop"], "Did you mean 'listops'?"),
        (["listops", "seed"], "'seed' is not of the form KEY=VALUE"),
        (["listops", "sed=1"], "Did you mean 'seed'?"),
        (["listops", "seed=x"], "data.seed"),
        (["pathfinder", "contour_length=8"], "contour_length is 8: choose 6, 9, 14."),
        (["listops", f"source={tmp_path}"], "has no 'listops-1000/basic_train.tsv'"),
    ):
        result = run("data", *arguments, *([] if arguments == ["listops", "seed"] else [f"cache={tmp_path}"]))
        assert result.exit_code == 2, arguments
        assert message in result.output
        assert "Traceback" not in result.output


def test_sheet(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = run("sheet", "--out", str(out), "--contour-length", "6", "--each", "3")
    assert result.exit_code == 0, result.output
    with Image.open(out) as sheet:
        assert sheet.size == (832, 2 * (22 + 104))
