"""`ponet benchmark retrieval`: finding the section of an article that a title and a heading name, and how fast."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ponet.benchmarks.common import Advance
from ponet.benchmarks.sentences import ARTICLES, CUT, MethodsPlan, compare, held_out_articles
from ponet.embedding import Embedder, Span
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require

RANKS = (1, 10)


class Passages(NamedTuple):
    """Articles as texts without headings, their sections, and a query for each section."""

    texts: list[str]
    spans: list[list[Span]]
    queries: list[str]
    """One for each section of all articles, in order: the title and the headings."""

    def sections(self) -> list[str]:
        """The text of each section."""
        return [text[start:end] for text, spans in zip(self.texts, self.spans, strict=True) for start, end in spans]


class BM25:
    """BM25 by `bm25s` with its defaults, English stop words left out."""

    title = "BM25"

    def __init__(self) -> None:
        self.bm25s = require("bm25s", "baselines")
        self.tokens = partial(self.bm25s.tokenize, stopwords="en", show_progress=False)

    def index(self, passages: Passages) -> None:
        """Reads all sections."""
        self.engine = self.bm25s.BM25()
        self.engine.index(self.tokens(passages.sections()), show_progress=False)

    def scores(self, queries: list[str]) -> np.ndarray:
        """`[q, s]`, the score of each section for each query; the highest is the best."""
        return np.stack([self.engine.get_scores(each) for each in self.tokens(queries, return_ids=False)])


class Apart:
    """The cosine of a query's vector and each section's, which is read by itself; a model with attention reads it in
    windows of 512 tokens."""

    def __init__(self, model: str, dtype: str = "float32") -> None:
        self.embedder, self.dtype = Embedder(model, dtype=dtype), dtype
        if "attention" in (self.embedder.model.config.layer_mixers or ()):
            self.embedder = Embedder(model, window=CUT, dtype=dtype)
        self.title = f"{Path(model).name}, section by section"

    def index(self, passages: Passages) -> None:
        self.vectors = self.embedder.embed(passages.sections())

    def scores(self, queries: list[str]) -> np.ndarray:
        found: np.ndarray = self.embedder.embed(queries) @ self.vectors.T
        return found


class InOnePass(Apart):
    """As `Apart`, but an article is read whole, and a section's vector is the mean of its tokens there."""

    def __init__(self, model: str, dtype: str = "float32") -> None:
        self.embedder, self.dtype = Embedder(model, dtype=dtype), dtype
        self.title = f"{Path(model).name}, articles in one pass"

    def index(self, passages: Passages) -> None:
        found = self.embedder.stream_segments(passages.texts, passages.spans)
        self.vectors = np.concatenate([each.segments for each in found])


def measure_retrieval(plan: MethodsPlan, path: Path, advance: Advance) -> dict[str, Any]:
    """Measures each method on the same sections, and writes the result file after each.

    Raises:
        PoNetError: no such data or model, or a package that isn't installed.
    """
    passages = read_passages(plan)
    words = sum(len(text.split()) for text in passages.texts)
    setup = {"articles": len(passages.texts), "sections": len(passages.queries), "words": words}
    few = Passages(passages.texts[:1], passages.spans[:1], passages.queries[: len(passages.spans[0])])
    methods: list[Callable[[], BM25 | Apart]] = [BM25, *plan.each(Apart, InOnePass)]

    def run(method: BM25 | Apart, is_few: bool) -> None:
        method.index(few if is_few else passages)

    def figures(method: BM25 | Apart, _: None) -> dict[str, float]:
        return quality(method.scores(passages.queries))

    return compare(methods, run, figures, path, plan, setup, advance)


def quality(scores: np.ndarray) -> dict[str, float]:
    """`recall_1`, `recall_10` and `mrr` of square scores, where query i wants passage i; ties count against it."""
    ranks = (scores >= np.diag(scores)[:, None]).sum(1)
    return {f"recall_{k}": float((ranks <= k).mean()) for k in RANKS} | {"mrr": float((1 / ranks).mean())}


def read_passages(plan: MethodsPlan) -> Passages:
    """The sections of held-out articles that have headings; no two have the same query.

    Raises:
        PoNetError: where there are none.
    """
    passages = Passages([], [], [])
    for article in held_out_articles():
        if len(passages.texts) == plan.limit:
            break
        named = {section.headings: section for section in article.sections if section.headings}
        text, spans = "", []
        for section in article.sections:
            body = "\n".join(section.paragraphs)
            if named.get(section.headings) is section:
                spans.append((len(text), len(text) + len(body)))
                passages.queries.append(f"{article.title}: {' '.join(section.headings)}")
            text += body + "\n"
        if spans:
            passages.texts.append(text)
            passages.spans.append(spans)
    if not passages.queries:
        raise PoNetError(f"No article of '{ARTICLES}' serves: they need section headings and text.")
    return passages
