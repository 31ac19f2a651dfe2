"""The optimizer's groups, and learning rates by step."""

import itertools
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.tiny import TinyTask
from transformers import set_seed

from ponet import PoNetConfig, PoNetForSequenceClassification
from ponet.config.recipe import load_recipe
from ponet.config.training import TrainingOptions
from ponet.training.optimization import build_schedule, evaluation_interval, make_optimizer, warmup_steps
from ponet.training.run import train
from ponet.utils.errors import PoNetError


def rates(steps: int, **options: Any) -> tuple[list[float], list[float]]:
    """The learning rate and beta1 at each step."""
    chosen = TrainingOptions(**options)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=chosen.learning_rate)
    schedule = build_schedule(chosen, optimizer, steps)
    learning_rates, momenta = [], []
    for _ in range(steps):
        learning_rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        schedule.step()
    return learning_rates, momenta


def test_onecycle_is_the_published_one() -> None:
    """4e-6 -> 1e-4 at the end of warm-up -> 4e-10, and beta1 0.95 -> 0.85 -> 0.95 (paper, Long Range Arena)."""
    lr, beta1 = rates(5000, schedule="onecycle", learning_rate=1e-4, warmup=1000)
    assert lr[0] == pytest.approx(4e-6)
    assert max(lr) == pytest.approx(1e-4, rel=1e-6)
    assert lr.index(max(lr)) == 999
    assert lr[-1] == pytest.approx(4e-10, rel=1e-3)
    assert (beta1[0], min(beta1), beta1[-1]) == (pytest.approx(0.95), pytest.approx(0.85), pytest.approx(0.95))
    differences = [after - before for before, after in itertools.pairwise(lr[1000:])]
    assert max(differences) == pytest.approx(min(differences), rel=1e-6), "annealing is linear"


@pytest.mark.parametrize(("steps", "warmup"), [(1, 1), (2, 1), (3, 1), (9, 1), (9, 2), (9, 0), (2, 0.9), (1, 0.5)])
def test_onecycle_takes_short_trainings_too(steps: int, warmup: float) -> None:
    if warmup >= steps:
        with pytest.raises(PoNetError, match="takes 1 steps and the training has 1"):
            rates(steps, schedule="onecycle", learning_rate=1.0, warmup=warmup)
        return
    lr, _ = rates(steps, schedule="onecycle", learning_rate=1.0, warmup=warmup)
    assert all(0 < rate <= 1 for rate in lr)
    assert lr[-1] == pytest.approx(4e-6, rel=1e-3)
    if 0 < warmup_steps(warmup, steps) < steps - 1:
        assert (lr[0], lr.index(max(lr))) == (pytest.approx(0.04), max(1, warmup_steps(warmup, steps) - 1))


@pytest.mark.parametrize(
    ("schedule", "middle", "last"), [("linear", 0.5, 0.0), ("cosine", 0.5, 0.0), ("constant", 1, 1)]
)
def test_the_others_warm_up_and_then_do_as_they_are_called(schedule: str, middle: float, last: float) -> None:
    lr, _ = rates(110, schedule=schedule, learning_rate=1.0, warmup=10)
    assert lr[0] == 0
    assert lr[5] == pytest.approx(0.5)
    assert lr[10] == pytest.approx(1.0)
    assert lr[60] == pytest.approx(middle, abs=0.01)
    assert lr[109] == pytest.approx(last, abs=0.02)


def test_warmup_is_a_fraction_below_one_and_steps_from_one_on() -> None:
    assert warmup_steps(0.1, 200) == 20
    assert warmup_steps(20, 200) == 20
    assert warmup_steps(0, 200) == 0
    assert warmup_steps(0.5, 1) == 0
    with pytest.raises(PoNetError, match="takes 200 steps and the training has 100"):
        warmup_steps(200, 100)


def test_evaluations_are_a_fraction_below_one_and_steps_from_one_on() -> None:
    assert evaluation_interval(0.1, 200) == 20
    assert evaluation_interval(50, 200) == 50
    assert evaluation_interval(0.01, 30) == 1
    assert evaluation_interval(0.005, 62_400) == 312
    assert evaluation_interval(1, 200) == 1
    for written in ("1.0", "1e0"):
        asked = load_recipe("pretrain/tiny", [f"eval_every={written}"]).training.eval_every
        assert asked is not None
        assert evaluation_interval(asked, 200) == 200, "a fraction, all of it; not every step"


# ---- groups


@pytest.fixture(scope="module")
def model() -> PoNetForSequenceClassification:
    """With three layers."""
    config = PoNetConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8, num_labels=2
    )
    return PoNetForSequenceClassification(config)


