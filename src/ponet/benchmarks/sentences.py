"""What the benchmarks on sentences share: held-out articles, and methods that are timed on the same texts."""

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ponet.benchmarks.common import Advance, Record
from ponet.benchmarks.measure import interleave
from ponet.config.recipe import load_recipe
from ponet.data.sources import open_source
from ponet.tasks.models import device
from ponet.tasks.sentences.documents import Article, Build, LabelledDocument, read_articles, take
from ponet.tasks.sentences.scoring import SentenceScorer
from ponet.utils.errors import PoNetError
from ponet.utils.precision import resolve_precision

ARTICLES = "wikipedia"
HELD_OUT = ("test", "validation")
CUT = 512
"""Tokens that BERT reads."""


@dataclass(frozen=True)
class MethodsPlan:
    """What is compared; raises a PoNetError for a type that this machine doesn't compute in."""

    models: tuple[str, ...]
    """Trained models: runs of the task, or adapters; of retrieval, encoders."""
    limit: int | None = 100
    """Documents; None: all."""
    seed: int = 0
    dtypes: tuple[str, ...] = ("float32",)
    """What models compute in: each is measured in each."""
    rounds: int = 3
    """Measurements of the speed."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "dtypes", tuple(dict.fromkeys(resolve_precision(each, "dtype") for each in self.dtypes))
        )

    def each(self, *kinds: Callable[[str, str], Any], models: Iterable[str] | None = None) -> list[Callable[[], Any]]:
        """Makers of methods: the kinds, for each model (default: `models`), in each type."""
        names = self.models if models is None else models
        return [partial(kind, name, dtype) for name in names for kind in kinds for dtype in self.dtypes]


def compare(
    methods: Iterable[Callable[[], Any]],
    run: Callable[[Any, bool], Any],
    figures: Callable[[Any, Any], dict[str, float]],
    path: Path,
    plan: MethodsPlan,
    setup: dict[str, Any],
    advance: Advance,
) -> dict[str, Any]:
    """Measures what methods find, one by one, then their speed in turns; writes a result file with a row for each.

    Args:
        methods: make methods, which have a `title`, and a `dtype` where they compute with a model.
        run: what is timed, of a method; first on few texts (True), so that whatever is loaded or compiled when it is
            first used is there, then on all (False).
        figures: of a method and what `run` gave.
        path: the JSON file.
        plan: the seed, and how often the speed is measured.
        setup: for the file; `words` are those of all texts.
        advance: called after each method, and after the speed.

    Returns:
        What the file holds.
    """
    rows: list[dict[str, Any]] = []
    head = {"setup": {"device": device(), "dtype": " and ".join(plan.dtypes), **setup}, "rows": rows}
    steps: dict[int, Callable[[], Any]] = {}
    with Record(path, plan.seed, head).keeping() as record:
        for make in methods:
            method = make()
            run(method, True)
            found = run(method, False)
            steps[len(rows)] = partial(run, method, False)
            rows.append({"method": method.title, "dtype": getattr(method, "dtype", None), **figures(method, found)})
            record.save()
            advance(method.title)
        for index, timing in interleave(steps, plan.rounds, warm_up=0).items():
            rates = sorted(setup["words"] / each for each in timing.seconds)
            rows[index]["words_per_second"] = {"median": statistics.median(rates), "min": rates[0], "max": rates[-1]}
        advance("speed")
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

    def __init__(self, run: str, dtype: str = "float32") -> None:
        self.scorer, self.dtype = SentenceScorer(self.task, run, dtype=dtype), dtype
        recipe = Path(run, "recipe.yaml")
        self.title = load_recipe(recipe).name if recipe.is_file() else Path(run).name

    def scored(self, documents: list[LabelledDocument]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each document the sentences that have a score (one without tokens has none), and these scores, `[k]`."""
        found = self.scorer.stream_split((each.text, each.spans) for each in documents)
        for document, scored in zip(documents, found, strict=True):
            starts, known = ([start for start, _ in spans] for spans in (document.spans, scored.spans))
            yield np.searchsorted(starts, known), scored.probabilities
