"""New documents -> labels and scores: the model of a run, for `ponet.inference`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ponet.config.text import TextOptions
from ponet.data.inputs import Source
from ponet.data.labels import LabelSpace
from ponet.inference.documents import token_batches
from ponet.tasks.models import device, model_digest
from ponet.tasks.text.encode import Encoder, PairEncoder
from ponet.tasks.text.modelling import as_trained, open_run
from ponet.tasks.text.tokens import Tokens, collator
from ponet.utils.errors import PoNetError
from ponet.utils.precision import resolve_precision, torch_dtype

BATCH_TOKENS = 16_384


class Predictor:
    """Answers documents with the model of a run: an `Annotator` of `ponet.inference`. Raises PoNetError: a run without
    a model, or with a broken one.

    Args:
        run: a run folder.
        options: the run's own data options.
        dtype: of weights and activations, as `utils.precision.resolve_precision` takes it.
        batch_tokens: tokens in a batch, at most (a longer document is alone in its batch).

    Attributes:
        columns: `label`, `score` and `scores` {class: probability}; `labels` and `scores` for multi-label; `value` for
            regression.
    """

    def __init__(
        self, run: Path, options: TextOptions, *, batch_tokens: int = BATCH_TOKENS, dtype: str = "float32"
    ) -> None:
        self.run, self.batch_tokens = run, batch_tokens
        self.dtype = resolve_precision(dtype, "dtype")
        self.model, tokenizer, self.space = open_run(run)
        self.options = options = as_trained(options, self.model)
        torch.nn.Module.to(self.model, device(), torch_dtype(self.dtype))
        self.encode = PairEncoder(Encoder(tokenizer, options), bool(self.model.config.classifier_pairs))
        self.max_length: int | None = options.max_length
        self.columns = columns_of(self.space)
        self._collate = collator(self.model, options)

    def source(
        self,
        name: str,
        text: str | None = None,
        pair: str | None = None,
        whole: bool = False,
        keep: tuple[str, ...] | None = (),
    ) -> Source:
        """Where documents are, as `Source` takes it, with the columns of training where no others are named."""
        return Source(name, text, pair or self.options.pair, whole, trained=self.options.text, keep=keep)

    def logits(self, documents: Sequence[Tokens]) -> np.ndarray:
        """`[n, C]` of documents, in order. Raises PoNetError: NaN or infinity among them."""
        found = np.empty((len(documents), self.space.num_labels))
        for batch in token_batches([len(tokens) for tokens in documents], self.batch_tokens):
            tensors = self._collate([documents[each].example() for each in batch])
            with torch.inference_mode():
                output = self.model(**{name: tensor.to(self.model.device) for name, tensor in tensors.items()})
            found[batch] = output.logits.double().cpu().numpy()
        if not np.isfinite(found).all():
            raise PoNetError(
                "The model answers with NaN or infinity instead of numbers: train it again with --overwrite."
            )
        return found

    def annotate(self, documents: Sequence[Tokens]) -> pa.Table:
        """`columns` of documents, in order. Raises PoNetError: as `logits`."""
        return pa.Table.from_pylist([answer(self.space, row) for row in self.logits(documents)], schema=self.columns)

    def identity(self) -> dict[str, Any]:
        """The run's model and its data options."""
        reading = ("max_length", "keep", "segments", "segment_length", "pairs", "window")
        settings = {name: getattr(self.options, name) for name in reading}
        return {"files": model_digest(self.run), "dtype": self.dtype, **settings}


def columns_of(space: LabelSpace) -> pa.Schema:
    """The columns of the answers of a kind."""
    if space.kind == "regression":
        return pa.schema([("value", pa.float64())])
    scores = pa.struct([(name, pa.float64()) for name in space.names])
    if space.kind == "multi_label":
        return pa.schema([("labels", pa.list_(pa.string())), ("scores", scores)])
    return pa.schema([("label", pa.string()), ("score", pa.float64()), ("scores", scores)])


def answer(space: LabelSpace, logits: np.ndarray) -> dict[str, Any]:
    """One row of logits `[C]` in words and probabilities."""
    if space.kind == "regression":
        return {"value": float(logits[0])}
    if space.kind == "multi_label":
        scores = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
        found: dict[str, Any] = {"labels": [space.names[index] for index in np.flatnonzero(logits > 0)]}
    else:
        exponents = np.exp(logits - logits.max())
        scores = exponents / exponents.sum()
        best = int(logits.argmax())
        found = {"label": space.names[best], "score": float(scores[best])}
    return found | {"scores": dict(zip(space.names, map(float, scores), strict=True))}
