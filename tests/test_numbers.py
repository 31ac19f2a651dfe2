"""Absurd sizes, numbers that aren't any, and files nested without end: one sentence, before anything begins."""

import json
import shutil
from pathlib import Path

import pytest
from tests.test_cli import documents, fails, ponet

from ponet.data.tokenizer_training import train_wordpiece
from ponet.training.distributed import process_count, process_index
from ponet.utils.errors import PoNetError

DEEP = 100_000
RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents.csv."""
    home = tmp_path_factory.mktemp("numbers")
    documents(home / "documents.csv", 20)
    return home


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("epochs=1e12", "'training.epochs' should be at most 1,000,000,000, not 1e+12"),
        ("seed=0,-1", "'seed' should be at least 0"),
        ("data.vocab_size=1e15", "A vocabulary has at most 10,000,000 pieces"),
        ("hidden_size=1e12", "GB of weights at least"),
        ("model.intermediate_size=1e15", "GB of weights at least"),
        ("max_position_embeddings=1e12", "GB of weights at least"),
        ("num_hidden_layers=1e9", "num_hidden_layers must be at most 10,000"),
        ("num_hidden_layers=1e18", "num_hidden_layers must be at most 10,000"),
        ("layer_norm_eps=-1", "layer_norm_eps must be a finite number"),
        (f"label={'[' * 3000}{']' * 3000}", "has no column '[[["),
    ],
)
def test_a_change_that_can_t_be(home: Path, tmp_path: Path, change: str, sentence: str) -> None:
    fails(sentence, "finetune", "--model", "none", home / "documents.csv", "--out", tmp_path / "run", change)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step_seconds", ["1e-300", "1e-8"])
def test_a_budget_of_too_many_steps(home: Path, tmp_path: Path, step_seconds: str) -> None:
    changes = ("budget=1h", f"step_seconds={step_seconds}")
    fails(
        "'training.budget' of 1h is more than",
        "finetune",
        "--model",
        "none",
        home / "documents.csv",
        "--out",
        tmp_path / "run",
        *changes,
    )


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"RANK": "abc"}, "RANK should be a whole number"),
        ({"RANK": "-1"}, "RANK should be a whole number"),
        ({"RANK": "1"}, "RANK=1 can't be"),
        ({"RANK": "1e3"}, "RANK should be a whole number"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set to 2, but not RANK and LOCAL_RANK and MASTER_ADDR and MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "but not LOCAL_RANK and MASTER_ADDR and MASTER_PORT"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0 can't be"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE should be a whole number"),
        ({"WORLD_SIZE": "0x2"}, "WORLD_SIZE should be a whole number"),
        ({"WORLD_SIZE": "9" * 400}, "WORLD_SIZE should be a whole number"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK is set, but not RANK"),
        (dict(zip(RANKS, ("2", "0", "2", "localhost", "1"), strict=True)), "RANK=2"),
        (dict(zip(RANKS, ("0", "1", "2", "localhost", "1"), strict=True)), "LOCAL_RANK=1"),
        (dict(zip(RANKS, ("0", "0", "2", "localhost", "port"), strict=True)), "MASTER_PORT should be a whole number"),
        ({"PONET_BACKEND": "foo"}, "PONET_BACKEND: unknown backend 'foo'; known: auto, "),
        ({"PONET_BACKEND": ""}, "PONET_BACKEND: unknown backend ''"),
        ({"PONET_BACKEND": "AUTO"}, "PONET_BACKEND: unknown backend 'AUTO'"),
    ],
)
def test_an_environment_that_can_t_be(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], sentence: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fails(sentence, "finetune", "--model", "none", home / "documents.csv", "--out", tmp_path / "run")
    fails(sentence, "predict", tmp_path / "run", home / "documents.csv")
    fails(sentence, "evaluate", tmp_path / "run")
    fails(sentence, "demo", "--out", tmp_path / "demo")
    fails(sentence, "benchmark", "ops", "--quick")
    assert list(tmp_path.iterdir()) == []


def test_environments_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in ({}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "", "RANK": ""}):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            assert (process_index(), process_count()) == (0, 1)
    for name, value in zip(RANKS, ("3", "1", "4", "localhost", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    assert (process_index(), process_count()) == (3, 4)


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--seed", "-1"),
        ("demo", "--seed", "99999999999999999999"),
        ("benchmark", "ops", "--seed", "-1"),
        ("benchmark", "efficiency", "--seed", "2147483648"),
        ("lra", "sheet", "--seed", "-1"),
        ("evaluate", "run", "--fresh-test-seed", "-1"),
        ("evaluate", "run", "--fresh-test-seed", "1e3"),
        ("pretrain", "prepare", "text", "--out", "data", "--processes", "99999999999"),
    ],
)
def test_options_out_of_range(arguments: tuple[str, ...]) -> None:
    result = ponet(*arguments)
    assert result.exit_code == 2
    assert "Invalid value" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--min-frequency", "-1", "min_frequency should be from 1"),
        ("--min-frequency", "0", "min_frequency should be from 1"),
        ("--min-frequency", "99999999999999999999", "min_frequency should be from 1"),
        ("--vocab-size", "-4", "A vocabulary of -4 pieces is too small"),
        ("--vocab-size", "99999999999999999999", "A vocabulary has at most 10,000,000 pieces"),
    ],
)
def test_a_vocabulary_that_can_t_be(home: Path, tmp_path: Path, option: str, value: str, sentence: str) -> None:
    fails(sentence, "tokenizer", "train", home / "documents.csv", "--out", tmp_path / "tokenizer", option, value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PoNetError, match="min_frequency"):
        train_wordpiece(["some text"], 100, min_frequency=-1)


RESULTS: dict[str, str] = {
    "an object": "{}",
    "brackets": "[" * DEEP,
    "braces": '{"a":' * DEEP,
    "a list": "[1]",
    "text": '"x"',
    "nothing": "",
    "null": "null",
    "a number": "9" * 5000,
    "no training": '{"train": 3}',
}


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    result = ponet(
        "finetune", "--model", "none", home / "documents.csv", "--out", home / "run", "--max-length", 16, *SMALL
    )
    assert result.exit_code == 0, result.stderr
    return home / "run"


SMALL = ["hidden_size=16", "model.intermediate_size=16", "num_hidden_layers=1", "data.vocab_size=150", "max_steps=1"]


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_isn_t_one(home: Path, trained: Path, tmp_path: Path, name: str) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "result.json").write_text(RESULTS[name])
    for arguments in (
        ("evaluate", run),
        ("predict", run, home / "documents.csv"),
        ("file", run, "--results", tmp_path / "results"),
        ("finetune", "--model", "none", home / "documents.csv", "--out", run, "--max-length", 16, *SMALL),
    ):
        fails("result.json' isn't ", *arguments)
    place = tmp_path / "results" / "documents" / "imdb" / "pooling" / "seed0"
    place.mkdir(parents=True)
    (place / "result.json").write_text(RESULTS[name])
    fails("result.json' is not a result file", "report", "documents", "--results", tmp_path / "results")


@pytest.mark.parametrize("text", ["{}", "[" * DEEP, "[]", '{"setup": 3, "targets": [[]]}'])
def test_a_benchmark_s_result_that_isn_t_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "cpu.json").write_text(text)
    result = ponet("report", "ops", "--results", tmp_path)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1


def test_json_lines_without_end(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text(json.dumps({"text": "a", "label": "b"}) + '\n{"text":' + "[" * DEEP + "\n")
    fails("'", "finetune", "--model", "none", path, "--out", tmp_path / "run")
