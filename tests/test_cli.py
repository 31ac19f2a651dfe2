"""The commands as a user, careful or careless, types them."""

import ast
import csv
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ponet.cli import errors, main
from ponet.cli.app import app
from ponet.cli.errors import CLOSED_PIPE, INTERRUPTED, MISTAKE
from ponet.models.checkpoints import checkpoint_names

SMALL = ["hidden_size=32", "model.intermediate_size=32", "num_hidden_layers=1", "data.vocab_size=150", "max_steps=4"]


def ponet(*arguments: Any) -> Result:
    """Runs a command; anything but an exit is an error of the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def fails(sentence: str, *arguments: Any) -> None:
    """The command ends with 2, nothing on stdout and one sentence on stderr that has these words."""
    result = ponet(*arguments)
    said = result.stderr.strip().splitlines()
    assert result.exit_code == MISTAKE, result.stderr
    assert sentence in said[-1]
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def documents(path: Path, count: int = 60) -> Path:
    """A CSV of short documents of two classes."""
    generator = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for index in range(count):
            label = ("good", "bad")[index % 2]
            words = generator.choices(["the", "story", "plot", "is", {"good": "great", "bad": "awful"}[label]], k=12)
            writer.writerow([" ".join(words) + ".", label])
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents.csv and a complete run in `run`."""
    home = tmp_path_factory.mktemp("cli")
    documents(home / "documents.csv")
    result = ponet(
        "finetune",
        "--model",
        "none",
        home / "documents.csv",
        "--out",
        home / "run",
        "test_fraction=0.2",
        "--max-length",
        32,
        *SMALL,
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].startswith("test        accuracy ")
    return home


def test_finetune_writes_a_run(home: Path) -> None:
    written = json.loads((home / "run" / "result.json").read_text())
    assert written["recipe"]["name"] == "finetune/documents"
    assert written["recipe"]["data"]["max_length"] == 32
    assert written["train"]["steps"] == 4
    assert {"README.md", "config.json", "metrics.jsonl", "model.safetensors", "recipe.yaml", "tokenizer.json"} <= {
        path.name for path in (home / "run").iterdir()
    }


def test_the_best_bundled_checkpoint_is_the_default(home: Path, tmp_path: Path) -> None:
    data = home / "documents.csv"
    result = ponet("finetune", data, "--out", tmp_path / "run", "--max-length", 16, "max_steps=1", "limit_train=8")
    assert result.exit_code == 0, result.stderr
    recipes = [json.loads((run / "result.json").read_text())["recipe"] for run in (home / "run", tmp_path / "run")]
    assert recipes[0]["model"]["init"] is None, "none: a small model from scratch"
    assert recipes[1]["model"]["init"] == checkpoint_names()[0]


def test_the_same_command_again_says_that_it_is_done(home: Path) -> None:
    before = (home / "run" / "result.json").read_bytes()
    result = ponet(
        "finetune",
        "--model",
        "none",
        home / "documents.csv",
        "--out",
        home / "run",
        "test_fraction=0.2",
        "--max-length",
        32,
        *SMALL,
    )
    assert result.exit_code == 0
    assert "is complete" in result.stderr
    assert "--overwrite" in result.stderr
    assert (home / "run" / "result.json").read_bytes() == before


def test_evaluate_is_json_and_agrees_with_the_result(home: Path) -> None:
    result = ponet("evaluate", home / "run")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["metrics"] == pytest.approx(json.loads((home / "run" / "result.json").read_text())["test"])
    assert told["examples"] == 12
    other = json.loads(ponet("evaluate", home / "run", "--data", home / "documents.csv", "--split", "train").stdout)
    assert other["examples"] == 60


def test_predict_writes_json_lines(home: Path) -> None:
    result = ponet("predict", home / "run", home / "documents.csv")
    assert result.exit_code == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["index"] for record in records] == list(range(60))
    assert {record["label"] for record in records} <= {"good", "bad"}
    out = home / "labels.jsonl"
    quiet = ponet("predict", home / "run", home / "documents.csv", "--out", out)
    assert (quiet.exit_code, quiet.stdout) == (0, "")
    assert out.read_text() == result.stdout


def test_predict_carries_columns_along_and_writes_by_suffix(home: Path) -> None:
    out = home / "labels.csv"
    result = ponet("predict", home / "run", home / "documents.csv", "--keep", "label,text", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "'label' as 'input_label'" in result.stderr
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["input_label"] for row in rows[:2]] == ["good", "bad"]
    assert all(float(row["scores.good"]) + float(row["scores.bad"]) == pytest.approx(1) for row in rows)
    command = ("predict", home / "run", home / "documents.csv")
    fails("--keep id,title", *command, "--keep", "label", "--keep-all")
    fails("no column 'it'", *command, "--keep", "it", "--out", out)
    fails("by its suffix", *command, "--out", home / "labels.npy")


def test_predict_leaves_no_half_file(home: Path) -> None:
    out = home / "none" / "labels.jsonl"
    fails("missing.csv", "predict", home / "run", home / "missing.csv", "--out", out)
    assert not out.exists()
    assert not (home / "none").exists() or not list((home / "none").iterdir())


