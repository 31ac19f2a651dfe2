"""What the tests of examples and streams share: a corpus in memory whose every token differs, and a prepared one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ponet.tasks.base import Example
from ponet.tasks.pretraining.examples import IGNORED, Drawing, Key, Objective, PretrainingExamples
from ponet.tasks.pretraining.shards import ShardArrays, TokenCorpus
from ponet.tasks.pretraining.vocabulary import Vocabulary

Shape = list[list[int]]
"""The tokens of each sentence of each document of a shard."""

OBJECTIVES: list[Objective] = ["mlm+sso", "mlm+nsp", "mlm"]

documents = st.one_of(
    st.lists(st.integers(2, 60), min_size=1, max_size=1),  # a text of one token is left out when data is prepared
    st.lists(st.integers(1, 20), min_size=2, max_size=25),
)
shapes = st.lists(documents, min_size=1, max_size=8)
"""Any shard, for hypothesis."""

CLS, SEP, MASK, FIRST_WORD = 3, 7, 5, 10
SHARD = 100_000
"""Token i of shard k of a corpus in memory has the id `FIRST_WORD + SHARD * k + i`: an id is a place in the text."""
SHARDS = 4


def numbered_vocabulary() -> Vocabulary:
    """Every id a word but for those below `FIRST_WORD`; every third one goes on with the word before."""
    size = FIRST_WORD + SHARD * SHARDS
    continues = np.arange(size) % 3 == 2
    continues[:FIRST_WORD] = False
    return Vocabulary(size, CLS, SEP, MASK, np.arange(FIRST_WORD), np.arange(FIRST_WORD, size), continues)


VOCABULARY = numbered_vocabulary()


def shard_arrays(shape: Shape, number: int = 0) -> ShardArrays:
    sentences = np.cumsum([0] + [size for document in shape for size in document])
    documents = np.cumsum([0] + [len(document) for document in shape])
    assert sentences[-1] <= SHARD
    tokens = FIRST_WORD + SHARD * number + np.arange(sentences[-1])
    return ShardArrays(tokens.astype(np.uint32), sentences.astype(np.int64), documents.astype(np.int64))


@dataclass
class MemoryCorpus:
    """Stands in for a `TokenCorpus`."""

    shapes: list[Shape]

    def __post_init__(self) -> None:
        self.arrays = [shard_arrays(shape, number) for number, shape in enumerate(self.shapes)]
        self.tokens = sum(len(arrays.tokens) for arrays in self.arrays)
        self.documents = sum(len(shape) for shape in self.shapes)

    def __len__(self) -> int:
        return len(self.arrays)

    def shard(self, index: int) -> ShardArrays:
        return self.arrays[index]


def random_shape(documents: int, sentences: int = 20, tokens: int = 12, seed: int = 0) -> Shape:
    """Documents of 1 to `sentences` sentences of 1 to `tokens` tokens; a document has two tokens at least."""
    generator = np.random.default_rng(seed)
    shape = []
    for _ in range(documents):
        sizes = generator.integers(1, tokens + 1, generator.integers(1, sentences + 1)).tolist()
        shape.append(sizes if sum(sizes) > 1 else [2])
    return shape


def examples_of(*shapes: Shape, **drawing: Any) -> PretrainingExamples:
    """Examples over documents of these shapes, a shape a shard."""
    return PretrainingExamples(MemoryCorpus(list(shapes)), VOCABULARY, Drawing(**drawing))  # type: ignore[arg-type]


def keys(examples: PretrainingExamples, length: int, epoch: int = 0) -> list[Key]:
    """All examples of an epoch, by shard and row."""
    return [
        Key(length, epoch, shard, row)
        for shard in range(len(examples.corpus))
        for row in range(len(examples.plan(length, epoch, shard)))
    ]


def original(example: Example) -> np.ndarray:
    """`[n]` ids as they were before masking."""
    return np.where(example["labels"] == IGNORED, example["input_ids"], example["labels"])


def spans(example: Example, vocabulary: Vocabulary = VOCABULARY) -> tuple[np.ndarray, np.ndarray]:
    """The ids of A and of B, taken from between the special tokens."""
    ids = original(example)
    ends = np.flatnonzero(ids == vocabulary.sep)
    assert ids[0] == vocabulary.cls
    assert len(ends) == 2
    assert ends[1] == len(ids) - 1
    return ids[1 : ends[0]], ids[ends[0] + 1 : -1]


def places(span: np.ndarray) -> np.ndarray:
    """Where in its shard each token of a corpus in memory is."""
    return (span.astype(np.int64) - FIRST_WORD) % SHARD


def document_of(arrays: ShardArrays, place: int) -> int:
    """The document that a token of the shard is in."""
    return int(np.searchsorted(arrays.sentences[arrays.documents], place, side="right")) - 1


def same(one: Example, other: Example) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def made_up_texts(count: int = 130, seed: int = 0) -> list[str]:
    """Documents of one sentence to forty, of words made of syllables; some sentences are longer than any example."""
    generator = np.random.default_rng(seed)
    syllables = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
    words = np.array(["".join(generator.choice(syllables, generator.integers(1, 5))) for _ in range(300)])
    texts = []
    for number in range(count):
        sentences = []
        for _ in range(1 if number % 13 == 0 else int(generator.integers(2, 41))):
            size = 90 if generator.random() < 0.01 else int(generator.integers(3, 15))
            sentences.append(" ".join(generator.choice(words, size)).capitalize() + ".")
        texts.append(" ".join(sentences))
    return texts


def write_texts(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def opened(folder: Path, split: str = "train", **drawing: Any) -> PretrainingExamples:
    """Examples of a prepared folder."""
    corpus = TokenCorpus(folder, split)
    return PretrainingExamples(corpus, Vocabulary.of(corpus.tokenizer()), Drawing(**drawing))
