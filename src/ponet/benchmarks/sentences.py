"""What the benchmarks on sentences share: held-out articles, and methods that are timed on the same texts."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ponet.benchmarks.common import Advance, Record
from ponet.config.recipe import load_recipe
from ponet.data.sources import open_source
from ponet.tasks.models import device
from ponet.tasks.sentences.documents import Article, Build, LabelledDocument, read_articles, take
from ponet.tasks.sentences.scoring import SentenceScorer
from ponet.utils.errors import PoNetError

ARTICLES = "wikipedia"
HELD_OUT = ("test", "validation")
CUT = 512
"""Tokens that BERT reads."""


def compare(
    methods: Iterable[Callable[[], Any]],
    run: Callable[[Any, bool], Any],
    figures: Callable[[Any, Any], dict[str, float]],
    path: Path,
    seed: int,
    setup: dict[str, Any],
    advance: Advance,
) -> dict[str, Any]:
    """Measures methods one by one, and writes a result file with a row for each after each.

    Args:
        methods: make methods, which have a `title`.
        run: what is timed, of a method; first on few texts (True), so that whatever is loaded or compiled when it is
            first used is there, then on all (False).
        figures: of a method and what `run` gave.
        path: the JSON file.
        seed: of what is drawn.
        setup: for the file; `words` are those of all texts.
        advance: called after each method.

    Returns:
        What the file holds.
    """
    head: dict[str, Any] = {"setup": {"device": device(), "dtype": "float32", **setup}, "rows": []}
    with Record(path, seed, head).keeping() as record:
        for make in methods:
            method = make()
            run(method, True)
            begun = time.perf_counter()
            found = run(method, False)
            seconds = time.perf_counter() - begun
            row = {"method": method.title, **figures(method, found), "seconds": seconds}
            record.values["rows"].append(row | {"words_per_second": setup["words"] / seconds})
            record.save()
            advance(method.title)
    return record.content


def held_out_articles() -> Iterator[Article]:
    """The articles of Wikipedia in the data folder that no model was trained on."""
    source = open_source(ARTICLES)
    return read_articles(source, next((name for name in HELD_OUT if name in source.splits), "train"), "text")


def held_out_documents(build: Build, limit: int | None, needed: str) -> list[LabelledDocument]:
    """The first documents that the articles give, at most `limit`.

    Raises:
        PoNetError: where none serves; the articles need what is `needed`.
    """
    found, _ = take(held_out_articles(), build, limit)
    if not found:
        raise PoNetError(f"No article of '{ARTICLES}' serves: they need {needed}.")
    return found


class SentenceModel:
    """A run of the task on sentences (its folder, or an adapter's), as a method."""

    task: ClassVar[str]

    def __init__(self, run: str) -> None:
        self.scorer = SentenceScorer(self.task, run)
        recipe = Path(run, "recipe.yaml")
        self.title = load_recipe(recipe).name if recipe.is_file() else Path(run).name

    def scored(self, documents: list[LabelledDocument]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each document the sentences that have a score (one without tokens has none), and these scores, `[k]`."""
        found = self.scorer.stream_split((each.text, each.spans) for each in documents)
        for document, scored in zip(documents, found, strict=True):
            starts, known = ([start for start, _ in spans] for spans in (document.spans, scored.spans))
            yield np.searchsorted(starts, known), scored.probabilities
