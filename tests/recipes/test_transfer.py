"""The transfer recipes: pairs that differ in their initial weights alone, on data as they say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ponet import PoNetConfig, PoNetForPreTraining
from ponet.config.files import available_recipes
from ponet.config.recipe import differences, load_recipe
from ponet.data.tokenizer_training import train_wordpiece
from ponet.models import checkpoints as shipped
from ponet.report.registry import find_report
from ponet.report.transfer import SETS, STARTS
from ponet.tasks.text.corpus import load_corpus
from ponet.tasks.text.metrics import measure
from ponet.training.export import export_run
from ponet.training.run import train

CHECKPOINT = "ponet-tiny"
WORDS = ["good", "fine", "great", "bad", "awful", "poor"]


def test_the_report_knows_every_recipe() -> None:
    known = {name for name in available_recipes() if name.startswith("transfer/")}
    assert known == {f"transfer/{name}/{start}" for name in SETS for start in STARTS}


@pytest.mark.parametrize("name", SETS)
def test_the_sides_differ_in_their_start_alone(name: str) -> None:
    pretrained, scratch = (load_recipe(f"transfer/{name}/{start}") for start in ("pretrained", "scratch"))
    assert pretrained.model["init"] == scratch.model["init"] == CHECKPOINT
    assert pretrained.model.get("init_weights", True)
    assert not scratch.model["init_weights"]
    ignore = ("name", "description", "model.init_weights", "training.learning_rate")
    assert differences(pretrained, scratch, ignore) == []
    assert pretrained.training.metric == next(iter(SETS[name].metrics))


@pytest.mark.data
@pytest.mark.parametrize("name", SETS)
def test_the_data_is_as_the_recipe_says(name: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONET_DATA", str(data_dir))
    options = load_recipe(f"transfer/{name}/pretrained", ["limit_train=400"]).data.seeded(0)
    corpus = load_corpus(options)
    assert {"train", "validation", SETS[name].split} <= set(corpus.splits)
    labels = corpus.splits[SETS[name].split].labels
    perfect = measure(corpus.space, labels.reshape(-1), labels)
    for metric in SETS[name].metrics:
        assert perfect[metric] == pytest.approx(1.0), metric
    assert (corpus.splits["train"].pairs is not None) == (options.pair is not None)


def test_both_sides_train_and_are_filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "CHECKPOINTS", tmp_path / "checkpoints")
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, 6)) for _ in range(60)]
    tokenizer = train_wordpiece(texts, 60)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(9)
    config = PoNetConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes)  # type: ignore[arg-type]
    PoNetForPreTraining(config).save_pretrained(tmp_path / "checkpoints" / CHECKPOINT)
    tokenizer.save_pretrained(tmp_path / "checkpoints" / CHECKPOINT)
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        rows = [f"{text},{text.split()[0] in WORDS[:3]}" for text in texts]
        (tmp_path / "data" / f"{split}.csv").write_text("\n".join(["sentence,label", *rows]) + "\n")
    for start in STARTS:
        for seed in (0, 1):
            overrides = [f"data.path={tmp_path / 'data'}", "max_steps=2", "max_length=16", f"seed={seed}"]
            run = tmp_path / start / str(seed)
            train(load_recipe(f"transfer/sst2/{start}", overrides), run, show=False)
            target = export_run(run, tmp_path / "results")
            assert target == tmp_path / "results" / "transfer" / "sst2" / start / f"seed{seed}"
            assert str(tmp_path) not in (target / "result.json").read_text()
            assert str(tmp_path) not in (target / "recipe.yaml").read_text()
    [table] = find_report("transfer").tables(tmp_path / "results")
    [row] = [row for row in table.rows if row[0].startswith("SST-2")]
    assert row[-2:] == ["2 / 2", "83.2"]
