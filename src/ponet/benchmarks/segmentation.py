"""`ponet benchmark segmentation`: where topics end, by trained models and by what people use, and how fast."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ponet.benchmarks.common import Advance, Record
from ponet.benchmarks.segmenters import EmbeddingChunker, EvenCuts, Method, TextTiling, TrainedModel
from ponet.config.sentences import SegmentationOptions
from ponet.data.sources import open_source
from ponet.tasks.models import device
from ponet.tasks.sentences.choi import choi_documents
from ponet.tasks.sentences.documents import LabelledDocument, read_articles, segmentation_document, take
from ponet.tasks.sentences.metrics import boundary_counts, f1, pk, window_diff
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require

ARTICLES, NOVELS = "wikipedia", "novels"
HELD_OUT = ("test", "validation")
MOST_ARTICLES = 500
"""That excerpts are taken from."""


@dataclass(frozen=True)
class SegmentationPlan:
    """What is compared on what.

    Raises:
        PoNetError: an unknown form of documents.
    """

    models: tuple[str, ...]
    """Runs of the task, or adapters."""
    encoder: str | None = None
    """Of the usual semantic chunker; None leaves it out."""
    documents: Literal["wikipedia", "wikipedia-top", "choi"] = "wikipedia"
    limit: int | None = 100
    """Documents; None: all (of Choi's form 100)."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.documents not in ("wikipedia", "wikipedia-top", "choi"):
            raise PoNetError(f"--documents is wikipedia, wikipedia-top or choi, not '{self.documents}'.")


def measure_segmentation(plan: SegmentationPlan, path: Path, advance: Advance) -> dict[str, Any]:
    """Measures each method on the same documents, and writes the result file after each.

    Raises:
        PoNetError: no such data or model, or a package that isn't installed.
    """
    require("nltk.tokenize.texttiling", "baselines")  # before anything is measured
    documents = read_documents(plan)
    topics = sum(int(each.labels[:-1].sum()) + 1 for each in documents)
    sentences = sum(len(each.spans) for each in documents)
    methods: list[Callable[[], Method]] = [lambda: EvenCuts(sentences / topics), TextTiling]
    if plan.encoder is not None:
        encoder = plan.encoder
        methods.append(lambda: EmbeddingChunker(encoder))
    methods += [lambda run=run: TrainedModel(run) for run in plan.models]  # type: ignore[misc]
    setup: dict[str, Any] = {
        "device": device(),
        "dtype": "float32",
        "documents": plan.documents,
        "count": len(documents),
        "sentences": sentences,
        "topics": topics,
        "words": sum(len(each.text.split()) for each in documents),
    }
    record = Record(path, plan.seed, {"setup": setup, "rows": []})
    with record.keeping():
        for make in methods:
            method = make()
            method(documents[:1])  # what is loaded or compiled when it is first used
            begun = time.perf_counter()
            found = method(documents)
            seconds = time.perf_counter() - begun
            row = {"method": method.title, **agreement(documents, found), "seconds": seconds}
            record.values["rows"].append(row | {"words_per_second": setup["words"] / seconds})
            record.save()
            advance(method.title)
    record.save(complete=True)
    return record.content


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
    source = open_source(ARTICLES)
    split = next((name for name in HELD_OUT if name in source.splits), "train")
    articles = read_articles(source, split, "text")
    if plan.documents == "choi":
        novels = open_source(NOVELS).splits["train"].data.column("text").to_pylist()
        chosen = [article for article, _ in zip(articles, range(MOST_ARTICLES), strict=False)]
        return choi_documents(novels, chosen, plan.limit or 100, plan.seed)
    options = SegmentationOptions(levels="top" if plan.documents == "wikipedia-top" else "all")
    found, _ = take(articles, segmentation_document(options), plan.limit)
    if not found:
        raise PoNetError(f"No article of '{ARTICLES}' serves: they need section headings and text.")
    return found
