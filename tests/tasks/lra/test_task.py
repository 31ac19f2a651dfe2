"""From a recipe's name to a trained, evaluated run, on data small enough to make at once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EvalPrediction
from typer.testing import CliRunner

from ponet.cli.app import app
from ponet.config.recipe import load_recipe
from ponet.tasks.lra.batches import ImageCollator, SequenceCollator, fixed
from ponet.tasks.lra.spec import TASKS
from ponet.tasks.lra.task import accuracy, build_model
from ponet.tasks.registry import get_task
from ponet.training.evaluation import evaluate
from ponet.training.export import export_run
from ponet.training.run import train
from ponet.utils.errors import PoNetError

SMALL = ("train_size=24", "validation_size=8", "test_size=8", "data.workers=1", "batch_size=4", "precision=float32")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def small(name: str, cache: Path, *overrides: str) -> Any:
    return load_recipe(name, [*SMALL, f"data.cache={cache}", *overrides])


@pytest.mark.parametrize("mixer", ["pooling", "fourier"])
def test_three_steps_of_listops(mixer: str, cache: Path, tmp_path: Path) -> None:
    recipe = small(f"lra/listops/{mixer}", cache, "max_steps=3", "eval_every=2", "log_every=1")
    result = train(recipe, tmp_path / "run", show=False)
    assert result["train"]["steps"] == 3
    assert result["train"]["tokens"] > 3 * 4 * 500
    assert result["train"]["peak_memory_bytes"] > 0
    assert result["train"]["tokens_per_second"] > 0
    assert 0 <= result["test"]["accuracy"] <= 1
    assert result["data"]["examples"] == {"train": 24, "validation": 8, "test": 8}
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "validation" in line] == [2, 3]
    if mixer != "pooling":
        return
    again = evaluate(tmp_path / "run", show=False)
    assert again["metrics"] == pytest.approx(result["test"], abs=1e-6)
    fresh = evaluate(tmp_path / "run", fresh_test_seed=7, show=False)
    assert fresh["examples"] == 8
    assert fresh["metrics"]["loss"] != again["metrics"]["loss"]
    more = evaluate(tmp_path / "run", fresh_test_seed=7, show=False, fresh_size=12, file=True)
    assert more["examples"] == 12
    kept = json.loads((tmp_path / "run" / "fresh.json").read_text())
    assert kept["metrics"] == more["metrics"]
    assert kept["commit"] == result["commit"]
    filed = export_run(tmp_path / "run", tmp_path / "results")
    assert json.loads((filed / "fresh.json").read_text()) == kept
    assert export_run(tmp_path / "run", tmp_path / "results", overwrite=True) == filed
    with pytest.raises(PoNetError, match="give --fresh-test-seed too"):
        evaluate(tmp_path / "run", show=False, file=True)


def test_the_same_seed_gives_the_same_bits_and_another_one_others(cache: Path, tmp_path: Path) -> None:
    weights = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(small("lra/listops/pooling", cache, "max_steps=2", f"seed={seed}"), tmp_path / folder, show=False)
        weights.append((tmp_path / folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_cut_off_and_taken_up_again_it_ends_with_the_same_bits(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small("lra/listops/pooling", cache, "max_steps=5", "checkpoint_every=2")
    train(recipe, tmp_path / "whole", show=False)
    step, calls = torch.optim.AdamW.step, 0

    def dying(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", show=False)
    assert (tmp_path / "cut" / "checkpoints" / "checkpoint-2").is_dir()
    train(recipe, tmp_path / "cut", show=False)
    assert calls == 4 + 3, "three steps were left"
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_the_command_trains_several_seeds(cache: Path, tmp_path: Path) -> None:
    arguments = ["train", "lra/listops/pooling-aligned", "max_steps=1", "seed=0,2", *SMALL, f"data.cache={cache}"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for seed in (0, 2):
        result = json.loads((tmp_path / f"seed{seed}" / "result.json").read_text())
        assert (result["seed"], result["recipe"]["data"]["segments"]) == (seed, "aligned")


def test_linear_maps_begin_as_published() -> None:
    """The golden tensors' linear maps are drawn uniformly within one over the root of their inputs."""
    torch.manual_seed(0)
    model = build_model(load_recipe("lra/listops/pooling").model, TASKS["listops"])
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert len(linears) == 2 * 8 + 2
    for module in linears:
        bound = module.in_features**-0.5
        assert 0.95 * bound < module.weight.abs().max() <= bound
        assert 0.5 * bound < module.bias.abs().max() <= bound
    assert model.ponet.embeddings.position_embeddings.weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(("mixer", "names"), [("lsh", ["query_key", "value"]), ("nystrom", ["conv"])])
def test_a_mixers_own_maps_begin_as_published(mixer: str, names: list[str]) -> None:
    torch.manual_seed(0)
    model = build_model(load_recipe(f"lra/listops/{mixer}").model, TASKS["listops"])
    for name in names:
        weight = getattr(model.ponet.encoder.layer[0].attention.self, name).weight
        bound = weight[0].numel() ** -0.5
        assert 0.9 * bound < weight.abs().max() <= bound


