"""A pre-training, from text to a bundled checkpoint: what opens it, what it weighs, what its card says."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, pipeline
from typer.testing import CliRunner

from ponet import PoNetForPreTraining, PoNetForSequenceClassification, PoNetModel
from ponet.cli.pretrain import pretrain
from ponet.config.recipe import load_recipe
from ponet.models import checkpoints as bundled
from ponet.report.registry import find_report
from ponet.tasks.pretraining.export import export
from ponet.tasks.pretraining.prepare import prepare
from ponet.tasks.pretraining.task import PretrainingTask
from ponet.training.export import export_run
from ponet.training.run import train
from ponet.utils.errors import PoNetError

NOUNS = ["river", "mountain", "house", "garden", "ship", "king", "bird", "forest", "road", "window"]
VERBS = ["sees", "follows", "finds", "leaves", "keeps"]
SMALL = [
    *("hidden_size=32", "num_hidden_layers=2", "num_attention_heads=2", "intermediate_size=48", "max_steps=6"),
    *("batch_tokens=512", "data.max_length=48", "last_length=64", "validation_examples=8", "eval_every=2"),
    *("log_every=2", "learning_rate=0.02", "warmup=0"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps of `pretrain/tiny`, smaller still."""
    folder = tmp_path_factory.mktemp("export")
    generator = np.random.default_rng(0)
    documents = []
    for _ in range(60):
        sentences = [
            f"The {generator.choice(NOUNS)} {generator.choice(VERBS)} the {generator.choice(NOUNS)}." for _ in range(12)
        ]
        documents.append({"text": " ".join(sentences)})
    (folder / "corpus.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    prepare([str(folder / "corpus.jsonl")], folder / "data", vocab_size=90, validation_fraction=0.2, processes=1)
    train(load_recipe("pretrain/tiny", [f"data.path={folder / 'data'}", *SMALL]), folder / "run", show=False)
    return folder / "run"


@pytest.fixture(scope="module")
def checkpoint(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled") / "ponet-tiny"
    size = export(run, folder, data="Made-up sentences")
    assert size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return folder


def logits(folder: Path, rounded: bool = False) -> torch.Tensor:
    model = PoNetForPreTraining.from_pretrained(folder).eval()
    assert model.dtype == torch.float32
    if rounded:
        model = model.half().float()
    batch = AutoTokenizer.from_pretrained(folder)(["The king sees the [MASK]. The bird leaves."], return_tensors="pt")
    with torch.inference_mode():
        output = model(**batch)
    return torch.cat([output.prediction_logits.flatten(), output.seq_relationship_logits.flatten()])


def test_it_is_the_run_s_model_but_for_rounding(run: Path, checkpoint: Path) -> None:
    assert {weight.dtype for weight in load_file(checkpoint / "model.safetensors").values()} == {torch.float16}
    assert (checkpoint / "model.safetensors").stat().st_size < 0.55 * (run / "model.safetensors").stat().st_size
    shipped_logits, exact = logits(checkpoint), logits(run)
    torch.testing.assert_close(shipped_logits, logits(run, rounded=True), rtol=0, atol=0)
    assert not torch.equal(shipped_logits, exact)
    torch.testing.assert_close(shipped_logits, exact, rtol=0, atol=2e-3 * float(exact.abs().max()))


def test_everything_opens_it(checkpoint: Path, tmp_path: Path) -> None:
    for opened in (PoNetModel, PoNetForPreTraining, PoNetForSequenceClassification):
        assert opened.from_pretrained(checkpoint).dtype == torch.float32
    found = pipeline("fill-mask", model=str(checkpoint))("The king sees the [MASK].")
    assert len(found) == 5
    assert 0 < found[0]["score"] <= 1
    PoNetForPreTraining.from_pretrained(checkpoint).save_pretrained(tmp_path)
    assert "auto_map" in json.loads((tmp_path / "config.json").read_text()), "saved anew, it opens without ponet again"


def test_its_tokenizer_cuts_what_the_model_can_t_read(run: Path, checkpoint: Path) -> None:
    for folder in (run, checkpoint):
        assert AutoTokenizer.from_pretrained(folder).model_max_length == 64
        guess = pipeline("fill-mask", model=str(folder), tokenizer_kwargs={"truncation": True})
        assert len(guess("The king sees the [MASK]. " + "The bird leaves. " * 50)) == 5, folder


def test_the_folder_holds_what_a_package_needs(checkpoint: Path) -> None:
    names = {path.name for path in checkpoint.iterdir()}
    needed = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert needed | {"modules.json", "sentence_bert_config.json", "1_Pooling"} <= names
    assert not any(name.endswith(".py") for name in names)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["ponet-tiny"]
    for path in filter(Path.is_file, checkpoint.rglob("*")):
        assert str(checkpoint.parent.parent).encode() not in path.read_bytes(), path.name
        assert path.stat().st_mode & 0o444 == 0o444, path.name


def test_the_card_tells_the_run_s_figures(run: Path, checkpoint: Path) -> None:
    card = (checkpoint / "README.md").read_text()
    result = json.loads((run / "result.json").read_text())
    validation, steps = result["validation"], result["train"]["steps"]
    assert f"| masked words right (MLM) | {100 * validation['mlm_accuracy']:.1f} % |" in card
    assert f"| SSO loss | {validation['sso_loss']:.3f} |" in card
    for said in (
        f"- data: Made-up sentences; {result['data']['corpus']['documents']} documents",
        f"- steps: {steps}",
        f"- tokens: {result['train']['tokens']:,}",
        "- tokens an example, at most: 48, then 64 in the last 10 % of the steps",
        "- hardware: ",
        "reads texts of up to 64 tokens",
        'pipeline("fill-mask", model=ponet.checkpoint("ponet-tiny"))',
    ):
        assert said in card
    curve = [
        line
        for line in card.partition("## Training")[2].partition("## ")[0].splitlines()
        if line[:3] in ("| 2", "| 4", "| 6")
    ]
    assert len(curve) == 3
    assert f"| {result['train']['tokens'] / 1e6:.1f} |" in curve[-1]


def test_a_run_is_filed_by_size_and_mixer(run: Path, tmp_path: Path) -> None:
    target = export_run(run, tmp_path, weights_mb=0.0)
    assert target == tmp_path / "pretraining" / "tiny" / "pooling" / "seed0"
    assert not (target / "model.safetensors").exists()
    for path in target.iterdir():
        assert str(run.parent) not in path.read_text(), path.name
    [table] = find_report("pretraining").tables(tmp_path)
    [row] = table.rows
    result = json.loads((run / "result.json").read_text())
    assert row[:6] == ["PoNet", "2", "32", "1", "6", f"{result['train']['tokens']:,}"]
    last = [json.loads(line) for line in (target / "metrics.jsonl").read_text().splitlines()][-1]
    assert row[8] == f"{last['validation']['mlm_loss']:.3f}"


def test_the_command_s_name_and_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "CHECKPOINTS", tmp_path / "checkpoints")
    done = CliRunner().invoke(pretrain, ["export", str(run), "ponet-tiny"])
    assert done.exit_code == 0, done.output
    assert bundled.checkpoint() == str(tmp_path / "checkpoints" / "ponet-tiny")
    former = ["ship", str(run), "ponet-mine", "--out", str(tmp_path / "x")]
    assert CliRunner().invoke(pretrain, former).exit_code == 0
    assert (tmp_path / "x" / "ponet-mine" / "config.json").is_file()
    assert CliRunner().invoke(pretrain, ["ship", str(run), "tiny"]).exit_code == 2


def test_a_pre_training_goes_on_from_it_by_name(run: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "CHECKPOINTS", checkpoint.parent)
    overrides = [f"data.path={run.parent / 'data'}", *SMALL[4:]]
    recipe = load_recipe("pretrain/tiny", overrides)
    recipe.model = {"init": "ponet-tiny"}
    model = PretrainingTask().prepare(recipe).model
    theirs = PoNetForPreTraining.from_pretrained(checkpoint).state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=0, msg=name)
    recipe.model = {"init": "ponet-tiny", "init_weights": False}
    with pytest.raises(PoNetError, match="A pre-training with new weights is one from scratch"):
        PretrainingTask().prepare(recipe)


