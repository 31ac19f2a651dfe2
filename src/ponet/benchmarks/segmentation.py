"""`ponet benchmark segmentation`: where topics end, by trained models and by what people use, and how fast."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ponet.benchmarks.common import Advance
from ponet.benchmarks.sentences import (
    CUT,
    MethodsPlan,
    SentenceModel,
    compare,
    held_out_articles,
    held_out_documents,
)
from ponet.config.sentences import SegmentationOptions
from ponet.data.sources import open_source
from ponet.embedding import Embedder
from ponet.tasks.sentences.choi import choi_documents
from ponet.tasks.sentences.documents import LabelledDocument, segmentation_document
from ponet.tasks.sentences.metrics import boundary_counts, f1, pk, window_diff
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require

NOVELS = "novels"
MOST_ARTICLES = 500
"""That excerpts are taken from."""
PERCENTILE = 95.0
"""Of the distances of neighbours: where semantic chunkers cut by default."""
BUFFER = 1
"""Neighbours on either side that are embedded along with a sentence, as they do."""
FORMS = ("wikipedia", "wikipedia-top", "choi")


@dataclass(frozen=True)
class SegmentationPlan(MethodsPlan):
    """What is compared on what; raises a PoNetError for an unknown form of documents too."""

    encoder: str | None = None
    """Of the usual semantic chunker; None leaves it out."""
    documents: Literal["wikipedia", "wikipedia-top", "choi"] = "wikipedia"
    """Of Choi's form there are 100 where `limit` is None."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.documents not in FORMS:
            raise PoNetError(f"--documents is wikipedia, wikipedia-top or choi, not '{self.documents}'.")


class Method:
    """Finds boundaries."""

    title: str

    def __call__(self, documents: list[LabelledDocument]) -> list[np.ndarray]:
        """For each document `[k - 1]` bool, whether a topic ends between each sentence and the next."""
        return [self.cuts(document.sentences()) for document in documents]

    def cuts(self, sentences: list[str]) -> np.ndarray:
        """Of one document."""
        raise NotImplementedError


class EvenCuts(Method):
    """Topics of one length in sentences, the mean of those that are to be found: what is known without reading."""

    title = "Even cuts"

    def __init__(self, length: float) -> None:
        self.length = length

    def cuts(self, sentences: list[str]) -> np.ndarray:
        k = len(sentences)
        topics = max(1, round(k / self.length))
        return np.isin(np.arange(1, k), np.round(np.arange(1, topics) * k / topics).astype(int))


class TextTiling(Method):
    """NLTK's TextTiling (Hearst 1997) with its defaults; every sentence is a paragraph, where it may cut."""

    title = "TextTiling"

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        module = require("nltk.tokenize.texttiling", "baselines")
        self.tokenizer: Any = module.TextTilingTokenizer(stopwords=sorted(ENGLISH_STOP_WORDS))

    def cuts(self, sentences: list[str]) -> np.ndarray:
        found = np.zeros(len(sentences) - 1, dtype=bool)
        try:
            tiles = self.tokenizer.tokenize("\n\n".join(sentences))
        except ValueError:  # it refuses short texts
            return found
        starts = np.cumsum([len(sentence) + 2 for sentence in sentences])[:-1]
        for cut in np.cumsum([len(tile) for tile in tiles])[:-1]:
            found[np.abs(starts - cut).argmin()] = True
        return found


class EmbeddingChunker(Method):
    """The usual semantic chunker: cuts where neighbouring sentences' embeddings are farthest apart.

    Each sentence is embedded with its neighbours; a topic ends where the cosine distance to the next is above the 95th
    percentile of its document's.
    """

    def __init__(self, model: str, dtype: str = "float32") -> None:
        self.embedder, self.dtype = Embedder(model, max_length=CUT, dtype=dtype), dtype
        self.title = f"Cosine of sentence embeddings, {Path(model).name}"

    def cuts(self, sentences: list[str]) -> np.ndarray:
        if len(sentences) < 2:
            return np.zeros(0, dtype=bool)
        groups = [" ".join(sentences[max(0, i - BUFFER) : i + BUFFER + 1]) for i in range(len(sentences))]
        vectors = self.embedder.embed(groups)
        distances = 1 - (vectors[1:] * vectors[:-1]).sum(1)
        far: np.ndarray = distances > np.percentile(distances, PERCENTILE)
        return far


class TrainedModel(SentenceModel):
    """A run of the task, at its own threshold."""

    task = "segmentation"

    def __call__(self, documents: list[LabelledDocument]) -> list[np.ndarray]:
        found = []
        for document, (scored, probabilities) in zip(documents, self.scored(documents), strict=True):
            ends = np.zeros(len(document.spans), dtype=bool)
            # a sentence without tokens has no score; the topic ends behind it
            ends[scored[1:][probabilities[:-1] >= self.scorer.threshold] - 1] = True
            found.append(ends[:-1])
        return found


def measure_segmentation(plan: SegmentationPlan, path: Path, advance: Advance) -> dict[str, Any]:
    """Measures each method on the same documents, and writes the result file after each.

    Raises:
        PoNetError: no such data or model, or a package that isn't installed.
    """
    require("nltk.tokenize.texttiling", "baselines")  # before anything is measured
    documents = read_documents(plan)
    count, topics = (
        sum(len(each.spans) for each in documents),
        sum(int(each.labels[:-1].sum()) + 1 for each in documents),
    )
    setup = {
        "documents": plan.documents,
        "count": len(documents),
        "sentences": count,
        "topics": topics,
        "words": sum(len(each.text.split()) for each in documents),
    }
    methods: list[Callable[[], Any]] = [partial(EvenCuts, count / topics), TextTiling]
    methods += [] if plan.encoder is None else plan.each(EmbeddingChunker, models=[plan.encoder])
    methods += plan.each(TrainedModel)

    def run(method: Any, few: bool) -> list[np.ndarray]:
        found: list[np.ndarray] = method(documents[:1] if few else documents)
        return found

    return compare(methods, run, lambda _, found: agreement(documents, found), path, plan, setup, advance)


def agreement(documents: list[LabelledDocument], found: list[np.ndarray]) -> dict[str, float]:
    """`pk` and `window_diff` (means over documents), `f1`, `precision`, `recall` (over all boundaries)."""
    pairs = [(document.labels[:-1], boundaries) for document, boundaries in zip(documents, found, strict=True)]
    counts = np.sum([boundary_counts(*pair) for pair in pairs], axis=0)
    right, wrong, missed = counts.tolist()
    return {
        "pk": float(np.mean([pk(*pair) for pair in pairs])),
        "window_diff": float(np.mean([window_diff(*pair) for pair in pairs])),
        "f1": float(f1(counts)),
        "precision": right / max(right + wrong, 1),
        "recall": right / max(right + missed, 1),
    }


def read_documents(plan: SegmentationPlan) -> list[LabelledDocument]:
    """The held-out articles, or documents of Choi's form made from them and from novels.

    Raises:
        PoNetError: where a set isn't there.
    """
    if plan.documents == "choi":
        novels = open_source(NOVELS).splits["train"].data.column("text").to_pylist()
        return choi_documents(novels, list(islice(held_out_articles(), MOST_ARTICLES)), plan.limit or 100, plan.seed)
    options = SegmentationOptions(levels="top" if plan.documents == "wikipedia-top" else "all")
    return held_out_documents(segmentation_document(options), plan.limit, "section headings and text")
