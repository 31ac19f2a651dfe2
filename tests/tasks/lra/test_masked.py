"""Self-pre-training: masks, the encoder that is taken over, and exact resumption."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ponet.config.recipe import load_recipe
from ponet.report.registry import find_report
from ponet.tasks.lra.batches import SequenceCollator, fixed
from ponet.tasks.lra.masked import MaskingCollator
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


def examples(count: int = 6) -> list[dict[str, Any]]:
    draw = np.random.default_rng(0)
    return [{"input_ids": draw.integers(1, 16, 300), "labels": k} for k in range(count)]


def test_the_masks_are_as_said_and_the_labels_what_was_there() -> None:
    documents = SequenceCollator(lambda ids, positions: fixed(ids, positions, 33))
    plain = documents(examples())
    batch = MaskingCollator(documents, mask_id=31, rate=0.5)(examples())
    ids, seen, places = plain["input_ids"][0], batch["input_ids"][0], batch["prediction_positions"]
    assert len(places) == len(set(places.tolist())) == 900
    assert torch.equal(batch["labels"], ids[places])
    untouched = torch.ones(len(ids), dtype=torch.bool)
    untouched[places] = False
    assert torch.equal(seen[untouched], ids[untouched])
    shares = [(seen[places] == 31).float().mean(), (seen[places] == ids[places]).float().mean()]
    assert shares[0] == pytest.approx(0.8, abs=0.05)
    assert shares[1] == pytest.approx(0.1 + 0.1 / 15, abs=0.04)
    for name in ("segment_ids", "cu_seqlens"):
        assert torch.equal(batch[name], plain[name])


def test_training_draws_new_masks_and_an_evaluation_the_same() -> None:
    collate = MaskingCollator(SequenceCollator(lambda ids, positions: positions), mask_id=31, rate=0.15)
    first, second = (collate(examples())["prediction_positions"] for _ in range(2))
    assert not torch.equal(first, second)
    with torch.no_grad():
        first, second = (collate(examples())["prediction_positions"] for _ in range(2))
    assert torch.equal(first, second)


def test_masked_tokens_then_the_task_with_that_encoder(cache: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    result = train(small("self-pretraining/listops-inputs/pooling", cache, "max_steps=3"), inputs, show=False)
    assert {"mlm_loss", "mlm_accuracy"} <= set(result["validation"])
    again = evaluate(inputs, split="validation", show=False)
    assert again["metrics"]["mlm_loss"] == pytest.approx(result["validation"]["mlm_loss"], rel=1e-5)
    recipe = small("self-pretraining/listops/pooling", cache, "max_steps=2", f"model.init={inputs}")
    prepared = get_task("lra").prepare(recipe)
    weights = load_file(inputs / "model.safetensors")
    for name, parameter in prepared.model.named_parameters():
        assert torch.equal(parameter.data, weights[name]) if name.startswith("ponet.") else name in prepared.new_weights
    figures = train(recipe, tmp_path / "task", show=False)
    assert figures["data"]["self_pretraining"]["steps"] == 3
    for run in ("inputs", "task"):
        filed = export_run(tmp_path / run, tmp_path / "results")
        assert str(tmp_path) not in json.dumps(json.loads((filed / "result.json").read_text()))
    table = find_report("lra").tables(tmp_path / "results")[-1]
    [row] = table.rows
    assert row[0] == "ListOps, PoNet"
    assert "–" not in (row[1], row[3], row[6], row[7])
    other = small("self-pretraining/listops/pooling", cache, f"model.init={inputs}", "model.intermediate_size=64")
    with pytest.raises(PoNetError, match="is of another model"):
        get_task("lra").prepare(other)


@pytest.mark.slow
def test_cut_off_and_taken_up_again_it_ends_with_the_same_bits(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small("self-pretraining/listops-inputs/pooling", cache, "max_steps=5", "checkpoint_every=2")
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
    monkeypatch.undo()
    train(recipe, tmp_path / "cut", show=False)
    cut, whole = ((tmp_path / run / "model.safetensors").read_bytes() for run in ("cut", "whole"))
    assert cut == whole


def test_images_leave_no_id_for_the_mask(cache: Path) -> None:
    with pytest.raises(PoNetError, match="'pathfinder' uses every id"):
        get_task("lra-masked").prepare(
            small("self-pretraining/listops-inputs/pooling", cache, "dataset=pathfinder", "segment_num=1")
        )
