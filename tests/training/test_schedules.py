"""Learning rates by step."""

import itertools
from typing import Any

import pytest
import torch

from ponet.config.recipe import load_recipe
from ponet.config.training import TrainingOptions
from ponet.training.schedules import build_schedule, evaluation_interval, warmup_steps
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
