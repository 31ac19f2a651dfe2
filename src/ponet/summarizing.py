"""Texts of any length -> the sentences that sum them up."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ponet.tasks.sentences.scoring import BATCH_TOKENS, ScoredText, SentenceScorer
from ponet.utils.errors import PoNetError

_WORD = re.compile(r"\w+")
SENTENCES = 5
"""Of a summary, unless another number or a ratio is asked for."""


@dataclass(frozen=True)
class SummarySentence:
    """A sentence of a text: `text[start:end]` of it."""

    start: int
    end: int
    score: float
    """The probability that it belongs to the best summary."""
    text: str


class Summarizer:
    """Chooses the sentences of a text with the highest scores, without repetitions.

    A sentence that has a run of three words in common with one that is chosen already isn't chosen (trigram blocking,
    Paulus et al. 2017, arXiv:1705.04304), so that there may be fewer than asked for.

    Args:
        model: a run of the task `summarization`; None: the model that comes with the package.
        sentences: of a summary, at most; None: `SENTENCES`, or by `ratio`.
        ratio: the share of a text's sentences, in the place of a number; one sentence at least.
        blocking: whether repetitions are left out.
        batch_tokens: tokens in a batch, at most; a longer text is alone.
        dtype: of weights and activations: float32, bf16, fp16, or auto, the fastest here.

    Raises:
        PoNetError: no such model, or both a number and a ratio, ones that make no sense, or a `dtype` that
            this machine doesn't compute in.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        sentences: int | None = None,
        ratio: float | None = None,
        blocking: bool = True,
        batch_tokens: int = BATCH_TOKENS,
        dtype: str = "float32",
    ) -> None:
        if sentences is not None and ratio is not None:
            raise PoNetError("A summary has a number of sentences or a ratio, not both: leave one out.")
        if sentences is not None and sentences < 1:
            raise PoNetError(f"sentences should be 1 or more, not {sentences}.")
        if ratio is not None and not 0 < ratio <= 1:
            raise PoNetError(f"ratio should be above 0 and at most 1, not {ratio}.")
        self.scorer = SentenceScorer("summarization", model, batch_tokens, dtype=dtype)
        self.sentences, self.ratio, self.blocking = sentences, ratio, blocking

    def summarize(self, texts: Sequence[str]) -> list[list[SummarySentence]]:
        """The summary of each text, its sentences in text order; empty for a text without words."""
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[list[SummarySentence]]:
        """The summary of each text, in order, in bounded memory."""
        return map(self._summary, self.scorer.stream(texts))

    def _summary(self, scored: ScoredText) -> list[SummarySentence]:
        most = SENTENCES if self.sentences is None else self.sentences
        if self.ratio is not None:
            most = max(1, round(self.ratio * len(scored.spans)))
        texts = [scored.text[start:end] for start, end in scored.spans]
        chosen = choose(scored.probabilities, texts, most, self.blocking)
        return [SummarySentence(*scored.spans[i], float(scored.probabilities[i]), texts[i]) for i in chosen]


def choose(scores: np.ndarray, sentences: Sequence[str], most: int, blocking: bool = True) -> list[int]:
    """The sentences with the highest scores, at most `most`, in text order.

    Args:
        scores: `[k]`.
        sentences: the `k` texts.
        most: how many.
        blocking: whether one is left out that has three words in a row in common with one of higher score.
    """
    chosen: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for index in np.argsort(-scores, kind="stable").tolist():
        if len(chosen) == most:
            break
        found = _WORD.findall(sentences[index].lower())
        trigrams = set(zip(found, found[1:], found[2:], strict=False))
        if blocking and not seen.isdisjoint(trigrams):
            continue
        seen |= trigrams
        chosen.append(index)
    return sorted(chosen)


_summarizer = lru_cache(maxsize=2)(Summarizer)


def summarize(
    texts: Sequence[str],
    model: str | Path | None = None,
    sentences: int | None = None,
    ratio: float | None = None,
    dtype: str = "float32",
) -> list[list[SummarySentence]]:
    """The sentences that sum each text up, in text order.

    Args:
        texts: the texts, of any length.
        model, sentences, ratio, dtype: as `Summarizer` has them. The model is cached for the next call.

    Raises:
        PoNetError: a single string instead of several, or as `Summarizer`.
    """
    if isinstance(texts, str):
        raise PoNetError("summarize takes a list of texts: summarize([text])[0] is the summary of one.")
    return _summarizer(None if model is None else str(model), sentences, ratio, dtype=dtype).summarize(texts)
