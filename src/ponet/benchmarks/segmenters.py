"""Ways to find where topics end, for a comparison: from even cuts to trained models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ponet.benchmarks.common import run_title
from ponet.embedding import Embedder
from ponet.tasks.sentences.documents import LabelledDocument
from ponet.tasks.sentences.scoring import SentenceScorer
from ponet.utils.extras import require

PERCENTILE = 95.0
"""Of the distances of neighbours: where semantic chunkers cut by default."""
BUFFER = 1
"""Neighbours on either side that are embedded along with a sentence, as they do."""
CUT = 512
"""Tokens that BERT reads."""


class Method(Protocol):
    """Finds boundaries."""

    title: str

    def __call__(self, documents: Sequence[LabelledDocument]) -> list[np.ndarray]:
        """For each document `[k - 1]` bool, whether a topic ends between each sentence and the next."""
        ...


class EvenCuts:
    """Topics of one length, the mean of those that are to be found: what is known without reading.

    Args:
        sentences: of a topic.
    """

    title = "Even cuts"

    def __init__(self, sentences: float) -> None:
        self.sentences = sentences

    def __call__(self, documents: Sequence[LabelledDocument]) -> list[np.ndarray]:
        """As `Method`."""
        found = []
        for document in documents:
            k = len(document.spans)
            topics = max(1, round(k / self.sentences))
            cuts = np.round(np.arange(1, topics) * k / topics).astype(int)
            found.append(np.isin(np.arange(1, k), cuts))
        return found


class TextTiling:
    """NLTK's TextTiling (Hearst 1997) with its defaults; every sentence is a paragraph, where it may cut."""

    title = "TextTiling"

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        module = require("nltk.tokenize.texttiling", "baselines")
        self.tokenizer: Any = module.TextTilingTokenizer(stopwords=sorted(ENGLISH_STOP_WORDS))

    def __call__(self, documents: Sequence[LabelledDocument]) -> list[np.ndarray]:
        """As `Method`."""
        return [self._one(document.sentences()) for document in documents]

    def _one(self, sentences: list[str]) -> np.ndarray:
        found = np.zeros(len(sentences) - 1, dtype=bool)
        try:
            tiles = self.tokenizer.tokenize("\n\n".join(sentences))
        except ValueError:  # it refuses short texts
            return found
        starts = np.cumsum([len(sentence) + 2 for sentence in sentences])[:-1]
        for cut in np.cumsum([len(tile) for tile in tiles])[:-1]:
            found[np.abs(starts - cut).argmin()] = True
        return found


class EmbeddingChunker:
    """The usual semantic chunker: cuts where neighbouring sentences' embeddings are farthest apart.

    Each sentence is embedded with its neighbours; a topic ends where the cosine distance to the next is above the 95th
    percentile of its document's.

    Args:
        model: an encoder's folder or name.
    """

    def __init__(self, model: str) -> None:
        self.embedder = Embedder(model, max_length=CUT)
        self.title = f"Cosine of sentence embeddings, {Path(model).name}"

    def __call__(self, documents: Sequence[LabelledDocument]) -> list[np.ndarray]:
        """As `Method`."""
        return [self._one(document.sentences()) for document in documents]

    def _one(self, sentences: list[str]) -> np.ndarray:
        if len(sentences) < 2:
            return np.zeros(0, dtype=bool)
        groups = [" ".join(sentences[max(0, i - BUFFER) : i + BUFFER + 1]) for i in range(len(sentences))]
        vectors = self.embedder.embed(groups)
        distances = 1 - (vectors[1:] * vectors[:-1]).sum(1)
        far: np.ndarray = distances > np.percentile(distances, PERCENTILE)
        return far


class TrainedModel:
    """A run of the task `segmentation`, at its own threshold.

    Args:
        run: its folder, or an adapter's.
    """

    def __init__(self, run: str) -> None:
        self.scorer = SentenceScorer("segmentation", run)
        self.title = run_title(run)

    def __call__(self, documents: Sequence[LabelledDocument]) -> list[np.ndarray]:
        """As `Method`."""
        found = []
        for document, scored in zip(
            documents, self.scorer.stream_split((each.text, each.spans) for each in documents), strict=True
        ):
            ends = np.zeros(len(document.spans), dtype=bool)
            starts = [start for start, _ in document.spans]
            # a sentence without tokens has no score; the topic ends behind it
            following = np.searchsorted(starts, [start for start, _ in scored.spans[1:]])
            ends[following[scored.probabilities[:-1] >= self.scorer.threshold] - 1] = True
            found.append(ends[:-1])
        return found
