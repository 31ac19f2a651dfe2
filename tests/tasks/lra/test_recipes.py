"""The recipes of Long Range Arena: complete, as their table says, and as published."""

from pathlib import Path

import pytest

from ponet.config.recipe import RECIPES, available_recipes, load_recipe
from ponet.mixers import mixer_names
from ponet.tasks.lra import spec as data
from ponet.tasks.lra.recipes import MIXERS, TASKS, recipe_files
from ponet.tasks.lra.task import build_model
from ponet.training.schedules import warmup_steps

KNOWN = [name for name in available_recipes() if name.startswith("lra/")]
PUBLISHED = {  # PAPER.md, section 5: batch, steps, warm-up, evaluate every, N
    "listops": (32, 5000, 1000, 50, 2048),
    "text": (32, 20000, 8000, 500, 4096),
    "retrieval": (32, 30000, 800, 300, 4096),
    "image": (256, 35000, 175, 175, 1024),
    "pathfinder": (256, 62400, 312, 312, 1024),
}


def test_every_task_has_every_mixer() -> None:
    assert set(TASKS) == set(data.TASKS)
    assert set(KNOWN) == {f"lra/{task}/{mixer}" for task in TASKS for mixer in MIXERS}
    assert {recipe.mixer or name for name, recipe in MIXERS.items()} <= set(mixer_names())


def test_the_files_are_what_the_table_gives() -> None:
    """`python -m ponet.tasks.lra.recipes` writes them."""
    found = {path.relative_to(RECIPES).as_posix() for path in (RECIPES / "lra").rglob("*.yaml")}
    assert found == set(recipe_files())
    for name, text in recipe_files().items():
        assert (RECIPES / name).read_text(encoding="utf-8") == text, name


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


@pytest.mark.parametrize("task", TASKS)
def test_rows_differ_in_nothing_but_what_they_name(task: str) -> None:
    base = load_recipe(f"lra/{task}/pooling")
    for name, row in MIXERS.items():
        recipe = load_recipe(f"lra/{task}/{name}")
        assert recipe.training == base.training
        changed = {key for key in recipe.model if recipe.model[key] != base.model.get(key)}
        assert changed <= {"mixer_types", *row.model}
        assert recipe.data.segments == row.data.get("segments", "fixed")


def test_the_page_tells_the_same_numbers() -> None:
    page = (Path(__file__).parents[3] / "docs" / "lra.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in page.splitlines() if "| `" in line]
    told = {row[0]: [int(cell.replace(",", "")) for cell in row[3:]] for row in rows}
    assert told == {
        name: [
            *(data.TASKS[name].classes, task.positions, task.batch_size),
            *(task.steps, task.warmup_steps, task.eval_every),
        ]
        for name, task in TASKS.items()
    }
    assert all(f"`{mixer}`" in page for mixer in MIXERS)
