"""The corpus as blocks: a function of it alone, and each bounded."""

from itertools import count, islice
from pathlib import Path

import pytest

from ponet.tasks.pretraining.encode import DOCUMENT_COST, BlockReader
from ponet.tasks.pretraining.vocabulary import text_hash


class Texts:
    """A source of lists of texts, one a file, that counts what is read."""

    def __init__(self, *files):
        self.texts = files
        self.read = 0

    @property
    def files(self):
        return [Path(str(i)) for i in range(len(self.texts))]

    def size(self, index):
        return 1000

    def identity(self, index):
        return {"name": str(index)}

    def documents(self, index):
        for number, text in enumerate(self.texts[index], 1):
            self.read += 1
            yield text, number


def corpus():
    return Texts([f"a{i} " * (i + 1) for i in range(20)], [], [f"b{i} " * 9 for i in range(7)])


def contents(block):
    return block.number, block.held_out, [(d.text, d.split, d.hash) for d in block.documents]


@pytest.mark.parametrize("size", [1, 150, 400, 10_000])
def test_blocks_hold_every_document_once(size):
    held_out = Texts(["b3 " * 9, "x", "y " * 50])
    blocks = list(BlockReader([corpus()], [held_out], characters=size).blocks())
    assert [block.number for block in blocks] == list(range(len(blocks)))
    texts = [document.text for block in blocks for document in block.documents]
    assert texts == [*held_out.texts[0], *corpus().texts[0], *(t for t in corpus().texts[2] if t != "b3 " * 9)]
    again = BlockReader([corpus()], [Texts(*held_out.texts)], characters=size).blocks()
    assert list(map(contents, again)) == list(map(contents, blocks))


def test_a_corpus_without_text_is_one_empty_block():
    (block,) = BlockReader([Texts([])]).blocks()
    assert contents(block) == (0, 0, [])


def test_an_endless_corpus_takes_constant_memory():
    source = Texts(f"text {i}" for i in count())
    reader = BlockReader([source], characters=1000)
    for number, block in enumerate(islice(reader.blocks(), 50), 1):
        size = sum(len(document.text) + DOCUMENT_COST for document in block.documents)
        assert 1000 <= size < 1200
        assert source.read <= number * 20  # nothing is read ahead


def test_documents_without_text_make_no_endless_block():
    reader = BlockReader([Texts("" for _ in count())], characters=1000)
    assert all(len(block.documents) < 20 for block in islice(reader.blocks(), 10))


def test_held_out_text_is_left_out_of_training():
    held_out = ["first", "second"]
    reader = BlockReader([Texts(["new", " second\n", "old", "first", "first"])], [Texts(held_out)])
    (block,) = reader.blocks()
    assert [(d.text, d.split) for d in block.documents] == [
        ("first", "validation"),
        ("second", "validation"),
        ("new", "train"),
        ("old", "train"),
    ]
    assert block.held_out == 3


def test_a_fraction_goes_by_the_text():
    texts = [f"text {i % 2000}" for i in range(4000)]  # each twice
    (block,) = BlockReader([Texts(texts)], fraction=0.1, characters=10**9).blocks()
    sides: dict[str, set[str]] = {}
    for document in block.documents:
        sides.setdefault(document.text, set()).add(document.split)
    assert all(len(side) == 1 for side in sides.values())
    drawn = sum(side == {"validation"} for side in sides.values())
    assert 140 < drawn < 260  # 200 wanted, 13 is the standard deviation
    again = BlockReader([Texts(texts[::-1])], fraction=0.1, characters=500).blocks()
    assert all({d.split} == sides[d.text] for block in again for d in block.documents)


def test_bytes_that_are_read_add_up():
    source = corpus()
    blocks = list(BlockReader([source], characters=200).blocks())
    assert sum(block.file_bytes for block in blocks) == 27


def test_hashes_are_the_same_everywhere():
    assert text_hash("PoNet") == text_hash("\n PoNet ") == 0x7D1022EBF752E318
