"""The vocabulary of pre-training: learned from the corpus, what examples need of it, and its fingerprint."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ponet.artifacts import progress
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.data.corpora import CorpusSource
    from ponet.models.tokenization_ponet import PoNetTokenizer

VOCAB_SIZE = 16_000
SAMPLE_BYTES = 100_000_000
"""A vocabulary is learned from about so much of the corpus, spread over all of it."""
_SAMPLE_SALT = "sample "
_UNUSED = re.compile(r"\[unused\d+\]")


@dataclass(frozen=True)
class Vocabulary:
    """The ids that examples are built with; made by `of`, so no id is ever assumed."""

    size: int
    cls: int
    sep: int
    mask: int
    special: np.ndarray
    """`[k]`, ids of all special tokens."""
    words: np.ndarray
    """`[w]`, ids that a masked token may be replaced with: no special token, and no piece kept free (`[unused1]`)."""
    continues: np.ndarray
    """`[size]` bool: pieces that go on with the word of the token before (`##ing`)."""

    @classmethod
    def of(cls, tokenizer: "PoNetTokenizer") -> "Vocabulary":
        """The vocabulary of a tokenizer. Raises a PoNetError where it has no [CLS], [SEP] or [MASK], or no words."""
        pieces = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True)
        ids: dict[str, int] = {}
        for name in ("cls", "sep", "mask"):
            token = getattr(tokenizer, f"{name}_token")
            if token not in pieces:
                raise PoNetError(f"The tokenizer has no {name}_token: pre-training needs [CLS], [SEP] and [MASK].")
            ids[name] = pieces[token]
        size = max(pieces.values()) + 1
        special = np.array(sorted(set(tokenizer.all_special_ids)), dtype=np.int64)
        continues = np.zeros(size, dtype=bool)
        word = np.zeros(size, dtype=bool)
        for piece, index in pieces.items():
            continues[index] = piece.startswith("##") and len(piece) > 2
            word[index] = _UNUSED.fullmatch(piece) is None
        word[special] = False
        if not word.any():
            raise PoNetError("The tokenizer's vocabulary has no words, only special tokens.")
        return cls(size, **ids, special=special, words=np.flatnonzero(word), continues=continues)


def fingerprint(tokenizer: "PoNetTokenizer") -> str:
    """A digest of all that decides which ids a text gets; the same for a tokenizer that was saved and opened again."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = [
        sorted(tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True).items()),
        backend["normalizer"],
        backend["pre_tokenizer"],
        {name: getattr(tokenizer, name) for name in ("cls_token", "sep_token", "mask_token", "unk_token", "pad_token")},
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class CorpusSample:
    """About `SAMPLE_BYTES` of the corpus, whole documents chosen by their hash; can be read again and again."""

    sources: "Sequence[CorpusSource]"
    advance: Callable[[int], None]

    def __iter__(self) -> Iterator[str]:
        share = min(1.0, SAMPLE_BYTES / max(_bytes(self.sources), 1))  # of Parquet the text is larger: a fair sample
        for source in self.sources:
            for index in range(len(source.files)):
                done = 0
                for text, position in source.documents(index):
                    if share == 1.0 or text_hash(_SAMPLE_SALT + text) < share * 2.0**64:
                        yield text
                    self.advance(position - done)
                    done = position


def _bytes(sources: "Sequence[CorpusSource]") -> int:
    return sum(source.size(index) for source in sources for index in range(len(source.files)))


def learn_vocabulary(sources: "Sequence[CorpusSource]", vocab_size: int, lowercase: bool) -> "PoNetTokenizer":
    """A tokenizer with a WordPiece vocabulary of so many pieces at most, learned from the corpus. Raises a PoNetError
    for a corpus that can't be read or holds no text, and too small a vocabulary for its characters."""
    from ponet.data.tokenizer_training import PASSES, train_wordpiece

    with progress("Learning a vocabulary", PASSES * _bytes(sources), "bytes") as advance:
        return train_wordpiece(CorpusSample(sources, advance), vocab_size, lowercase)


def text_hash(text: str) -> int:
    """64 bits of a text, the same on every machine; space at either end doesn't count."""
    return int.from_bytes(hashlib.blake2b(text.strip().encode(), digest_size=8).digest(), "big")
