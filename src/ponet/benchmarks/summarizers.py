"""Ways to choose the sentences of a summary, for a comparison: from the first ones to trained models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ponet.benchmarks.common import run_title
from ponet.embedding import Embedder
from ponet.summarizing import choose
from ponet.tasks.sentences.documents import LabelledDocument
from ponet.tasks.sentences.metrics import words
from ponet.tasks.sentences.scoring import SentenceScorer

CUT = 512
"""Tokens that BERT reads."""


class Method(Protocol):
    """Chooses sentences."""

    title: str

    def __call__(self, documents: Sequence[LabelledDocument], most: int) -> list[list[int]]:
        """The sentences of each document's summary, at most so many, in text order."""
        ...


class FirstSentences:
    """The first sentences of the body."""

    title = "First sentences"

    def __call__(self, documents: Sequence[LabelledDocument], most: int) -> list[list[int]]:
        """As `Method`."""
        return [list(range(min(most, len(document.spans)))) for document in documents]


class Oracle:
    """The sentences that have most in common with the reference: what choosing sentences can come to."""

    title = "Oracle"

    def __call__(self, documents: Sequence[LabelledDocument], most: int) -> list[list[int]]:
        """As `Method`."""
        from ponet.tasks.sentences.metrics import oracle

        return [oracle(document.sentences(), document.reference, most) for document in documents]


class TextRank:
    """PageRank over sentences that have words in common, weighed by the logarithms of their lengths (Mihalcea and Tarau
    2004), without stop words."""

    title = "TextRank"

    def __call__(self, documents: Sequence[LabelledDocument], most: int) -> list[list[int]]:
        """As `Method`."""
        return [choose(_pagerank(self.weights(each.sentences())), each.sentences(), most) for each in documents]

    def weights(self, sentences: list[str]) -> np.ndarray:
        """`[k, k]`, how alike sentences are."""
        from sklearn.feature_extraction.text import CountVectorizer

        rows = CountVectorizer(analyzer=_content, binary=True).fit_transform(sentences)
        sizes = np.log(np.maximum([len(_content(each)) for each in sentences], 1) + 1.0)
        common: np.ndarray = (rows @ rows.T).toarray() / np.maximum(sizes[:, None] + sizes[None], 1e-9)
        return common


class LexRank(TextRank):
    """PageRank over sentences by the cosine of their TF-IDF vectors (Erkan and Radev 2004, continuous form), with the
    document's own frequencies."""

    title = "LexRank"

    def weights(self, sentences: list[str]) -> np.ndarray:
        """`[k, k]`, how alike sentences are."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        rows = TfidfVectorizer(analyzer=_content).fit_transform(sentences)
        cosines: np.ndarray = (rows @ rows.T).toarray()
        return cosines


def _content(sentence: str) -> list[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return [word for word in words(sentence) if word not in ENGLISH_STOP_WORDS] or ["-"]


def _pagerank(weights: np.ndarray) -> np.ndarray:
    """`[k]`, by networkx, which torch needs too."""
    import networkx

    np.fill_diagonal(weights, 0)
    ranks = networkx.pagerank(networkx.from_numpy_array(weights), max_iter=1000, tol=1e-4)
    return np.array([ranks[index] for index in range(len(weights))])


class Centroid:
    """The sentences whose embeddings are nearest to the mean of all.

    Args:
        model: an encoder's folder or name.
    """

    def __init__(self, model: str) -> None:
        self.embedder = Embedder(model, max_length=CUT)
        self.title = f"Centroid of embeddings, {Path(model).name}"

    def __call__(self, documents: Sequence[LabelledDocument], most: int) -> list[list[int]]:
        """As `Method`."""
        found = []
        for document in documents:
            sentences = document.sentences()
            vectors = self.embedder.embed(sentences)
            found.append(choose(vectors @ vectors.mean(0), sentences, most))
        return found


class TrainedModel:
    """A run of the task `summarization`.

    Args:
        run: its folder, or an adapter's.
    """

    def __init__(self, run: str) -> None:
        self.scorer = SentenceScorer("summarization", run)
        self.title = run_title(run)

    def __call__(self, documents: Sequence[LabelledDocument], most: int) -> list[list[int]]:
        """As `Method`."""
        found = []
        for document, scored in zip(
            documents, self.scorer.stream_split((each.text, each.spans) for each in documents), strict=True
        ):
            scores = np.zeros(len(document.spans))
            starts = [start for start, _ in document.spans]
            scores[np.searchsorted(starts, [start for start, _ in scored.spans])] = scored.probabilities
            found.append(choose(scores, document.sentences(), most))
        return found
