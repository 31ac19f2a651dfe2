"""Recipes: inheritance, typed values, overrides, and one clear sentence for what doesn't fit."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from ponet.config.recipe import (
    TrainingOptions,
    available_recipes,
    differences,
    load_recipe,
    read_recipe,
    recipe_from_dict,
    split_seeds,
)
from ponet.config.values import dump_yaml, parse_value, read_yaml
from ponet.utils.errors import PoNetError

NAME = "documents/imdb/pooling"


def test_every_recipe_loads_describes_itself_and_reads_back(tmp_path: Path) -> None:
    names = available_recipes()
    assert {f"documents/{data}/{row}" for data in ("hnd", "imdb", "20newsgroups") for row in MIXERS} <= set(names)
    for name in names:
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description
        file = tmp_path / "recipe.yaml"
        file.write_text(recipe.to_yaml())
        assert load_recipe(file) == recipe
        assert recipe_from_dict(recipe.to_dict()) == recipe


MIXERS = ("pooling", "attention", "fourier", "tfidf")


@pytest.mark.parametrize("data", ["hnd", "imdb", "20newsgroups"])
def test_the_rows_of_a_table_differ_in_nothing_but_what_they_name(data: str) -> None:
    pooling = load_recipe(f"documents/{data}/pooling")
    for mixer in ("attention", "fourier"):
        other = load_recipe(f"documents/{data}/{mixer}")
        changed = {entry.split()[0] for entry in differences(pooling, other, ("name", "description"))}
        assert "model.mixer_types" in changed
        assert changed <= {"model.mixer_types", "model.attention_probs_dropout_prob"}, "the mixer's own, no more"
        assert other.model["mixer_types"] == mixer
    baseline = load_recipe(f"documents/{data}/tfidf")
    assert baseline.data == pooling.data
    assert baseline.model == {}


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("learning_rate=1e-4", "training", "learning_rate", 1e-4),
        ("training.learning_rate=3E-5", "training", "learning_rate", 3e-5),
        ("max_steps=1e3", "training", "max_steps", 1000),
        ("epochs=2", "training", "epochs", 2.0),
        ("eval_every=null", "training", "eval_every", None),
        ("patience=", "training", "patience", None),
        ("checkpoint_every=90s", "training", "checkpoint_every", "90s"),
        ("checkpoint_every=50", "training", "checkpoint_every", 50),
        ("compile=true", "training", "compile", True),
        ("text=1", "data", "text", "1"),
        ("text=no", "data", "text", "no"),
        ("text=2024-01-01", "data", "text", "2024-01-01"),
        ("path=a: b.csv", "data", "path", "a: b.csv"),
        ("label=toxic", "data", "label", "toxic"),
        ("label=toxic,rude", "data", "label", ["toxic", "rude"]),
        ("label=[toxic, rude]", "data", "label", ["toxic", "rude"]),
        ("class_weights={0: 1, 1: 2.5}", "data", "class_weights", {"0": 1.0, "1": 2.5}),
    ],
)
def test_overrides_are_read_as_their_field_wants_them(override: str, section: str, key: str, value: Any) -> None:
    found = getattr(getattr(load_recipe(NAME, [override]), section), key)
    assert found == value
    assert type(found) is type(value)


def test_model_fields_and_plain_keys_are_overridden_too() -> None:
    recipe = load_recipe(NAME, ["hidden_size=64", "model.layer_norm_eps=1e-5", "seed=7", "name=mine", "init=folder"])
    assert recipe.model["hidden_size"] == 64
    assert recipe.model["layer_norm_eps"] == 1e-5
    assert recipe.model["init"] == "folder"
    assert (recipe.seed, recipe.name) == (7, "mine")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("lerning_rate=1", "no 'lerning_rate'. Did you mean 'learning_rate'?"),
        ("training.lerning_rate=1", "no 'training.lerning_rate'. Did you mean 'training.learning_rate'?"),
        ("trainin.learning_rate=1", "no 'trainin.learning_rate'. Did you mean 'training.learning_rate'?"),
        ("model.hiden_size=3", "Did you mean 'model.hidden_size'?"),
        ("vocab_size=100", "'vocab_size' could be data.vocab_size or model.vocab_size. Write one of them out."),
        ("learning_rate=fast", "'training.learning_rate' should be a number, not the text 'fast'."),
        ("max_steps=1.5", "'training.max_steps' should be a whole number or null, not the number 1.5."),
        ("compile=maybe", "'training.compile' should be true or false"),
        ("schedule=liner", "'training.schedule' can't be 'liner'. Did you mean 'linear'?"),
        ("hidden_size=big", "'model.hidden_size' should be a whole number, not the text 'big'."),
        ("mixer_types=poling", "no mixer 'poling' for 'model.mixer_types'. Did you mean 'pooling'?"),
        ("learning_rate=0", "'training.learning_rate' should be greater than 0, not 0.0."),
        ("learning_rate=.nan", "'training.learning_rate' should be a number of usual size, not the number nan."),
        ("learning_rate=.inf", "'training.learning_rate' should be a number of usual size, not the number inf."),
        ("warmup=-1", "'training.warmup' should be 0 or more"),
        ("adam_beta1=1", "'training.adam_beta1' should be at least 0 and below 1"),
        ("checkpoint_every=0", "'training.checkpoint_every' should be steps (100) or time"),
        ("checkpoint_every=5 days", "'training.checkpoint_every' should be steps (100) or time"),
        ("max_length=0", "max_length"),
        ("max_length=-5", "max_length"),
        ("seed=-1", "'seed' should be from 0 to"),
        ("seed=one", "'seed' should be a whole number"),
        ("task=speech", "There is no task 'speech'."),
        ("max_steps", "'max_steps' isn't of the form key=value."),
    ],
)
def test_what_doesn_t_fit_is_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(PoNetError) as caught:
        load_recipe(NAME, [override])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_batches_need_a_limit() -> None:
    with pytest.raises(PoNetError, match="both are null"):
        TrainingOptions(batch_tokens=None, batch_size=None)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(PoNetError, match=r"'documents/imbd/pooling'\. Did you mean 'documents/imdb/pooling'\?"):
        load_recipe("documents/imbd/pooling")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("task: [", "isn't valid YAML (line 1)"),
        ("- a\n- b", "should hold keys and values"),
        ("data: {}", "doesn't say its task"),
        ("task: text\nmodle: {}", "Did you mean 'model'?"),
        ("task: text\ndata: 3", "'data' should hold keys and values"),
        ("task: text\nbase: nowhere/at/all", "There is no recipe 'nowhere/at/all'"),
        ("task: text\nbase: mine.yaml", "inherits from itself"),
        ("task: text\ntraining: {learning_rate: high}", "should be a number"),
        ("task: text\ndata: {text: 1}", "'data.text' should be text or null, not the number 1."),
    ],
)
def test_a_recipe_file_that_isn_t_one(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(PoNetError) as caught:
        load_recipe(file)
    assert sentence in str(caught.value)
    assert (
        "mine.yaml" in str(caught.value) or "'data.text'" in sentence or "number" in sentence or "nowhere" in sentence
    )


def test_files_that_can_t_be_read(tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match=r"There is no '.*missing.yaml'"):
        load_recipe(tmp_path / "missing.yaml")
    with pytest.raises(PoNetError, match="is a folder"):
        load_recipe(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("task: text # caf\xe9".encode("latin-1"))
    with pytest.raises(PoNetError, match="isn't UTF-8"):
        load_recipe(tmp_path / "latin.yaml")


def test_a_chain_of_bases_beside_each_other(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("base: documents/imdb/pooling\ntraining: {epochs: 1e-1, batch_size: 3}\n")
    (tmp_path / "mine.yaml").write_text("base: base.yaml\ntraining: {batch_size: 4}\nmodel: null\n")
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert (recipe.name, recipe.data.path) == ("mine", "imdb")
    assert (recipe.training.epochs, recipe.training.batch_size) == (0.1, 4)
    assert recipe.model == {}
    assert read_recipe(tmp_path / "mine.yaml")["training"]["batch_size"] == 4


def test_seeds_are_taken_out_of_the_overrides() -> None:
    assert split_seeds(["seed=0,1,2", "max_steps=3"]) == ([0, 1, 2], ["max_steps=3"])
    assert split_seeds(["max_steps=3"]) == (None, ["max_steps=3"])
    with pytest.raises(PoNetError, match="twice"):
        split_seeds(["seed=1,1"])
    with pytest.raises(PoNetError, match="whole number"):
        split_seeds(["seed=1,x"])


@pytest.mark.parametrize(
    "value", ["1e-4", "null", "true", "no", "12:30", "010", "", "a: b", 1e-4, 1e-300, 0.1, 7, None, True]
)
def test_yaml_reads_back_what_it_wrote(value: Any, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(dump_yaml({"key": value, "list": [value]}))
    assert read_yaml(tmp_path / "file.yaml") == {"key": value, "list": [value]}
    assert type(read_yaml(tmp_path / "file.yaml")["key"]) is type(value)


def test_command_line_values_are_yaml_where_they_can_be() -> None:
    assert parse_value("010") == 10
    assert parse_value("1e-4") == 1e-4
    assert parse_value("no") == "no"
    assert parse_value("[1, 2]") == [1, 2]
    assert parse_value("a: [b") == "a: [b"


def test_every_training_option_is_documented() -> None:
    import ast
    import inspect
    import textwrap
    from dataclasses import fields

    body = ast.parse(textwrap.dedent(inspect.getsource(TrainingOptions))).body[0].body  # type: ignore[attr-defined]
    documented = {
        one.target.id
        for one, other in itertools.pairwise(body)
        if isinstance(one, ast.AnnAssign) and isinstance(other, ast.Expr)
    }
    assert documented == {entry.name for entry in fields(TrainingOptions)}
