"""PoNet as a scikit-learn classifier of texts: in pipelines, grid searches and everything else that takes one."""

import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ponet.inference.documents import encoded_blocks


class PoNetClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of texts of any length, trained as `ponet finetune` trains it.

    `X` is a list or a column (array, Series) of texts, `y` a class for each: numbers, strings or truth values.

    Args:
        model: a checkpoint to start from: a folder, a bundled or a hub name; None: the best bundled one; "none": from
            scratch, with a vocabulary made from the texts.
        max_length: tokens that are read of a text, at least 8.
        epochs: passes over the texts, at most.
        learning_rate: the highest one; None: the recipe's.
        validation_fraction: share of the texts held out to choose the best epoch and to stop early; 0: none, and the
            last epoch counts.
        settings: further settings of the recipe, as `{"head_learning_rate": 1e-3}` (`ponet recipes show
            finetune/base` lists them).
        batch_tokens: tokens in a batch of a prediction, at most.
        random_state: the seed.
        verbose: whether training shows its progress and notices.

    Attributes:
        classes_: `[C]`, the classes, sorted.
        result_: what training says of itself: figures, time, versions (`result.json` of a run folder).
        predictor_: the model with its tokenizer (`predictor_.model`, `predictor_.encode`).
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        max_length: int = 2048,
        epochs: float = 5.0,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
        settings: dict[str, Any] | None = None,
        batch_tokens: int = 16_384,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.max_length = max_length
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.settings = settings
        self.batch_tokens = batch_tokens
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Sequence[str], y: Sequence[Any]) -> "PoNetClassifier":
        """Trains on texts `[n]` and their classes `[n]`.

        Raises:
            ValueError: X isn't texts, y isn't classes, of another number, or all of one class.
            PoNetError: settings that don't fit, or a model that can't be opened.
        """
        from ponet.training.evaluation import predictor
        from ponet.training.run import train

        texts = _texts(X)
        check_classification_targets(y)
        classes, labels = np.unique(np.asarray(y), return_inverse=True)
        if np.ndim(y) != 1 or len(labels) != len(texts):
            raise ValueError(f"y should have a class for each text: {len(texts):,} texts, y of shape {np.shape(y)}.")
        if len(classes) < 2:
            raise ValueError(f"y has one class only, {classes[0]!r}: a classifier needs two at least.")
        with tempfile.TemporaryDirectory(prefix="ponet-") as folder:
            run, data = Path(folder) / "run", Path(folder) / "data.parquet"
            parquet.write_table(pa.table({"text": texts, "label": labels}), data)
            self.result_ = train(self._recipe(data, [str(name) for name in classes]), run, show=bool(self.verbose))
            self.predictor_ = predictor(run, batch_tokens=self.batch_tokens)
        self.classes_ = classes
        return self

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """The most probable class of each text, `[n]`.

        Raises:
            ValueError: X isn't texts.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X: Sequence[str]) -> np.ndarray:
        """The probability of each class, `[n, C]`, in the order of `classes_`.

        Raises:
            ValueError: X isn't texts.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        check_is_fitted(self)
        texts, cut = _texts(X), 0
        logits = [np.zeros((0, len(self.classes_)))]
        for documents in encoded_blocks(self.predictor_, texts):
            cut += sum(document.dropped > 0 for document in documents)
            logits.append(self.predictor_.logits(documents))
        if cut:
            message = f"{cut:,} of {len(texts):,} texts were longer than {self.max_length:,} tokens and cut."
            warnings.warn(message, stacklevel=2)
        exponents = np.exp(np.concatenate(logits) - np.concatenate(logits).max(axis=1, keepdims=True, initial=-np.inf))
        return exponents / exponents.sum(axis=1, keepdims=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    def _recipe(self, data: Path, names: list[str]) -> Any:
        from ponet.config.files import read_recipe
        from ponet.config.recipe import recipe_from_dict
        from ponet.models.checkpoints import checkpoint

        scratch = self.model == "none"
        values = read_recipe("finetune/base-scratch" if scratch else "finetune/base")
        values["name"], values["seed"] = "sklearn", self.random_state
        values["data"] |= {
            "path": str(data),
            "text": "text",
            "label": "label",
            "kind": "single_label",
            "class_names": names,
            "max_length": self.max_length,
            "validation_fraction": self.validation_fraction,
        }
        values["training"]["epochs"] = self.epochs
        if self.learning_rate is not None:
            values["training"]["learning_rate"] = self.learning_rate
        if not self.validation_fraction:
            values["training"]["patience"] = None
        if not scratch:
            values["model"] = {"init": checkpoint() if self.model is None else self.model}
        given = (self.settings or {}).items()
        changes = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in given]
        return recipe_from_dict(values, changes)


def _texts(texts: Any) -> list[str]:
    """The texts of a list or a column.

    Raises:
        ValueError: something else.
    """
    if isinstance(texts, str) or not hasattr(texts, "__len__"):
        raise ValueError(f"X should be a list or a column of texts, not {type(texts).__name__}.")
    if len(np.shape(texts)) > 1:
        raise ValueError(f"X should be one column of texts, not of shape {np.shape(texts)}: choose a column of it.")
    found = list(texts)
    wrong = next((place for place, text in enumerate(found) if not isinstance(text, str)), None)
    if wrong is not None:
        raise ValueError(f"X should hold texts, and row {wrong:,} is {type(found[wrong]).__name__}.")
    if not found:
        raise ValueError("X holds no texts: one at least is needed.")
    return [str(text) for text in found]
