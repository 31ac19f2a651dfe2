"""Windows: every token of a long passage is read by the teacher, and matched where it has most context."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponet.tasks.distillation.collate import DistillationCollator


def passage(size: int, first: int = 10) -> dict[str, np.ndarray]:
    ids = np.concatenate([[1], first + np.arange(size - 2), [2]])
    return {"input_ids": ids, "segment_ids": np.arange(size), "token_type_ids": 0 * ids}


def test_passages_that_fit_need_no_windows() -> None:
    batch = DistillationCollator(8)([passage(8), passage(3)])
    assert "teacher_input_ids" not in batch
    assert batch["passage_cu_seqlens"].tolist() == [0, 8, 11]
    assert len(batch["labels"]) == len(batch["sentence_labels"]) == 0
    assert batch["cu_seqlens"].tolist() == [0, 8, 11]


@settings(max_examples=80)
@given(
    sizes=st.lists(st.integers(3, 90), min_size=1, max_size=5),
    window=st.integers(3, 40),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)
def test_windows_cover_every_token(sizes, window, overlap) -> None:
    collate = DistillationCollator(window, overlap)
    examples = [passage(size, 10 + 1000 * number) for number, size in enumerate(sizes)]
    batch = collate(examples)
    if max(sizes) <= window:
        assert "teacher_input_ids" not in batch
        return
    read, places = batch["teacher_input_ids"][0], batch["teacher_places"]
    assert read[places].tolist() == batch["input_ids"][0].tolist()
    lengths = batch["teacher_cu_seqlens"].diff()
    assert int(lengths.max()) <= window
    assert sorted(set(batch["teacher_documents"].tolist())) == list(range(len(sizes)))
    for number, example in enumerate(examples):
        starts, text = collate.windows(len(example["input_ids"]))
        assert starts[0] == 0
        assert starts[-1] + text == len(example["input_ids"]) - 2
        for one, other in pairwise(starts):
            assert one < other <= one + text - int(text * overlap) + 1 or text == 1
        assert (batch["teacher_documents"] == number).sum() == len(starts)


def test_a_token_is_matched_where_it_has_most_context() -> None:
    collate = DistillationCollator(window=12, overlap=0.5)
    batch = collate([passage(27)])
    starts, text = collate.windows(27)
    assert (starts, text) == ([0, 5, 10, 15], 10)
    window = (batch["teacher_places"] // (text + 2)).tolist()
    assert window[0] == 0
    assert window[-1] == 3
    for token, chosen in enumerate(window[1:-1]):
        sides = [min(token - start, start + text - 1 - token) for start in starts]
        assert sides[chosen] >= max(sides) - 0.5


@pytest.mark.parametrize("size", [3, 5])
def test_the_shortest_window_reads_a_token_at_a_time(size) -> None:
    batch = DistillationCollator(window=3, overlap=0.0)([passage(size), passage(4)])
    assert batch["teacher_cu_seqlens"].diff().tolist() == [3] * (size - 2 + 2)
