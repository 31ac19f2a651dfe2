"""Weights that aren't there: every way to open a model refuses, and names them."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.test_cli import documents, fails, ponet

import ponet as package
from ponet import PoNetConfig, PoNetForPreTraining, PoNetForSequenceClassification, PoNetModel, PoNetTokenizer
from ponet.models import checkpoints as shipped
from ponet.models.loading import WeightsError
from ponet.utils.errors import PoNetError

Edit = Callable[[Path], Any]
SMALL = ["hidden_size=16", "model.intermediate_size=16", "num_hidden_layers=2", "data.vocab_size=150", "max_steps=1"]


def weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Edit:
    def edit(folder: Path) -> None:
        file = folder / "model.safetensors"
        save_file(change(load_file(file)), file, metadata={"format": "pt"})

    return edit


def without(part: str) -> Edit:
    return weights(lambda tensors: {name: value for name, value in tensors.items() if part not in name})


def broken(name: str, number: float) -> Edit:
    def change(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensors[name].view(-1)[-1] = number
        return tensors

    return weights(change)


def config(**fields: Any) -> Edit:
    """Fields of config.json; None takes one away."""

    def edit(folder: Path) -> None:
        values = {**json.loads((folder / "config.json").read_text()), **fields}
        values = {name: value for name, value in values.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(values))

    return edit


def write(name: str, text: str) -> Edit:
    return lambda folder: (folder / name).write_text(text)


def cut(length: int) -> Edit:
    def edit(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:length])

    return edit


def index_of_a_missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": {"classifier.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def foreign_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"lists": [1, 2], "text": "y"}, folder / "pytorch_model.bin")


def half_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"classifier.weight": torch.zeros(2, 16)}, folder / "pytorch_model.bin")
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])


NORM = "ponet.encoder.layer.0.attention.output.LayerNorm.weight"
WORDS = "ponet.embeddings.word_embeddings.weight"
IN_BODY: dict[str, tuple[Edit, str]] = {
    "a layer less": (without("layer.1."), "lacks 20 of the 47 weights"),
    "no word embeddings": (
        without("word_embeddings"),
        f"lacks 1 of the 47 weights that its configuration describes: {WORDS}",
    ),
    "a mixer's weights": (without("self.dense_segment"), "layer.0.attention.self.dense_segment.bias, "),
    "one norm": (without(NORM), NORM),
    "nothing": (weights(lambda tensors: {}), " of the 47 weights"),
    "more layers": (config(num_hidden_layers=4), "lacks 40 of the 87 weights"),
    "fewer layers": (config(num_hidden_layers=1), "has 20 weights that its configuration has no place for"),
    "no layers": (config(num_hidden_layers=0), "has 40 weights that its configuration has no place for"),
    "another mixer": (config(mixer_types="attention"), "layer.0.attention.self.key.bias"),
    "a mixer without weights": (config(mixer_types="fourier"), "that its configuration has no place for"),
    "other sizes": (config(hidden_size=32), "of other shapes than its configuration's"),
    "another vocabulary": (config(vocab_size=999), f"of other shapes than its configuration's: {WORDS} ["),
    "NaN": (broken(NORM, float("nan")), f"1 weight with NaN or infinity among the numbers: {NORM}"),
    "infinity": (broken(WORDS, float("-inf")), f"1 weight with NaN or infinity among the numbers: {WORDS}"),
    "cut": (cut(2000), "can't be read"),
    "cut in the length": (cut(5), "can't be read"),
    "an empty file": (cut(0), "can't be read"),
    "no file": (lambda folder: (folder / "model.safetensors").unlink(), "can't be read"),
    "no shard": (index_of_a_missing_shard, "model-00001-of-00002.safetensors"),
    "another pickle": (foreign_pickle, " of the 47 weights"),
    "half a pickle": (half_a_pickle, "can't be read"),
    "text": (write("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), "can't be read"),
    "an empty configuration": (write("config.json", ""), "can't be read"),
    "a list": (write("config.json", "[1]"), "can't be read"),
    "brackets": (write("config.json", "[" * 100_000), "can't be read"),
    "braces": (write("config.json", '{"a":' * 100_000), "can't be read"),
    "layers in words": (config(num_hidden_layers="two"), "can't be read"),
    "a billion layers": (config(num_hidden_layers=10**9), "num_hidden_layers must be at most 10,000"),
    "a huge width": (config(hidden_size=10**12), "can't be read"),
    "an epsilon that isn't a number": (config(layer_norm_eps=float("nan")), "layer_norm_eps must be a finite number"),
}
IN_HEAD: dict[str, tuple[Edit, str]] = {
    "no head": (
        without("classifier"),
        "lacks 2 of the 47 weights that its configuration describes: classifier.bias, c",
    ),
    "no head and no class": (lambda at: (without("classifier")(at), config(architectures=None)(at)), "classifier.bias"),
    "another head": (config(id2label={"0": "a", "1": "b", "2": "c"}), "classifier.bias [2] instead of [3]"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents.csv and a complete run in `run`."""
    home = tmp_path_factory.mktemp("loading")
    documents(home / "documents.csv", 20)
    result = ponet(
        "finetune",
        "--model",
        "none",
        home / "documents.csv",
        "--out",
        home / "run",
        "test_fraction=0.2",
        "--max-length",
        16,
        *SMALL,
    )
    assert result.exit_code == 0, result.stderr
    return home


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def start_from(run: Path, trained: Path, *more: Any) -> tuple[Any, ...]:
    return (
        "finetune",
        trained / "documents.csv",
        "--out",
        run.parent / "new",
        "--model",
        run,
        "--max-length",
        16,
        *more,
    )


