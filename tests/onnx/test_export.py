"""`ponet export`: a folder that runs without torch and says what the package says; what it refuses."""

import copy
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.onnx.conftest import TEXTS, save, tiny
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER
from typer.testing import CliRunner

import ponet
from ponet.cli.app import app
from ponet.embedding import Embedder
from ponet.onnx.export import export_onnx
from ponet.utils.errors import PoNetError

pytest.importorskip("onnxruntime")


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def answers(folder: Path, lines: list[str], python: str = sys.executable) -> list[dict]:
    """What run.py prints, in a process that can't see this package's sources."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(
        [python, str(folder / "run.py")], input=text, capture_output=True, text=True, check=True, env=clean, cwd="/"
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def logits(folder: Path, texts: list) -> np.ndarray:
    """The package's own, a text (or a pair) at a time."""
    model = ponet.PoNetForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = ponet.PoNetTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        pair = text if isinstance(text, tuple) else (text, None)
        inputs = tokenizer(*pair, truncation=True, return_tensors="pt")
        with torch.no_grad():
            rows.append(model(**inputs).logits[0].numpy())
    return np.array(rows)


def test_the_folder_has_all_that_it_takes(exported):
    assert sorted(path.name for path in exported.iterdir()) == [
        *("README.md", "config.json", "model.onnx", "run.py", "segment_ids.py", "segmentation.py", "tokenizer.json"),
        "tokenizer_config.json",
    ]
    card = (exported / "README.md").read_text()
    assert "opset 20" in card
    assert "`input_ids`, `attention_mask`, `segment_ids`, int64" in card
    imports = [line for line in (exported / "run.py").read_text().splitlines() if "import" in line]
    assert not any(word in line for line in imports for word in ("torch", "ponet", "transformers"))
    assert (exported / "run.py").stat().st_mode & 0o777 == (exported / "README.md").stat().st_mode & 0o777


def test_the_runner_says_what_the_model_says(saved, exported):
    found = answers(exported, TEXTS)
    expected = torch.from_numpy(logits(saved, TEXTS)).softmax(-1).numpy()
    assert [list(row) for row in found] == [["LABEL_0", "LABEL_1", "LABEL_2"]] * len(TEXTS)
    np.testing.assert_allclose([list(row.values()) for row in found], expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.01, "texts differ"


def test_a_model_without_a_limit_reads_texts_whole(tokenizer, tmp_path):
    """As a fine-tuned ponet-mini whose tokenizer has no limit either."""
    endless = copy.copy(tokenizer)
    endless.model_max_length = VERY_LARGE_INTEGER
    save(tmp_path / "endless", endless, repeat_positions=True, max_position_embeddings=16)
    assert run(tmp_path / "endless", "--out", tmp_path / "out").exit_code == 0
    [found] = answers(tmp_path / "out", TEXTS[-1:])
    [expected] = torch.from_numpy(logits(tmp_path / "endless", TEXTS[-1:])).softmax(-1).numpy()
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-5)


