"""The stream of batches: every example once an epoch, the budget kept, the same whoever asks."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponet.training import batching
from ponet.training.batching import EvaluationBatches, TrainingStream, plan_epoch
from ponet.utils.errors import PoNetError

LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=80).map(np.array)
LIMITS = st.tuples(st.none() | st.integers(1, 100), st.none() | st.integers(1, 9)).filter(any)


@settings(max_examples=60)
@given(LENGTHS, LIMITS, st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_holds_every_example_once_and_keeps_the_limits(
    lengths: np.ndarray, limits: tuple[int | None, int | None], seed: int, epoch: int
) -> None:
    tokens, size = limits
    batches = plan_epoch(lengths, tokens, size, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) > 0
        assert tokens is None or len(batch) == 1 or lengths[batch].sum() <= tokens
        assert size is None or len(batch) <= size
    again = plan_epoch(lengths, tokens, size, seed, epoch)
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))


@settings(max_examples=40)
@given(LENGTHS, LIMITS, st.integers(1, 3), st.integers(1, 3), st.integers(1, 12))
def test_a_stream_is_its_epochs_one_after_the_other(
    lengths: np.ndarray, limits: tuple[int | None, int | None], accumulation: int, processes: int, steps: int
) -> None:
    streams = [
        TrainingStream(lengths, *limits, 3, 1.0, steps, accumulation, process, processes)
        for process in range(processes)
    ]
    shares = [list(stream) for stream in streams]
    alone = TrainingStream(lengths, *limits, 3, 1.0, steps, accumulation * processes)
    epochs = range(steps * accumulation * processes)  # one has a batch at least
    whole = [batch.tolist() for epoch in epochs for batch in plan_epoch(lengths, *limits, 3, epoch)]
    assert [batch for group in zip(*shares, strict=True) for batch in group] == whole[: steps * alone.group]
    assert list(alone) == whole[: steps * alone.group]
    assert len(alone) == steps * alone.group
    assert alone.steps == steps
    expected = sum(lengths[batch].sum() for batch in whole[: steps * alone.group])
    assert [stream.tokens_at(steps) for stream in [alone, *streams]] == [expected] * (1 + processes)


@pytest.mark.parametrize(("epochs", "accumulation"), [(1, 1), (3, 1), (2.5, 1), (0.25, 1), (3, 4)])
def test_epochs_give_the_steps_that_their_batches_fill(epochs: float, accumulation: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 50, 103)
    stream = TrainingStream(lengths, 100, 8, 1, epochs, None, accumulation)
    counts = [len(plan_epoch(lengths, 100, 8, 1, epoch)) for epoch in range(math.ceil(epochs))]
    whole = math.floor(epochs)
    batches = sum(counts[:whole]) + (math.ceil((epochs - whole) * counts[whole]) if epochs > whole else 0)
    assert len(stream) == len(list(stream)) == batches
    assert stream.steps == math.ceil(batches / accumulation)
    assert stream.epoch_at(stream.steps) == pytest.approx(epochs, abs=1 / counts[0])
    assert stream.epoch_at(0) == 0


def test_epochs_may_differ_in_their_number_of_batches_and_max_steps_is_exact_all_the_same() -> None:
    lengths = np.random.default_rng(0).integers(1, 400, 300)
    counts = {len(plan_epoch(lengths, 512, 4, 0, epoch)) for epoch in range(20)}
    assert len(counts) > 1, "the case this is about"
    stream = TrainingStream(lengths, 512, 4, 0, steps=1000)
    assert len(list(stream)) == 1000
    ends = list(itertools.accumulate(len(plan_epoch(lengths, 512, 4, 0, epoch)) for epoch in range(20)))
    assert [step for step in range(1001) if step in stream.epoch_steps()] == sorted(
        {*(end for end in ends if end <= 1000), 1000}
    )
    assert [stream.epoch_at(end) for end in ends if end <= 1000] == [
        index + 1.0 for index, end in enumerate(ends) if end <= 1000
    ]


def planned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that are planned from here on."""
    epochs: list[int] = []

    def noted(*arguments: Any) -> list[np.ndarray]:
        epochs.append(arguments[4])
        return plan_epoch(*arguments)

    monkeypatch.setattr(batching, "plan_epoch", noted)
    return epochs


