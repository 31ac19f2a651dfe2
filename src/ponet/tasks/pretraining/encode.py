"""From the corpus to arrays: blocks of documents, each parted into sentences, tokenized and written as a shard.

Text comes in three shapes, one in all of a document: a paragraph on each line (Wikipedia, most web text),
paragraphs parted by blank lines and wrapped at some width (novels, mail), and the same without blank lines. So a
line break is undone only in wrapped text, and there only where the next line's first word would not have fitted, begins
with a small letter, or follows a long line that ends no sentence: a heading, a line of verse, the end of a paragraph
stay what they are.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ponet.data.corpora import CorpusSource
from ponet.models.segmentation import sentence_spans
from ponet.tasks.pretraining.shards import SPLITS, TRAIN, VALIDATION, Counts, Encoded, Shard, write_shard
from ponet.tasks.pretraining.vocabulary import text_hash

BLOCK_CHARACTERS = 16_000_000
"""Text in a block, about, of which a few are in memory for each process."""
DOCUMENT_COST = 64
"""What a document takes in memory beside its text, in characters: a corpus of one-word rows makes no endless block."""
HELD_OUT_BYTES = 2_000_000
"""As much of a corpus is held out where nothing is said, about."""
BATCH_CHARACTERS = 1_000_000
"""Text handed to the tokenizer at once: its encodings take some hundred bytes a token."""
MIN_TOKENS = 2
"""A shorter document can't be parted into two spans."""
WIDEST = 105
"""Characters: text with longer lines than this, but for a few in a hundred, wasn't wrapped by hand or editor."""
NARROWEST = 40
FEW = 0.02
"""The share of lines that may be longer than `WIDEST`: tables, addresses, slips."""
LONG = 0.1
"""The share of lines that are longer than the width: wrapped by hand, they end near it, some beyond it."""
MARGIN = 3
"""A line counts as full where the next word would have ended within so many characters of the width."""
HALF = 0.6
"""The share of the width from which on a line is no heading."""
FULL, AMID = 0.4, 0.2
"""The shares of lines in wrapped text, at least, that are nearly full, and that end amid a sentence."""
_ENDS = frozenset(".!?:;…\"'”’»)]*_")


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
    file_bytes: int = 0
    """Bytes of the files that were read for it."""
    held_out: int = 0
    """Training documents left out because they are in the validation corpus."""


def usual_fraction(size: int) -> float:
    """The share to hold out of a corpus of `size` bytes: of a small one 0.005 may be no document at all."""
    return min(0.1, max(0.005, HELD_OUT_BYTES / max(1, size)))


