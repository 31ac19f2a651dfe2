"""BERT's WordPiece tokenizer, which also gives the segment (sentence, paragraph, ...) of each token."""

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BatchEncoding, BertTokenizer
from transformers.utils import logging

from ponet.models.segment_ids import Text, number_segments, segment_starts
from ponet.models.standalone import copy_sources

logger = logging.get_logger(__name__)

SEGMENTATIONS = ("sentences", "paragraphs", "fixed", None)


class PoNetTokenizer(BertTokenizer):
    """BERT's tokenizer with `segment_ids` beside `input_ids`, made from the offsets of that one tokenization.

    Ids of one text, as the published code lays them out: [CLS] 0, the tokens of its i-th segment i (from 1), [SEP] an
    id of its own, padding the last id + 1. Of a pair: [CLS] 0, A's segments 1..a, [SEP] a+1, B's segments from a+2,
    [SEP] last + 1. After truncation, and in each overflowing window, ids are renumbered, so that none is skipped.
    A token between two spans belongs to the one before it (before the first span: to the first).

    Args:
        vocab: a `vocab.txt` (one piece a line) or a mapping from piece to id.
        do_lower_case: as BERT's, default True.
        segments: "sentences" (the default), "paragraphs" (parted by blank lines), "fixed" (every `segment_length`
            tokens), or None: no `segment_ids`, and the model makes a segment of the tokens between two special ones.
        segment_length: tokens a segment, for "fixed"; counted from the first token of each text after truncation.
        truncate_by_default: whether a call without `truncation` and `max_length` truncates to `model_max_length`, with
            a warning the first time; for pipelines, which give neither. `truncation=False` doesn't truncate.

    `segments` and `segment_length` can be given to a call too. So can `spans`: for each text a list of half-open
    character offsets `(start, end)`, in order and disjoint (for a pair, a tuple of two such lists); they take
    precedence over `segments`. With `is_split_into_words`, `spans` count words instead, and sentences are sought in the
    words joined by a space.

    `packed=True` in a call concatenates all texts of a batch, without padding: `input_ids`, `segment_ids` and
    `token_type_ids` are `[1, T]`, and `cu_seq_lens_q` `[B + 1]` is where each begins, as every PoNet model accepts it.
    With `whole_at` in addition: where a call has no `max_length` and `model_max_length` is this number, texts aren't
    truncated. Both are for libraries that encode by settings in a file (`ponet.models.checkpoints.write_modules`).

    Raises:
        ValueError: for an unknown `segments`, a missing `segment_length`, or spans that don't fit their text.
        OSError: where the vocabulary file can't be read.
    """

    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask", "segment_ids"]  # noqa: RUF012
    # Saved with the code, so that AutoTokenizer finds the class where ponet isn't installed; the pair is (slow, fast).
    _auto_map = {"AutoTokenizer": [None, "tokenization_ponet.PoNetTokenizer"]}  # noqa: RUF012

    def __init__(
        self,
        vocab: str | os.PathLike[str] | dict[str, int] | None = None,
        do_lower_case: bool = True,
        segments: str | None = "sentences",
        segment_length: int | None = None,
        truncate_by_default: bool = False,
        **kwargs: Any,
    ) -> None:
        if vocab is None and kwargs.get("tokenizer_file") is None and kwargs.get("tokenizer_object") is None:
            raise ValueError("No vocabulary: give vocab=, or a folder that holds a tokenizer.json or a vocab.txt.")
        if isinstance(vocab, (str, os.PathLike)):
            with open(vocab, encoding="utf-8") as file:
                vocab = {line.rstrip("\n"): i for i, line in enumerate(file)}
        _check(segments, segment_length)
        super().__init__(
            vocab=vocab,
            do_lower_case=do_lower_case,
            segments=segments,
            segment_length=segment_length,
            truncate_by_default=truncate_by_default,
            **kwargs,
        )
        self.segments, self.segment_length, self.truncate_by_default = segments, segment_length, truncate_by_default
        self._warned_of_truncation = False

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        *args: Any,
        packed: bool = False,
        whole_at: int | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """As BERT's tokenizer, with `segment_ids`. For `packed`, `whole_at` and truncation see the class."""
        if packed:
            return self._packed(text, text_pair, whole_at, *args, **kwargs)
        given = {**kwargs, **(kwargs.get("tokenizer_kwargs") or {})}
        explicit = any(given.get(name) is not None for name in ("truncation", "max_length"))
        if not self.truncate_by_default or explicit or given.get("return_overflowing_tokens"):
            return super().__call__(text, text_pair, *args, **kwargs)
        output = super().__call__(text, text_pair, *args, **{**kwargs, "truncation": True})
        if not self._warned_of_truncation and any(encoding.overflowing for encoding in output.encodings or ()):
            self._warned_of_truncation = True
            side = "beginning" if self.truncation_side == "left" else "end"
            logger.warning(
                f"A text of more than {self.model_max_length:,} tokens, the model's length, was truncated at its "
                f"{side}; so will others be, without a warning. truncation=False doesn't truncate."
            )
        return output

    def _packed(self, text: Any, text_pair: Any, whole_at: int | None, *args: Any, **kwargs: Any) -> BatchEncoding:
        settings = {**kwargs, "padding": False, "return_attention_mask": False, "return_tensors": None}
        if kwargs.get("max_length") is None and self.model_max_length == whole_at:
            settings |= {"truncation": False, "verbose": False}
        single = isinstance(text, str)
        rows = self([text] if single else text, [text_pair] if single and text_pair else text_pair, *args, **settings)
        lengths = [len(ids) for ids in rows["input_ids"]]
        flat: dict[str, Any] = {name: [list(chain.from_iterable(values))] for name, values in rows.items()}
        flat["cu_seq_lens_q"] = np.cumsum([0, *lengths], dtype=np.int32)
        return BatchEncoding(flat, tensor_type=kwargs.get("return_tensors"))

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        """Writes `vocab.txt`, as BERT's tools read it: one piece a line, in the order of ids."""
        path = os.path.join(save_directory, (f"{filename_prefix}-" if filename_prefix else "") + "vocab.txt")
        pieces = self.backend_tokenizer.get_vocab(with_added_tokens=False)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{piece}\n" for piece in sorted(pieces, key=pieces.__getitem__))
        return (path,)

    def _save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> tuple[str, ...]:
        copy_sources(Path(save_directory), "ponet.models.tokenization_ponet")
        return super()._save_pretrained(save_directory, *args, **kwargs)

    def _encode_plus(  # type: ignore[override]  # passes on what it doesn't use
        self, text: Any, text_pair: Any = None, **kwargs: Any
    ) -> BatchEncoding:
        segments = kwargs.pop("segments", self.segments)
        length = kwargs.pop("segment_length", self.segment_length)
        spans = kwargs.pop("spans", None)
        if kwargs.get("sanitize_control_tokens"):  # of a chat template, which makes no encodings
            return super()._encode_plus(text, text_pair, **kwargs)
        if spans is None:
            _check(segments, length)
            if segments is None or "segment_ids" not in self.model_input_names:
                return super()._encode_plus(text, text_pair, **kwargs)

        words = bool(kwargs.get("is_split_into_words"))
        tensors = kwargs.pop("return_tensors", None)
        single = not _is_batch(text, words)
        if single:
            text, text_pair = [text], [text_pair] if text_pair else None
            spans = None if spans is None else [spans]
        output = super()._encode_plus(text, text_pair, return_tensors=None, **kwargs)
        texts = _texts(text, text_pair, words)
        given = _given_spans(spans, texts) if spans is not None else None

        overflowing = bool(kwargs.get("return_overflowing_tokens"))
        owners = output["overflow_to_sample_mapping"] if overflowing else range(len(texts))
        rows: list[list[int]] = []
        starts: list[np.ndarray | None] = []
        at = -1
        for encoding, owner in zip(output.encodings or [], owners, strict=True):
            if owner != at:  # the windows of one text follow each other
                at = owner
                starts = [
                    segment_starts(t, segments, None if given is None else given[at][i])
                    for i, t in enumerate(texts[at])
                ]
            rows.append(number_segments(encoding, texts[at], starts, length, in_words=words and given is not None))
        output["segment_ids"] = rows
        if single and tensors is None and not overflowing:
            values = {key: v[0] if len(v) > 0 and isinstance(v[0], list) else v for key, v in output.items()}
            return BatchEncoding(values, output.encodings)
        return output.convert_to_tensors(tensors)

    def _pad(self, encoded_inputs: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        ids, mask = encoded_inputs.get("segment_ids"), encoded_inputs.get("attention_mask")
        padded = super()._pad(encoded_inputs, *args, **kwargs)
        missing = len(padded[self.model_input_names[0]]) - len(ids) if ids is not None else 0
        if ids is not None and missing > 0:
            real = ids if mask is None else [i for i, m in zip(ids, mask, strict=True) if m]
            fill = [max(real, default=-1) + 1] * missing
            side = kwargs.get("padding_side") or self.padding_side
            padded["segment_ids"] = [*fill, *ids] if side == "left" else [*ids, *fill]
        return padded


def _check(segments: Any, length: Any) -> None:
    if segments not in SEGMENTATIONS:
        raise ValueError(f"segments={segments!r} is unknown: give 'sentences', 'paragraphs', 'fixed' or None.")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 1):
        raise ValueError(f"segment_length must be a whole number of tokens, 1 or more, not {length!r}.")
    if segments == "fixed" and length is None:
        raise ValueError("segments='fixed' needs segment_length, the number of tokens in a segment.")


