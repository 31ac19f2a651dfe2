"""Texts -> token arrays: one pass over the texts, texts over the limit cut, everything kept in flat arrays."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Encoding

from ponet.artifacts import progress
from ponet.config.text import TextOptions
from ponet.inference.documents import Texts
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.base import Split
from ponet.tasks.models import cut_lengths
from ponet.tasks.text.corpus import Documents
from ponet.tasks.text.tokens import Tokens, TokenStore
from ponet.utils.batching import bounded
from ponet.utils.errors import PoNetError

BATCH_TEXTS = 512
BATCH_CHARACTERS = 4_000_000
"""Texts are handed to the tokenizer in batches of at most so many, so that long ones don't fill the memory."""
FOREIGN_SHARE = 1 / 3
"""Of word pieces that are [UNK] or single letters within words, from which on a text is said to be foreign."""
_CUT_AT = {"head": "cut at the tail", "tail": "cut at the head", "both": "cut in the middle"}


@dataclass
class CutCounts:
    """How much of the texts is over the limit."""

    texts: int = 0
    cut: int = 0
    """Texts over the limit."""
    tokens: int = 0
    """Before the cut, special tokens included."""
    dropped: int = 0
    """Tokens that the cut took away."""

    def add(self, before: int, after: int) -> None:
        """Counts one text."""
        self.texts += 1
        self.tokens += before
        self.dropped += before - after
        self.cut += before > after

    def notice(self, split: str, options: TextOptions) -> str | None:
        """The sentence for the user, or None where nothing is cut."""
        if not self.cut:
            return None
        return (
            f"{self.cut:,} of {self.texts:,} {split} texts ({self.cut / self.texts:.1%}) are longer than "
            f"{options.max_length:,} tokens: {_CUT_AT[options.keep]}, {self.dropped / self.tokens:.1%} of all tokens "
            "dropped."
        )

    def facts(self) -> dict[str, int]:
        """For the result file."""
        return {"tokens": self.tokens - self.dropped, "texts_cut": self.cut, "tokens_dropped": self.dropped}


@dataclass
class Encoder:
    """Turns texts into tokens as the options say, and counts what is cut."""

    tokenizer: PoNetTokenizer
    options: TextOptions
    counts: CutCounts = field(default_factory=CutCounts)

    def __call__(self, texts: list[str], pairs: list[str] | None = None) -> list[Tokens]:
        """A batch of texts, or of pairs of texts."""
        if pairs is not None and self.options.pairs == "separate":
            sides = self._encode(texts), self._encode(pairs)
            return [Tokens.of_documents(pair) for pair in zip(*sides, strict=True)]
        encoded = self._encode(texts, pairs)
        if self.options.window is None:
            return encoded
        return [Tokens.of_documents(windows(tokens, self.options.window)) for tokens in encoded]

    def _encode(self, texts: list[str], pairs: list[str] | None = None) -> list[Tokens]:
        encoded = self.tokenizer(
            texts,
            pairs,
            segments=None if self.options.segments == "none" else self.options.segments,
            segment_length=self.options.segment_length,
            truncation=False,
            return_token_type_ids=True,
            return_attention_mask=False,
            verbose=False,
        )
        documents = []
        for row, (ids, types) in enumerate(zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)):
            kinds = np.asarray(types, dtype=np.uint8)
            segments = one_segment(kinds) if self.options.segments == "none" else encoded["segment_ids"][row]
            whole = Tokens(np.asarray(ids, dtype=np.int32), np.asarray(segments, dtype=np.int32), kinds)
            part = whole
            if len(whole) > self.options.max_length:
                kept = kept_tokens(kinds, self.options)
                part = whole.part(kept, len(whole) - len(kept))
            self.counts.add(len(whole), len(part))
            documents.append(part)
        return documents