def test_an_external_memory_begins_small() -> None:
    model = build_model(load_recipe("lra/listops/external").model, TASKS["listops"])
    weight = model.ponet.encoder.layer[0].attention.self.memory_key.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_pair_goes_side_by_side() -> None:
    examples = [
        {"input_ids": np.array([1, 2, 3]), "input_ids_2": np.array([4]), "labels": 1},
        {"input_ids": np.array([5, 6]), "input_ids_2": np.array([7, 8, 9]), "labels": 0},
    ]
    batch = SequenceCollator(lambda ids, positions: fixed(ids, positions, 2))(examples)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9]]
    assert batch["segment_ids"].tolist() == [[0, 0, 1, 0, 0, 0, 0, 0, 1]]
    assert batch["cu_seqlens"].tolist() == [0, 3, 4, 6, 9]
    assert batch["labels"].tolist() == [1, 0]
    assert next(iter(batch)) == "labels"


def test_packed_and_padded_sequences_are_the_same_to_the_model() -> None:
    torch.manual_seed(0)
    model = build_model(load_recipe("lra/retrieval/pooling").model, TASKS["retrieval"]).eval()
    generator = np.random.default_rng(0)
    examples = [
        {
            "input_ids": generator.integers(1, 257, generator.integers(60, 200)),
            "input_ids_2": generator.integers(1, 257, generator.integers(60, 200)),
            "labels": 0,
        }
        for _ in range(3)
    ]
    batch = SequenceCollator(lambda ids, positions: fixed(ids, positions, 65))(examples)
    documents = [example[name] for example in examples for name in ("input_ids", "input_ids_2")]
    ids = torch.zeros(6, 200, dtype=torch.long)
    for row, document in zip(ids, documents, strict=True):
        row[: len(document)] = torch.from_numpy(document)
    segments = (torch.arange(200) // 65).expand(6, 200)
    with torch.no_grad():
        packed = model(**batch).logits
        padded = model(ids, attention_mask=(ids != 0).long(), segment_ids=segments).logits
    assert packed.shape == (3, 2)
    assert torch.allclose(packed, padded, atol=1e-6)


def test_black_pixels_are_padding_in_their_places() -> None:
    torch.manual_seed(0)
    model = build_model(load_recipe("lra/pathfinder/pooling").model, TASKS["pathfinder"]).eval()
    generator = np.random.default_rng(0)
    image = generator.integers(1, 256, 1024) * (generator.random(1024) < 0.3)
    rule = lambda ids, positions: fixed(ids, positions, 1025)  # noqa: E731
    batch = ImageCollator(rule)([{"input_ids": image, "labels": 1}, {"input_ids": np.roll(image, 1), "labels": 0}])
    assert batch["attention_mask"].sum(1).tolist() == [np.count_nonzero(image)] * 2
    with torch.no_grad():
        encoded = model.ponet.encode(**{key: value for key, value in batch.items() if key != "labels"})
        logits = model(**batch).logits
    here = torch.from_numpy(np.flatnonzero(image))
    assert torch.equal(encoded.layout.row_position[: len(here)], here)
    assert encoded.layout.joins_next[: len(here) - 1].tolist() == (np.diff(here) == 1).tolist()
    assert not torch.equal(logits[0], logits[1]), "a shift moves pixels to other positions"


def test_accuracy_counts_the_highest_logit() -> None:
    logits = np.array([[0.1, 0.9], [3.0, -1.0], [0.0, 1.0], [0.2, 0.1]])
    prediction = EvalPrediction(predictions=logits, label_ids=np.array([1, 1, 1, 0]))
    assert accuracy(prediction) == {"accuracy": 0.75}


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("dataset=listop", "'data.dataset' can't be 'listop'. Did you mean 'listops'"),
        ("segment_num=0", "'data.segment_num' should be at least 1, not 0."),
        ("segments=rows", "'data.segments' can't be 'rows'"),
    ],
)
def test_options_that_make_no_sense(override: str, sentence: str) -> None:
    with pytest.raises(PoNetError) as error:
        load_recipe("lra/listops/pooling", [override])
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("max_position_embeddings=1000", "up to 2,000 tokens"),
        ("model.vocab_size=99", "model.vocab_size follows from the data set"),
        ("init=somewhere", "'somewhere' is no complete run"),
        ("num_attention_heads=3", "The model section doesn't describe a model"),
    ],
)
def test_models_that_make_no_sense(override: str, sentence: str, cache: Path) -> None:
    with pytest.raises(PoNetError) as error:
        get_task("lra").prepare(small("lra/listops/pooling", cache, override))
    assert sentence in str(error.value)


def test_what_can_t_be_evaluated(cache: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(small("lra/listops/pooling", cache, "max_steps=1"), run, show=False)
    with pytest.raises(PoNetError, match="There is no split 'dev'"):
        evaluate(run, split="dev", show=False)
    with pytest.raises(PoNetError, match="leave --data and --split out"):
        evaluate(run, split="validation", fresh_test_seed=1, show=False)
    with pytest.raises(PoNetError, match="there to be measured"):
        get_task("lra").predictor(run, load_recipe(run / "recipe.yaml"))