@pytest.mark.parametrize("epochs", [1000, 10**6, 10**6 + 0.5, 10**9])
def test_planning_takes_as_long_for_any_number_of_epochs(monkeypatch: pytest.MonkeyPatch, epochs: float) -> None:
    lengths = np.random.default_rng(0).integers(1, 400, 30)
    seen = planned(monkeypatch)
    stream = TrainingStream(lengths, 2000, 8, 0, epochs, accumulation=10)
    steps = stream.epoch_steps()
    assert stream.steps in steps
    assert sum(step in steps for step in range(20)) > 0
    assert len(seen) <= 101
    counts = [len(plan_epoch(lengths, 2000, 8, 0, epoch)) for epoch in range(100)]
    assert stream.batches == pytest.approx(epochs * np.mean(counts), rel=1e-6, abs=2)
    assert list(itertools.islice(stream, 3)) == [batch.tolist() for batch in plan_epoch(lengths, 2000, 8, 0, 0)[:3]]


@pytest.mark.parametrize("epochs", [7, 10**6, 10**6 + 0.5])
def test_epochs_of_equal_batches_are_exact_however_many(monkeypatch: pytest.MonkeyPatch, epochs: float) -> None:
    seen = planned(monkeypatch)
    stream = TrainingStream(np.ones(103, dtype=np.int64), None, 8, 0, epochs)
    assert stream.batches == stream.steps == 13 * math.floor(epochs) + math.ceil(13 * (epochs - math.floor(epochs)))
    assert stream.epoch_at(stream.steps) == pytest.approx(epochs, abs=1 / 13)
    assert 13 * 5 in stream.epoch_steps()
    assert 13 * 5 + 1 not in stream.epoch_steps()
    assert seen == [0]


@pytest.mark.parametrize("epochs", [1e12, 1e300, math.inf])
def test_more_steps_than_anyone_takes_are_refused_by_the_first_epoch(
    monkeypatch: pytest.MonkeyPatch, epochs: float
) -> None:
    seen = planned(monkeypatch)
    with pytest.raises(PoNetError, match="that is more than 1,000,000,000 steps"):
        TrainingStream(np.ones(30, dtype=np.int64), 5, None, 0, epochs)
    assert seen == [0]


@settings(max_examples=40)
@given(LENGTHS, LIMITS, st.integers(1, 3), st.floats(0.1, 6))
def test_the_steps_of_an_epoch_s_end_are_those_of_its_last_batch(
    lengths: np.ndarray, limits: tuple[int | None, int | None], accumulation: int, epochs: float
) -> None:
    stream = TrainingStream(lengths, *limits, 3, epochs, None, accumulation)
    counts = [len(plan_epoch(lengths, *limits, 3, epoch)) for epoch in range(7)]
    ends = [end for end in itertools.accumulate(counts) if end <= stream.batches]
    expected = {*(math.ceil(end / accumulation) for end in ends), stream.steps}
    assert {step for step in range(stream.steps + 1) if step in stream.epoch_steps()} == expected


def test_batches_hold_documents_of_like_length_at_random() -> None:
    lengths = np.random.default_rng(0).integers(10, 2000, 5000)
    batches = plan_epoch(lengths, 8192, None, 0, 0)
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 400  # of 1,990 in a batch drawn blindly
    first = [int(batch[0]) for batch in batches]
    assert first != [int(batch[0]) for batch in plan_epoch(lengths, 8192, None, 1, 0)]
    assert first != [int(batch[0]) for batch in plan_epoch(lengths, 8192, None, 0, 1)]
    means = [lengths[batch].mean() for batch in batches]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.1  # not sorted over the epoch


def test_a_document_over_the_budget_is_alone() -> None:
    lengths = np.array([5, 500, 5, 5])
    assert [1] in [batch.tolist() for batch in plan_epoch(lengths, 20, None, 0, 0)]


@pytest.mark.parametrize(("examples", "batches"), [(20, 4), (23, 4), (3, 1)])
def test_a_last_batch_that_is_not_full_can_be_left_out(examples: int, batches: int) -> None:
    lengths = np.ones(examples, dtype=np.int64)
    epochs = [plan_epoch(lengths, None, 5, 0, epoch, drop_last=True) for epoch in range(3)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [min(5, examples)] * batches
        assert len(set(np.concatenate(epoch).tolist())) == min(5, examples) * batches
    stream = TrainingStream(lengths, None, 5, 0, epochs=3, drop_last=True)
    assert list(stream) == [batch.tolist() for epoch in epochs for batch in epoch]
    assert [step for step in range(3 * batches + 1) if step in stream.epoch_steps()] == [
        batches,
        2 * batches,
        3 * batches,
    ]


@settings(max_examples=40)
@given(LENGTHS, LIMITS)
def test_evaluation_sees_every_example_once_in_the_order_it_says(
    lengths: np.ndarray, limits: tuple[int | None, int | None]
) -> None:
    batches = EvaluationBatches(lengths, *limits)
    assert [index for batch in batches for index in batch] == batches.order.tolist()
    assert sorted(batches.order.tolist()) == list(range(len(lengths)))
    assert len(batches) == len(list(batches))
