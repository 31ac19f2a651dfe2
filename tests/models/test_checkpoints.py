"""Bundled checkpoints: found by name wherever one is named; those of this version are complete, small and useful."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, pipeline

import ponet
from ponet import PoNetConfig, PoNetForPreTraining, PoNetModel
from ponet.config.recipe import load_recipe, recipe_from_dict
from ponet.data.tokenizer_training import train_wordpiece
from ponet.models import checkpoints
from ponet.tasks.models import open_tokenizer
from ponet.tasks.text.task import TextTask
from ponet.utils.errors import PoNetError

TEXTS = [f"the {colour} {animal} runs over the hill ." for colour in ("red", "blue") for animal in ("cat", "dog")] * 8
CONFIG: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
PASSAGE = (
    "The river rises in the mountains in the north of the country and flows to the south for about two hundred miles. "
    "It was named after the first governor of the state, who was born in a small town near its mouth in the early part "
    "of the century. The town has a school, a church and a railway station. In summer many people come to visit the "
    "old castle, which was built by the king and was later used as a prison during the war."
)
"""Written for this test."""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for `ponet-tiny`, as if it came with the package."""
    monkeypatch.setattr(checkpoints, "CHECKPOINTS", tmp_path / "checkpoints")
    folder = tmp_path / "checkpoints" / "ponet-tiny"
    tokenizer = train_wordpiece(TEXTS, 120)
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
    torch.manual_seed(9)  # no recipe's seed: new weights are others than these
    PoNetForPreTraining(PoNetConfig(vocab_size=len(tokenizer), **special, **CONFIG)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def text_recipe(folder: Path, **model: Any) -> Any:
    lines = ["text,label", *(f"{text.replace(',', '')},{'cat' in text}" for text in TEXTS)]
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    data = {"path": str(folder / "data.csv"), "max_length": 24}
    return recipe_from_dict({"name": "t", "task": "text", "data": data, "model": {"init": "ponet-tiny", **model}})


def test_by_name_and_by_default_the_best(tiny: Path) -> None:
    assert ponet.checkpoint("ponet-tiny") == ponet.checkpoint() == str(tiny)
    for name in ("ponet-aardvark", "ponet-mini"):
        (tiny.parent / name).mkdir()
        (tiny.parent / name / "config.json").write_text("{}")
        shutil.copy(tiny / "model.safetensors", tiny.parent / name)
    (tiny.parent / "ponet-base").mkdir()  # without a model: not a checkpoint
    assert checkpoints.checkpoint_names() == ["ponet-mini", "ponet-tiny", "ponet-aardvark"]
    assert ponet.checkpoint().endswith("ponet-mini")
    assert PoNetModel.from_pretrained(ponet.checkpoint("ponet-tiny")).config.hidden_size == 16


def test_unknown_names_and_none_at_all(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PoNetError, match=r"No checkpoint 'ponet-tyni' comes with ponet\. Did you mean 'ponet-tiny'"):
        ponet.checkpoint("ponet-tyni")
    with pytest.raises(PoNetError, match=r"No checkpoint '\.\./x' comes with ponet\. Known: ponet-tiny"):
        ponet.checkpoint("../x")
    with pytest.raises(PoNetError, match=r"no folder 'ponet-tyni', and no such checkpoint.*mean 'ponet-tiny'"):
        open_tokenizer("ponet-tyni")
    monkeypatch.setattr(checkpoints, "CHECKPOINTS", tiny / "nothing")
    with pytest.raises(PoNetError, match="No pre-trained checkpoint comes with this installation"):
        ponet.checkpoint()


def test_other_names_are_those_of_the_hub(tiny: Path) -> None:
    assert checkpoints.find_checkpoint("ponet-tiny") == tiny
    assert checkpoints.find_checkpoint("ponet-labs/model") is None
    assert checkpoints.find_checkpoint("bert-base-uncased") is None


def test_a_folder_of_that_name_goes_first(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    train_wordpiece(["a few words"] * 4, 60).save_pretrained(here / "ponet-tiny")
    bundled_size = len(open_tokenizer("ponet-tiny"))
    monkeypatch.chdir(here)
    assert len(open_tokenizer("ponet-tiny")) < bundled_size


def test_a_recipe_starts_from_it(tiny: Path, tmp_path: Path) -> None:
    prepared = TextTask().prepare(text_recipe(tmp_path, classifier_pooling="mean"))
    theirs = PoNetModel.from_pretrained(tiny).state_dict()
    ours = prepared.model.ponet.state_dict()
    assert ours
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], msg=name)
    assert prepared.facts["vocab_size"] == len(open_tokenizer("ponet-tiny"))


