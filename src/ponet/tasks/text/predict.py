"""New documents -> labels and scores, a record at a time."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ponet.data.columns import choose_columns, text_column
from ponet.data.labels import LabelSpace
from ponet.data.sources import open_source, read_text
from ponet.data.streams import Stream, is_text
from ponet.data.tables import Table, read_table
from ponet.errors import PoNetError
from ponet.tasks.text.collate import PackedCollator
from ponet.tasks.text.encode import BATCH_CHARACTERS, BATCH_TEXTS, Encoder, Tokens
from ponet.tasks.text.modelling import device, open_run
from ponet.tasks.text.options import TextOptions

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 16_384


class Input(NamedTuple):
    """One document to label."""

    text: str
    pair: str | None = None
    name: str | None = None
    """The file it is from, where each document has its own."""


def predict(
    run: Path,
    options: TextOptions,
    source: str,
    *,
    text: str | None = None,
    pair: str | None = None,
    whole: bool = False,
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
        batch_tokens: tokens in a batch, at most (a longer document is alone in its batch).

    Yields:
        `index` from 0 (and `file` for a folder), then `label`, `score` and `scores` {class: probability};
        `labels` and `scores` for multi-label; `value` for regression; `"truncated": true` where the text is over
        the run's max_length.

    Raises:
        PoNetError: an unreadable source or run, or no text column.
    """
    inputs = _inputs(source, replace(options, text=text or options.text, pair=pair or options.pair), text, whole)
    first = next(inputs, None)
    if first is None:
        raise PoNetError(f"'{source}' holds no documents.")
    import torch

    model, tokenizer, space = open_run(run)
    torch.nn.Module.to(model, device())
    collate = PackedCollator(token_types=model.config.type_vocab_size > 1)
    encoder = Encoder(tokenizer, options)
    index = 0
    for batch in _batches(first, inputs, encoder, batch_tokens):
        logits = _logits(model, collate([_example(tokens) for _, tokens in batch]))
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


def _example(tokens: Tokens) -> dict[str, Any]:
    return {"input_ids": tokens.input_ids, "segment_ids": tokens.segment_ids, "token_type_ids": tokens.token_type_ids}


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


def _inputs(source: str, options: TextOptions, named_text: str | None, whole: bool) -> Iterator[Input]:
    place = Path(source)
    plain = source == "-" or is_text(place) or (place.is_dir() and any(place.glob("*.txt")))
    if plain and options.pair is not None:
        raise PoNetError(f"This model reads pairs of texts: '{source}' must be a table with two columns.")
    if source == "-":
        return _standard_input(whole)
    if place.is_dir() and any(place.glob("*.txt")):
        return _folder(place)
    if is_text(place):
        return iter([Input(read_text(place))]) if whole else _file_lines(place)
    return _rows(place, options, named_text)


def _standard_input(whole: bool) -> Iterator[Input]:
    if sys.stdin is None:
        raise PoNetError("Standard input is closed. Name a file, or send the text in: ponet predict RUN - < FILE")
    reconfigure = getattr(sys.stdin, "reconfigure", None)
    if reconfigure is not None:  # in some locales Python takes any byte
        reconfigure(encoding="utf-8-sig", errors="strict")
    try:
        if whole:
            yield Input(sys.stdin.read())
        else:
            yield from _lines(sys.stdin)
    except UnicodeDecodeError as error:
        raise PoNetError("Standard input isn't UTF-8 text. Convert it: iconv -f latin1 -t utf-8 | ponet ...") from error


def _lines(stream: Iterable[str]) -> Iterator[Input]:
    for line in stream:
        yield Input(line.rstrip("\r\n"))


def _file_lines(path: Path) -> Iterator[Input]:
    with Stream(path) as stream:
        yield from _lines(stream.lines())


def _folder(folder: Path) -> Iterator[Input]:
    for file in sorted(folder.glob("*.txt")):
        yield Input(read_text(file), name=file.name)


def _rows(path: Path, options: TextOptions, named_text: str | None) -> Iterator[Input]:
    table = _table(path)
    # where the column of training isn't here, one is looked for
    text = options.text if named_text is not None or options.text in table.columns else None
    columns = choose_columns(table, text, options.pair, labelled=False)
    texts = text_column(table, columns.text)
    if columns.pair is None:
        yield from (Input(text.as_py()) for text in texts)
        return
    pairs = text_column(table, columns.pair)
    yield from (Input(text.as_py(), pair.as_py()) for text, pair in zip(texts, pairs, strict=True))


def _table(path: Path) -> Table:
    """The rows of a file, or of a folder that holds one table."""
    if not path.is_dir():
        return read_table(path)
    splits = open_source(str(path)).splits
    if len(splits) > 1:
        raise PoNetError(f"'{path}' has the splits {', '.join(splits)}: name the files of one.")
    return next(iter(splits.values()))
