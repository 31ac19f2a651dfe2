"""The recipes of Long Range Arena: complete, and as published."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from ponet.config.files import available_recipes
from ponet.config.lra import LraOptions
from ponet.config.recipe import differences, load_recipe
from ponet.mixers import mixer_names
from ponet.tasks.lra import spec as data
from ponet.tasks.lra.task import build_model
from ponet.training.optimization import warmup_steps

KNOWN = [name for name in available_recipes() if name.startswith("lra/")]
PUBLISHED = {  # PAPER.md, section 5: batch, steps, warm-up, evaluate every, N
    "listops": (32, 5000, 1000, 50, 2048),
    "text": (32, 20000, 8000, 500, 4096),
    "retrieval": (32, 30000, 800, 300, 4096),
    "image": (256, 35000, 175, 175, 1024),
    "pathfinder": (256, 62400, 312, 312, 1024),
}


def test_every_task_has_every_mixer() -> None:
    assert set(get_args(get_type_hints(LraOptions)["dataset"])) == set(data.TASKS)
    rows = {*mixer_names(), "pooling-aligned"}
    assert set(KNOWN) == {f"lra/{task}/{row}" for task in data.TASKS for row in rows}


@pytest.mark.parametrize("task", PUBLISHED)
def test_the_defaults_are_published(task: str) -> None:
    recipe = load_recipe(f"lra/{task}/pooling")
    training = recipe.training
    steps = training.max_steps
    assert steps is not None
    figures = (training.batch_size, steps, warmup_steps(training.warmup, steps), training.eval_every)
    assert (*figures, recipe.model["max_position_embeddings"]) == PUBLISHED[task]
    assert (training.batch_tokens, training.drop_last, training.schedule) == (None, True, "onecycle")
    assert (training.learning_rate, training.adam_eps, training.weight_decay) == (1e-4, 1e-6, 0)


@pytest.mark.parametrize("name", KNOWN)
def test_each_recipe_makes_a_model(name: str) -> None:
    recipe = load_recipe(name, ["max_steps=200"])
    assert recipe.training.max_steps == 200
    assert warmup_steps(recipe.training.warmup, 200) < 200
    model = build_model(recipe.model, data.TASKS[recipe.data.dataset])
    mixer = recipe.model["mixer_types"]
    assert model.config.layer_mixers == [mixer, mixer]
    assert name.startswith(f"lra/{recipe.data.dataset}/{mixer}")


@pytest.mark.parametrize("name", KNOWN)
def test_rows_differ_in_nothing_but_what_they_name(name: str) -> None:
    recipe = load_recipe(name)
    base = load_recipe(f"lra/{recipe.data.dataset}/pooling")
    changed = {entry.split()[0] for entry in differences(base, recipe, ("name", "description"))}
    named = {
        "pooling": set(),
        "pooling-aligned": {"data.segments"},
        "attention": {"model.mixer_types", "model.attention_probs_dropout_prob"},
    }
    assert changed == named.get(name.rpartition("/")[2], {"model.mixer_types"})


def test_the_page_has_the_same_numbers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lra.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in page.splitlines() if "| `" in line]
    found = {row[0]: [int(cell.replace(",", "")) for cell in row[3:]] for row in rows}
    assert set(found) == set(data.TASKS)
    for task, figures in found.items():
        recipe = load_recipe(f"lra/{task}/pooling")
        training, steps = recipe.training, recipe.training.max_steps
        assert steps is not None
        assert figures == [
            *(data.TASKS[task].classes, recipe.model["max_position_embeddings"], training.batch_size),
            *(steps, warmup_steps(training.warmup, steps), training.eval_every),
        ]
    assert all(f"`{name.rpartition('/')[2]}`" in page for name in KNOWN)
