"""A refused command leaves a folder that isn't ours byte for byte as it was: nothing is swept, replaced or removed."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ponet.cli.app import app
from ponet.cli.errors import MISTAKE
from ponet.config.lra import DataOptions
from ponet.tasks.lra.data import open_data

SMALL = ["hidden_size=8", "intermediate_size=8", "num_attention_heads=1", "num_hidden_layers=1", "max_steps=1"]


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"precious {name}")


def dotfiles(home: Path) -> None:
    """What a home folder is made of, with names like those of our temporary files."""
    put(home, ".bashrc", ".editor.tmp", ".cache.tmp/inside", "notes.tmp", ".ssh/id")
    put(home, "checkpoints/.x", "checkpoints/.git/config", "checkpoints/.writing-notes/a", "shards/.scratch.tmp/a")


def lookalikes(home: Path) -> None:
    """Everything under the very names that we give, and not a byte of it ours."""
    dotfiles(home)
    put(home, ".lock", "manifest.json", "metrics.jsonl", "README.md", "config.json", "model.safetensors", "plot.png")
    put(home, ".recipe.yaml.a1b2c3d4.tmp", ".model.tmp/a", "checkpoints/checkpoint-3/a", "checkpoints/.writing-3/a")
    put(home, ".prepare.json.a1b2c3d4.tmp", "shards/.000001.a1b2c3d4.tmp/a", "shards/000001/a", "tokenizer/vocab.txt")
    (home / "recipe.yaml").write_text("task: bread\ndata: {flour: 500 g}\n")
    (home / "prepare.json").write_text('{"water": "350 g"}')
    (home / "result.json").write_text('{"loaves": 2}')


def nearly_empty(home: Path) -> None:
    """Only what a careless writer takes for nothing."""
    put(home, ".editor.tmp", ".lock")
    (home / "checkpoints").mkdir()


def own_recipe(home: Path) -> None:
    """A recipe of the user's own, beside the data."""
    put(home, "thesis.tex", "checkpoints/.keep")
    (home / "recipe.yaml").write_text("base: documents/base\ndata: {path: reviews.csv}\n")


def state(folder: Path) -> dict[str, Any]:
    found = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.lstat()
        content = (path.read_bytes(), status.st_mtime_ns) if path.is_file() else None
        found[str(path.relative_to(folder))] = (content, status.st_mode, status.st_ino)
    return found


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, a table, and what passes for a complete pre-training."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "reviews.csv").write_text("text,label\n" + "a good one,1\na bad one,0\n" * 20)
    (folder / "corpus.txt").write_text("One sentence. Another one.\n\n" * 20)
    (folder / "run").mkdir()
    (folder / "run" / "result.json").write_text(json.dumps({"recipe": {"task": "pretraining"}}))
    (folder / "run" / "recipe.yaml").write_text("name: suite/task/mixer\ntask: text\ndata: {path: x.csv}\n")
    return folder


