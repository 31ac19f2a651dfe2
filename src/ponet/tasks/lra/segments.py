"""What a segment is in Long Range Arena: runs of fixed length, as published, or what the data is made of.

Every rule takes a batch of documents end to end and gives each token a number that is its segment's within its
document; tokens of one segment needn't stand side by side.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ponet.config.lra import LraOptions
from ponet.tasks.lra.data import LraTask
from ponet.tasks.lra.listops import END, OPERATORS, TOKENS

Ids = NDArray[np.int64]
Segments = Callable[[Ids, Ids], Ids]
"""`ids [T]`, `positions [T]` (from 0 in each document) -> segments `[T]`."""

IMAGE_WIDTH = 32
_OPENING = np.array([TOKENS.index(operator) + 1 for operator in OPERATORS])
_CLOSING = TOKENS.index(END) + 1
_WHITESPACE = np.zeros(257, dtype=bool)
_WHITESPACE[[byte + 1 for byte in b" \t\n\r\v\f"]] = True  # the id of a byte is its value plus 1


def segment_rule(task: LraTask, options: LraOptions, padded_length: int) -> Segments:
    """The rule that a recipe asks for.

    Args:
        padded_length: `N`, the positions of the model, from which the published segment length follows.
    """
    if options.segments == "fixed":
        return partial(fixed, length=padded_length // options.segment_num + 1)
    if task.images:
        return partial(fixed, length=IMAGE_WIDTH)
    return lists if task.name == "listops" else words


def fixed(ids: Ids, positions: Ids, length: int) -> Ids:
    """Runs of `length` tokens; of 32 pixels, the rows of an image."""
    return positions // length


def words(ids: Ids, positions: Ids) -> Ids:
    """Words of bytes, each with the white space behind it."""
    space = _WHITESPACE[ids]
    begins = np.ones(len(ids), dtype=bool)
    begins[1:] = space[:-1] & ~space[1:]
    begins |= positions == 0
    return begins.cumsum()


def lists(ids: Ids, positions: Ids) -> Ids:
    """The innermost list that a token of ListOps stands in; operator and closing bracket are in the list they make.

    So a list's own arguments are pooled together, and apart from the lists inside it.
    """
    opens, closes = np.isin(ids, _OPENING), ids == _CLOSING
    depth = np.cumsum(opens) - np.cumsum(closes) + closes
    first = positions == 0
    depth -= (depth - opens)[first][np.cumsum(first) - 1]  # a document that was cut leaves lists open
    number = np.cumsum(opens)
    segments = np.zeros(len(ids), dtype=np.int64)
    for level in range(1, int(depth.max(initial=0)) + 1):
        latest = np.maximum.accumulate(np.where(opens & (depth == level), number, 0))
        here = depth == level
        segments[here] = latest[here]
    return segments