@pytest.mark.parametrize("damage", [*IN_BODY, *IN_HEAD])
def test_predict_and_evaluate_refuse(run: Path, trained: Path, damage: str) -> None:
    edit, sentence = (IN_BODY | IN_HEAD)[damage]
    edit(run)
    fails(sentence, "predict", run, trained / "documents.csv")
    fails("" if damage in ("an empty configuration", "a list") else sentence, "evaluate", run)


@pytest.mark.parametrize("damage", IN_BODY)
def test_a_checkpoint_without_its_encoder_is_refused(run: Path, trained: Path, damage: str) -> None:
    edit, sentence = IN_BODY[damage]
    edit(run)
    if "of the 47" in sentence:
        sentence = " of the 47 weights"  # a head may be new
    fails(sentence, *start_from(run, trained, "max_steps=1"))
    assert not (run.parent / "new").exists()


@pytest.mark.parametrize("damage", ["no head", "no head and no class"])
def test_a_checkpoint_without_a_head_is_trained_and_says_so(run: Path, trained: Path, damage: str) -> None:
    IN_HEAD[damage][0](run)
    result = ponet(*start_from(run, trained, "max_steps=1"))
    assert result.exit_code == 0, result.stderr
    assert f"2 weights are new, since '{run}' has none that fit: classifier.bias, classifier.weight." in result.stderr


@pytest.mark.parametrize("damage", ["a layer less", "another mixer", "NaN", "fewer layers", "other sizes", "nothing"])
def test_hugging_face_s_own_ways_refuse(run: Path, damage: str) -> None:
    edit, sentence = IN_BODY[damage]
    edit(run)
    for kind in (PoNetForSequenceClassification, transformers.AutoModelForSequenceClassification, PoNetModel):
        with pytest.raises(WeightsError, match="weight"):
            kind.from_pretrained(run)
    with pytest.raises(Exception, match=re.escape(sentence.partition(" of the 47")[0] or "lacks 47")):
        transformers.pipeline("text-classification", model=str(run))


@pytest.mark.parametrize("damage", IN_HEAD)
def test_a_head_that_was_saved_must_be_there(run: Path, damage: str) -> None:
    IN_HEAD[damage][0](run)
    if damage == "no head and no class":  # nobody said that there was one: a warning, as for every new head
        PoNetForSequenceClassification.from_pretrained(run)
        return
    with pytest.raises(WeightsError, match=r"classifier\.bias"):
        PoNetForSequenceClassification.from_pretrained(run)
    PoNetModel.from_pretrained(run)  # needs none


