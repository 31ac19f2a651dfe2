"""Segments that follow the data, against a reading of the same data one token at a time."""

from itertools import pairwise

import numpy as np
import pytest

from ponet.config.lra import LraOptions
from ponet.tasks.lra.batches import fixed, lists, segment_rule, words
from ponet.tasks.lra.listops import TOKENS, Shape, generate
from ponet.tasks.lra.spec import TASKS


def grouping(segments: np.ndarray) -> list[int]:
    """Segments numbered by their first token, so that only who is together with whom counts."""
    numbers: dict[int, int] = {}
    return [numbers.setdefault(int(segment), len(numbers)) for segment in segments]


def read_lists(ids: np.ndarray) -> list[int]:
    """The innermost list of each token, with a stack."""
    stack, made, found = [0], 0, []
    for token in (TOKENS[i - 1] for i in ids):
        if token.startswith("["):
            made += 1
            stack.append(made)
        found.append(stack[-1])
        if token == "]":
            stack.pop()
    return found


def packed(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(documents), np.concatenate([np.arange(len(document)) for document in documents])


def test_lists_are_those_that_a_stack_finds() -> None:
    made = generate(3, 40, Shape(min_length=5, max_length=200))
    documents = [made[i].astype(np.int64) for i in range(len(made))]
    segments = lists(*packed(documents))
    place = 0
    for document in documents:
        mine = segments[place : place + len(document)]
        assert grouping(mine) == grouping(np.array(read_lists(document)))
        place += len(document)
    assert max(max(read_lists(document)) for document in documents) > 5, "or it would say nothing of nesting"


def test_a_list_that_was_cut_off_leaves_the_next_document_alone() -> None:
    made = generate(4, 3, Shape(min_length=20, max_length=200))
    whole = [made[i].astype(np.int64) for i in range(3)]
    documents = [whole[0][:-7], whole[1], whole[2][:9], whole[1]]
    segments = lists(*packed(documents))
    ends = np.cumsum([0, *map(len, documents)])
    for begin, end, document in zip(ends[:-1], ends[1:], documents, strict=True):
        assert grouping(segments[begin:end]) == grouping(np.array(read_lists(document)))


def test_words_have_the_space_behind_them() -> None:
    texts = [b"It was  fine.\n\nReally", b"  no", b"x", b"two words"]
    ids, positions = packed([np.frombuffer(text, np.uint8).astype(np.int64) + 1 for text in texts])
    segments = words(ids, positions)
    pieces, place = [], 0
    for text in texts:
        mine = segments[place : place + len(text)]
        cuts = [0, *(np.flatnonzero(np.diff(mine)) + 1), len(text)]
        pieces.append([text[begin:end] for begin, end in pairwise(cuts)])
        place += len(text)
    assert pieces == [[b"It ", b"was  ", b"fine.\n\n", b"Really"], [b"  ", b"no"], [b"x"], [b"two ", b"words"]]


@pytest.mark.parametrize(
    ("task", "positions", "segment_num", "length"),
    [("listops", 2048, 64, 33), ("text", 4096, 4096, 2), ("retrieval", 4096, 64, 65), ("image", 1024, 32, 33)],
)
def test_fixed_lengths_are_the_published_ones(task: str, positions: int, segment_num: int, length: int) -> None:
    """PAPER.md, section 2: `N // segment_num + 1`."""
    rule = segment_rule(TASKS[task], LraOptions(dataset=task, segment_num=segment_num), positions)
    places = np.arange(100)
    assert rule(places, places).tolist() == (places // length).tolist()


def test_an_image_s_own_segments_are_its_rows() -> None:
    rule = segment_rule(TASKS["pathfinder"], LraOptions(dataset="pathfinder", segments="aligned"), 1024)
    places = np.arange(1024)
    assert rule(places, places).reshape(32, 32).tolist() == [[row] * 32 for row in range(32)]
    assert (fixed(places, places, 1025) == 0).all(), "Pathfinder's published one"
