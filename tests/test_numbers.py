"""Absurd sizes, numbers that aren't any, and values nested without end: one sentence, before anything begins."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from tests.test_cli import documents, fails, ponet

from ponet.config.recipe import TRAINER_NAMES, load_recipe, recipe_from_dict
from ponet.config.training import TrainingOptions
from ponet.config.values import parse_value
from ponet.data.tokenizer_training import train_wordpiece
from ponet.tasks.pretraining.options import PretrainingOptions
from ponet.tasks.text.options import TextOptions
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
        ("epochs=2e9", "'training.epochs' should be at most 1,000,000,000, not 2e+09"),
        ("epochs=1e300", "'training.epochs' should be at most 1,000,000,000"),
        ("epochs=1e400", "'training.epochs' should be a number of usual size, not the number inf"),
        ("epochs=.inf", "not the number inf"),
        ("epochs=-.inf", "not the number -inf"),
        ("epochs=.nan", "'training.epochs' should be a number of usual size, not the number nan"),
        ("epochs=nan", "'training.epochs' should be a number, not the text 'nan'"),
        (f"epochs={'9' * 400}", "'training.epochs' should be a number of usual size"),
        (f"epochs={'9' * 5000}", "'training.epochs' should be a number, not the text '999"),
        ("epochs=0", "greater than 0"),
        ("max_steps=1e20", "'training.max_steps' should be a whole number or null of usual size"),
        ("max_steps=1e18", "'training.max_steps' should be at most 1,000,000,000"),
        ("max_steps=-1", "greater than 0"),
        ("max_steps=0x10", "not the text '0x10'"),
        ("max_steps=1_000", "not the text '1_000'"),
        ("max_steps=0b1", "not the text '0b1'"),
        ("max_steps=\N{ARABIC-INDIC DIGIT FIVE}", "not the text '\N{ARABIC-INDIC DIGIT FIVE}'"),
        ("max_steps=true", "not true"),
        ("max_steps=1.5", "not the number 1.5"),
        ("max_steps=", "The recipe"),
        ("batch_tokens=1e30", "of usual size"),
        ("batch_tokens=1e18", "'training.batch_tokens' should be at most"),
        ("batch_size=1e18", "'training.batch_size' should be at most"),
        ("gradient_accumulation=1e15", "'training.gradient_accumulation' should be at most"),
        ("workers=1e9", "'training.workers' should be at most 1,000"),
        ("workers=-1", "'training.workers' should be 0 or more"),
        ("patience=1e99", "'training.patience' should be"),
        ("log_every=1e18", "'training.log_every' should be at most"),
        ("eval_every=1e30", "'training.eval_every' should be at most"),
        ("warmup=1e30", "'training.warmup' should be at most"),
        ("warmup=.nan", "not the number nan"),
        ("checkpoint_every=1e18", "'training.checkpoint_every' should be"),
        ("checkpoint_every=-5", "'training.checkpoint_every' should be"),
        (f"checkpoint_every={'9' * 400}h", "'training.checkpoint_every' should be"),
        (f"budget={'9' * 400}h", "'training.budget' should be a time such as"),
        ("learning_rate=false", "not false"),
        ("seed=-1", "'seed' should be from 0 to 2147483647, not -1"),
        ("seed=2147483648", "'seed' should be from 0 to 2147483647"),
        ("seed=1e30", "'seed' should be a whole number"),
        ("seed=true", "'seed' should be a whole number, not true"),
        ("seed=0,-1", "'seed' should be from 0"),
        ("split_seed=-3", "split_seed is a seed"),
        ("validation_fraction=.nan", "'data.validation_fraction' should be a number"),
        ("max_length=1e30", "'data.max_length' should be"),
        ("max_length=-5", "max_length is the most tokens"),
        ("data.vocab_size=1e15", "A vocabulary has at most 10,000,000 pieces"),
        ("hidden_size=1e12", "GB of weights at least"),
        ("model.intermediate_size=1e15", "GB of weights at least"),
        ("max_position_embeddings=1e12", "GB of weights at least"),
        ("num_hidden_layers=1e9", "num_hidden_layers must be at most 10,000"),
        ("num_hidden_layers=1e18", "num_hidden_layers must be at most 10,000"),
        ("hidden_size=1e30", "'model.hidden_size' should be"),
        ("layer_norm_eps=-1", "layer_norm_eps must be a finite number"),
        ("hidden_dropout_prob=.nan", "'model.hidden_dropout_prob' should be"),
        (f"learning_rate={'[' * 3000}{']' * 3000}", "'training.learning_rate' should be a number"),
        (f"max_steps={'[' * DEEP}", "'training.max_steps' should be"),
        (f"max_steps={'- ' * DEEP}", "'training.max_steps' should be"),
        (f"max_steps={'? ' * DEEP}", "'training.max_steps' should be"),
        (f"class_weights={'{a: ' * 3000}", "class_weights can't be"),
        (f"mixer_types={'[' * 3000}", "There is no mixer '[[["),
        (f"label={'[' * 3000}{']' * 3000}", "has no column '[[["),
        ("max_steps=&a [*a]", "'training.max_steps' should be"),
        ("max_steps=!!python/object:os.getcwd []", "'training.max_steps' should be"),
        (f"{'x' * 5000}=1", "There is no 'xxx"),
        ("y" * 5000, "isn't of the form key=value"),
    ],
)
def test_a_change_that_can_t_be(home: Path, tmp_path: Path, change: str, sentence: str) -> None:
    if change == "max_steps=":  # null: no limit
        assert load_recipe("finetune/base", [change]).training.max_steps is None
        return
    fails(sentence, "finetune", home / "documents.csv", "--out", tmp_path / "run", change)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step_seconds", ["1e-300", "1e-8"])
def test_a_budget_of_too_many_steps(home: Path, tmp_path: Path, step_seconds: str) -> None:
    changes = ("budget=1h", f"step_seconds={step_seconds}")
    fails(
        "'training.budget' of 1h is more than", "finetune", home / "documents.csv", "--out", tmp_path / "run", *changes
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
    fails(sentence, "finetune", home / "documents.csv", "--out", tmp_path / "run")
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


RECIPES = {
    "brackets": ("[" * DEEP, "more than 50 values within each other"),
    "braces": ("a: " + "{b: " * DEEP, "more than 50 values within each other"),
    "dashes": ("a: \n  " + "- " * DEEP, "more than 50 values within each other"),
    "keys": ("? " * DEEP, "more than 50 values within each other"),
    "an alias": ("task: text\ndata: &a {path: *a}\n", "an alias: write the value out"),
    "aliases of aliases": (
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]\n" for one, two in zip("abcdefghi", "bcdefghij", strict=True)
        ),
        "an alias: write the value out",
    ),
    "a number": (f"task: text\nseed: {'9' * 5000}\n", "isn't valid YAML"),
    "steps": ("task: text\ntraining: {max_steps: 1e30}\n", "'training.max_steps' should be"),
    "itself": ("base: ../recipes/itself.yaml\n", "inherits from itself"),
    "the Trainer's": ("task: text\ntraining:\n  num_train_epochs: 3\n", "It is training.epochs here"),
    "the Trainer's at the top": ("task: text\nnum_train_epochs: 3\n", "It is training.epochs here"),
    "the Trainer's in the data": ("task: text\ndata: {max_seq_length: 3}\n", "It is data.max_length here"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_without_end(tmp_path: Path, name: str) -> None:
    text, sentence = RECIPES[name]
    path = tmp_path / "recipes" / f"{name}.yaml"
    path.parent.mkdir()
    path.write_text(text)
    fails(sentence, "recipes", "show", path)
    fails(sentence, "train", path, "--out", tmp_path / "run")


def test_what_is_deep_enough_is_read() -> None:
    assert parse_value("[" * 30 + "]" * 30) != "[" * 30 + "]" * 30
    assert recipe_from_dict({"task": "text"}, ["class_weights={good: 1, bad: 2.5}"]).data.class_weights["bad"] == 2.5


def test_the_trainer_s_names_are_told_by_ours() -> None:
    keys = {
        "training": {field.name for field in dataclasses.fields(TrainingOptions)},
        "data": {field.name for options in (TextOptions, PretrainingOptions) for field in dataclasses.fields(options)},
        "model": {"init"},
    }
    for theirs, ours in TRAINER_NAMES.items():
        section, _, name = ours.partition(".")
        assert ours == "seed" or ours.startswith("--") or name in keys[section], ours
        for key in (theirs, f"training.{theirs}"):
            with pytest.raises(PoNetError, match=f"There is no '{key}'. It is {ours} here."):
                load_recipe("finetune/base", [f"{key}=1"])


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
    result = ponet("finetune", home / "documents.csv", "--out", home / "run", "--max-length", 16, *SMALL)
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
        ("finetune", home / "documents.csv", "--out", run, "--max-length", 16, *SMALL),
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
    fails("'", "finetune", path, "--out", tmp_path / "run")