@pytest.mark.parametrize("segments", ["paragraphs", "fixed", None])
def test_the_runner_follows_the_tokenizers_segments(segments, exported, tokenizer, tmp_path, monkeypatch):
    folder = shutil.copytree(exported, tmp_path / "out")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    rule = {"segments": segments, "segment_length": 3 if segments == "fixed" else None}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | rule))
    monkeypatch.syspath_prepend(str(folder))
    for name in ("run", "segment_ids", "segmentation"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run as runner

    texts = ["A wonderful film.\n\nI loved it. Dull.", "What a waste."]
    inputs, _ = runner.run(texts)
    if segments is None:
        special = np.isin(inputs["input_ids"], [tokenizer.cls_token_id, tokenizer.sep_token_id])
        changes = special | np.pad(special, ((0, 0), (1, 0)))[:, :-1]
        expected = np.cumsum(changes, axis=1)
    else:
        expected = np.array(tokenizer(texts, padding=True, **rule)["segment_ids"])
    real = inputs["attention_mask"] == 1
    np.testing.assert_array_equal(inputs["segment_ids"][real], expected[real])


@pytest.mark.slow
def test_pairs_have_token_types(tokenizer, tmp_path):
    folder = save(tmp_path / "saved", tokenizer, type_vocab_size=2)
    facts = export_onnx(folder, tmp_path / "out", token_types=True)
    assert facts["inputs"][-1] == "token_type_ids"
    pairs = [("A wonderful film.", "Dull. What a waste"), ("So did we", "I loved it. " * 30)]
    found = answers(tmp_path / "out", ["\t".join(pair) for pair in pairs])
    expected = torch.from_numpy(logits(folder, pairs)).softmax(-1).numpy()
    np.testing.assert_allclose([list(row.values()) for row in found], expected, atol=1e-5)


def test_the_encoder_of_a_checkpoint_gives_the_vectors_of_embed(saved, tmp_path):
    result = run(saved, "--output", "last_hidden_state", "--out", tmp_path / "encoder")
    assert result.exit_code == 0, result.output
    assert "last_hidden_state [batch, length, 16]" in result.stdout
    found = [row["embedding"] for row in answers(tmp_path / "encoder", TEXTS)]
    np.testing.assert_allclose(found, Embedder(saved).embed(TEXTS), atol=1e-5)  # whole, beyond its positions


@pytest.fixture
def at_once(exported, monkeypatch):
    """The graph of `saved` without the seconds that it takes to write."""
    monkeypatch.setattr(
        "ponet.onnx.export.write_graph", lambda model, file, types: shutil.copyfile(exported / "model.onnx", file)
    )


@pytest.mark.usefixtures("at_once")
def test_int8_is_said_in_the_card(saved, tmp_path):
    result = run(saved, "--int8", "--int8-embeddings", "--out", tmp_path / "small")
    assert result.exit_code == 0, result.output
    assert "int8 weights" in (tmp_path / "small" / "README.md").read_text()
    assert len(answers(tmp_path / "small", TEXTS[:1])) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "There is no folder 'nowhere'"),
        (["--output", "states"], "There is no output 'states'"),
        (["--int8-embeddings"], "--int8-embeddings goes with --int8"),
    ],
)
def test_bad_options_are_one_sentence(arguments, message, saved, tmp_path):
    source = [] if arguments == ["nowhere"] else [saved]
    result = run(*source, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_wrong_head_and_mixer_are_one_sentence(tokenizer, tmp_path):
    save(tmp_path / "bare", tokenizer, kind=ponet.PoNetModel)
    with pytest.raises(PoNetError, match="is an encoder without a head, so it has no logits"):
        export_onnx(tmp_path / "bare", tmp_path / "out", output="logits")
    save(tmp_path / "untyped", tokenizer, type_vocab_size=0)
    with pytest.raises(PoNetError, match="has no token types"):
        export_onnx(tmp_path / "untyped", tmp_path / "out", token_types=True)
    save(tmp_path / "other", tokenizer, mixer_types=["pooling", "linear"], num_hidden_layers=2)
    with pytest.raises(PoNetError, match=r"The mixer 'linear' of .* has no ONNX form"):
        export_onnx(tmp_path / "other", tmp_path / "out")
    (tmp_path / "other" / "config.json").write_text('{"architectures": ["T5Model"]}')
    with pytest.raises(PoNetError, match="is a T5Model, and logits are those of a PoNet head"):
        export_onnx(tmp_path / "other", tmp_path / "out", output="logits")
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_is_refused(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "run")
    (folder / "recipe.yaml").write_text("name: a/b/c\ntask: text\ndata: {path: a.csv}\n")
    with pytest.raises(PoNetError, match="isn't complete"):
        export_onnx(folder, tmp_path / "out")


def test_nothing_else_is_ever_replaced(saved, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "out")
    with pytest.raises(PoNetError, match="is an export already"):
        export_onnx(saved, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(PoNetError, match=r"holds other things \('notes.txt'\)"):
        export_onnx(saved, tmp_path / "out", overwrite=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PoNetError, match="is a file"):
        export_onnx(saved, tmp_path / "file", overwrite=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("at_once")
def test_what_fails_leaves_the_export_that_was_there(saved, exported, tmp_path, monkeypatch):
    before = (shutil.copytree(exported, tmp_path / "out") / "model.onnx").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("ponet.onnx.export.AGREEMENT", -1.0)
        with pytest.raises(PoNetError, match="differs from the model"):
            export_onnx(saved, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    export_onnx(saved, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "run.py").exists()


@pytest.mark.usefixtures("at_once")
def test_without_a_tokenizer_there_is_no_runner_and_that_is_said(tokenizer, tmp_path):
    tiny(tokenizer).save_pretrained(tmp_path / "saved")
    result = run(tmp_path / "saved", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "There is no tokenizer beside the model, so there is no run.py" in result.stderr
    assert not (tmp_path / "out" / "run.py").exists()


@pytest.mark.slow
def test_the_runner_needs_no_torch(saved, exported, tmp_path):
    """In an environment with onnxruntime, tokenizers and numpy alone."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "onnxruntime", "tokenizers", "numpy"]
    if subprocess.run(pip, capture_output=True).returncode:
        pytest.skip("no package index here")
    assert subprocess.run([str(python), "-c", "import torch"], capture_output=True).returncode, "torch isn't there"
    expected = torch.from_numpy(logits(saved, TEXTS)).softmax(-1).numpy()
    found = answers(exported, TEXTS, str(python))
    np.testing.assert_allclose([list(row.values()) for row in found], expected, atol=1e-5)
