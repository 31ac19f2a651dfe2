"""The ablations: variants that differ in one thing, and a chain from pre-training to fine-tuning."""

from pathlib import Path

import pytest

from ponet.config.recipe import differences, load_recipe
from ponet.report.ablations import HYBRIDS, VARIANTS
from ponet.tasks.pretraining.prepare import prepare
from ponet.training.export import export_run
from ponet.training.run import train

PARTS = ("full", "no-ga2", "no-ga", "no-smp", "no-lmp")
WORDS = ["good", "fine", "great", "bad", "awful", "poor"]


@pytest.mark.parametrize("task", ["pretrain", "cola", "stsb", "imdb", "listops", "text"])
def test_variants_differ_in_one_thing(task: str) -> None:
    full = load_recipe(f"ablations/{task}/full")
    for variant in VARIANTS if task not in ("listops", "text") else PARTS:
        other = load_recipe(f"ablations/{task}/{variant}")
        found = differences(full, other, ("name", "description", "model.init"))
        expected = {"mlm": "data.objective", "mlm-nsp": "data.objective"}.get(variant, "model.pooling_parts")
        if variant == "full" or (expected == "data.objective" and task != "pretrain"):
            assert found == []
        else:
            assert len(found) == 1
            assert found[0].startswith(expected)
        if task in ("cola", "stsb", "imdb"):
            assert other.model["init"] == f"runs/ablations/pretrain/{variant}/seed0"
    assert load_recipe("ablations/pretrain/full").training.max_steps * 8192 == pytest.approx(48e6, rel=0.03)


@pytest.mark.parametrize("variant", HYBRIDS)
def test_hybrids_have_as_many_layers_with_attention_as_they_say(variant: str) -> None:
    recipe = load_recipe(f"hybrids/distil/{variant}")
    mixers = recipe.model["mixer_types"]
    layers = [mixers] if isinstance(mixers, str) else mixers
    assert layers.count("attention") == (0 if variant == "pooling" else int(variant.split("-")[1]))
    assert recipe.model.get("attention_window") == (256 if variant.endswith("window") else None)
    assert load_recipe(f"hybrids/cola/{variant}").model["init"] == f"runs/hybrids/distil/{variant}/seed0"


@pytest.mark.slow
def test_a_model_without_a_part_is_pre_trained_and_fine_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [" ".join(WORDS[(k * j + k) % 6] for j in range(1, 9)) + "." for k in range(120)]
    Path("corpus.txt").write_text("\n\n".join(lines), encoding="utf-8")
    prepare(["corpus.txt"], Path("tokens"), None, 60, (), 0.1, "text", lowercase=True, processes=1)
    Path("cola.csv").write_text("\n".join(["sentence,label", *(f"{line},{k % 2}" for k, line in enumerate(lines))]))
    small = ["hidden_size=16", "intermediate_size=16", "num_hidden_layers=1"]
    quick = ["max_steps=2", "precision=float32"]
    changes = ["data.path=tokens", "max_length=32", *small, *quick]
    for objective in ("no-smp", "mlm"):
        first = load_recipe(f"ablations/pretrain/{objective}", changes)
        train(first, f"runs/{first.name}/seed0", show=False)
        second = load_recipe(f"ablations/cola/{objective}", ["data.path=cola.csv", "max_length=16", *quick])
        result = train(second, f"runs/{second.name}/seed0", show=False)
        assert "matthews" in result["validation"]
        for name in (first.name, second.name):
            assert export_run(f"runs/{name}/seed0").relative_to("results") == Path(name, "seed0")
