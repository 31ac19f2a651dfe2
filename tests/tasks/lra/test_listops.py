"""The generator against an evaluator that reads nothing but the written tokens."""

import statistics

import numpy as np
import pytest

from ponet.tasks.lra import listops
from ponet.tasks.lra.listops import LONG_RANGE_ARENA, TOKENS, Shape, decode, generate, grow
from ponet.utils.errors import PoNetError

SHORT = Shape(min_length=10, max_length=100, max_depth=4, max_args=5)
MEANING = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda arguments: int(statistics.median(arguments)),
    "[SM": lambda arguments: sum(arguments) % 10,
}


def evaluate(text: str) -> tuple[int, int, int, set[int]]:
    """Value, deepest node, most arguments and the arities of an expression; fails on a malformed one."""
    stack: list[tuple[str, list[int]]] = [("", [])]
    deepest = 0
    arities: set[int] = set()
    for token in text.split():
        if token.startswith("["):
            stack.append((token, []))
        elif token == "]":
            operator, arguments = stack.pop()
            arities.add(len(arguments))
            stack[-1][1].append(MEANING[operator](arguments))
        else:
            stack[-1][1].append(int(token))
        deepest = max(deepest, len(stack) - (token == "]" or token.startswith("[")))
    assert len(stack) == 1
    assert len(stack[0][1]) == 1
    return stack[0][1][0], deepest, max(arities, default=0), arities


def test_published_expressions() -> None:
    data = generate(seed=1, n=100)
    assert len(data) == 100
    assert data.lengths.min() > 500
    assert data.lengths.max() < 2000
    arities: set[int] = set()
    for i in range(len(data)):
        value, depth, most, seen = evaluate(decode(data[i]))
        assert value == data.labels[i]
        assert depth <= 10
        assert most <= 10
        arities |= seen
    assert arities == set(range(2, 11))
    assert set(np.unique(data.tokens)) == set(range(1, 16))


@pytest.mark.parametrize("shape", [SHORT, Shape(2, 30, 2, 10), Shape(0, 2, 1, 2), Shape(0, 400, 10, 2)])
def test_labels_of_other_shapes(shape: Shape) -> None:
    data = grow(5, 0, shape, roots=1000)
    assert len(data) > 50
    assert len(data) == len(data.labels) == len(data.offsets) - 1
    for i in range(len(data)):
        value, depth, most, _ = evaluate(decode(data[i]))
        assert value == data.labels[i]
        assert depth <= shape.max_depth
        assert most <= shape.max_args
        assert shape.min_length < len(data[i]) < shape.max_length


def test_distribution_is_the_published_one() -> None:
    """Against trees grown node by node as the published script does: same lengths and labels, to sampling error."""
    random = np.random.default_rng(0)

    def tree(depth: int) -> list[str]:
        if depth == 10 or random.random() < 0.75:
            return [str(random.integers(10))]
        arguments = [token for _ in range(random.integers(2, 11)) for token in tree(depth + 1)]
        return [list(MEANING)[random.integers(4)], *arguments, "]"]

    expected = [text for text in (tree(1) for _ in range(1500)) if 500 < len(text) < 2000]
    made = grow(0, 0, roots=20_000)
    rate = len(made) / 20_000
    assert abs(len(expected) / 1500 - rate) < 4 * (rate / 1500) ** 0.5
    lengths = np.array([len(text) for text in expected])
    assert abs(lengths.mean() - made.lengths.mean()) < 4 * lengths.std() / len(lengths) ** 0.5
    zeros = np.mean([evaluate(" ".join(text))[0] == 0 for text in expected])
    assert abs(zeros - (made.labels == 0).mean()) < 4 * (zeros / len(expected)) ** 0.5


def test_deterministic_and_distinct() -> None:
    first, again, longer = generate(3, 500, SHORT), generate(3, 500, SHORT), generate(3, 800, SHORT)
    np.testing.assert_array_equal(first.tokens, again.tokens)
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.tokens, longer.tokens[: len(first.tokens)])
    texts = [longer[i].tobytes() for i in range(len(longer))]
    assert len(set(texts)) == 800
    for other in (generate(4, 500, SHORT), generate(3, 500, SHORT, split=1)):
        assert not np.array_equal(first.labels, other.labels)


def test_duplicates_are_dropped_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Shape(min_length=3, max_length=6, max_depth=2, max_args=2)  # 4 operators, two digits: 400 expressions
    data = generate(0, 400, tiny)
    assert len({data[i].tobytes() for i in range(400)}) == 400
    block = grow(0, 0, tiny)
    monkeypatch.setattr(listops, "grow", lambda *_: block)
    with pytest.raises(PoNetError, match="Only 400 of 401"):
        generate(0, 401, tiny)


def test_ids_as_text() -> None:
    text = "[MAX 2 9 [MIN 4 7 ] 0 ]"
    ids = [TOKENS.index(token) + 1 for token in text.split()]
    assert decode(np.array([*ids, 0, 0, 0], np.uint8)) == text


def test_indexing() -> None:
    data = generate(0, 3, SHORT)
    np.testing.assert_array_equal(data[-1], data[2])
    with pytest.raises(IndexError):
        data[3]
    assert len(generate(0, 0, SHORT)) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_args": 1}, "at least 2 arguments"),
        ({"max_depth": 0}, "depth 1"),
        ({"min_length": 50, "max_length": 51}, "No length lies strictly between"),
        ({"max_depth": 3, "max_args": 3}, "No expression of depth 3"),
    ],
)
def test_impossible_shapes(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(PoNetError, match=message):
        Shape(**wrong)


@pytest.mark.slow
def test_rate_of_the_published_set() -> None:
    """The training set is made in minutes on one core."""
    import time

    start = time.perf_counter()
    data = generate(0, 96_000, LONG_RANGE_ARENA)
    assert time.perf_counter() - start < 180
    assert 1000 < data.lengths.mean() < 1060