def test_what_may_be_new_is_still_new(run: Path, tmp_path: Path) -> None:
    """Another head; longer checkpoints and other mixers where asked for; a state dict as it is."""
    _, info = package.PoNetForTokenClassification.from_pretrained(run, output_loading_info=True)
    assert all(name.startswith("classifier.") for name in info["missing_keys"])
    small = PoNetForSequenceClassification.from_pretrained(run, num_hidden_layers=1)
    assert len(small.ponet.encoder.layer) == 1
    PoNetForSequenceClassification.from_pretrained(run, mixer_types="attention")
    with pytest.raises(WeightsError, match=r"lacks .*layer\.2"):
        PoNetForSequenceClassification.from_pretrained(run, num_hidden_layers=3)
    _, info = PoNetForSequenceClassification.from_pretrained(run, num_hidden_layers=3, output_loading_info=True)
    assert any(".layer.2." in name for name in info["missing_keys"])  # who asks for the report has it
    three = PoNetForSequenceClassification.from_pretrained(run, num_hidden_layers=3, ignore_mismatched_sizes=True)
    assert len(three.ponet.encoder.layer) == 3
    wider = PoNetForSequenceClassification.from_pretrained(run, num_labels=7, ignore_mismatched_sizes=True)
    assert wider.classifier.weight.shape[0] == 7
    described = PoNetConfig.from_pretrained(run)
    PoNetForSequenceClassification.from_pretrained(None, config=described, state_dict={})
    PoNetForPreTraining(described).ponet.save_pretrained(tmp_path / "body")  # with a pooler
    assert PoNetModel.from_pretrained(tmp_path / "body", add_pooling_layer=False).pooler is None
    without("pooler")(tmp_path / "body")
    assert PoNetModel.from_pretrained(tmp_path / "body").pooler is not None


def test_a_bundled_checkpoint_that_is_cut_off(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run.parent / "checkpoints" / "ponet-tiny"
    shutil.copytree(run, folder)
    monkeypatch.setattr(shipped, "CHECKPOINTS", folder.parent)
    assert package.checkpoint() == str(folder)
    cut(2000)(folder)
    for opened in (package.checkpoint, lambda: shipped.find_checkpoint("ponet-tiny")):
        with pytest.raises(PoNetError, match="are cut off or missing"):
            opened()
    (folder / "model.safetensors").unlink()
    with pytest.raises(PoNetError, match="are cut off or missing"):
        package.checkpoint()


@pytest.mark.parametrize(
    ("architectures", "sentence"),
    [
        (None, "doesn't name a model"),
        ([3], "doesn't name a model"),
        ("PoNetModel", "doesn't name a model"),
        (["PoNetForNothing"], "doesn't name a model"),
        (["pipeline"], "can't be read"),
        (["BertForSequenceClassification"], "lacks "),
    ],
)
def test_a_class_that_isn_t_the_model_s(run: Path, trained: Path, architectures: Any, sentence: str) -> None:
    config(architectures=architectures)(run)
    fails(sentence, "evaluate", run)
    assert ponet("predict", run, trained / "documents.csv").exit_code == 0  # every weight of a classifier is there


def more_pieces(folder: Path) -> None:
    change_vocabulary(folder, lambda words: words.update({f"great{i}": len(words) for i in range(1)}))


def an_id_far_out(folder: Path) -> None:
    change_vocabulary(folder, lambda words: words.update({"great": 5000}))


def change_vocabulary(folder: Path, change: Callable[[dict[str, int]], None]) -> None:
    values = json.loads((folder / "tokenizer.json").read_text())
    change(values["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(values))


def added_tokens(folder: Path) -> None:
    tokenizer = PoNetTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<one>"])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("change", [more_pieces, an_id_far_out, added_tokens])
def test_a_tokenizer_with_more_ids_than_the_model(run: Path, trained: Path, change: Edit) -> None:
    change(run)
    for command in (
        ("predict", run, trained / "documents.csv"),
        ("evaluate", run),
        start_from(run, trained, "max_steps=1"),
        start_from(run, trained, "max_steps=1", "init_weights=false"),
    ):
        fails(f" pieces and the model of '{run}' ", *command)


def test_answers_that_aren_t_numbers_are_not_given(run: Path, trained: Path) -> None:
    weights(lambda tensors: {name: value * 1e30 for name, value in tensors.items()})(run)
    fails("NaN or infinity instead of numbers", "predict", run, trained / "documents.csv")