def test_or_takes_its_architecture_and_tokenizer_alone(tiny: Path, tmp_path: Path) -> None:
    made = TextTask().prepare(text_recipe(tmp_path, init_weights=False, hidden_dropout_prob=0.0))
    other = TextTask().prepare(text_recipe(tmp_path, hidden_dropout_prob=0.0))
    same = {name: getattr(made.model.config, name) for name in CONFIG}
    assert same == CONFIG
    assert made.model.config.vocab_size == other.model.config.vocab_size
    assert [n for n, _ in made.model.named_parameters()] == [n for n, _ in other.model.named_parameters()]
    name = "ponet.embeddings.word_embeddings.weight"
    assert not torch.allclose(made.model.state_dict()[name], other.model.state_dict()[name])
    assert list(made.train.examples[0]["input_ids"]) == list(other.train.examples[0]["input_ids"])
    again = TextTask().prepare(text_recipe(tmp_path, init_weights=False, hidden_dropout_prob=0.0))
    torch.testing.assert_close(made.model.state_dict()[name], again.model.state_dict()[name])


def test_new_weights_have_positions_for_the_texts(tiny: Path, tmp_path: Path) -> None:
    recipe = text_recipe(tmp_path, init_weights=False)
    recipe.data.max_length = 48
    assert TextTask().prepare(recipe).model.config.max_position_embeddings == 48


def test_init_weights_needs_a_checkpoint() -> None:
    with pytest.raises(PoNetError, match=r"'model.init_weights' says what to take from 'model.init'"):
        load_recipe("documents/imdb/pooling", ["init_weights=false"])
    with pytest.raises(PoNetError, match=r"'model.init_weights' should be true or false"):
        load_recipe("documents/imdb/pooling", ["init=ponet-tiny", "init_weights=some"])


@pytest.fixture(scope="module", params=checkpoints.checkpoint_names())
def bundled(request: pytest.FixtureRequest) -> Path:
    return Path(ponet.checkpoint(request.param))


def test_one_is_bundled() -> None:
    assert "ponet-tiny" in checkpoints.checkpoint_names()
    assert PoNetModel.from_pretrained(ponet.checkpoint()).dtype == torch.float32


def test_bundled_ones_are_small_and_have_a_card(bundled: Path) -> None:
    assert sum(path.stat().st_size for path in bundled.iterdir()) <= 50e6
    card = (bundled / "README.md").read_text(encoding="utf-8")
    assert all(figure in card for figure in ("masked words right (MLM)", "sentence order right (SSO)"))


def test_a_bundled_one_guesses_masked_words(bundled: Path) -> None:
    """Every third word of a passage masked in turn; by frequency alone, the loss is near 7 and 1 in 12 is right."""
    tokenizer = AutoTokenizer.from_pretrained(bundled)
    model = PoNetForPreTraining.from_pretrained(bundled).eval()
    batch = tokenizer(PASSAGE, return_tensors="pt")
    ids = batch["input_ids"][0]
    places = [place for place, token in enumerate(ids.tolist()) if token not in tokenizer.all_special_ids][::3]
    masked = ids.repeat(len(places), 1)
    masked[range(len(places)), places] = tokenizer.mask_token_id
    segments = batch["segment_ids"].repeat(len(places), 1)
    with torch.inference_mode():
        scores = model(input_ids=masked, segment_ids=segments).prediction_logits
    found = scores[range(len(places)), places]
    truth = ids[places]
    assert torch.nn.functional.cross_entropy(found, truth) < 5
    assert (found.argmax(-1) == truth).float().mean() > 0.25


def test_a_bundled_one_fills_a_mask(bundled: Path) -> None:
    found = pipeline("fill-mask", model=str(bundled))("He was born in the [MASK] of the year.")
    assert len(found) == 5
    assert all(0 < guess["score"] < 1 and guess["token_str"].strip() for guess in found)


def test_a_bundled_one_reads_a_long_document_at_once(bundled: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(bundled), PoNetModel.from_pretrained(bundled).eval()
    text = " ".join([PASSAGE] * 12)
    batch = tokenizer(text, return_tensors="pt", truncation=True)
    whole = len(tokenizer(text, truncation=False, verbose=False)["input_ids"])
    assert batch["input_ids"].shape[1] == (whole if model.config.repeat_positions else 1024)
    assert whole > 1024
    alone = Tokenizer.from_file(str(bundled / "tokenizer.json"))  # as an exported model's runner opens it
    assert len(alone.encode(text).ids) == whole
    with torch.inference_mode():
        assert torch.isfinite(model(**batch).last_hidden_state).all()
