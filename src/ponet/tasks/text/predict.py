"""New documents -> labels and scores, a record at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.config.text import TextOptions
from ponet.data.inputs import Input, read_inputs
from ponet.data.labels import LabelSpace
from ponet.tasks.models import device
from ponet.tasks.text.collate import PackedCollator
from ponet.tasks.text.encode import BATCH_CHARACTERS, BATCH_TEXTS, Encoder
from ponet.tasks.text.modelling import open_run
from ponet.tasks.text.store import Tokens
from ponet.utils.errors import PoNetError
from ponet.utils.precision import resolve_precision, torch_dtype

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 16_384


def predict(
    run: Path,
    options: TextOptions,
    source: str,
    *,
    text: str | None = None,
    pair: str | None = None,
    whole: bool = False,
    dtype: str = "float32",
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[dict[str, Any]]:
    """The model's answer for each document of `source`, in order, as it comes.

    Args:
        run: a run folder.
        options: the run's own data options.
        source: a CSV, TSV, JSON lines, JSON, Parquet or Arrow file, or a folder that holds one such table; a .txt file
            with one document a line; a folder of .txt files, one document each; any of these files compressed; or
            `-`, standard input with one document a line.
        text, pair: columns, where they aren't those of training.
        whole: a .txt file (or standard input) is one document.
        dtype: of weights and activations, as `utils.precision.resolve_precision` takes it.
        batch_tokens: tokens in a batch, at most (a longer document is alone in its batch).

    Yields:
        `index` from 0 (and `file` for a folder), then `label`, `score` and `scores` {class: probability};
        `labels` and `scores` for multi-label; `value` for regression; `"truncated": true` where the text is over
        the run's max_length.

    Raises:
        PoNetError: an unreadable source or run, or no text column.
    """
    precision = resolve_precision(dtype, "dtype")
    inputs = read_inputs(source, text, pair or options.pair, whole, trained=options.text)
    first = next(inputs, None)
    if first is None:
        raise PoNetError(f"'{source}' holds no documents.")
    import torch

    model, tokenizer, space = open_run(run)
    if model.config.classifier_pairs and first.pair is None:
        raise PoNetError(f"This model compares two texts: '{source}' must be a table with two columns (--pair).")
    torch.nn.Module.to(model, device(), torch_dtype(precision))
    collate = PackedCollator(model.config.type_vocab_size > 1, options.window is not None)
    encoder = Encoder(tokenizer, options)
    index = 0
    for batch in _batches(first, inputs, encoder, batch_tokens):
        logits = _logits(model, collate([tokens.example() for _, tokens in batch]))
        for (item, tokens), row in zip(batch, logits, strict=True):
            record: dict[str, Any] = {"index": index}
            if item.name is not None:
                record["file"] = item.name
            record |= answer(space, row)
            if tokens.dropped:
                record["truncated"] = True
            yield record
            index += 1


def answer(space: LabelSpace, logits: np.ndarray) -> dict[str, Any]:
    """One row of logits `[C]` in words and probabilities."""
    if space.kind == "regression":
        return {"value": float(logits[0])}
    if space.kind == "multi_label":
        scores = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
        named = dict(zip(space.names, map(float, scores), strict=True))
        return {"labels": [name for name, logit in zip(space.names, logits, strict=True) if logit > 0], "scores": named}
    exponents = np.exp(logits - logits.max())
    scores = exponents / exponents.sum()
    best = int(logits.argmax())
    return {
        "label": space.names[best],
        "score": float(scores[best]),
        "scores": dict(zip(space.names, map(float, scores), strict=True)),
    }


def _logits(model: Any, tensors: "dict[str, torch.Tensor]") -> np.ndarray:
    import torch

    with torch.inference_mode():
        output = model(**{name: tensor.to(model.device) for name, tensor in tensors.items()})
    logits: np.ndarray = output.logits.double().cpu().numpy()
    if not np.isfinite(logits).all():
        raise PoNetError("The model answers with NaN or infinity instead of numbers: train it again with --overwrite.")
    return logits


def _batches(
    first: Input, rest: Iterator[Input], encoder: Encoder, batch_tokens: int
) -> Iterator[list[tuple[Input, Tokens]]]:
    """Consecutive documents under the token budget, at least one."""
    batch: list[tuple[Input, Tokens]] = []
    size = 0
    for group in _groups(first, rest):
        pairs = [item.pair or "" for item in group] if group[0].pair is not None else None
        encoded = encoder([item.text for item in group], pairs)
        for item, tokens in zip(group, encoded, strict=True):
            if batch and size + len(tokens.input_ids) > batch_tokens:
                yield batch
                batch, size = [], 0
            batch.append((item, tokens))
            size += len(tokens.input_ids)
    if batch:
        yield batch


def _groups(first: Input, rest: Iterator[Input]) -> Iterator[list[Input]]:
    group, characters = [first], len(first.text)
    for item in rest:
        if len(group) == BATCH_TEXTS or characters + len(item.text) > BATCH_CHARACTERS:
            yield group
            group, characters = [], 0
        group.append(item)
        characters += len(item.text)
    yield group