def test_train_a_recipe_file_over_seeds(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    Path("mine.yaml").write_text(
        "base: documents/base\ndata: {path: documents.csv, max_length: 32, vocab_size: 150}\n"
        "model: {hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1}\ntraining: {max_steps: 1}\n"
    )
    result = ponet("train", "mine.yaml", "seed=0,2")
    assert result.exit_code == 0, result.stderr
    for seed in (0, 2):
        assert json.loads(Path(f"runs/mine/seed{seed}/result.json").read_text())["seed"] == seed
    assert ponet("train", "mine.yaml", "seed=3", "--out", "elsewhere").exit_code == 0
    assert Path("elsewhere/result.json").exists()


def test_the_baseline_is_a_run_too(home: Path) -> None:
    (home / "baseline.yaml").write_text(
        f"task: text-baseline\ndata: {{path: {home / 'documents.csv'}, test_fraction: 0.3}}"
    )
    result = ponet("train", home / "baseline.yaml", "--out", home / "baseline")
    assert result.exit_code == 0, result.stderr
    assert json.loads((home / "baseline" / "result.json").read_text())["test"]["accuracy"] > 0.9
    assert "accuracy" in (home / "baseline" / "README.md").read_text()
    fails("no model", "predict", home / "baseline", home / "documents.csv")
    fails("no model", "evaluate", home / "baseline")


def test_bad_input_is_one_sentence_each(home: Path, tmp_path: Path) -> None:
    run, data = home / "run", home / "documents.csv"
    fails("missing.csv", "finetune", "--model", "none", tmp_path / "missing.csv", "--out", tmp_path / "new")
    fails(
        "Did you mean 'learning_rate'?",
        "finetune",
        "--model",
        "none",
        data,
        "--out",
        tmp_path / "new",
        "lerning_rate=1",
    )
    fails("max_length", "finetune", "--model", "none", data, "--out", tmp_path / "new", "--max-length", 0)
    fails("max_length", "finetune", "--model", "none", data, "--out", tmp_path / "new", "--max-length", -3)
    fails("'body'", "finetune", "--model", "none", data, "--out", tmp_path / "new", "--text", "body")
    fails(str(tmp_path), "finetune", "--model", "none", data, "--out", tmp_path / "new", "--model", tmp_path)
    fails("holds another run", "finetune", "--model", "none", data, "--out", run, "seed=1")
    fails("isn't a run folder", "finetune", "--model", "none", data, "--out", home)
    fails("is a file", "finetune", "--model", "none", data, "--out", data)
    fails("Did you mean 'documents/imdb/pooling'?", "train", "documents/imbd/pooling")
    fails("Did you mean 'documents/hnd/tfidf'?", "recipes", "show", "documents/hnd/tfdif")
    fails("isn't a run folder", "evaluate", home)
    fails("There is no", "evaluate", tmp_path / "nothing")
    fails("missing.csv", "evaluate", run, "--data", tmp_path / "missing.csv")
    fails("isn't a run folder", "predict", home, data)
    fails("missing.csv", "predict", run, tmp_path / "missing.csv")
    fails("missing.txt", "tokenizer", "train", tmp_path / "missing.txt", "--out", tmp_path / "tokenizer")
    fails("no folder", "report", "--results", tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_model_is_one_sentence(home: Path, tmp_path: Path) -> None:
    import shutil

    run = shutil.copytree(home / "run", tmp_path / "run")
    file = run / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    fails("can't be read", "evaluate", run)
    fails("can't be read", "predict", run, home / "documents.csv")


def test_recipes_are_listed_and_shown() -> None:
    listed = ponet("recipes")
    assert "documents/imdb/pooling" in listed.stdout
    assert ponet("recipes", "list").stdout == listed.stdout
    shown = ponet("recipes", "show", "documents/imdb/pooling", "max_steps=7")
    assert "max_steps: 7\n" in shown.stdout
    assert "checkpoint_every" in shown.stdout, "defaults too"


def test_tokenizer_train(home: Path, tmp_path: Path) -> None:
    result = ponet("tokenizer", "train", home / "documents.csv", "--vocab-size", 60, "--out", tmp_path / "tokenizer")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "tokenizer" / "tokenizer.json").exists()
    assert " pieces from 60 texts" in result.stdout


def test_help_teaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = ponet("--help")
    assert shown.exit_code == 0
    for words in ("ponet finetune reviews.csv --out run", "ponet predict run new.csv", "ponet demo"):
        assert words in shown.stdout
    for command in ("train", "finetune", "evaluate", "predict", "recipes", "report", "demo"):
        assert ponet(command, "--help").exit_code == 0
    assert ponet("finetune").exit_code == 2
    assert ponet("fintune").exit_code == 2
    assert ponet("--version").stdout.strip()[0].isdigit()


def test_ctrl_c_is_one_sentence_and_130(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ponet.training.run.TrainingLoop", interrupted)
    result = ponet("finetune", "--model", "none", home / "documents.csv", "--out", tmp_path / "new", *SMALL)
    assert result.exit_code == INTERRUPTED == 130
    assert result.stderr.splitlines()[-1].startswith("Stopped.")
    assert not (tmp_path / "new").exists()


def test_a_closed_pipe_is_quiet(home: Path, tmp_path: Path) -> None:
    """`ponet predict run file | head -0`: the reader is gone before the first line."""
    said = tmp_path / "stderr"
    read, write = os.pipe()
    os.close(read)
    child = os.fork()  # a process of its own, with all imports done
    if child == 0:
        os.dup2(write, 1)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["ponet", "predict", str(home / "run"), str(home / "documents.csv")]
        try:
            main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(int(end.code or 0))
        finally:
            os._exit(1)
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == CLOSED_PIPE
    assert said.read_text() == ""


def test_the_command_line_itself_imports_nothing_heavy() -> None:
    """`ponet --help` is there at once: only what the commands call imports torch and the rest."""
    light = {"typer", "ponet.cli", "ponet.utils"}
    for file in Path(errors.__file__).parent.glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            else:
                continue
            for name in names:
                root = ".".join(name.split(".")[:2])
                assert root in light or name.split(".")[0] in sys.stdlib_module_names, f"{file.name} imports {name}"