def groups(model: torch.nn.Module, new_weights: tuple[str, ...] = (), **options: Any) -> dict[str, tuple[float, float]]:
    """The learning rate and the weight decay of each weight."""
    optimizer = make_optimizer(TrainingOptions(learning_rate=1e-3, **options), model, new_weights)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found.keys() == set(names.values())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)
    return found


def test_by_default_the_groups_are_those_of_hugging_face_s_trainer(model: Any, tmp_path: Any) -> None:
    from transformers import Trainer, TrainingArguments

    trainer = Trainer(model, TrainingArguments(str(tmp_path), weight_decay=0.1, use_cpu=True, report_to=[]))
    theirs = trainer.create_optimizer()
    ours = make_optimizer(TrainingOptions(weight_decay=0.1), model)
    assert [group["weight_decay"] for group in ours.param_groups] == [0.1, 0.0]
    for one, other in zip(ours.param_groups, theirs.param_groups, strict=True):
        assert one["weight_decay"] == other["weight_decay"]
        assert len(one["params"]) == len(other["params"]) > 0
        assert all(left is right for left, right in zip(one["params"], other["params"], strict=True))
    assert ours.defaults["fused"] == theirs.defaults["fused"]


def test_layer_decay_lowers_the_learning_rate_below_the_head(model: Any) -> None:
    found = groups(model, layer_decay=0.5, weight_decay=0.1)
    for name, (rate, decay) in found.items():
        scale = 1.0
        if ".layer." in name:
            scale = 0.5 ** (2 - int(name.split(".layer.")[1][0]))
        elif ".embeddings." in name:
            scale = 0.5**3
        assert rate == pytest.approx(1e-3 * scale), name
        assert decay == (0.0 if "bias" in name or "LayerNorm" in name else 0.1), name
    assert len({rate for rate, _ in found.values()}) == 4


def test_new_weights_may_have_a_learning_rate_of_their_own(model: Any) -> None:
    new = ("classifier.weight", "classifier.bias")
    found = groups(model, new, head_learning_rate=1e-2, layer_decay=0.5)
    assert {name for name, (rate, _) in found.items() if rate == 1e-2} == set(new)
    assert groups(model, new) == groups(model), "null: as all others"


def test_a_schedule_keeps_the_ratio_of_the_groups(model: Any) -> None:
    for schedule in ("linear", "onecycle"):
        options = TrainingOptions(schedule=schedule, warmup=2, layer_decay=0.5)  # type: ignore[arg-type]
        optimizer = make_optimizer(options, model)
        scheduler = build_schedule(options, optimizer, 10)
        for _ in range(5):
            optimizer.step()
            scheduler.step()
        rates = sorted({round(group["lr"] / optimizer.param_groups[0]["lr"], 6) for group in optimizer.param_groups})
        assert rates == [0.125, 0.25, 0.5, 1.0]


def test_a_low_layer_decay_and_a_head_s_learning_rate_take_effect(tiny_recipe: Any, tmp_path: Any) -> None:
    """Embeddings hardly move, the new head moves more."""
    changes = ("max_steps=2", "warmup=0", "weight_decay=0", "data.new_weights=true", "data.validation=0")
    moved = []
    for name, more in (("plain", ()), ("changed", ("layer_decay=0.01", "head_learning_rate=0.1"))):
        train(tiny_recipe(*changes, *more), tmp_path / name, show=False)
        started = tiny_start(tiny_recipe(*changes))
        ended = load_file(tmp_path / name / "model.safetensors")
        moved.append({key: float((ended[key] - started[key]).abs().max()) for key in ended if key in started})
    word = "bert.embeddings.word_embeddings.weight"
    assert moved[1][word] < 0.02 * moved[0][word]
    assert moved[1]["classifier.weight"] > 5 * moved[0]["classifier.weight"]


def tiny_start(recipe: Any) -> dict[str, torch.Tensor]:
    """The weights that a training of the tiny task begins with."""
    set_seed(recipe.seed)
    return dict(TinyTask().prepare(recipe).model.state_dict())


def test_a_head_s_learning_rate_needs_new_weights(tiny_recipe: Any, tmp_path: Any) -> None:
    with pytest.raises(PoNetError, match=r"head_learning_rate.*model\.init"):
        train(tiny_recipe("head_learning_rate=0.1"), tmp_path / "run", show=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [0.0, -0.5, 1.5, float("nan")])
def test_layer_decay_is_a_fraction(value: float) -> None:
    with pytest.raises(PoNetError, match=r"training\.layer_decay"):
        TrainingOptions(layer_decay=value)
    with pytest.raises(PoNetError, match=r"training\.head_learning_rate"):
        TrainingOptions(head_learning_rate=min(value, 0.0))
