"""Recipes: typed values, overrides, and one clear sentence for what doesn't fit."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ponet.config.files import available_recipes
from ponet.config.recipe import DATA_OPTIONS, load_recipe, recipe_from_dict, split_seeds
from ponet.config.schema import TRAINER_NAMES
from ponet.config.training import TrainingOptions
from ponet.utils.errors import PoNetError

DEEP = 100_000
NAME = "documents/imdb/pooling"


def test_every_recipe_loads_describes_itself_and_reads_back(tmp_path: Path) -> None:
    names = available_recipes()
    assert {"documents/hnd/tfidf", "lra/listops/pooling-aligned", "pretrain/base"} <= set(names)
    assert not {"finetune/base", "documents/base", "documents/hnd"} & set(names), "there to be inherited"
    for name in names:
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description
        file = tmp_path / "recipe.yaml"
        file.write_text(recipe.to_yaml())
        assert load_recipe(file) == recipe
        assert recipe_from_dict(recipe.to_dict()) == recipe


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
        ("learning_rate=0", "'training.learning_rate' should be greater than 0, not 0."),
        ("learning_rate=.nan", "'training.learning_rate' should be a number of usual size, not the number nan."),
        ("learning_rate=.inf", "'training.learning_rate' should be a number of usual size, not the number inf."),
        ("warmup=-1", "'training.warmup' should be at least 0"),
        ("adam_beta1=1", "'training.adam_beta1' should be below 1, not 1."),
        ("checkpoint_every=0", "'training.checkpoint_every' should be steps (100) or time"),
        ("checkpoint_every=5 days", "'training.checkpoint_every' should be steps (100) or time"),
        ("max_length=0", "'data.max_length' should be at least 8, not 0."),
        ("class_names=[0, 1]", "'data.class_names' should be a list (each text) or null, not [0, 1]."),
        ("seed=-1", "'seed' should be at least 0, not -1."),
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


def test_seeds_are_taken_out_of_the_overrides() -> None:
    assert split_seeds(["seed=0,1,2", "max_steps=3"]) == ([0, 1, 2], ["max_steps=3"])
    assert split_seeds(["max_steps=3"]) == (None, ["max_steps=3"])
    with pytest.raises(PoNetError, match="twice"):
        split_seeds(["seed=1,1"])
    with pytest.raises(PoNetError, match="whole number"):
        split_seeds(["seed=1,x"])


@pytest.mark.parametrize(
    ("override", "sentence"),
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
        ("max_steps=-1", "'training.max_steps' should be at least 1, not -1."),
        ("max_steps=0x10", "not the text '0x10'"),
        ("max_steps=1_000", "not the text '1_000'"),
        ("max_steps=0b1", "not the text '0b1'"),
        ("max_steps=\N{ARABIC-INDIC DIGIT FIVE}", "not the text '\N{ARABIC-INDIC DIGIT FIVE}'"),
        ("max_steps=true", "not true"),
        ("max_steps=1.5", "not the number 1.5"),
        ("batch_tokens=1e30", "of usual size"),
        ("batch_tokens=1e18", "'training.batch_tokens' should be at most"),
        ("batch_size=1e18", "'training.batch_size' should be at most"),
        ("gradient_accumulation=1e15", "'training.gradient_accumulation' should be at most"),
        ("workers=1e9", "'training.workers' should be at most 1,000"),
        ("workers=-1", "'training.workers' should be at least 0"),
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
        ("seed=-1", "'seed' should be at least 0, not -1"),
        ("seed=2147483648", "'seed' should be below 2,147,483,648"),
        ("seed=1e30", "'seed' should be a whole number"),
        ("seed=true", "'seed' should be a whole number, not true"),
        ("split_seed=-3", "'data.split_seed' should be at least 0, not -3."),
        ("validation_fraction=.nan", "'data.validation_fraction' should be a number"),
        ("max_length=1e30", "'data.max_length' should be"),
        ("max_length=-5", "'data.max_length' should be at least 8, not -5."),
        ("hidden_size=1e30", "'model.hidden_size' should be"),
        ("hidden_dropout_prob=.nan", "'model.hidden_dropout_prob' should be"),
        (f"learning_rate={'[' * 3000}{']' * 3000}", "'training.learning_rate' should be a number"),
        (f"max_steps={'[' * DEEP}", "'training.max_steps' should be"),
        (f"max_steps={'- ' * DEEP}", "'training.max_steps' should be"),
        (f"max_steps={'? ' * DEEP}", "'training.max_steps' should be"),
        (f"class_weights={'{a: ' * 3000}", "'data.class_weights' can't be"),
        (f"mixer_types={'[' * 3000}", "There is no mixer '[[["),
        ("max_steps=&a [*a]", "'training.max_steps' should be"),
        ("max_steps=!!python/object:os.getcwd []", "'training.max_steps' should be"),
        (f"{'x' * 5000}=1", "There is no 'xxx"),
        ("y" * 5000, "isn't of the form key=value"),
    ],
)
def test_absurd_values_are_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(PoNetError) as caught:
        load_recipe("finetune/base-scratch", [override])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_null_is_a_value() -> None:
    assert load_recipe("finetune/base", ["max_steps="]).training.max_steps is None


def test_the_trainer_s_names_are_translated() -> None:
    keys = {
        "training": {field.name for field in fields(TrainingOptions)},
        "data": {field.name for task in ("text", "pretraining") for field in fields(DATA_OPTIONS[task])},
        "model": {"init"},
    }
    for theirs, ours in TRAINER_NAMES.items():
        section, _, name = ours.partition(".")
        assert ours == "seed" or ours.startswith("--") or name in keys[section], ours
        for key in (theirs, f"training.{theirs}"):
            with pytest.raises(PoNetError, match=f"There is no '{key}'. It is {ours} here."):
                load_recipe("finetune/base", [f"{key}=1"])
