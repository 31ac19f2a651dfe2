"""The grid: which cells, which one is chosen, what stays on file, and trials that end early."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ponet.cli.app import app
from ponet.config.recipe import load_recipe
from ponet.training import grid as grids
from ponet.training.export import export_run
from ponet.training.grid import changed_grid, choose, split_grid
from ponet.training.loop import DivergedError
from ponet.utils.errors import PoNetError

RECIPE = """
name: glue/tiny/model
task: text
data: {path: a.csv, vocab_size: 100, max_length: 16, test_fraction: 0.2}
model: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}
training: {max_steps: 1}
grid: {learning_rate: [1e-3, 1e-2], batch_size: [2, 4], test_fraction: 0.0}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a recipe and its data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    rows = [f"{'good' if k % 2 else 'bad'} film {k},{k % 2}" for k in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return tmp_path


def test_changes_of_the_grid_are_told_from_the_others() -> None:
    mine, rest = split_grid(["seed=0,1", "grid.batch_size=8", "lr=3", "grid.training.learning_rate=1e-3,1e-4"])
    assert rest == ["seed=0,1", "lr=3"]
    grid = changed_grid({"learning_rate": [1.0], "batch_size": [1, 2], "limit": 3}, [*mine, "limit=5", "pairs=a,b"])
    assert grid == {"learning_rate": [1e-3, 1e-4], "batch_size": [8], "limit": 5, "pairs": ["a", "b"]}
    with pytest.raises(PoNetError, match=r"'grid\.epochs' isn't of the form"):
        changed_grid({}, ["epochs"])


FIGURES = {(1e-3, 2): 0.5, (1e-3, 4): 0.7, (1e-2, 2): None, (1e-2, 4): 0.6}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """In the place of trainings: figures known by learning rate and batch."""
    recipes: list[Any] = []

    def train(recipe: Any, out: Path, overwrite: bool) -> dict[str, Any]:
        recipes.append(recipe)
        value = FIGURES[recipe.training.learning_rate, recipe.training.batch_size]
        if value is None:
            raise DivergedError("too much")
        return {"best": {"metric": recipe.training.metric or "accuracy", "value": value}, "train": {"seconds": 1.0}}

    monkeypatch.setattr(grids, "train", train)
    return recipes


GRID = {"learning_rate": [1e-3, 1e-2], "batch_size": [2, 4], "test_fraction": 0.0}


def make(changes: list[str]) -> Any:
    return load_recipe("tiny.yaml", changes)


def test_the_best_cell_is_chosen_and_all_are_on_file(folder: Path, trained: list[Any]) -> None:
    assert choose(make, GRID, 7, folder / "runs") == {"learning_rate": 1e-3, "batch_size": 4}
    assert len(trained) == 4
    assert {(recipe.seed, recipe.data.test_fraction) for recipe in trained} == {(7, 0.0)}
    found = json.loads((folder / "runs" / "grid.json").read_text())
    assert found["chosen"] == {"learning_rate": 1e-3, "batch_size": 4}
    assert [cell["value"] for cell in found["cells"]] == [0.5, 0.7, None, 0.6]
    assert {"commit", "machine", "command"} <= found.keys()
    # trials that are on file aren't repeated, further ones are added
    assert choose(make, GRID | {"batch_size": [2]}, 7, folder / "runs") == {"learning_rate": 1e-3, "batch_size": 2}
    assert len(trained) == 4
    with pytest.raises(PoNetError, match="was of another recipe: seed is 7 there and 8 here"):
        choose(make, GRID, 8, folder / "runs")
    choose(make, GRID, 8, folder / "runs", overwrite=True)
    assert len(trained) == 8


def test_less_is_better_for_losses(folder: Path, trained: list[Any]) -> None:
    chosen = choose(lambda changes: load_recipe("tiny.yaml", ["metric=loss", *changes]), GRID, 0, folder / "runs")
    assert chosen == {"learning_rate": 1e-3, "batch_size": 2}


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ({"learning_rate": 1e-3}, "There is no grid to choose from"),
        ({"learning_rate": [1e-2], "batch_size": [2]}, "Every trial of the grid diverged"),
        ({"learning_rate": [1e-3], "batch_siez": [2]}, "Did you mean 'batch_size'"),
    ],
)
def test_grids_that_choose_nothing(folder: Path, trained: list[Any], grid: Any, sentence: str) -> None:
    with pytest.raises(PoNetError) as caught:
        choose(make, grid, 0, folder / "runs")
    assert sentence in str(caught.value)


def test_the_command_chooses_then_trains_every_seed_and_files_it(folder: Path) -> None:
    arguments = ["train", "tiny.yaml", "--grid", "grid.learning_rate=1e-3", "grid.batch_size=4,8", "seed=3,4"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    place = folder / "runs" / "glue" / "tiny" / "model"
    assert sorted(path.name for path in place.iterdir()) == ["grid.json", "seed3", "seed4"]
    found = json.loads((place / "grid.json").read_text())
    figures = json.loads((place / "seed4" / "result.json").read_text())
    assert figures["recipe"]["training"]["batch_size"] == found["chosen"]["batch_size"]
    assert figures["recipe"]["data"]["test_fraction"] == 0.2
    target = export_run(place / "seed3", folder / "results")
    assert json.loads((target.parent / "grid.json").read_text())["chosen"] == found["chosen"]
