"""Texts of any length, cut where their topics end: chunks for an index, with character offsets, nothing lost."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ponet.tasks.sentences.scoring import BATCH_TOKENS, ScoredText, SentenceScorer
from ponet.utils.errors import PoNetError


@dataclass(frozen=True)
class Chunk:
    """A part of a text: `text[start:end]` of it."""

    start: int
    end: int
    text: str


class Segmenter:
    """Cuts texts where topics end. The chunks of a text, joined, are the text.

    A chunk ends with a sentence and the space behind it. A text is read in one pass, whatever its length.

    Args:
        model: a run of the task `segmentation`; None: the model that comes with the package.
        max_tokens: word pieces of a chunk, at most, special tokens aside; a longer topic is cut at its likeliest
            boundaries, and a longer sentence between words. None: no limit.
        min_tokens: a smaller chunk is joined to the neighbour that it is least likely parted from, where the result
            has at most `max_tokens`.
        threshold: the probability from which on a topic ends. None: the model's.
        batch_tokens: tokens in a batch, at most; a longer text is alone.
        dtype: of weights and activations: float32, bf16, fp16, or auto, the fastest here.

    Raises:
        PoNetError: no such model, limits that exclude each other, a threshold that is no probability, or a
            `dtype` that this machine doesn't compute in.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        max_tokens: int | None = None,
        min_tokens: int = 0,
        threshold: float | None = None,
        batch_tokens: int = BATCH_TOKENS,
        dtype: str = "float32",
    ) -> None:
        if max_tokens is not None and max_tokens < 1:
            raise PoNetError(f"max_tokens should be 1 or more, not {max_tokens}.")
        if min_tokens < 0 or (max_tokens is not None and min_tokens > max_tokens):
            raise PoNetError(f"min_tokens should be from 0 to max_tokens, not {min_tokens}.")
        if threshold is not None and not 0 <= threshold <= 1:
            raise PoNetError(f"threshold is a probability, from 0 to 1, not {threshold}.")
        self.scorer = SentenceScorer("segmentation", model, batch_tokens, longest=max_tokens, dtype=dtype)
        self.max_tokens, self.min_tokens = max_tokens, min_tokens
        self.threshold = self.scorer.threshold if threshold is None else threshold

    def segment(self, texts: Sequence[str]) -> list[list[Chunk]]:
        """The chunks of each text; none of an empty one."""
        return list(self.stream(texts))

    def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Where the chunks of each text begin and end."""
        return [[(chunk.start, chunk.end) for chunk in chunks] for chunks in self.stream(texts)]

    def stream(self, texts: Iterable[str]) -> Iterator[list[Chunk]]:
        """The chunks of each text, in order, in bounded memory."""
        return map(self._chunks, self.scorer.stream(texts))

    def _chunks(self, scored: ScoredText) -> list[Chunk]:
        if not scored.spans:
            return [Chunk(0, len(scored.text), scored.text)] if scored.text else []
        ends = boundaries(scored.probabilities, scored.counts, self.threshold, self.max_tokens, self.min_tokens)
        starts = [0, *(scored.spans[end][0] for end in ends), len(scored.text)]
        return [Chunk(start, end, scored.text[start:end]) for start, end in pairwise(starts)]


def boundaries(
    probabilities: np.ndarray, counts: np.ndarray, threshold: float, max_tokens: int | None = None, min_tokens: int = 0
) -> list[int]:
    """The sentences, from 1 on, with which a new chunk begins.

    Args:
        probabilities: `[k]`, that a topic ends with a sentence; the last one's isn't read.
        counts: `[k]` tokens of each sentence.
        threshold, max_tokens, min_tokens: as `Segmenter` has them.
    """
    edges = np.concatenate([[0], np.cumsum(counts)])
    chosen = [0, *(np.flatnonzero(probabilities[:-1] >= threshold) + 1).tolist(), len(counts)]
    if min_tokens:
        chosen = _joined(chosen, edges, probabilities, max_tokens, min_tokens)
    if max_tokens is not None:
        parts = [_split(begin, end, edges, probabilities, max_tokens) for begin, end in pairwise(chosen)]
        chosen = [*chain.from_iterable(parts), len(counts)]
        if min_tokens:  # what was left over of a long topic
            chosen = _joined(chosen, edges, probabilities, max_tokens, min_tokens)
    return chosen[1:-1]


def _joined(
    chosen: list[int], edges: np.ndarray, probabilities: np.ndarray, max_tokens: int | None, min_tokens: int
) -> list[int]:
    """The bounds without those around chunks of fewer than `min_tokens`, as far as `max_tokens` allows."""
    limit = np.inf if max_tokens is None else max_tokens
    kept = [chosen[0]]  # left to right: a small chunk joins what is before it, or waits for what comes
    for place in range(1, len(chosen) - 1):
        here, following = chosen[place], chosen[place + 1]
        before, after = edges[here] - edges[kept[-1]], edges[following] - edges[here]
        if min(before, after) >= min_tokens:
            kept.append(here)
            continue
        too_large = before + after > limit
        # a small chunk ahead may rather join the one behind it, where that is less of a boundary
        later = chosen[place + 1] < chosen[-1] and probabilities[following - 1] < probabilities[here - 1]
        if too_large or (before >= min_tokens and later):
            kept.append(here)
    return [*kept, chosen[-1]]


def _split(begin: int, end: int, edges: np.ndarray, probabilities: np.ndarray, max_tokens: int) -> list[int]:
    """Where the chunks begin that the sentences `begin : end` make with at most `max_tokens` each.

    Each ends, in the second half of what fits, at the likeliest boundary, the last of several.
    """
    starts = [begin]
    while edges[end] - edges[starts[-1]] > max_tokens:
        start = starts[-1]
        last = max(start + 1, int(np.searchsorted(edges, edges[start] + max_tokens, side="right")) - 1)
        first = min(last, max(start + 1, int(np.searchsorted(edges, edges[start] + max_tokens / 2, side="left"))))
        options = probabilities[first - 1 : last]
        starts.append(last - int(options[::-1].argmax()))
    return starts


class TextSplitter:
    """Cuts texts by topic, with the methods of LangChain's text splitters, which needn't be installed.

    Args:
        options: of `Segmenter`: `model`, `max_tokens`, `min_tokens`, `threshold`, `batch_tokens`, `dtype`.
    """

    def __init__(self, **options: Any) -> None:
        self.segmenter = Segmenter(**options)

    def split_text(self, text: str) -> list[str]:
        """The chunks of one text; joined, they are the text."""
        return [chunk.text for chunk in self.segmenter.segment([text])[0]]

    def create_documents(self, texts: Sequence[str], metadatas: Sequence[dict[str, Any]] | None = None) -> list[Any]:
        """A document for each chunk: `page_content`, and `metadata` with those of its text and `start_index`, where in
        it the chunk begins. They are LangChain's where that is installed."""
        kind = _document_type()
        given = [{}] * len(texts) if metadatas is None else metadatas
        return [
            kind(page_content=chunk.text, metadata={**metadata, "start_index": chunk.start})
            for chunks, metadata in zip(self.segmenter.stream(texts), given, strict=True)
            for chunk in chunks
        ]

    def split_documents(self, documents: Iterable[Any]) -> list[Any]:
        """As `create_documents`, from documents with `page_content` and `metadata`."""
        found = list(documents)
        return self.create_documents([each.page_content for each in found], [each.metadata for each in found])

    def transform_documents(self, documents: Sequence[Any], **kwargs: Any) -> Sequence[Any]:
        """As `split_documents`."""
        return self.split_documents(documents)


@dataclass
class SplitDocument:
    """What `TextSplitter` makes where LangChain isn't installed."""

    page_content: str
    metadata: dict[str, Any]


def _document_type() -> Any:
    try:
        from langchain_core.documents import Document
    except ImportError:
        return SplitDocument
    return Document


_segmenter = lru_cache(maxsize=2)(Segmenter)


def segment(
    texts: Sequence[str],
    model: str | Path | None = None,
    max_tokens: int | None = None,
    min_tokens: int = 0,
    threshold: float | None = None,
    dtype: str = "float32",
) -> list[list[Chunk]]:
    """Chunks of texts of any length, cut where topics end; the texts of a text's chunks, joined, are the text.

    Args:
        texts: the texts.
        model, max_tokens, min_tokens, threshold, dtype: as `Segmenter` has them. The model is cached for the next call.

    Raises:
        PoNetError: a single string instead of several, or as `Segmenter`.
    """
    if isinstance(texts, str):
        raise PoNetError("segment takes a list of texts: segment([text])[0] are the chunks of one.")
    name = None if model is None else str(model)
    return _segmenter(name, max_tokens, min_tokens, threshold, dtype=dtype).segment(texts)
