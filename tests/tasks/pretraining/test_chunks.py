"""Which sentences make up an epoch's examples: each one once, in kinds as often each, never too long."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tasks.pretraining.stream_fixtures import OBJECTIVES, Shape, document_of, random_shape, shapes, shard_arrays

from ponet.tasks.pretraining.examples import (
    CLASSES,
    ELSEWHERE,
    FOLLOWS,
    SHORTEST,
    SPECIAL_TOKENS,
    SWAPPED,
    ChunkPlan,
    Objective,
    plan_chunks,
)


def plan(
    shape: Shape, length: int, short: float = 0.1, objective: Objective = "mlm+sso", key: tuple[int, ...] = (0,)
) -> ChunkPlan:
    return plan_chunks(shard_arrays(shape), length, short, objective, key)


def within(share: float, count: int, of: int) -> bool:
    """Whether a share of that many draws is believable: five standard deviations of the binomial distribution."""
    return abs(count / of - share) <= 5 * math.sqrt(share * (1 - share) / of)


@settings(max_examples=80)
@given(shapes, st.integers(5, 70), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from(OBJECTIVES), st.integers(0, 99))
def test_every_sentence_is_in_one_chunk(
    shape: Shape, length: int, short: float, objective: Objective, seed: int
) -> None:
    arrays, found = shard_arrays(shape), plan(shape, length, short, objective, (seed,))
    owners = np.zeros(len(arrays.sentences) - 1, dtype=int)
    for row in range(len(found)):
        first, split, end = int(found.first[row]), int(found.split[row]), int(found.end[row])
        assert split > first or end == first + 1
        assert first <= split < end
        put_back = found.kind[row] == ELSEWHERE and split > first
        owners[first : split if put_back else end] += 1
        begins = np.searchsorted(arrays.documents, [first, end - 1], side="right")
        assert begins[0] == begins[1], "a chunk stays within a document"
    assert owners.max() == 1
    # A second span that would leave a lone sentence to its document's end isn't put back.
    for sentence in np.flatnonzero(owners == 0):
        assert sentence + 1 in arrays.documents
        row = int(np.flatnonzero(found.end == sentence + 1)[-1])
        assert found.kind[row] == ELSEWHERE
        assert found.split[row] == sentence


@settings(max_examples=50)
@given(shapes, st.integers(5, 70), st.sampled_from([0.0, 0.5]), st.sampled_from(OBJECTIVES))
def test_lengths_and_goals(shape: Shape, length: int, short: float, objective: Objective) -> None:
    found = plan(shape, length, short, objective)
    assert len({len(column) for column in vars(found).values()}) == 1
    assert found.lengths.min() >= SPECIAL_TOKENS + SHORTEST
    assert found.lengths.max() <= length
    assert (found.lengths <= found.goal + SPECIAL_TOKENS).all()
    assert found.goal.min() >= SHORTEST
    assert found.goal.max() <= length - SPECIAL_TOKENS
    if short == 0:
        assert (found.goal == length - SPECIAL_TOKENS).all()


@settings(max_examples=50)
@given(shapes, st.integers(5, 70), st.integers(0, 99))
def test_the_other_span_is_never_from_the_own_chunk(shape: Shape, length: int, seed: int) -> None:
    arrays, found = shard_arrays(shape), plan(shape, length, key=(seed,))
    for row in np.flatnonzero(found.kind == ELSEWHERE):
        first, end = int(found.first[row]), int(found.end[row])
        other, other_end = int(found.other[row]), int(found.other_end[row])
        assert other < other_end
        document, other_document = (document_of(arrays, int(arrays.sentences[sentence])) for sentence in (first, other))
        assert other_end <= arrays.documents[other_document + 1], "the other span ends with its document"
        if len(shape) > 1:
            assert document != other_document
        else:
            assert other_end <= first or other >= end


def test_a_single_chunk_has_no_elsewhere() -> None:
    kinds = [int(plan([[5, 5, 5]], 64, key=(seed,)).kind[0]) for seed in range(60)]
    assert set(kinds) == {FOLLOWS, SWAPPED}
    assert {int(plan([[5, 5]], 64, objective="mlm+nsp", key=(seed,)).kind[0]) for seed in range(9)} == {FOLLOWS}


def test_a_single_document_draws_from_both_sides_of_the_chunk() -> None:
    found = plan([[6] * 400], 40)
    elsewhere = found.kind == ELSEWHERE
    before = found.other_end <= found.first
    assert elsewhere.sum() > 20
    assert (elsewhere & before).any()
    assert (elsewhere & ~before).any()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_kinds_as_often_each(objective: Objective) -> None:
    found = plan(random_shape(600), 64, objective=objective)
    kinds = CLASSES[objective]
    assert set(found.kind.tolist()) == set(kinds)
    for kind in kinds:
        assert within(1 / len(kinds), int((found.kind == kind).sum()), len(found))


def test_a_tenth_is_short_with_uniform_goals() -> None:
    length, whole = 50, 47
    shape = random_shape(1200)
    goals = plan(shape, length, 0.1).goal
    short = int((goals < whole).sum())
    # a short goal may be the whole one: of so many lengths one
    assert within(0.1 * (whole - SHORTEST) / (whole - SHORTEST + 1), short, len(goals))
    goals = plan(shape, length, 1.0).goal
    counts = np.bincount(goals, minlength=whole + 1)[SHORTEST:]
    assert counts.sum() == len(goals)
    expected = len(goals) / len(counts)
    assert (np.abs(counts - expected) < 5 * math.sqrt(expected)).all()


def test_chunks_are_filled() -> None:
    """Only a document's last chunk is shorter than its goal, so that little of the length is wasted."""
    shape = [[7] * 300, [5, 9, 3] * 80]
    arrays, found = shard_arrays(shape), plan(shape, 64, 0.0, "mlm")
    last = np.isin(found.end, arrays.documents)
    assert (~last).sum() > 30
    assert (found.lengths[~last] == 64).all()
    held = arrays.sentences[found.end] - arrays.sentences[found.first]
    # one sentence over the goal at most, and one more where it would have been left alone
    assert (held[~last] < 61 + 9).all()
    assert (held[last] < 61 + 9 + 9).all()


def test_the_split_falls_on_every_sentence_end() -> None:
    found = plan([[10] * 5] * 600, 53, 0.0, "mlm")
    counts = np.bincount(found.split - found.first, minlength=5)
    assert counts[0] == 0
    assert counts[5:].sum() == 0
    assert all(within(0.25, int(count), len(found)) for count in counts[1:5])


def test_a_lone_sentence_is_cut_inside() -> None:
    found = plan([[2], [30], [3]] * 300, 12, 0.0, "mlm")
    assert (found.split == found.first).all()
    sizes = np.tile([2, 30, 3], 300)
    assert found.inside.min() == 1
    assert (found.inside < sizes).all()
    assert set(found.inside[sizes == 3].tolist()) == {1, 2}
    assert set(found.inside[sizes == 30].tolist()) == set(range(1, 30))
    assert found.lengths.tolist() == [5, 12, 6] * 300


def test_the_key_decides() -> None:
    shape = random_shape(30)
    one, again, other = plan(shape, 40, key=(1, 2)), plan(shape, 40, key=(1, 2)), plan(shape, 40, key=(1, 3))
    for name, column in vars(one).items():
        np.testing.assert_array_equal(column, getattr(again, name))
    assert one.kind.tolist() != other.kind.tolist()
    assert one.split.tolist() != other.split.tolist()


def test_no_documents_no_chunks() -> None:
    found = plan([], 40)
    assert len(found) == 0
    assert found.lengths.dtype == np.int64
