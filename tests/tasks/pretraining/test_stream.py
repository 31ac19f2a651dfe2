"""The order of a pre-training: packed to a budget, the same for any number of processes, and to be re-entered."""

import math
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from accelerate.data_loader import skip_first_batches
from tests.tasks.pretraining.stream_fixtures import examples_of, keys, opened, random_shape, same
from torch.utils.data import DataLoader

from ponet.tasks.pretraining import stream as stream_module
from ponet.tasks.pretraining.examples import Key
from ponet.tasks.pretraining.stream import PretrainingStream
from ponet.utils.errors import PoNetError

EXAMPLES = examples_of(random_shape(30, seed=1), random_shape(20, seed=2), random_shape(25, seed=3))


def stream(length: int = 48, batch_tokens: int | None = 400, batch_size: int | None = None, **rest: Any) -> Any:
    """`last_length` and `last_share` give a second phase."""
    phases = [(length, 1.0)]
    if "last_length" in rest:
        share = rest.pop("last_share")
        phases = [(length, 1 - share), (rest.pop("last_length"), share)]
    return PretrainingStream(rest.pop("examples", EXAMPLES), phases, batch_tokens, batch_size, **rest)


def tokens(batch: list[Key], examples: Any = EXAMPLES) -> int:
    return sum(len(examples[key]["input_ids"]) for key in batch)


def flat(batches: list[list[Key]]) -> list[Key]:
    return [key for batch in batches for key in batch]


# ---- an epoch


@pytest.mark.parametrize("epoch", [0, 5])
def test_an_epoch_has_every_example_once(epoch: int) -> None:
    found = [batch for batch, _ in stream(steps=1).epoch(48, epoch)]
    assert sorted(flat(found)) == keys(EXAMPLES, 48, epoch)


def test_batches_keep_to_the_budget_and_fill_it() -> None:
    found = list(stream(steps=1).epoch(48, 0))
    for (batch, held), (following, _) in pairwise(found):
        assert tokens(batch) == held <= 400
        assert held + tokens(following[:1]) > 400, "the next one would not have fitted"
    assert tokens(found[-1][0]) == found[-1][1] <= 400


def test_batches_of_so_many_examples() -> None:
    by_size = [batch for batch, _ in stream(batch_tokens=None, batch_size=7, steps=1).epoch(48, 0)]
    assert {len(batch) for batch in by_size[:-1]} == {7}
    both = list(stream(batch_tokens=300, batch_size=7, steps=1).epoch(48, 0))
    assert all(len(batch) <= 7 and held <= 300 for batch, held in both)
    assert {len(batch) == 7 for batch, _ in both} == {True, False}, "now one limit holds, now the other"


def test_an_example_over_the_budget_is_alone() -> None:
    found = list(stream(batch_tokens=20, steps=1).epoch(48, 0))
    assert sorted(flat([batch for batch, _ in found])) == keys(EXAMPLES, 48)
    over = [batch for batch, held in found if held > 20]
    assert len(over) > 50
    assert all(len(batch) == 1 for batch in over)


def test_the_order_is_random_over_shards_and_rows() -> None:
    order = flat([batch for batch, _ in stream(steps=1).epoch(48, 0)])
    assert order != sorted(order)
    neighbours = sum(one.shard == two.shard for one, two in pairwise(order)) / len(order)
    assert neighbours < 0.5, "shards are mixed"
    other_epoch = [key._replace(epoch=0) for key in flat([batch for batch, _ in stream(steps=1).epoch(48, 1)])]
    assert order[:20] != other_epoch[:20]
    other_seed = examples_of(*EXAMPLES.corpus.shapes, seed=1)  # type: ignore[attr-defined]
    assert order[:20] != flat([batch for batch, _ in stream(examples=other_seed, steps=1).epoch(48, 0)])[:20]


