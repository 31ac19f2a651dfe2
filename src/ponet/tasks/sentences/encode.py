"""Texts -> sentences as the tasks read them (none longer than a bound, no heading apart from its text) -> tokens -> a
packed batch of documents, whole or in windows of whole sentences."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Encoding

from ponet.models.segmentation import sentence_spans
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.base import Example

INPUTS = ("input_ids", "segment_ids", "sentence_ids", "cu_seqlens")
SPECIAL_TOKENS = 2
"""[CLS] text [SEP]."""
LONGEST = 500
"""Characters of a sentence, at most; text without sentence marks (a transcript) is cut at line ends, else at space."""
_HEADING = re.compile(r"#{1,6}[ \t]\S[^\n]*")

Span = tuple[int, int]
"""Half-open character offsets."""


def split_sentences(text: str) -> list[Span]:
    """Sentences of a text: in order, disjoint, without space at either end, together everything but space.

    A Markdown heading belongs to the sentence behind it. Linear in `len(text)`.
    """
    pieces = [piece for span in sentence_spans(text) for piece in _cut(text, *span)]
    spans: list[Span] = []
    begin: int | None = None
    for start, end in pieces:
        first = start if begin is None else begin
        if _HEADING.fullmatch(text, start, end):
            begin = first
            continue
        spans.append((first, end))
        begin = None
    if begin is not None:
        spans.append((begin, pieces[-1][1]))
    return spans


def _cut(text: str, start: int, end: int) -> list[Span]:
    """A span in pieces of at most `LONGEST` characters, cut at a line's end, else at space, else anywhere."""
    pieces: list[Span] = []
    while end - start > LONGEST:
        limit = start + LONGEST
        place = text.rfind("\n", start, limit)
        if place <= start:
            place = next((at for at in range(limit, start, -1) if text[at].isspace()), limit)
        pieces.append((start, start + len(text[start:place].rstrip())))
        start = place
        while text[start].isspace():  # the span ends with something else
            start += 1
    return [*pieces, (start, end)]


@dataclass
class EncodedText:
    """One text as tokens. A sentence of which the tokenizer knows nothing (control characters) isn't among these."""

    input_ids: np.ndarray
    """`[n]` int32, [CLS] and [SEP] included."""
    sentence_ids: np.ndarray
    """`[n]` int32: the sentence of each token, 0 to k - 1; -1 for [CLS] and [SEP]."""
    spans: list[Span]
    """Of the `k` sentences, in characters."""
    kept: np.ndarray
    """`[k]`: which of the sentences that were given each one is, or is cut from."""
    offsets: np.ndarray
    """`[n - 2]`: where in the text each token begins, [CLS] and [SEP] aside."""

    @property
    def counts(self) -> np.ndarray:
        """`[k]`: tokens of each sentence."""
        return np.bincount(self.sentence_ids[1:-1], minlength=len(self.spans))

    def cut(self, max_length: int) -> "EncodedText":
        """The first whole sentences, of at most `max_length` tokens with the special ones; at least one sentence,
        which is then cut."""
        if len(self.input_ids) <= max_length:
            return self
        fitting = int(np.searchsorted(np.cumsum(self.counts), max_length - SPECIAL_TOKENS, side="right"))
        k = max(fitting, 1)
        tokens = min(int(self.counts[:k].sum()), max_length - SPECIAL_TOKENS)
        places = [*range(1 + tokens), len(self.input_ids) - 1]
        return EncodedText(
            self.input_ids[places], self.sentence_ids[places], self.spans[:k], self.kept[:k], self.offsets[:tokens]
        )


