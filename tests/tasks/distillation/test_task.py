"""`ponet distil` as a whole, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import ponet
from ponet.cli.app import app
from ponet.models.modeling_ponet import PoNetForPreTraining

SMALL = ["lengths=[16,40]", "shares=[0.5,0.5]", "max_steps=12", "batch_tokens=256", "log_every=1", "eval_every=4"]


def run(*arguments: str | Path):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_from_text_to_student(teacher, tmp_path) -> None:
    """Raw text is tokenized beside the run; figures fall; the run opens as any model, evaluates, and is taken up."""
    from tests.tasks.distillation.conftest import sentences

    rows = (json.dumps({"text": sentences(8, n)}) + "\n" for n in range(40))
    (tmp_path / "text.jsonl").write_text("".join(rows), encoding="utf-8")
    out = tmp_path / "student"
    command = ["distil", teacher, tmp_path / "text.jsonl", "--out", out, *SMALL, "learning_rate=3e-3"]
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "student.data" / "manifest.json").is_file()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    assert {"hidden_loss", "last_loss", "cosine", "layer_1_error", "layer_2_error"} <= set(lines[0])
    model = PoNetForPreTraining.from_pretrained(out)
    assert model.config.layer_mixers == ["pooling", "pooling"]
    assert model.config.max_position_embeddings == 40
    assert model.config.hidden_dropout_prob == 0.1
    found = json.loads((out / "result.json").read_text())
    assert found["data"]["teacher"]["name"] == str(teacher)
    evaluated = run("evaluate", out, "--split", "train")
    assert evaluated.exit_code == 0, evaluated.output
    again = run(*command)
    assert again.exit_code == 0
    assert "is complete" in again.output


def test_a_student_goes_on(teacher, prepared, tmp_path) -> None:
    first = run("distil", teacher, prepared, "--out", tmp_path / "one", *SMALL)
    assert first.exit_code == 0, first.output
    second = run("distil", teacher, prepared, "--out", tmp_path / "two", *SMALL, f"model.init={tmp_path / 'one'}")
    assert second.exit_code == 0, second.output
    one, two = (
        json.loads((tmp_path / name / "result.json").read_text())["validation"]["loss"] for name in ("one", "two")
    )
    assert two < one
    exported = tmp_path / "ponet-student"
    done = run("pretrain", "export", tmp_path / "two", exported.name, "--out", tmp_path, "--notice", "Apache-2.0.")
    assert done.exit_code == 0, done.output
    card = (exported / "README.md").read_text()
    assert f"distilled from {teacher.name}" in card
    assert "Training, run 1 of 2" in card, "that of the run which it continues"
    assert "Training, run 2 of 2" in card
    assert "Apache-2.0." in card
    assert str(tmp_path) not in card
    [vector] = ponet.embed(["The old cat sees."], model=exported)
    assert len(vector) == 32


@pytest.mark.parametrize("fields", [[], ["hidden_size=16"]], ids=["as wide", "narrower"])
def test_an_evaluation_gives_the_figures_of_the_training(teacher, prepared, tmp_path, fields) -> None:
    """A narrower student by the map that was saved with it."""
    out = tmp_path / "student"
    assert run("distil", teacher, prepared, "--out", out, *SMALL, *fields).exit_code == 0
    evaluated = run("evaluate", out)
    assert evaluated.exit_code == 0, evaluated.output
    trained = json.loads((out / "result.json").read_text())["validation"]
    found = json.loads(evaluated.stdout)["metrics"]
    assert found["loss"] == pytest.approx(trained["loss"], rel=1e-4)
    assert found["cosine"] == pytest.approx(trained["cosine"], abs=1e-5)
    assert str(teacher.parent) not in (out / "config.json").read_text()


def changed(teacher: Path, folder: Path, **config: object) -> Path:
    shutil.copytree(teacher, folder)
    values = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "roberta"}, "roberta"),
        ({"model_type": "gpt2"}, "gpt2"),
        ({"is_decoder": True}, "decoder"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"num_hidden_layers": 3}, "encoder.layer.2"),
        ({"hidden_size": 16}, "can't be used"),
    ],
)
def test_other_teachers_are_refused(teacher, prepared, tmp_path, config, says) -> None:
    strange = changed(teacher, tmp_path / "strange", **config)
    result = run("distil", strange, prepared, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert says in result.output
    assert not (tmp_path / "out" / "recipe.yaml").exists()


def test_damaged_teachers_are_refused(teacher, prepared, tmp_path) -> None:
    bad = changed(teacher, tmp_path / "nan")
    weights = load_file(bad / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"][0, 0] = torch.nan
    save_file(weights, bad / "model.safetensors", metadata={"format": "pt"})
    result = run("distil", bad, prepared, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert "encoder.layer.0.output.dense.weight" in result.output
    empty = changed(teacher, tmp_path / "empty")
    (empty / "model.safetensors").unlink()
    assert run("distil", empty, prepared, "--out", tmp_path / "out", *SMALL).exit_code == 2
    assert run("distil", tmp_path / "nothing", prepared, "--out", tmp_path / "out", *SMALL).exit_code == 2


def test_data_of_another_tokenizer_is_refused(teacher, prepared, tmp_path) -> None:
    from ponet.data.tokenizer_training import train_wordpiece

    other = changed(teacher, tmp_path / "other")
    train_wordpiece(["quite other words than those"], 40).save_pretrained(other)
    result = run("distil", other, prepared, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert "tokenizer" in result.output


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("lengths=[2]", "lengths"),
        ("shares=[0.5]", "shares"),
        ("short_share=2", "short_share"),
        ("window=1000", "24 positions"),
        ("hidden=-1", "hidden"),
        ("num_hidden_layers=5", "num_hidden_layers"),
        ("layers=[1,9]", "layers"),
        ("hidden_size=64", "hidden_size"),
    ],
)
def test_unfitting_options_are_refused(teacher, prepared, tmp_path, change, says) -> None:
    result = run("distil", teacher, prepared, "--out", tmp_path / "out", *SMALL, change)
    assert result.exit_code == 2
    assert says in result.output
    assert not (tmp_path / "out" / "recipe.yaml").exists()


def test_a_corpus_is_needed(teacher, tmp_path) -> None:
    result = run("distil", teacher, "max_steps=3", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "corpus" in result.output
    (tmp_path / "short.txt").write_text("One. Two.")
    result = run("distil", teacher, tmp_path / "short.txt", "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert "passage" in result.output
