"""Texts as the bytes that Long Range Arena's byte tasks take."""

from collections.abc import Sequence

import numpy as np

from ponet.tasks.lra.store import Examples

LIMIT = 4_000
"""Bytes kept of a text. The id of a byte is its value plus 1, which `Plan.shift` adds."""


def from_texts(columns: Sequence[Sequence[bytes]], labels: Sequence[int]) -> Examples:
    """Examples of one or two texts each, cut at `LIMIT` bytes.

    An example with an empty text is left out, since no model can take it. Notes count both: `cut` texts and `empty`.
    """
    rows = [row for row in range(len(labels)) if all(texts[row] for texts in columns)]
    tokens, lengths = [], []
    cut = 0
    for texts in columns:
        kept = [texts[row][:LIMIT] for row in rows]
        cut += sum(len(texts[row]) > LIMIT for row in rows)
        tokens.append(np.frombuffer(b"".join(kept), np.uint8))
        lengths.append(np.array([len(text) for text in kept], np.int64))
    notes = {"cut": cut, "empty": len(labels) - len(rows)}
    return Examples(tokens, lengths, np.array([labels[row] for row in rows], np.uint8), notes)
