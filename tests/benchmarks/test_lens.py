"""The faithfulness of explanations: what is deleted, what is measured, and the table of it."""

import csv
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from ponet.benchmarks import lens as measuring
from ponet.cli.app import app
from ponet.config.recipe import load_recipe
from ponet.report.lens import lens as report
from ponet.training.evaluation import predictor

WORDS = ["good", "bad", "film", "plot", "dull", "great", "scene", "music", "slow", "bright"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    random = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("data") / "test.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for number in range(12):
            writer.writerow([". ".join(random.choice(WORDS, 12)), ("neg", "pos")[number % 2]])
        writer.writerow(["   ", "neg"])
    return file


def test_the_benchmark_and_its_table(classifier_run, data, tmp_path):
    pytest.importorskip("captum")
    out = tmp_path / "results" / "lens" / "tiny.json"
    arguments = ["benchmark", "lens", classifier_run, data, "--limit", 6, "--seed", 3, "--json", out]
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    values = json.loads(out.read_text())
    assert values["complete"]
    assert values["seed"] == 3
    assert {"machine", "commit", "versions", "command"} <= values.keys()
    assert values["setup"]["count"] == 6
    assert values["setup"]["rows"] >= 12
    rows = {row["method"]: row for row in values["rows"]}
    assert list(rows) == [*measuring.PARTS.values(), *measuring.OTHERS, measuring.RANDOM]
    random = rows[measuring.RANDOM]
    for row in rows.values():
        low, high = row["interval"]
        assert low <= row["drop"] <= high
        assert 0 <= row["changed"] <= 1
        if row is not random:
            assert row["margin"] == pytest.approx(row["drop"] - random["drop"])
    # what speaks for the answer, taken away, costs it more than chance does
    assert rows[measuring.OTHERS[1]]["drop"] > random["drop"]
    [table] = report(tmp_path / "results")
    assert len(table.rows) == 7
    assert "6 of 1" in table.notes[0]
    again = CliRunner().invoke(app, [*map(str, arguments[:-1]), str(tmp_path / "again.json")])
    assert again.exit_code == 0
    assert json.loads((tmp_path / "again.json").read_text())["rows"] == values["rows"]


def test_captum_s_ranking_agrees_with_the_lens_s(classifier_run):
    """Another baseline (padding), another point (the words' embeddings), and yet the same kind of number."""
    pytest.importorskip("captum")
    model = predictor(classifier_run)
    [document] = model.encode([("A good film. The plot was dull and slow, the music bright.", None)])
    found = measuring.lens(model.model, measuring._batch(model, document))
    theirs = measuring._captum(model, document, found)
    words = measuring._words(model, document)
    assert words.sum() == len(words) - 2
    assert not theirs[~words].any()
    assert np.corrcoef(theirs[words], found.attributions[words])[0, 1] > 0.3


def test_deleted_tokens_are_gone_and_no_others(classifier_run):
    model = predictor(classifier_run)
    [document] = model.encode([("One two. Three four.", None)])
    left = measuring._without(document, np.array([1, 4]))
    kept = [i for i in range(len(document.input_ids)) if i not in (1, 4)]
    for name in ("input_ids", "segment_ids", "token_type_ids"):
        assert getattr(left, name).tolist() == getattr(document, name)[kept].tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["pair=other"], "compares two texts"),
        (["window=64"], "reads a text in windows"),
        ([], "No data is named"),
    ],
)
def test_runs_that_don_t_serve(classifier_run, tmp_path, changes, message):
    folder = tmp_path / "run"
    shutil.copytree(classifier_run, folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(load_recipe(recipe, changes).to_yaml(), encoding="utf-8")
    result = CliRunner().invoke(app, ["benchmark", "lens", str(folder), "--json", str(tmp_path / "lens.json")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