def test_a_corpus_of_many_shards_is_shuffled_within_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "POOL_SHARDS", 2)
    examples = examples_of(*(random_shape(8, seed=seed) for seed in range(4)))
    pools = []
    for epoch in range(8):
        order = flat([batch for batch, _ in stream(examples=examples, steps=1).epoch(48, epoch)])
        assert sorted(order) == keys(examples, 48, epoch)
        first = {key.shard for key in order[: len(order) // 4]}
        turn = max(at for at, key in enumerate(order) if key.shard in first)
        assert {key.shard for key in order[: turn + 1]} == first, "a pool ends before the next begins"
        assert len(first) == 2
        pools.append(tuple(sorted(first)))
    assert len(set(pools)) > 2, "pools are drawn anew"


# ---- a training


def test_epochs_follow_one_another() -> None:
    whole = [[batch for batch, _ in stream(steps=1).epoch(48, epoch)] for epoch in range(2)]
    count = len(whole[0]) + 5
    assert list(stream(steps=count)) == whole[0] + whole[1][:5]


@pytest.mark.parametrize(("accumulation", "processes"), [(1, 2), (2, 2), (3, 1), (1, 4)])
def test_processes_share_one_stream(accumulation: int, processes: int) -> None:
    steps, group = 9, accumulation * processes
    alone = stream(steps=steps, accumulation=group, last_length=80, last_share=0.3)
    shared = [
        stream(
            steps=steps,
            accumulation=accumulation,
            process=process,
            processes=processes,
            last_length=80,
            last_share=0.3,
        )
        for process in range(processes)
    ]
    one, parts = list(alone), [list(part) for part in shared]
    assert len(one) == len(alone) == steps * group
    assert [len(part) for part in shared] == [len(part) for part in parts] == [steps * accumulation] * processes
    assert [batch for dealt in zip(*parts, strict=True) for batch in dealt] == one
    for part in shared:
        assert [part.tokens_at(step) for step in range(steps + 1)] == [
            alone.tokens_at(step) for step in range(steps + 1)
        ]
        assert [part.epoch_at(step) for step in (0, 4, steps)] == [alone.epoch_at(step) for step in (0, 4, steps)]


@pytest.mark.parametrize("skipped", [1, 6, 14, 19])
def test_a_stream_is_re_entered_by_skipping(skipped: int, data: Path) -> None:
    """As the Trainer does it, with new objects, through the end of an epoch and into the last phase."""

    def loader() -> tuple[Any, DataLoader[Any]]:
        examples = opened(data)
        batches = stream(128, 4500, examples=examples, steps=20, last_length=200, last_share=0.25)
        return batches, DataLoader(examples, batch_sampler=batches, collate_fn=list)

    batches, whole = loader()
    expected = list(whole)
    again, rest = loader()
    found = list(skip_first_batches(rest, skipped))
    assert len(found) == 20 - skipped
    for one, other in zip(found, expected[skipped:], strict=True):
        assert len(one) == len(other)
        assert all(map(same, one, other))
    assert again.tokens_at(20) == batches.tokens_at(20)
    assert {key.epoch for key in flat(list(batches))} == {0, 1}


def test_the_last_phase_is_longer() -> None:
    """A quarter of the steps, rounded, with examples from an order of their own."""
    found = stream(steps=11, accumulation=2, last_length=96, last_share=0.25, batch_tokens=500)
    batches = list(found)
    assert len(batches) == 22
    assert found.phases == [(48, 16), (96, 22)]
    assert {key.length for key in flat(batches[:16])} == {48}
    assert {key.length for key in flat(batches[16:])} == {96}
    assert batches[16:] == [batch for batch, _ in islice(found.epoch(96, 0), 6)]
    sizes = [len(EXAMPLES[key]["input_ids"]) for key in flat(batches[16:])]
    assert 48 < max(sizes) <= 96
    assert all(tokens(batch) <= 500 for batch in batches)


@pytest.mark.parametrize(("share", "lengths"), [(0.0, {48}), (1.0, {96})])
def test_the_last_phase_may_be_all_or_nothing(share: float, lengths: set[int]) -> None:
    batches = list(stream(steps=5, last_length=96, last_share=share))
    assert len(batches) == 5
    assert {key.length for key in flat(batches)} == lengths


def test_a_last_phase_of_the_same_length_repeats_nothing() -> None:
    found = flat(list(stream(steps=20, last_length=48, last_share=0.5)))
    assert len(set(found)) == len(found)
    assert found == flat(list(stream(steps=20)))


def test_tokens_and_epochs_behind_us() -> None:
    found = stream(steps=12, accumulation=3, last_length=70, last_share=0.2)
    batches = list(found)
    held = [tokens(batch) for batch in batches]
    for step in range(13):
        assert found.tokens_at(step) == sum(held[: 3 * step])
        assert found.epoch_at(step) == pytest.approx(sum(held[: 3 * step]) / EXAMPLES.corpus.tokens)
    assert found.tokens_at(99) == sum(held)


@pytest.mark.parametrize("epochs", [0.3, 1.0, 2.5])
def test_steps_for_so_many_passes(epochs: float) -> None:
    found = stream(epochs=epochs, accumulation=2)
    list(found)
    wanted = epochs * EXAMPLES.corpus.tokens
    assert found.tokens_at(found.steps - 1) < wanted <= found.tokens_at(found.steps)
    assert found.epoch_at(found.steps) == pytest.approx(epochs, abs=2 * 400 / EXAMPLES.corpus.tokens)


def test_steps_for_any_number_of_passes_are_counted_in_as_long() -> None:
    few, many = stream(epochs=100), stream(epochs=100_000)
    assert many.steps == pytest.approx(1000 * few.steps, rel=1e-3)
    with pytest.raises(PoNetError, match="that is more than 1,000,000,000 steps"):
        stream(epochs=1e12)


@pytest.mark.parametrize(("steps", "expected"), [(100, list(range(10, 101, 10))), (4, [1, 2, 3, 4]), (1, [1])])
def test_evaluations_at_each_tenth(steps: int, expected: list[int]) -> None:
    assert stream(steps=steps).epoch_steps() == expected


def test_lengths_come_from_the_plan_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of millions of examples is ordered and cut without reading a token."""
    examples = opened(data)
    for index in range(len(examples.corpus)):
        arrays = examples.corpus.shard(index)
        examples.corpus._open[index] = type(arrays)(None, arrays.sentences, arrays.documents)  # type: ignore[arg-type]
    found = stream(64, 1000, examples=examples, steps=50)
    assert len(list(found)) == 50
    assert math.isclose(found.tokens_at(50), 50_000, rel_tol=0.1)
