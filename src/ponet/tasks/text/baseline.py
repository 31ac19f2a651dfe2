"""TF-IDF and a linear model from scikit-learn, what a practical person tries first, on the same splits and texts."""

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.artifacts import progress
from ponet.config.text import TextOptions
from ponet.data.labels import LabelSpace, check_weights
from ponet.tasks.base import Evaluation, Prepared
from ponet.tasks.text.corpus import Documents, load_corpus
from ponet.tasks.text.encode import cut_documents
from ponet.tasks.text.metrics import BEST, measure
from ponet.tasks.text.modelling import check_model_keys, make_tokenizer
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from ponet.config.recipe import Recipe
    from ponet.tasks.text.predict import Predictor

STRENGTHS = (0.25, 1.0, 4.0, 16.0, 64.0, 256.0)
"""Candidates for C (inverse regularisation); the validation split chooses. Without one, C is 1, scikit-learn's own."""
_NO_RUN = "The baseline has no model to open: its figures are in result.json."


class BaselineTask:
    """The data options of `text`, learnt without a neural network: `run` gives the figures at once."""

    def run(self, recipe: "Recipe") -> dict[str, Any]:
        """As `run_baseline`; an engine calls this instead of `prepare` where a task has it."""
        return run_baseline(recipe)

    def prepare(self, recipe: "Recipe") -> Prepared:
        raise PoNetError("The baseline trains by itself (`run`).")

    def evaluation(
        self, run: Path, recipe: "Recipe", data: str | None, split: str, fresh_seed: int | None
    ) -> Evaluation:
        raise PoNetError(_NO_RUN)

    def predictor(self, run: Path, recipe: "Recipe", **options: Any) -> "Predictor":
        raise PoNetError(_NO_RUN)


def run_baseline(recipe: "Recipe") -> dict[str, Any]:
    """Trains and measures TF-IDF (words and pairs of words, sublinear) with logistic regression (ridge for numbers).

    The texts are those that the model of task `text` reads with the same data options: same splits, cut where its
    tokens are cut. Of a pair, each text has features of its own. Raises PoNetError: as `TextTask.prepare`.

    Returns:
        `validation` and `test` (figures by name, where the split is there), `inference` (`seconds`, `examples` of the
        test), `train` (`seconds`, `rows`, `features`, `C`), `data` (facts) and `notices`.
    """
    options: TextOptions = recipe.data.seeded(recipe.seed)
    check_model_keys(recipe.model)
    corpus = load_corpus(options)
    check_weights(options.class_weights, corpus.space)
    tokenizer = make_tokenizer(options, recipe.model.get("init"), corpus.splits["train"], corpus.notices)
    splits = {}
    for name, documents in corpus.splits.items():
        splits[name], counts = cut_documents(documents, tokenizer, options, name)
        corpus.facts["splits"][name] |= counts.facts()
        corpus.notices += filter(None, [counts.notice(name, options)])
    started = time.perf_counter()
    features, sizes, transform_seconds = _features(splits)
    seconds = time.perf_counter() - started - transform_seconds.get("test", 0.0)
    best, strength, fit_seconds = _fit_best(features, splits, corpus.space, options, recipe.seed)
    figures: dict[str, Any] = {}
    for name in [name for name in splits if name != "train"]:
        started = time.perf_counter()
        predicted = _predict(best, features[name], corpus.space)
        if name == "test":
            spent = time.perf_counter() - started + transform_seconds[name]
            figures["inference"] = {"seconds": round(spent, 3), "examples": len(splits[name])}
        figures[name] = measure(corpus.space, predicted, splits[name].labels)
    train = {"seconds": seconds + fit_seconds, "rows": len(splits["train"]), "features": sizes, "C": strength}
    return {**figures, "train": train, "data": corpus.facts, "notices": corpus.notices}


def _features(splits: dict[str, Documents]) -> "tuple[dict[str, csr_matrix], int, dict[str, float]]":
    """TF-IDF rows `[n, F]` of each split, F, and the seconds for each; the vocabulary is the training split's."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    columns: dict[str, list[Any]] = {name: [] for name in splits}
    spent = dict.fromkeys(splits, 0.0)
    for side in ("texts", "pairs"):
        if getattr(splits["train"], side) is None:
            continue
        # Words that occur in one document only say nothing about another; in a handful of documents all may.
        least = 2 if len(splits["train"]) >= 100 else 1
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=least, dtype=np.float32)
        for name, documents in splits.items():
            texts = (text.as_py() for text in getattr(documents, side))
            started = time.perf_counter()
            try:
                transform = vectorizer.fit_transform if name == "train" else vectorizer.transform
                columns[name].append(transform(texts))
            except ValueError as error:
                raise PoNetError("The training texts hold no words that the baseline could count.") from error
            spent[name] += time.perf_counter() - started
    rows = {name: hstack(parts, format="csr") for name, parts in columns.items()}
    return rows, int(rows["train"].shape[1]), spent


def _fit_best(
    features: "dict[str, csr_matrix]", splits: dict[str, Documents], space: LabelSpace, options: TextOptions, seed: int
) -> tuple[Any, float, float]:
    """The fitted model with the best validation figure, its C, and the seconds all fits took."""
    candidates = STRENGTHS if "validation" in splits else (1.0,)
    best: Any = None
    best_figure, best_strength = -np.inf, 1.0
    labels = splits["train"].labels
    labels = labels.astype(np.float64) if space.kind == "regression" else labels
    started = time.perf_counter()
    with progress("TF-IDF + linear model", len(candidates), "fits") as advance:
        for strength in candidates:
            model = _model(space, options, strength, seed)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
                model.fit(features["train"], labels)
            figure = 0.0
            if "validation" in splits:
                predicted = _predict(model, features["validation"], space)
                figure = measure(space, predicted, splits["validation"].labels)[BEST[space.kind]]
            if figure > best_figure:
                best, best_figure, best_strength = model, figure, strength
            advance(1)
    return best, best_strength, time.perf_counter() - started


def _model(space: LabelSpace, options: TextOptions, strength: float, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier

    if space.kind == "regression":
        return Ridge(alpha=1 / strength, random_state=seed)
    weights: Any = None if options.class_weights == "none" else options.class_weights
    if isinstance(weights, dict):
        if space.kind == "multi_label" or len(space.names) > 2:
            raise PoNetError("The baseline takes class weights by name for two classes only: use balanced or none.")
        weights = {index: weights.get(name, 1.0) for index, name in enumerate(space.names)}
    # One against the rest beyond two classes: exact, and a million features times twenty classes stay small.
    model = LogisticRegression(C=strength, solver="liblinear", class_weight=weights, random_state=seed, max_iter=1000)
    return model if space.positive else OneVsRestClassifier(model)


def _predict(model: Any, features: "csr_matrix", space: LabelSpace) -> np.ndarray:
    predicted = np.asarray(model.predict(features))
    return predicted if space.kind == "regression" else predicted.astype(np.int64)
