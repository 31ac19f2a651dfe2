"""The recipes for long documents: what a model reads, and the schemas of sets that aren't here."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from ponet import PoNetConfig, PoNetForPreTraining
from ponet.config.files import available_recipes
from ponet.config.recipe import differences, load_recipe
from ponet.data.tokenizer_training import train_wordpiece
from ponet.report.long import MODELS, SETS
from ponet.report.registry import find_report
from ponet.tasks.text.corpus import load_corpus
from ponet.training.export import export_run
from ponet.training.run import train

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
CLASSES = ["cs.AI", "cs.cv", "math.GR"]


def test_the_report_knows_every_recipe() -> None:
    known = {name for name in available_recipes() if name.startswith("long/")}
    assert known == {f"long/{name}/{model}" for name in SETS for model in MODELS}


@pytest.mark.parametrize("name", SETS)
def test_bert_reads_512_tokens_at_a_time_and_the_others_4096(name: str) -> None:
    ponet, fnet, bert, windows = (
        load_recipe(f"long/{name}/{model}") for model in ("ponet", "fnet", "bert", "bert-windows")
    )
    assert (ponet.data.max_length, bert.data.max_length, windows.data.max_length) == (4096, 512, 4096)
    assert windows.data.document_length() == 512
    encoder = (
        "model.init",
        "model.mixer_types",
        "model.attention_probs_dropout_prob",
        "data.max_length",
        "data.window",
    )
    for other in (fnet, bert, windows):
        assert differences(ponet, other, ("name", "description", *encoder)) == []
    assert load_recipe(f"long/{name}/tfidf").data == ponet.data


@pytest.mark.data
@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("imdb", "20newsgroups")), "hnd"]
)
def test_the_data_is_as_the_recipe_says(name: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONET_DATA", str(data_dir))
    first, second = (load_corpus(load_recipe(f"long/{name}/ponet").data.seeded(seed)) for seed in (0, 1))
    assert set(first.splits) == {"train", "validation", "test"}
    assert (first.splits["test"].identities() != second.splits["test"].identities()) == (name == "hnd")
    if name == "hnd":
        held_out = {*first.splits["test"].identities(), *first.splits["validation"].identities()}
        assert not held_out & set(first.splits["train"].identities())


def rows(count: int, classes: int, seed: int) -> list[dict[str, object]]:
    draw = np.random.default_rng(seed)
    words = np.array(["good", "fine", "great", "bad", "awful", "poor"])
    return [{"text": " ".join(draw.choice(words, 40)) + ".\n\nMore.", "label": k % classes} for k in range(count)]


def save_hub_set(folder: Path, names: list[str], splits: list[str]) -> None:
    features = datasets.Features({"label": datasets.ClassLabel(names=names), "text": datasets.Value("string")})
    made = {split: datasets.Dataset.from_list(rows(40, len(names), k), features) for k, split in enumerate(splits)}
    datasets.DatasetDict(made).save_to_disk(folder)


def test_the_hub_s_schemas_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stars = ["1 star", "2 star", "3 stars", "4 stars", "5 stars"]
    save_hub_set(tmp_path / "yelp_review_full", stars, ["train", "test"])
    save_hub_set(tmp_path / "arxiv-classification" / "no_ref", CLASSES, ["train", "validation", "test"])
    monkeypatch.setenv("PONET_DATA", str(tmp_path))
    yelp = load_corpus(load_recipe("long/yelp5/ponet").data)
    assert yelp.space.names == tuple(stars)
    assert {name: len(split) for name, split in yelp.splits.items()} == {"train": 36, "validation": 4, "test": 40}
    arxiv = load_corpus(load_recipe("long/arxiv11/ponet").data)
    assert arxiv.space.names == tuple(CLASSES)
    assert {name: len(split) for name, split in arxiv.splits.items()} == {"train": 40, "validation": 40, "test": 40}


def test_arxiv_s_published_files_are_a_folder_for_each_class(tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for k in range(10):
            (tmp_path / name / f"{k}.txt").write_text(f"paper {name} {k}\n\nIntroduction.")
    options = load_recipe("long/arxiv11/ponet", [f"data.path={tmp_path}", "test_fraction=0.2"]).data
    corpus = load_corpus(options)
    assert corpus.space.names == tuple(sorted(CLASSES))
    assert {name: len(split) for name, split in corpus.splits.items()} == {"train": 21, "validation": 3, "test": 6}


def test_models_train_are_timed_and_filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_hub_set(tmp_path / "data" / "imdb", ["neg", "pos"], ["train", "test"])
    tokenizer = train_wordpiece([str(row["text"]) for row in rows(40, 2, 0)], 60)
    for name, mixer in {"ponet-mini": "pooling", "all-MiniLM-L6-v2": "attention"}.items():
        torch.manual_seed(9)
        config = PoNetConfig(vocab_size=len(tokenizer), max_position_embeddings=16, mixer_types=mixer, **SMALL)  # type: ignore[arg-type]
        PoNetForPreTraining(config).save_pretrained(tmp_path / "data" / name)
        tokenizer.save_pretrained(tmp_path / "data" / name)
    monkeypatch.setenv("PONET_DATA", str(tmp_path / "data"))
    small = ["max_steps=1", "precision=float32"]
    for model, changes in {"ponet": small, "bert-windows": [*small, "window=16"], "tfidf": []}.items():
        result = train(load_recipe(f"long/imdb/{model}", changes), tmp_path / model, show=False)
        assert result["inference"]["examples"] == 40
        assert result["inference"]["seconds"] > 0
        export_run(tmp_path / model, tmp_path / "results")
    written = json.loads(
        (tmp_path / "results" / "long" / "imdb" / "bert-windows" / "seed0" / "result.json").read_text()
    )
    assert written["recipe"]["data"]["window"] == 16
    [table] = find_report("long").tables(tmp_path / "results")
    assert [row[0] for row in table.rows] == [*MODELS.values(), "Published: PoNet-Base"]
    assert [row[3] for row in table.rows[:-1]] == ["1", "–", "1", "–", "1"]
    assert table.rows[-1][2] == "93.0"