COMMANDS = {
    "finetune": ["finetune", "--model", "none", "reviews.csv", "--out", "HOME", *SMALL],
    "finetune --overwrite": ["finetune", "--model", "none", "reviews.csv", "--out", "HOME", "--overwrite", *SMALL],
    "train": ["train", "documents/base", "data.path=reviews.csv", "--out", "HOME"],
    "train --overwrite": ["train", "documents/base", "data.path=reviews.csv", "--out", "HOME", "--overwrite"],
    "train baseline": ["train", "documents/imdb/tfidf", "data.path=reviews.csv", "--out", "HOME", "--overwrite"],
    "pretrain prepare": ["pretrain", "prepare", "corpus.txt", "--out", "HOME", "--processes", "1"],
    "pretrain run": ["pretrain", "run", "data", "--size", "tiny", "--out", "HOME", "--overwrite"],
    "predict": ["predict", "run", "reviews.csv", "--out", "HOME"],
    "predict, no input": ["predict", "run", "missing.csv", "--out", "HOME/.bashrc"],
    "benchmark": ["benchmark", "ops", "--json", "HOME"],
    "lra sheet": ["lra", "sheet", "--each", "1", "--out", "HOME"],
    "evaluate": ["evaluate", "HOME"],
    "predict of it": ["predict", "HOME", "reviews.csv"],
    "file": ["file", "HOME", "--overwrite"],
    "report": ["report", "--results", "HOME/results", "--write-readme"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", [dotfiles, lookalikes, nearly_empty, own_recipe])
def test_a_refused_command_touches_nothing(kind, command, mine, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    kind(home)
    before = state(home)
    monkeypatch.chdir(mine)
    result = CliRunner().invoke(app, [part.replace("HOME", str(home)) for part in COMMANDS[command]])
    assert result.exit_code == MISTAKE, (result.stderr, result.exception)
    assert state(home) == before


@pytest.mark.parametrize("kind", [dotfiles, lookalikes, own_recipe])
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_folders_within_are_left_alone_too(kind, overwrite, mine, tmp_path, monkeypatch):
    """Where a command makes a folder in the one it is given, or chooses its name."""
    monkeypatch.chdir(mine)
    for place, command in (
        ("ponet-x", ["pretrain", "ship", "run", "ponet-x", "--out", str(tmp_path), *overwrite]),
        ("suite/task/mixer/seed0", ["file", "run", "--results", str(tmp_path), *overwrite]),
    ):
        kind(tmp_path / place) if place == "ponet-x" else kind_in(kind, tmp_path / place)
        before = state(tmp_path)
        result = CliRunner().invoke(app, command)
        assert result.exit_code == MISTAKE, (result.stderr, result.exception)
        assert state(tmp_path) == before


def kind_in(kind: Any, folder: Path) -> None:
    folder.mkdir(parents=True)
    kind(folder)


@pytest.mark.parametrize("kind", [dotfiles, lookalikes])
def test_tokenizers_and_demos_go_elsewhere(kind, mine, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    kind(home)
    before = state(home)
    monkeypatch.chdir(mine)
    commands = [["tokenizer", "train", "corpus.txt", "--out", str(home), *more] for more in ([], ["--overwrite"])]
    if kind is lookalikes:
        commands.append(["demo", "--quick", "--out", str(home)])
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == MISTAKE, (result.stderr, result.exception)
        assert state(home) == before


def test_prepared_data_isn_t_made_where_other_things_are(tmp_path):
    options = DataOptions(cache=tmp_path / "cache", train_size=4, validation_size=2, test_size=2, workers=1)
    folder = open_data("listops", options).folder
    (folder / "manifest.json").unlink()
    put(folder, "thesis.tex", "old/a", ".editor.tmp")
    before = state(tmp_path)
    command = ["lra", "data", "listops", f"cache={options.cache}", "train_size=4", "validation_size=2", "test_size=2"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == MISTAKE
    assert "holds other things, such as '.editor.tmp'" in result.stderr
    assert state(tmp_path) == before
    missing = ["lra", "data", "retrieval", f"source={tmp_path / 'missing'}", f"cache={tmp_path / 'new'}"]
    assert CliRunner().invoke(app, missing).exit_code == MISTAKE
    assert not (tmp_path / "new").exists()


def test_a_run_is_replaced_and_what_lies_beside_it_stays(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(mine)
    command = ["finetune", "--model", "none", "reviews.csv", "--out", str(tmp_path / "run"), *SMALL]
    assert CliRunner().invoke(app, command).exit_code == 0
    run = tmp_path / "run"
    put(run, "labels.jsonl", "figures/plot.png", ".notes.tmp", "checkpoints/best/weights", "checkpoints/.keep")
    put(run, ".result.json.a1b2c3d4.tmp", "checkpoints/.writing-1/a", "checkpoints/checkpoint-1/a")
    result = CliRunner().invoke(app, [*command, "seed=1", "--overwrite"])
    assert result.exit_code == 0, result.stderr
    assert "What isn't the run's stays there: .notes.tmp, checkpoints, figures, ..." in result.stderr
    assert json.loads((run / "result.json").read_text())["seed"] == 1
    kept = ["labels.jsonl", "figures/plot.png", ".notes.tmp", "checkpoints/best/weights", "checkpoints/.keep"]
    for name in kept:
        assert (run / name).read_text() == f"precious {name}"
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [".keep", "best"]
    assert not list(run.glob(".result*"))


def test_a_run_of_an_earlier_version_is_known_by_its_figures(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(mine)
    command = ["finetune", "--model", "none", "reviews.csv", "--out", str(tmp_path / "run"), *SMALL]
    assert CliRunner().invoke(app, command).exit_code == 0
    recipe = tmp_path / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().partition("\n")[2])  # without its mark
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0
    assert "is complete" in again.stderr
    (tmp_path / "run" / "result.json").unlink()  # one that was cut off
    assert CliRunner().invoke(app, command).exit_code == 0
