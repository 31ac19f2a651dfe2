"""`ponet explain`: what the page says of each kind of run, and what is refused in one sentence."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ponet
from ponet.cli.app import app
from ponet.config.recipe import load_recipe
from ponet.explaining.text import explain
from ponet.tasks.models import open_tokenizer
from ponet.utils.errors import PoNetError

TEXT = "The film was a delight.\r\nWe saw it twice!\n\nNobody slept; <b>nobody</b>."


def run(*arguments, **rest):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)], **rest)


def shown(explanation):
    return "".join(piece.before + piece.text for piece in explanation.pieces if not piece.is_special)


def titles(explanation):
    return [measure.key for measure in explanation.measures]


def changed(run, folder, *changes):
    """A copy of a run with another recipe."""
    shutil.copytree(run, folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(load_recipe(recipe, list(changes)).to_yaml(), encoding="utf-8")
    return folder


def test_a_classifier(classifier_run, tmp_path):
    source, out = tmp_path / "review.txt", tmp_path / "pages" / "lens.html"
    source.write_bytes(TEXT.encode())
    result = run(classifier_run, source, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"tokens: {out}" in result.stderr
    assert re.search(
        r"sum to the difference of the logits of '(neg|pos)', -?\d+\.\d+, within \d\.\de-\d\d", result.stderr
    )
    html = out.read_text(encoding="utf-8")
    assert ">&lt;</span>" in html
    [data] = re.findall(r'id="data">(.*?)</script>', html)
    values = json.loads(data)
    assert [each["axis"] for each in values["measures"]] == ["Layer"] * 3 + ["Class"] * 2
    assert [view["name"] for view in values["measures"][0]["views"]] == ["mean of 2", "1", "2"]


def test_the_numbers_are_the_lens_s(classifier_run):
    found = explain(str(classifier_run), TEXT, label="neg")
    assert shown(found) == TEXT
    tokenizer = open_tokenizer(str(classifier_run))
    assert [piece.text for piece in found.pieces][1:-1] == [
        TEXT[start:end] for start, end in tokenizer(TEXT, return_offsets_mapping=True)["offset_mapping"][1:-1]
    ]
    model = ponet.PoNetForSequenceClassification.from_pretrained(classifier_run)
    lens = ponet.lens(model, tokenizer([TEXT], return_tensors="pt"), 0)
    smp, lmp, ga, gradient, integrated = found.measures
    np.testing.assert_array_equal(smp.views[1].values, lens.segment_wins[0] / 16)
    np.testing.assert_array_equal(lmp.views[2].values, lens.share("lmp")[1])
    np.testing.assert_allclose(ga.views[0].values, lens.weights.mean((0, 1)), atol=1e-6)
    assert [view.name for view in gradient.views] == ["neg", "pos"]
    np.testing.assert_allclose(gradient.views[0].values, lens.gradient_x_input, atol=1e-5)
    assert not np.allclose(gradient.views[1].values, lens.gradient_x_input)
    np.testing.assert_allclose(integrated.views[0].values, lens.attributions, atol=1e-4)
    assert [piece.segment for piece in found.pieces] == lens.segment.tolist()


@pytest.mark.parametrize("keep", ["head", "tail", "both"])
@pytest.mark.parametrize("window", [None, 8])
def test_a_text_over_the_limit(classifier_run, tmp_path, keep, window):
    folder = changed(classifier_run, tmp_path / "run", "max_length=14", f"keep={keep}", f"window={window or 'null'}")
    words = [f"word{chr(97 + i)}" for i in range(20)]
    text = " ".join(words)
    found = explain(str(folder), text)
    kept = shown(found)
    assert "The text is cut: " in found.notes[0]
    assert ("worda" in kept) == (keep != "tail")
    assert kept.rstrip(". ").endswith("t") == (keep != "head")
    assert sum(piece.is_special for piece in found.pieces) == (2 if window is None else 4)
    assert "".join(piece.before for piece in found.pieces).count("…") == 1
    shorter = explain(str(folder), text, max_length=8)
    assert len(shorter.pieces) == 8
    with pytest.raises(PoNetError, match="at most 14 tokens, not 15"):
        explain(str(folder), text, max_length=15)


def test_checkpoints_and_other_runs(sentence_model, classifier_run, tmp_path):
    found = explain("ponet-tiny", TEXT)
    assert titles(found) == ["smp", "lmp", "ga"]
    assert "no classifier of documents" in " ".join(found.notes)
    assert titles(explain(str(sentence_model), TEXT)) == ["smp", "lmp", "ga"]
    saved = tmp_path / "saved"  # as transformers saves a model, without a recipe
    shutil.copytree(classifier_run, saved, ignore=shutil.ignore_patterns("recipe.yaml", "result.json"))
    assert len(titles(explain(str(saved), "good " * 3000))) == 5


@pytest.mark.parametrize("head", ["ForSequenceClassification", "Model"])
@pytest.mark.parametrize("mixers", ["fourier", ["fourier", "pooling"]])
def test_other_mixers(tmp_path, head, mixers):
    tokenizer = open_tokenizer(ponet.checkpoint("ponet-tiny"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
    config = ponet.PoNetConfig(vocab_size=len(tokenizer), mixer_types=mixers, **sizes)
    getattr(ponet, f"PoNet{head}")(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    if head == "Model" and mixers == "fourier":
        with pytest.raises(PoNetError, match="neither pooling layers nor a classifier"):
            explain(str(tmp_path), TEXT)
        return
    found = explain(str(tmp_path), TEXT)
    if mixers == "fourier":
        assert titles(found) == ["gradient", "integrated"]
        assert "mixes tokens by fourier, not by pooling" in found.notes[0]
    else:
        assert [view.name for view in found.measures[0].views] == ["2"]
        assert "Layers other than 2 mix tokens by fourier" in found.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "no sentence marks at all and on it goes",
        "One.",
        "# Heading\n\n## Another\n\n### A third",
        "ж 中 🙂",
        "a\x1bb \u202e",
    ],
)
def test_odd_texts(classifier_run, tmp_path, text):
    (tmp_path / "odd").write_text(text, encoding="utf-8")
    result = run(classifier_run, tmp_path / "odd", "--out", tmp_path / "lens.html", "--max-steps", 17)
    assert result.exit_code == 0, result.output
    assert shown(explain(str(classifier_run), text, max_steps=17)) == text.rstrip("\u202e ")


def test_standard_input(classifier_run, tmp_path):
    result = run(classifier_run, "-", "--out", tmp_path / "lens.html", "--max-steps", 17, input="A delight.")
    assert result.exit_code == 0, result.output


def test_what_is_refused(classifier_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arena = tmp_path / "arena"
    arena.mkdir()
    (arena / "recipe.yaml").write_text(load_recipe("lra/listops/pooling").to_yaml(), encoding="utf-8")
    (arena / "result.json").write_text('{"train": {}}', encoding="utf-8")
    pairs = changed(classifier_run, tmp_path / "pairs", "pair=other")
    contents = {
        "empty.txt": b"",
        "blank.txt": b" \n",
        "binary.txt": b"a\x00b",
        "latin.txt": b"caf\xe9",
        "t.csv": b"a,b\n",
    }
    for name, content in {**contents, "good.txt": b"Good."}.items():
        (tmp_path / name).write_bytes(content)
    for model, text, more, message in (
        (classifier_run, "empty.txt", (), "The text is empty"),
        (classifier_run, "blank.txt", (), "The text is empty"),
        (classifier_run, "binary.txt", (), "binary"),
        (classifier_run, "latin.txt", (), "isn't UTF-8"),
        (classifier_run, "t.csv", (), "is a table"),
        (classifier_run, "none.txt", (), "none.txt"),
        (classifier_run, "good.txt", ("--label", "poss"), "no class 'poss'. Did you mean 'pos'?"),
        (classifier_run, "good.txt", ("--out", "good.txt"), "is the input"),
        (classifier_run, "good.txt", ("--max-length", 4000), "at most 2,048 tokens"),
        ("ponet-tiny", "good.txt", ("--label", "pos"), "no class 'pos'"),
        (arena, "good.txt", (), "is a run of the task lra"),
        (pairs, "good.txt", (), "compares two texts"),
        (tmp_path / "nothing", "good.txt", (), "nothing"),
    ):
        result = run(model, text, *more)
        assert result.exit_code == 2, (message, result.output)
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "lens.html").exists()
    assert (tmp_path / "good.txt").read_bytes() == b"Good."


def test_an_error_beyond_the_tolerance_is_told(classifier_run):
    torch.manual_seed(0)
    found = explain(str(classifier_run), TEXT, tolerance=1e-9, max_steps=17)
    assert "misses the tolerance of 1e-09: treat them as approximate" in " ".join(found.notes)