@dataclass
class PairEncoder:
    """Texts, or pairs of them, to tokens; in a worker process too."""

    encoder: Encoder
    paired: bool
    """Whether the model compares two texts, and can't read one alone."""

    def __call__(self, texts: Texts) -> list[Tokens]:
        """A document each. Raises PoNetError: single texts where pairs are needed."""
        if self.paired and texts[0][1] is None:
            raise PoNetError("This model compares two texts: the input must be a table with two columns (--pair).")
        pairs = None if texts[0][1] is None else [pair or "" for _, pair in texts]
        return self.encoder([text for text, _ in texts], pairs)


def windows(text: Tokens, size: int) -> list[Tokens]:
    """A text `[CLS] A [SEP]` in windows of at most `size` tokens of the same form, as equal as can be; a segment that a
    window's end cuts is one in both."""
    inner = len(text) - 2
    count = max(1, -(-inner // (size - 2)))
    bounds = 1 + np.arange(count + 1) * inner // count
    places = [np.concatenate([[0], np.arange(begin, end), [inner + 1]]) for begin, end in pairwise(bounds)]
    return [text.part(each, 0 if number else text.dropped) for number, each in enumerate(places)]


def one_segment(types: np.ndarray) -> np.ndarray:
    """Segment ids `[n]` of an undivided text or pair, [CLS] A [SEP] (B [SEP]), given its token types `[n]`."""
    starts = np.zeros(len(types), dtype=np.int32)
    first_end = int(np.count_nonzero(types == 0)) - 1
    places = (1, first_end, first_end + 1, len(types) - 1)  # A, [SEP], B, [SEP], where they are
    starts[[place for place in places if place < len(types)]] = 1
    return np.cumsum(starts, dtype=np.int32)


def kept_tokens(types: np.ndarray, options: TextOptions) -> np.ndarray:
    """Positions `[max_length]` that stay of `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, given its token types `[n]`.

    The special tokens stay. Of a pair the longer text is cut first, until both are equally long.
    """
    size = len(types)
    first_end = int(np.count_nonzero(types == 0)) - 1  # the [SEP] after A
    is_pair = first_end < size - 1
    lengths = (first_end - 1, size - first_end - 2 if is_pair else 0)
    first, second = cut_lengths(*lengths, options.max_length - (3 if is_pair else 2))
    parts: list[Any] = [[0], 1 + kept_range(lengths[0], first, options.keep), [first_end]]
    if is_pair:
        parts += [first_end + 1 + kept_range(lengths[1], second, options.keep), [size - 1]]
    return np.concatenate(parts).astype(np.int64)


def kept_range(length: int, kept: int, keep: str) -> np.ndarray:
    """Positions `[kept]` out of `length` that stay: from the head, the tail, or half from each end."""
    if keep == "head" or kept >= length:
        return np.arange(kept)
    if keep == "tail":
        return np.arange(length - kept, length)
    head = kept - kept // 2
    return np.concatenate([np.arange(head), np.arange(length - (kept - head), length)])


def encode_documents(
    documents: Documents, tokenizer: PoNetTokenizer, options: TextOptions, split: str
) -> tuple[Split, CutCounts]:
    """A split as token arrays, with a progress bar where the terminal shows one."""
    encoder = Encoder(tokenizer, options)
    encoded: list[Tokens] = []
    with progress(f"Tokenizing {split}", len(documents), "texts") as advance:
        for texts, pairs in _batches(documents):
            encoded.extend(encoder(texts, pairs))
            advance(len(texts))
    store = TokenStore(encoded, documents.labels)
    return Split(store, store.lengths), encoder.counts


def foreign_notice(train: Split, tokenizer: PoNetTokenizer, name: str) -> str | None:
    """The sentence for the user where training texts are in a language or script that the tokenizer of `name` lacks.

    Such texts fall into [UNK] and into single letters within words. Of what has letters, English has 1 in 20 of them
    with a vocabulary of 8,000 pieces, German 1 in 4, and another script 2 in 5 or more."""
    assert isinstance(train.examples, TokenStore)
    vocabulary = tokenizer.get_vocab()
    has_letters, poor = np.zeros((2, 1 + max(vocabulary.values())), dtype=bool)
    special = set(tokenizer.all_special_tokens)
    for piece, index in vocabulary.items():
        inner = piece.startswith("##")
        word = piece.removeprefix("##")
        has_letters[index] = piece not in special and any(unicodedata.category(letter)[0] in "LM" for letter in word)
        poor[index] = has_letters[index] and inner and len(word) == 1
    has_letters[tokenizer.unk_token_id] = poor[tokenizer.unk_token_id] = True
    counts = np.bincount(train.examples.input_ids, minlength=len(poor))
    share = counts[poor].sum() / max(counts[has_letters].sum(), 1)
    if share < FOREIGN_SHARE:
        return None
    return (
        f"{share:.1%} of the word pieces of the training texts are {tokenizer.unk_token} or single letters within "
        f"words to the tokenizer of '{name}', which was made for another language or script: begin from scratch "
        "(--model none, or model.init=null) with a vocabulary made from these texts, or from more texts by `ponet "
        "tokenizer train` (tokenizer=FOLDER)."
    )


def _batches(documents: Documents) -> Iterator[tuple[list[str], list[str] | None]]:
    """Consecutive texts (and their pairs), a bounded number of characters at a time."""
    sides = [documents.texts] if documents.pairs is None else [documents.texts, documents.pairs]
    starts = range(0, len(documents), BATCH_TEXTS)
    lists = ([side.slice(start, BATCH_TEXTS).to_pylist() for side in sides] for start in starts)
    rows = (row for columns in lists for row in zip(*columns, strict=True))
    for batch in bounded(rows, lambda row: sum(map(len, row)), BATCH_TEXTS, BATCH_CHARACTERS):
        texts, *pairs = map(list, zip(*batch, strict=True))
        yield texts, pairs[0] if pairs else None


def cut_documents(
    documents: Documents, tokenizer: PoNetTokenizer, options: TextOptions, split: str
) -> tuple[Documents, CutCounts]:
    """The documents with just the text that `encode_documents` keeps, and the same counts."""
    counts = CutCounts()
    texts: list[str] = []
    pairs: list[str] = []
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    with progress(f"Cutting {split}", len(documents), "texts") as advance:
        for first, second in _batches(documents):
            a = backend.encode_batch(first, add_special_tokens=False)
            b = None if second is None else backend.encode_batch(second, add_special_tokens=False)
            for row, text in enumerate(first):
                lengths = (len(a[row]), 0 if b is None else len(b[row]))
                if b is not None and options.pairs == "separate":
                    kept = min(lengths[0], options.max_length - 2), min(lengths[1], options.max_length - 2)
                    for before, after in zip(lengths, kept, strict=True):
                        counts.add(before + 2, after + 2)
                else:
                    special = 2 if b is None else 3
                    kept = cut_lengths(*lengths, options.max_length - special)
                    counts.add(sum(lengths) + special, sum(kept) + special)
                texts.append(_cut_text(text, a[row], kept[0], options.keep))
                if second is not None and b is not None:
                    pairs.append(_cut_text(second[row], b[row], kept[1], options.keep))
            advance(len(first))
    cut_pairs = None if documents.pairs is None else pa.chunked_array([pa.array(pairs, pa.large_string())])
    cut_texts = pa.chunked_array([pa.array(texts, pa.large_string())])
    return Documents(cut_texts, cut_pairs, documents.labels, documents.origin), counts


def _cut_text(text: str, encoding: Encoding, kept: int, keep: str) -> str:
    """The characters of the `kept` tokens: the head, the tail, or both ends with a space between."""
    if kept >= len(encoding):
        return text
    positions, offsets = kept_range(len(encoding), kept, keep), encoding.offsets
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1) if kept else []
    return " ".join(text[offsets[run[0]][0] : offsets[run[-1]][1]] for run in runs)