class BlockReader:
    """Reads a corpus, and a validation corpus before it, block by block; `count` is the number of all, once read.

    Args:
        corpus, validation: where the training and the held-out text is.
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
        self.characters, self.count = characters, 0
        self.bytes = sum(source.size(index) for source, index, _ in self.files)
        self.fraction = usual_fraction(self.bytes) if fraction is None else fraction

    def blocks(self, part: int = 0, parts: int = 1) -> Iterator[Block]:
        """The blocks of the corpus, a function of it alone; at least one.

        With a validation corpus, a training document with the same text as one of that corpus is left out; with a
        fraction, the text's hash decides, so that two copies are on the same side.

        Args:
            part, parts: only every `parts`-th block is given, from number `part` on. All text is read all the same,
                since where a block begins depends on what is before it; `count` says how many there are.

        Raises:
            PoNetError: for a file that can't be read.
        """
        held_out: set[int] = set()
        block, size, read = Block(0), 0, 0
        for source, index, split in self.files:
            done = 0
            for text, position in source.documents(index):
                read += position - done
                done = position
                ours = block.number % parts == part
                key = text_hash(text) if ours or split == VALIDATION or held_out else 0
                if split == VALIDATION:
                    held_out.add(key)
                if split == TRAIN and key in held_out:
                    block.held_out += 1
                else:
                    if ours:
                        drawn = split == TRAIN and key < self.fraction * 2.0**64
                        block.documents.append(Document(text, VALIDATION if drawn else split, key))
                    size += len(text) + DOCUMENT_COST
                if size >= self.characters:
                    if ours:
                        block.file_bytes, read = read, 0
                        yield block
                    block, size = Block(block.number + 1), 0
        last = size > 0 or block.held_out > 0 or block.number == 0
        self.count = block.number + last
        if last and block.number % parts == part:
            block.file_bytes = read
            yield block


class BlockEncoder:
    """Splits and tokenizes blocks with a `tokenizer.json`, and writes them as shards to a folder."""

    def __init__(self, tokenizer: str | Path, folder: Path) -> None:
        self.path, self.folder = tokenizer, folder
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True  # "[SEP]" in a text is a text, not the end of a span
        size = max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.dtype = np.dtype(np.uint16 if size <= 1 << 16 else np.uint32)
        self.unknown = self.tokenizer.token_to_id(getattr(self.tokenizer.model, "unk_token", None) or "[UNK]")

    def __reduce__(self) -> tuple[Any, ...]:
        return BlockEncoder, (self.path, self.folder)

    def __call__(self, block: Block) -> tuple[Shard, int]:
        """Writes the shard of a block; returns it, and the bytes of files that were read for the block."""
        left_out = {"without_text": 0, "too_short": 0, "in_validation": block.held_out}
        documents = {split: [each for each in block.documents if each.split == split] for split in SPLITS}
        splits = {split: self._encode(some, left_out) for split, some in documents.items() if some}
        return write_shard(self.folder, f"{block.number:06d}", splits, left_out), block.file_bytes

    def _encode(self, documents: list[Document], left_out: dict[str, int]) -> Encoded:
        counts = Counts()
        tokens: list[np.ndarray] = []
        sentence_lengths, document_lengths, hashes = array("I"), array("I"), array("Q")
        for batch in _batches(documents):
            parts = [[sentences(paragraph) for paragraph in paragraphs(document.text)] for document in batch]
            flat = [sentence for document in parts for paragraph in document for sentence in paragraph]
            encoded = iter(self.tokenizer.encode_batch_fast(flat, add_special_tokens=False))
            for document, structure in zip(batch, parts, strict=True):
                ids = [next(encoded).ids for paragraph in structure for _ in paragraph]
                ids = [sentence for sentence in ids if sentence]  # one of control characters alone has no tokens
                length = sum(map(len, ids))
                if length < MIN_TOKENS:
                    left_out["without_text" if length == 0 else "too_short"] += 1
                    continue
                tokens.append(np.fromiter((i for sentence in ids for i in sentence), dtype=self.dtype, count=length))
                sentence_lengths.extend(map(len, ids))
                document_lengths.append(len(ids))
                hashes.append(document.hash)
                counts.add(Counts(1, len(structure), len(ids), length, 0, len(document.text.encode())))
        joined = np.concatenate(tokens) if tokens else np.zeros(0, self.dtype)
        if self.unknown is not None:
            counts.unknown = int(np.count_nonzero(joined == self.unknown))
        return Encoded(
            joined,
            _offsets(sentence_lengths),
            _offsets(document_lengths),
            np.array(hashes, dtype=np.uint64),
            counts,
        )


def _batches(documents: list[Document]) -> list[list[Document]]:
    batches: list[list[Document]] = []
    size = 0
    for document in documents:
        if not batches or size + len(document.text) > BATCH_CHARACTERS:
            batches.append([])
            size = 0
        batches[-1].append(document)
        size += len(document.text)
    return batches


def _offsets(lengths: "array[int]") -> np.ndarray:
    return np.cumsum([0, *lengths], dtype=np.int64).astype(np.uint32)


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs and headings of a document, each in one piece, wrapped lines joined by a space."""
    lines = [line.strip() for line in text.splitlines()]
    width = wrapped_at([line for line in lines if line])
    paragraph: list[str] = []
    for line in lines:
        if paragraph and (not line or width is None or not _goes_on(paragraph[-1], line, width)):
            yield _joined(paragraph)
            paragraph = []
        if line:
            paragraph.append(line)
    if paragraph:
        yield _joined(paragraph)


def wrapped_at(lines: list[str]) -> int | None:
    """The width at which these lines (no empty ones, no space around them) were wrapped, or None where they weren't."""
    count = len(lines)
    if count < 4:
        return None
    ordered = sorted(map(len, lines))
    widest, width = (ordered[count - 1 - int(count * share)] for share in (FEW, LONG))
    if widest > WIDEST or width < NARROWEST:
        return None
    # in wrapped text most lines are nearly full, and many end amid a sentence; a list or a poem has short lines of all
    # lengths, and few of them begin with a small letter
    full = sum(length >= 0.8 * width for length in ordered)
    amid = sum(_amid(line, following) for line, following in pairwise(lines))
    return width if full >= FULL * count and amid >= AMID * count else None


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, by the rules that also give the model its segments."""
    return [paragraph[start:end] for start, end in sentence_spans(paragraph)]


def _goes_on(line: str, following: str, width: int) -> bool:
    word = following.split(maxsplit=1)[0]
    if len(line) + 1 + len(word) > width - MARGIN or word[0].islower():
        return True
    return len(line) >= HALF * width and line[-1] not in _ENDS


def _amid(line: str, following: str) -> bool:
    return following[0].islower() and line[-1] not in _ENDS


def _joined(lines: list[str]) -> str:
    """Lines in one piece; a word that was parted at its hyphen is one word again, hyphen and all."""
    parts = [lines[0]]
    for before, line in pairwise(lines):
        hyphen = len(before) > 1 and before[-1] == "-" and before[-2].isalpha()
        parts += ["" if hyphen else " ", line]
    return "".join(parts)
