"""The segment of each token of a text, from the offsets of its tokenization; `PoNetTokenizer` describes the ids.

Needs NumPy and tokenizers alone. This file is copied beside a saved model and into an export.
"""

from collections.abc import Sequence

import numpy as np
from tokenizers import Encoding

from ponet.models.segmentation import paragraph_spans, sentence_spans

Text = str | Sequence[str]
"""A text, or with `is_split_into_words` its words."""


def segment_ids(
    encoding: Encoding,
    texts: tuple[str, ...],
    segments: str | None = "sentences",
    segment_length: int | None = None,
    special_ids: Sequence[int] = (),
) -> list[int]:
    """The ids of one row `[N]`, padding included, as `PoNetTokenizer` and the model make them.

    Args:
        encoding: of the text, or of the pair of texts.
        texts: the one or two texts.
        segments, segment_length: as those of `PoNetTokenizer`.
        special_ids: [CLS] and [SEP], between which segments are where `segments` is None.
    """
    if segments is None:
        special = np.isin(encoding.ids, special_ids) & np.array(encoding.attention_mask, dtype=bool)
        return np.cumsum(special | np.append(False, special[:-1])).tolist()
    return number_segments(encoding, texts, [segment_starts(text, segments, None) for text in texts], segment_length)


def segment_starts(text: Text, segments: str | None, given: np.ndarray | None) -> np.ndarray | None:
    """Where the segments of a text begin `[k]`; None where segments are counted in tokens."""
    if given is not None:
        return given[given[:, 0] < given[:, 1], 0]
    if segments == "fixed":
        return None
    joined = text if isinstance(text, str) else " ".join(text)
    spans = sentence_spans(joined) if segments == "sentences" else paragraph_spans(joined)
    return np.array([start for start, _ in spans], dtype=np.int64)


def number_segments(
    encoding: Encoding,
    texts: tuple[Text, ...],
    starts: list[np.ndarray | None],
    length: int | None,
    in_words: bool = False,
) -> list[int]:
    """The ids of one row `[N]`: a new one wherever the text, the segment or (always) a special token changes."""
    real = np.array(encoding.attention_mask, dtype=bool)
    # -1 for special tokens, else which of the two texts a token is from
    source = np.array([-1 if s is None else s for s in encoding.sequence_ids], dtype=np.int64)
    segment = np.zeros(len(real), dtype=np.int64)
    counted = all(begins is None for begins in starts)
    positions = segment if counted else _positions(encoding, texts, source, in_words)
    for i, begins in enumerate(starts):
        ours = np.flatnonzero(source == i)
        if begins is None:
            assert length is not None  # checked by the caller
            segment[ours] = np.arange(len(ours)) // length
        else:
            segment[ours] = np.searchsorted(begins, positions[ours], side="right").clip(1)
    source, segment = source[real], segment[real]
    new = np.ones(len(source), dtype=np.int64)
    new[1:] = (source[1:] < 0) | (source[1:] != source[:-1]) | (segment[1:] != segment[:-1])
    new[:1] = source[:1] >= 0  # [CLS] has id 0; without it the first segment still has id 1
    ids = np.cumsum(new)
    row = np.full(len(real), ids[-1] + 1 if len(ids) else 0)
    row[real] = ids
    return row.tolist()


def _positions(encoding: Encoding, texts: tuple[Text, ...], source: np.ndarray, in_words: bool) -> np.ndarray:
    """Where each token begins `[N]`: a character of its text (or of its text's words, joined), or a word."""
    if isinstance(texts[0], str):
        return np.array([start for start, _ in encoding.offsets], dtype=np.int64)
    words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
    if in_words:
        return words
    positions = np.array([start for start, _ in encoding.offsets], dtype=np.int64)
    for i, text in enumerate(texts):
        begins = np.cumsum([0, *(len(word) + 1 for word in text)])
        positions[source == i] += begins[words[source == i]]
    return positions