@dataclass(frozen=True)
class SentenceEncoder:
    """Turns texts and the spans of their sentences into tokens. A sentence of more than `longest` is cut into several,
    between words where they are short enough."""

    tokenizer: PoNetTokenizer
    longest: int | None = None

    def __call__(self, texts: Sequence[str], spans: Sequence[list[Span]]) -> list[EncodedText]:
        """A batch of texts."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        encodings = backend.encode_batch(list(texts), add_special_tokens=False)
        return [self._encoded(*each) for each in zip(encodings, spans, strict=True)]

    def _encoded(self, encoding: Encoding, spans: list[Span]) -> EncodedText:
        starts = np.array([start for start, _ in spans], dtype=np.int64)
        offsets = np.array([start for start, _ in encoding.offsets], dtype=np.int64)
        owner = np.searchsorted(starts, offsets, side="right").clip(1) - 1
        begins = np.ones(len(owner), dtype=bool)
        begins[1:] = owner[1:] != owner[:-1]
        first = begins.copy()
        if self.longest is not None:
            _cut_long(begins, np.array(encoding.word_ids), self.longest)
        places = np.flatnonzero(begins)
        kept = owner[places]
        # a piece that was cut from a sentence begins with its first token, and ends before the next piece
        from_ = [
            spans[sentence][0] if first[at] else int(offsets[at]) for at, sentence in zip(places, kept, strict=True)
        ]
        to = [spans[sentence][1] for sentence in kept]
        for index in range(len(places) - 1):
            if kept[index] == kept[index + 1]:
                to[index] = from_[index + 1]
        edge = np.array([-1])
        ids = [self.tokenizer.cls_token_id, *encoding.ids, self.tokenizer.sep_token_id]
        sentence_ids = np.concatenate([edge, np.cumsum(begins) - 1, edge]).astype(np.int32)
        return EncodedText(
            np.array(ids, dtype=np.int32), sentence_ids, list(zip(from_, to, strict=True)), kept, offsets
        )


def _cut_long(begins: np.ndarray, words: np.ndarray, longest: int) -> None:
    """Lets a new sentence begin (`begins` `[t]`, changed in place) wherever one would have more than `longest` tokens,
    at a word's first token, by the number of each token's word `[t]`, if it can."""
    edges = np.append(np.flatnonzero(begins), len(begins))
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        while end - start > longest:
            at = start + longest
            while at > start and words[at] == words[at - 1]:
                at -= 1
            start = at if at > start else start + longest
            begins[start] = True


class Window(NamedTuple):
    """Sentences `begin : end` of a document, of which `first : last` have their scores from here."""

    begin: int
    end: int
    first: int
    last: int


def plan_windows(counts: np.ndarray, room: int, overlap: float) -> list[Window]:
    """Windows over a document's sentences, of `counts` `[k]` tokens; each sentence has its score from exactly one of
    them. A window has at most `room` tokens (a longer sentence is alone in one), and repeats at most a share `overlap`
    of the one before."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    k = len(counts)
    bounds: list[tuple[int, int]] = []
    begin = 0
    while begin < k:
        end = max(begin + 1, int(np.searchsorted(ends, ends[begin] + room, side="right")) - 1)
        bounds.append((begin, end))
        if end == k:
            break
        again = int(np.searchsorted(ends, ends[end] - overlap * room, side="left"))
        begin = min(max(begin + 1, again), end)
    middles = [(following[0] + window[1]) // 2 for window, following in pairwise(bounds)]
    edges = [0, *middles, k]
    return [Window(*bound, *edges[i : i + 2]) for i, bound in enumerate(bounds)]


@dataclass(frozen=True)
class SentenceCollator:
    """Lays documents, or their windows, end to end.

    Gives `input_ids`, `segment_ids` (a segment for each sentence and special token) and `sentence_ids` `[1, T]` int64,
    `cu_seqlens` `[W + 1]` int32 of the windows; `owned` `[S]` int64, the places of the documents' sentences among
    those of all windows; `cu_sentences` `[B + 1]` int64, where in `S` each document begins; and `labels` `[S]` float32
    where the examples have them.

    Args:
        window: the most tokens of a window, special ones included; a longer sentence is cut to it. None: documents are
            whole.
        overlap: the share of a window that the next one repeats.
    """

    window: int | None = None
    overlap: float = 0.25

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        ids: list[np.ndarray] = []
        sentences: list[np.ndarray] = []
        owned: list[np.ndarray] = []
        before = 0  # sentences in the windows so far
        sizes = [int(example["sentence_ids"].max(initial=-1)) + 1 for example in examples]
        for example, size in zip(examples, sizes, strict=True):
            for window in self._windows(example, size):
                places = self._places(example["sentence_ids"], window)
                ids.append(example["input_ids"][places])
                number = example["sentence_ids"][places]
                sentences.append(np.where(number < 0, -1, number - window.begin))
                owned.append(before - window.begin + np.arange(window.first, window.last))
                before += window.end - window.begin
        segments = [np.concatenate([[0], each[1:-1] + 1, [each.max(initial=-1) + 2]]) for each in sentences]
        batch = {
            name: torch.from_numpy(np.concatenate(rows).astype(np.int64))[None]
            for name, rows in zip(INPUTS, (ids, segments, sentences), strict=False)
        }
        batch["cu_seqlens"] = torch.from_numpy(np.cumsum([0, *map(len, ids)]).astype(np.int32))
        batch["owned"] = torch.from_numpy(np.concatenate(owned).astype(np.int64))
        batch["cu_sentences"] = torch.from_numpy(np.cumsum([0, *sizes]))
        if "labels" in examples[0]:
            batch["labels"] = torch.from_numpy(np.concatenate([each["labels"] for each in examples]).astype(np.float32))
        return batch

    def _windows(self, example: Example, size: int) -> list[Window]:
        if self.window is None or len(example["input_ids"]) <= self.window:
            return [Window(0, size, 0, size)]
        counts = np.bincount(example["sentence_ids"][1:-1], minlength=size)
        return plan_windows(counts, self.window - SPECIAL_TOKENS, self.overlap)

    def _places(self, sentence_ids: np.ndarray, window: Window) -> np.ndarray:
        """The tokens of a window between the document's special tokens."""
        inner = sentence_ids[1:-1]
        begin, end = np.searchsorted(inner, [window.begin, window.end])
        if self.window is not None:
            end = min(end, begin + self.window - SPECIAL_TOKENS)
        return np.concatenate([[0], np.arange(1 + begin, 1 + end), [len(sentence_ids) - 1]])