def copy(run: Path, folder: Path, change: Any = None) -> Path:
    shutil.copytree(run, folder)
    if change is not None:
        result = json.loads((folder / "result.json").read_text())
        change(result)
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_what_can_t_be_exported_leaves_nothing(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(PoNetError, match="is no complete run"):
        export(tmp_path, out / "ponet-x")
    with pytest.raises(PoNetError, match="no pre-training or distillation"):
        export(copy(run, tmp_path / "text", lambda result: result["recipe"].update(task="text")), out / "ponet-x")
    with pytest.raises(PoNetError, match=r"would have 0\.\d MB, more than 0.01"):
        export(run, out / "ponet-x", most_mb=0.01)
    large = copy(run, tmp_path / "large")
    model = PoNetForPreTraining.from_pretrained(large)
    with torch.no_grad():
        model.ponet.embeddings.LayerNorm.weight[0] = 1e5
    model.save_pretrained(large)
    with pytest.raises(PoNetError, match=r"LayerNorm.weight' .* aren't finite in half precision"):
        export(large, out / "ponet-x")
    assert not out.exists() or list(out.iterdir()) == []


def test_one_that_is_there_is_replaced_whole_or_stays(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "ponet-x"
    export(run, folder, data="the first")
    with pytest.raises(PoNetError, match="is there already"):
        export(run, folder)
    with pytest.raises(PoNetError, match="more than"):
        export(run, folder, overwrite=True, most_mb=0.01)
    assert "the first" in (folder / "README.md").read_text()
    (folder / "stray").touch()
    with pytest.raises(PoNetError, match="isn't a checkpoint alone"):
        export(run, folder, data="the second", overwrite=True)
    (folder / "stray").rename(folder / "1_Pooling" / "stray")
    with pytest.raises(PoNetError, match="isn't a checkpoint alone"):
        export(run, folder, data="the second", overwrite=True)
    (folder / "1_Pooling" / "stray").unlink()
    (folder / "vocab.txt").write_text("of another")
    export(run, folder, data="the second", overwrite=True)
    assert "the second" in (folder / "README.md").read_text()
    assert not (folder / "stray").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["ponet-x"]
