"""Examples: a function of their key alone, with spans as the objective says, cut and segmented as the paper says."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tasks.pretraining.stream_fixtures import (
    OBJECTIVES,
    VOCABULARY,
    Shape,
    document_of,
    examples_of,
    keys,
    opened,
    original,
    places,
    random_shape,
    same,
    shapes,
    spans,
)
from torch.utils.data import DataLoader

from ponet.tasks.pretraining.examples import (
    ELSEWHERE,
    FOLLOWS,
    IGNORED,
    SPECIAL_TOKENS,
    SWAPPED,
    Key,
    PretrainingExamples,
)

# ---- a function of the key


def test_neither_order_nor_object_matters(data: Path) -> None:
    examples = opened(data)
    asked = [key for length in (32, 64) for epoch in (0, 1) for key in keys(examples, length, epoch)][::7]
    made = {key: examples[key] for key in asked}
    shuffled = np.random.default_rng(0).permutation(len(asked))
    fresh, unpickled = opened(data), pickle.loads(pickle.dumps(examples))
    for index in shuffled:
        key = asked[index]
        assert same(fresh[key], made[key])
        assert same(unpickled[tuple(int(part) for part in key)], made[key])
    assert same(examples[asked[0]], made[asked[0]])


def test_plans_that_were_let_go_come_back_the_same() -> None:
    examples = examples_of(random_shape(6))
    first = [examples[key] for key in keys(examples, 40)]
    for epoch in range(1, 80):  # more than are kept
        examples.plan(40, epoch, 0)
    assert (40, 0, 0) not in examples._plans
    assert all(same(one, examples[key]) for one, key in zip(first, keys(examples, 40), strict=True))


def test_a_pickle_is_small(data: Path) -> None:
    """Worker processes get no plans and no tokens, but the way to them."""
    examples = opened(data)
    before = len(pickle.dumps(examples))
    [examples[key] for key in keys(examples, 64)]
    assert len(pickle.dumps(examples)) == before < 60_000


@pytest.mark.parametrize("changed", ["seed", "epoch", "length", "shard"])
def test_each_part_of_the_key_matters(changed: str) -> None:
    """Two shards of the same text, too, are drawn apart."""
    shape = random_shape(20)
    one, other = examples_of(shape, shape), examples_of(shape, shape, seed=int(changed == "seed"))
    if changed == "length":  # a lone chunk of each document, whatever the length
        shape = [[5, 6, 4]] * 40
        one = other = examples_of(shape, shape)
    key = {"length": 64, "epoch": 3, "shard": 0}
    moved = key | ({changed: key[changed] + 1} if changed in key else {})

    def all_of(examples: PretrainingExamples, where: dict[str, int]) -> list[list[int]]:
        rows = len(examples.plan(**where))
        made = [examples[Key(**where, row=row)] for row in range(rows)]
        return [[*places(original(example)), *example["labels"]] for example in made]

    kinds = [examples.plan(**where).kind.tolist() for examples, where in ((one, key), (other, moved))]
    assert kinds[0] != kinds[1], "the classes are drawn anew, not the words alone"
    same_again, different = all_of(one, key), all_of(other, moved)
    assert all_of(one, key) == same_again
    equal = sum(row in different for row in same_again)
    assert equal <= 0.1 * len(same_again)


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_worker_processes_make_the_same(data: Path, start: str) -> None:
    examples = opened(data)
    batches = [keys(examples, 64)[at : at + 5] for at in range(0, 100, 5)]
    loader: DataLoader[Any] = DataLoader(
        examples, batch_sampler=batches, num_workers=2, collate_fn=list, multiprocessing_context=start
    )
    made = [example for batch in loader for example in batch]
    assert len(made) == 100
    assert all(same(one, examples[key]) for one, key in zip(made, keys(examples, 64), strict=False))


# ---- the two spans


def test_classes_are_what_they_say() -> None:
    examples = examples_of(random_shape(60, seed=1), random_shape(40, seed=2))
    seen = set()
    for key in keys(examples, 48):
        example, arrays = examples[key], examples.corpus.shard(key.shard)
        plan = examples.plan(*key[:3])
        a, b = (places(span) for span in spans(example))
        for span in (a, b):
            assert (np.diff(span) == 1).all(), "one piece of the text"
        documents = [document_of(arrays, int(span[0])) for span in (a, b)]
        assert documents == [document_of(arrays, int(span[-1])) for span in (a, b)]
        label = example["sentence_label"]
        seen.add(label)
        if label == ELSEWHERE:
            assert documents[0] != documents[1]
            continue
        assert documents[0] == documents[1]
        earlier, later = (a, b) if label == FOLLOWS else (b, a)
        first, split, end = (int(getattr(plan, name)[key.row]) for name in ("first", "split", "end"))
        cut = arrays.sentences[end] - arrays.sentences[first] - len(a) - len(b)
        assert 0 <= later[0] - earlier[-1] - 1 <= cut, "next to each other, but for what was cut"
        if split > first:
            assert earlier[-1] < arrays.sentences[split] <= later[0]
    assert seen == {FOLLOWS, SWAPPED, ELSEWHERE}


def test_labels_of_each_objective() -> None:
    """L_MN has the labels of BERT, 0 and 1; L_OM has one."""
    shape = random_shape(40)
    found = {}
    for objective in OBJECTIVES:
        examples = examples_of(shape, objective=objective)
        plan = examples.plan(48, 0, 0)
        made = [examples[key] for key in keys(examples, 48)]
        found[objective] = sorted(
            {(int(kind), example["sentence_label"]) for kind, example in zip(plan.kind, made, strict=True)}
        )
    assert found == {
        "mlm+sso": [(FOLLOWS, 0), (SWAPPED, 1), (ELSEWHERE, 2)],
        "mlm+nsp": [(FOLLOWS, 0), (ELSEWHERE, 1)],
        "mlm": [(FOLLOWS, 0)],
    }


def test_the_only_document_is_drawn_from_outside_the_chunk() -> None:
    examples = examples_of([[4, 6, 3, 5] * 120])
    arrays, elsewhere = examples.corpus.shard(0), 0
    for key in keys(examples, 40):
        example, plan = examples[key], examples.plan(40, 0, 0)
        if example["sentence_label"] == ELSEWHERE:
            elsewhere += 1
            first, end = (arrays.sentences[int(at[key.row])] for at in (plan.first, plan.end))
            b = places(spans(example)[1])
            assert b[-1] < first or b[0] >= end
    assert elsewhere > 10


# ---- lengths and what is cut


@settings(max_examples=50)
@given(
    st.lists(shapes, min_size=1, max_size=2),
    st.integers(5, 70),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from(OBJECTIVES),
    st.integers(0, 99),
)
def test_any_documents_give_sound_examples(
    corpus: list[Shape], length: int, short: float, objective: Any, seed: int
) -> None:
    examples = examples_of(*corpus, short_share=short, objective=objective, seed=seed)
    for shard in range(len(corpus)):
        plan, arrays = examples.plan(length, 0, shard), examples.corpus.shard(shard)
        shown = np.zeros(len(arrays.tokens), dtype=int)
        cut = replaced = 0
        for row in range(len(plan)):
            example = examples[Key(length, 0, shard, row)]
            ids = example["input_ids"]
            assert len(ids) == plan.lengths[row] <= length
            assert all(len(example[name]) == len(ids) for name in ("segment_ids", "token_type_ids", "labels"))
            assert (example["labels"] != IGNORED).any()
            a, b = (places(span) for span in spans(example))
            assert len(a) >= 1
            assert len(b) >= 1
            assert not set(a) & set(b), "A is never B, nor a part of it"
            first, split, end = (int(getattr(plan, name)[row]) for name in ("first", "split", "end"))
            whole, second = int(arrays.sentences[end] - arrays.sentences[first]), 0
            if plan.kind[row] == ELSEWHERE:
                b = b[:0]
                one = int(arrays.sentences[split] - arrays.sentences[first]) if split > first else int(plan.inside[row])
                whole, second = one, whole - one
                if split > first and split + 1 not in arrays.documents:
                    second = 0  # it is put back
            np.add.at(shown, np.concatenate([a, b]), 1)
            cut += whole - len(a) - len(b)
            replaced += second
        assert shown.max() == 1, "no token is in two examples, but in a second span from elsewhere"
        assert int((shown == 0).sum()) == cut + replaced, "nothing else is lost"


def test_the_longer_span_is_cut_at_either_end() -> None:
    examples = examples_of([[40, 7, 50, 60]] * 200, short_share=0.3)
    arrays = examples.corpus.shard(0)
    front = whole_cut = 0
    for key in keys(examples, 40):
        plan = examples.plan(*key[:3])
        first, split, end, goal = (int(getattr(plan, name)[key.row]) for name in ("first", "split", "end", "goal"))
        second = (split, end)
        if plan.kind[key.row] == ELSEWHERE:
            second = (int(plan.other[key.row]), int(plan.other_end[key.row]))
        bounds = [(int(arrays.sentences[one]), int(arrays.sentences[two])) for one, two in ((first, split), second)]
        if plan.kind[key.row] == SWAPPED:
            bounds.reverse()
        one, two = (stop - start for start, stop in bounds)
        while one + two > goal:  # as StructBERT does it, a token at a time
            if one >= two:
                one -= 1
            else:
                two -= 1
        found = [places(span) for span in spans(examples[key])]
        assert [len(span) for span in found] == [one, two]
        for span, (start, stop) in zip(found, bounds, strict=True):
            assert start <= span[0] <= span[-1] < stop
            front += int(span[0]) - start
            whole_cut += stop - start - len(span)
    assert whole_cut > 10_000
    assert abs(front / whole_cut - 0.5) < 0.02


def test_sentences_longer_than_the_length() -> None:
    examples = examples_of([[500], [300, 400], [2], [1, 1], [1, 900, 1]] * 20)
    for key in keys(examples, 16):
        example = examples[key]
        assert len(example["input_ids"]) <= 16
        assert len(spans(example)[0]) >= 1
        assert len(spans(example)[1]) >= 1


# ---- segments and token types


def test_segments_as_the_paper_numbers_them() -> None:
    """[CLS] 0; A's sentences 1 to a; [SEP] a + 1; B's sentences from a + 2; the closing [SEP] the last + 1."""
    examples = examples_of([[3, 4, 2, 5, 1, 6]] * 60, seed=4)
    arrays = examples.corpus.shard(0)
    for key in keys(examples, 24):
        example = examples[key]
        a, b = (places(span) for span in spans(example))
        expected, types, number = [0], [0], 0
        for kind, span in ((0, a), (1, b)):
            sentence_of = np.searchsorted(arrays.sentences, span, side="right")
            for place, sentence in enumerate(sentence_of):
                number += place == 0 or sentence != sentence_of[place - 1]
                expected.append(number)
                types.append(kind)
            number += 1
            expected.append(number)  # [SEP]
            types.append(kind)
        assert example["segment_ids"].tolist() == expected
        assert example["token_type_ids"].tolist() == types
        assert example["segment_ids"].min() == 0


def test_segments_agree_with_the_tokenizer(data: Path) -> None:
    """A model sees a pair when it is used as it saw pairs when it was trained."""
    examples = opened(data, short_share=0.0)
    tokenizer = examples.corpus.tokenizer()
    checked = 0
    for key in keys(examples, 512):
        plan, arrays = examples.plan(*key[:3]), examples.corpus.shard(key.shard)
        first, split, end = (int(getattr(plan, name)[key.row]) for name in ("first", "split", "end"))
        if plan.kind[key.row] != FOLLOWS or split == first or plan.lengths[key.row] == 512:
            continue
        texts = [
            " ".join(
                tokenizer.decode(arrays.tokens[arrays.sentences[at] : arrays.sentences[at + 1]]) for at in range(*span)
            )
            for span in ((first, split), (split, end))
        ]
        encoded = tokenizer(*texts, segments="sentences")
        example = examples[key]
        assert original(example).tolist() == encoded["input_ids"]
        assert example["token_type_ids"].tolist() == encoded["token_type_ids"]
        assert example["segment_ids"].tolist() == list(encoded["segment_ids"])
        checked += 1
        if checked == 10:
            break
    assert checked >= 5


# ---- masks


def test_masking_options_reach_the_examples() -> None:
    shape = random_shape(60)
    shares = []
    for rate, whole_words in ((0.15, False), (0.4, True)):
        examples = examples_of(shape, mlm_rate=rate, whole_words=whole_words, short_share=0.0)
        made = [examples[key] for key in keys(examples, 64)]
        text = sum(len(example["labels"]) - SPECIAL_TOKENS for example in made)
        shares.append(sum(int((example["labels"] != IGNORED).sum()) for example in made) / text)
        if whole_words:
            for example in made:
                chosen, ids = example["labels"] != IGNORED, original(example)
                inside = VOCABULARY.continues[ids[1:]] & (ids[:-1] >= 10)
                np.testing.assert_array_equal(chosen[1:][inside], chosen[:-1][inside])
    assert abs(shares[0] - 0.15) < 0.01
    assert abs(shares[1] - 0.4) < 0.02