def _is_batch(text: Any, words: bool) -> bool:
    if words:
        return isinstance(text, (list, tuple)) and bool(text) and isinstance(text[0], (list, tuple))
    return isinstance(text, (list, tuple))


def _texts(batch: Sequence[Any], pairs: Sequence[Any] | None, words: bool) -> list[tuple[Text, ...]]:
    """One or two texts for each example, in whichever form the batch has its pairs."""
    if pairs is not None:
        return list(zip(batch, pairs, strict=True))
    if words:
        return [tuple(x) if len(x) > 0 and isinstance(x[0], (list, tuple)) else (x,) for x in batch]
    return [(x,) if isinstance(x, str) else tuple(x) for x in batch]


def _given_spans(spans: Any, texts: list[tuple[Text, ...]]) -> list[list[np.ndarray]]:
    """Checked `spans` as arrays `[k, 2]`, one an example and text."""
    if len(spans) != len(texts):
        raise ValueError(f"spans holds {len(spans)} lists for {len(texts)} texts: give one list a text.")
    checked = []
    for row, (one, parts) in enumerate(zip(spans, texts, strict=True)):
        lists = [one] if len(parts) == 1 else one
        if len(lists) != len(parts):
            raise ValueError(f"spans[{row}] must be a tuple of two lists, one for each text of the pair.")
        arrays = []
        for spans_of_text, text in zip(lists, parts, strict=True):
            try:
                array = np.asarray(spans_of_text) if len(spans_of_text) > 0 else np.empty((0, 2), dtype=np.int64)
            except (TypeError, ValueError):  # not a list, or a ragged one
                array = np.empty(0)
            if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
                raise ValueError(f"spans[{row}] must be a list of pairs (start, end) of whole numbers.")
            edges = array.ravel()  # start, end, start, end, ...: never falling
            if len(edges) and (edges[0] < 0 or edges[-1] > len(text) or (np.diff(edges) < 0).any()):
                raise ValueError(
                    f"spans[{row}] must be in order, disjoint and within their text of length {len(text)}."
                )
            arrays.append(array)
        checked.append(arrays)
    return checked
