"""`ponet benchmark summarization`: summaries of articles' bodies against their leads, by ROUGE, and how fast."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ponet.benchmarks.common import Advance, Record
from ponet.benchmarks.segmentation import ARTICLES, HELD_OUT
from ponet.benchmarks.summarizers import Centroid, FirstSentences, LexRank, Method, Oracle, TextRank, TrainedModel
from ponet.config.sentences import SummarizationOptions
from ponet.data.sources import open_source
from ponet.tasks.models import device
from ponet.tasks.sentences.documents import LabelledDocument, read_articles, summarization_document, take
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require

ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeLsum": "rouge_l"}
"""What `rouge-score` calls a figure, and a result."""


@dataclass(frozen=True)
class SummarizationPlan:
    """What is compared."""

    models: tuple[str, ...]
    """Runs of the task, or adapters."""
    encoder: str | None = None
    """Of the centroid; None leaves it out."""
    sentences: int = 5
    """Of a summary, at most."""
    limit: int | None = 100
    """Articles; None: all."""
    seed: int = 0


def measure_summarization(plan: SummarizationPlan, path: Path, advance: Advance) -> dict[str, Any]:
    """Measures each method on the same articles, and writes the result file after each.

    Raises:
        PoNetError: no such data or model, or a package that isn't installed.
    """
    scorer = require("rouge_score.rouge_scorer", "baselines").RougeScorer(list(ROUGE), use_stemmer=True)
    documents = read_documents(plan)
    methods: list[Callable[[], Method]] = [FirstSentences, TextRank, LexRank]
    if plan.encoder is not None:
        encoder = plan.encoder
        methods.append(lambda: Centroid(encoder))
    methods += [lambda run=run: TrainedModel(run) for run in plan.models]  # type: ignore[misc]
    methods.append(Oracle)
    setup: dict[str, Any] = {
        "device": device(),
        "dtype": "float32",
        "count": len(documents),
        "sentences": plan.sentences,
        "words": sum(len(each.text.split()) for each in documents),
    }
    record = Record(path, plan.seed, {"setup": setup, "rows": []})
    with record.keeping():
        for make in methods:
            method = make()
            method(documents[:1], plan.sentences)  # what is loaded or compiled when it is first used
            begun = time.perf_counter()
            found = method(documents, plan.sentences)
            seconds = time.perf_counter() - begun
            row = {"method": method.title, **overlap(scorer, documents, found), "seconds": seconds}
            record.values["rows"].append(row | {"words_per_second": setup["words"] / seconds})
            record.save()
            advance(method.title)
    record.save(complete=True)
    return record.content


def overlap(scorer: Any, documents: list[LabelledDocument], found: list[list[int]]) -> dict[str, float]:
    """`rouge_1`, `rouge_2` and `rouge_l` (of the whole summary): the mean F1 over documents; `length`, words of a
    summary."""
    scores: dict[str, list[float]] = {name: [] for name in ROUGE.values()}
    lengths = []
    for document, chosen in zip(documents, found, strict=True):
        sentences = document.sentences()
        summary = "\n".join(sentences[index] for index in chosen)
        lengths.append(len(summary.split()))
        for key, score in scorer.score(document.reference, summary).items():
            scores[ROUGE[key]].append(score.fmeasure)
    return {name: float(np.mean(values)) for name, values in scores.items()} | {"length": float(np.mean(lengths))}


def read_documents(plan: SummarizationPlan) -> list[LabelledDocument]:
    """The held-out articles that serve.

    Raises:
        PoNetError: where there are none.
    """
    source = open_source(ARTICLES)
    split = next((name for name in HELD_OUT if name in source.splits), "train")
    options = SummarizationOptions(sentences=plan.sentences)
    found, _ = take(read_articles(source, split, "text"), summarization_document(options), plan.limit)
    if not found:
        raise PoNetError(f"No article of '{ARTICLES}' serves: they need a lead, section headings and text.")
    return found
