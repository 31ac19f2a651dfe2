"""`ponet benchmark summarization`: summaries of articles' bodies against their leads, by ROUGE, and how fast."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ponet.benchmarks.common import Advance
from ponet.benchmarks.sentences import CUT, MethodsPlan, SentenceModel, compare, held_out_documents
from ponet.config.sentences import SummarizationOptions
from ponet.embedding import Embedder
from ponet.summarizing import choose
from ponet.tasks.sentences.documents import LabelledDocument, summarization_document
from ponet.tasks.sentences.metrics import oracle, words
from ponet.utils.extras import require

ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeLsum": "rouge_l"}
"""What `rouge-score` calls a figure, and a result."""


@dataclass(frozen=True)
class SummarizationPlan(MethodsPlan):
    """What is compared on articles."""

    encoder: str | None = None
    """Of the centroid; None leaves it out."""
    sentences: int = 5
    """Of a summary, at most."""


class Method:
    """Chooses sentences."""

    title: str

    def __call__(self, documents: list[LabelledDocument], most: int) -> list[list[int]]:
        """The sentences of each document's summary, at most so many, in text order."""
        return [choose(self.scores(each.sentences()), each.sentences(), most) for each in documents]

    def scores(self, sentences: list[str]) -> np.ndarray:
        """`[k]`, of one document: the best are chosen."""
        raise NotImplementedError


class FirstSentences(Method):
    """The first sentences of the body."""

    title = "First sentences"

    def __call__(self, documents: list[LabelledDocument], most: int) -> list[list[int]]:
        return [list(range(min(most, len(document.spans)))) for document in documents]


class Oracle(Method):
    """The sentences that have most in common with the reference: what choosing sentences can come to."""

    title = "Oracle"

    def __call__(self, documents: list[LabelledDocument], most: int) -> list[list[int]]:
        return [oracle(document.sentences(), document.reference, most) for document in documents]


class TextRank(Method):
    """PageRank over sentences that have words in common, weighed by the logarithms of their lengths (Mihalcea and Tarau
    2004), without stop words."""

    title = "TextRank"

    def scores(self, sentences: list[str]) -> np.ndarray:
        """By networkx, which torch needs too."""
        import networkx

        weights = self.weights(sentences)
        np.fill_diagonal(weights, 0)
        ranks = networkx.pagerank(networkx.from_numpy_array(weights), max_iter=1000, tol=1e-4)
        return np.array([ranks[index] for index in range(len(weights))])

    def weights(self, sentences: list[str]) -> np.ndarray:
        """`[k, k]`, how alike sentences are."""
        from sklearn.feature_extraction.text import CountVectorizer

        found = CountVectorizer(analyzer=_content, binary=True).fit_transform(sentences)
        sizes = np.log(np.maximum([len(_content(each)) for each in sentences], 1) + 1.0)
        common: np.ndarray = (found @ found.T).toarray() / np.maximum(sizes[:, None] + sizes[None], 1e-9)
        return common


class LexRank(TextRank):
    """PageRank over sentences by the cosine of their TF-IDF vectors (Erkan and Radev 2004, continuous form), with the
    document's own frequencies."""

    title = "LexRank"

    def weights(self, sentences: list[str]) -> np.ndarray:
        """`[k, k]`, how alike sentences are."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        found = TfidfVectorizer(analyzer=_content).fit_transform(sentences)
        cosines: np.ndarray = (found @ found.T).toarray()
        return cosines


def _content(sentence: str) -> list[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return [word for word in words(sentence) if word not in ENGLISH_STOP_WORDS] or ["-"]


class Centroid(Method):
    """The sentences whose embeddings are nearest to the mean of all."""

    def __init__(self, model: str, dtype: str = "float32") -> None:
        self.embedder, self.dtype = Embedder(model, max_length=CUT, dtype=dtype), dtype
        self.title = f"Centroid of embeddings, {Path(model).name}"

    def scores(self, sentences: list[str]) -> np.ndarray:
        vectors = self.embedder.embed(sentences)
        found: np.ndarray = vectors @ vectors.mean(0)
        return found


class TrainedModel(SentenceModel):
    """A run of the task."""

    task = "summarization"

    def __call__(self, documents: list[LabelledDocument], most: int) -> list[list[int]]:
        found = []
        for document, (scored, probabilities) in zip(documents, self.scored(documents), strict=True):
            scores = np.zeros(len(document.spans))
            scores[scored] = probabilities
            found.append(choose(scores, document.sentences(), most))
        return found


def measure_summarization(plan: SummarizationPlan, path: Path, advance: Advance) -> dict[str, Any]:
    """Measures each method on the same articles, and writes the result file after each.

    Raises:
        PoNetError: no such data or model, or a package that isn't installed.
    """
    scorer = require("rouge_score.rouge_scorer", "baselines").RougeScorer(list(ROUGE), use_stemmer=True)
    documents = read_documents(plan)
    total = sum(len(each.text.split()) for each in documents)
    setup = {"count": len(documents), "sentences": plan.sentences, "words": total}
    methods: list[Callable[[], Any]] = [FirstSentences, TextRank, LexRank]
    methods += [] if plan.encoder is None else plan.each(Centroid, models=[plan.encoder])
    methods += [*plan.each(TrainedModel), Oracle]

    def run(method: Any, few: bool) -> list[list[int]]:
        found: list[list[int]] = method(documents[:1] if few else documents, plan.sentences)
        return found

    return compare(methods, run, lambda _, found: overlap(scorer, documents, found), path, plan, setup, advance)


def overlap(scorer: Any, documents: list[LabelledDocument], found: list[list[int]]) -> dict[str, float]:
    """`rouge_1`, `rouge_2` and `rouge_l` (of the whole summary): the mean F1 over documents; `length`, words of a
    summary."""
    scores: dict[str, list[float]] = {name: [] for name in (*ROUGE.values(), "length")}
    for document, chosen in zip(documents, found, strict=True):
        sentences = document.sentences()
        summary = "\n".join(sentences[index] for index in chosen)
        scores["length"].append(len(summary.split()))
        for key, score in scorer.score(document.reference, summary).items():
            scores[ROUGE[key]].append(score.fmeasure)
    return {name: float(np.mean(values)) for name, values in scores.items()}


def read_documents(plan: SummarizationPlan) -> list[LabelledDocument]:
    """The held-out articles that serve.

    Raises:
        PoNetError: where there are none.
    """
    build = summarization_document(SummarizationOptions(sentences=plan.sentences))
    return held_out_documents(build, plan.limit, "a lead, section headings and text")
