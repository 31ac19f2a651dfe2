"""Known faults of the published pre-training script, each shown absent (the paper's code; see also test_objective)."""

from pathlib import Path

import numpy as np
from tests.tasks.pretraining.stream_fixtures import (
    examples_of,
    keys,
    opened,
    places,
    spans,
)

from ponet.tasks.pretraining.examples import ELSEWHERE, IGNORED, SPECIAL_TOKENS


def test_a_row_as_long_as_the_goal_is_used_once() -> None:
    """There it was appended twice, which gave A = B, and put the chunk counter ahead."""
    length = 40
    goal = length - SPECIAL_TOKENS
    examples = examples_of([[goal], [goal] * 5, [goal, 3, goal, goal], [3, goal - 3, goal]] * 10, short_share=0.0)
    shown: list[int] = []
    for key in keys(examples, length):
        example = examples[key]
        a, b = (places(span) for span in spans(example))
        assert not set(a) & set(b)
        shown += a.tolist()
        if example["sentence_label"] != ELSEWHERE:
            shown += b.tolist()
    assert len(shown) == len(set(shown)), "no token is in an epoch twice"


def test_no_id_is_assumed(data: Path) -> None:
    """101 and 102 are words here like any other; the special ids are the tokenizer's."""
    examples = opened(data)
    tokenizer, words = examples.corpus.tokenizer(), examples.vocabulary
    assert (words.cls, words.sep, words.mask) == (
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.mask_token_id,
    )
    assert not {words.cls, words.sep} & {101, 102}
    passed = predicted = 0
    for key in keys(examples, 64):
        example = examples[key]
        a, b = spans(example, words)
        assert not np.isin(np.concatenate([a, b]), words.special).any()
        passed += int(np.isin(np.concatenate([a, b]), [101, 102]).sum())
        predicted += int(np.isin(example["labels"], [101, 102]).sum())
    assert passed > 0
    assert predicted > 0


def test_no_negative_segment_and_no_padding(data: Path) -> None:
    """There left padding gave segment -1, and a row of padding alone divided by zero; here nothing is padded."""
    examples = opened(data)
    padding = examples.corpus.tokenizer().pad_token_id
    for key in keys(examples, 64):
        example = examples[key]
        steps = np.diff(example["segment_ids"])
        assert example["segment_ids"][0] == 0
        assert set(steps.tolist()) <= {0, 1}
        assert not (example["input_ids"] == padding).any()
        assert len(example["input_ids"]) >= SPECIAL_TOKENS + 2
        assert (example["labels"] != IGNORED).any()
