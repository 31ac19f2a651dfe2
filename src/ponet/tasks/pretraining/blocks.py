"""The corpus as a sequence of blocks: a function of the corpus alone, so that any block can be made again, and skipped.

Which side a document is on is decided here. With a validation corpus, a training document with the same text as one of
that corpus is left out; with a fraction, the text's hash decides, so that two copies are on the same side.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ponet.data.corpora import CorpusSource
from ponet.tasks.pretraining.shards import TRAIN, VALIDATION

BLOCK_CHARACTERS = 16_000_000
"""Text in a block, about: so much work at most is lost when the command is killed, and a few blocks are in memory."""
DOCUMENT_COST = 64
"""What a document takes in memory beside its text, in characters: a corpus of one-word rows makes no endless block."""
HELD_OUT_BYTES = 2_000_000
"""As much of a corpus is held out where nothing is said, about."""

Place = tuple[int, int]
"""A place in the corpus: the file's number, and how many of its documents come before."""


@dataclass
class Document:
    """A text, which split it belongs to, and its hash."""

    text: str
    split: str
    hash: int


@dataclass
class Block:
    """Consecutive documents of the corpus, on the way to becoming a shard."""

    number: int
    documents: list[Document] = field(default_factory=list)
    end: Place = (0, 0)
    file_bytes: int = 0
    """Bytes of the files that were read for it, those skipped on the way to its first document included."""
    held_out: int = 0
    """Training documents left out because they are in the validation corpus."""


def usual_fraction(size: int) -> float:
    """The share of documents to hold out of a corpus of `size` bytes: of a large one 0.005 is plenty, of a small one it
    may be no document at all."""
    return min(0.1, max(0.005, HELD_OUT_BYTES / max(1, size)))


class BlockReader:
    """Reads a corpus, and a validation corpus before it, block by block.

    Args:
        corpus: where the training text is.
        validation: where the held-out text is; may be empty.
        fraction: the share of `corpus` to hold out, where there is no validation corpus; None: `usual_fraction`.
        characters: the size of a block.
    """

    def __init__(
        self,
        corpus: Sequence[CorpusSource],
        validation: Sequence[CorpusSource] = (),
        fraction: float | None = 0.0,
        characters: int = BLOCK_CHARACTERS,
    ) -> None:
        self.files = [
            (source, index, split)
            for split, sources in ((VALIDATION, validation), (TRAIN, corpus))
            for source in sources
            for index in range(len(source.files))
        ]
        self.characters = characters
        self.bytes = sum(source.size(index) for source, index, _ in self.files)
        self.fraction = usual_fraction(self.bytes) if fraction is None else fraction

    def before(self, place: Place) -> int:
        """Bytes of the files before the one that `place` is in."""
        return sum(source.size(index) for source, index, _ in self.files[: place[0]])

    def blocks(self, number: int = 0, start: Place = (0, 0)) -> Iterator[Block]:
        """The blocks from `number` on, which begins at `start`.

        Raises:
            PoNetError: for a file that can't be read.
        """
        held_out = self._held_out(start)
        block, begin, size = Block(number, end=start), start, 0
        for at in range(start[0], len(self.files)):
            source, index, split = self.files[at]
            done = 0
            skip = start[1] if at == start[0] else 0
            for count, (text, position) in enumerate(source.documents(index), 1):
                if count <= skip:
                    continue
                block.end = (at, count)
                block.file_bytes += position - done
                done = position
                key = text_hash(text)
                if split == VALIDATION:
                    held_out.add(key)
                if split == TRAIN and key in held_out:
                    block.held_out += 1
                else:
                    drawn = split == TRAIN and key < self.fraction * 2.0**64
                    block.documents.append(Document(text, VALIDATION if drawn else split, key))
                    size += len(text) + DOCUMENT_COST
                if size >= self.characters:
                    yield block
                    begin = block.end
                    block, size = Block(block.number + 1, end=begin), 0
        if block.end != begin or block.number == 0:
            block.end = (len(self.files), 0)
            yield block

    def _held_out(self, start: Place) -> set[int]:
        """Hashes of the validation corpus as far as `start`; it is small, and read again."""
        found: set[int] = set()
        for at, (source, index, split) in enumerate(self.files[: start[0] + 1]):
            if split == VALIDATION:
                for count, (text, _) in enumerate(source.documents(index)):
                    if at == start[0] and count == start[1]:
                        break
                    found.add(text_hash(text))
        return found


def text_hash(text: str) -> int:
    """64 bits of a text, the same on every machine; space at either end doesn't count."""
    return int.from_bytes(hashlib.blake2b(text.strip().encode(), digest_size=8).digest(), "big")
