"""Examples of Long Range Arena -> a batch for the model, with segments of fixed length or of what the data is made of.

A segment rule takes a batch of documents end to end and gives each token a number that is its segment's within its
document; tokens of one segment needn't stand side by side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ponet.config.lra import LraOptions
from ponet.tasks.base import Example
from ponet.tasks.lra.listops import END, OPERATORS, TOKENS
from ponet.tasks.lra.spec import LraTask

if TYPE_CHECKING:
    from torch import Tensor


Ids = NDArray[np.int64]
Segments = Callable[[Ids, Ids], Ids]
"""`ids [T]`, `positions [T]` (from 0 in each document) -> segments `[T]`."""

IMAGE_WIDTH = 32
_OPENING = np.array([TOKENS.index(operator) + 1 for operator in OPERATORS])
_CLOSING = TOKENS.index(END) + 1
_WHITESPACE = np.zeros(257, dtype=bool)
_WHITESPACE[[byte + 1 for byte in b" \t\n\r\v\f"]] = True  # the id of a byte is its value plus 1


@dataclass(frozen=True)
class SequenceCollator:
    """Lays documents end to end, without a token of padding; of pairs first and second in turn.

    Gives `labels [B]`, `input_ids` and `segment_ids` `[1, T]` int64, and `cu_seqlens [B + 1]` int32 (`[2 B + 1]` for
    pairs).
    """

    segments: Segments

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        names = [name for name in ("input_ids", "input_ids_2") if name in examples[0]]
        documents = [example[name] for example in examples for name in names]
        ids, lengths = np.concatenate(documents), [len(document) for document in documents]
        ends = np.cumsum([0, *lengths])
        positions = np.arange(len(ids)) - np.repeat(ends[:-1], lengths)
        return {
            "labels": _labels(examples),  # first: Hugging Face takes the first tensor for the batch size
            "input_ids": torch.from_numpy(ids)[None],
            "segment_ids": torch.from_numpy(self.segments(ids, positions))[None],
            "cu_seqlens": torch.from_numpy(ends.astype(np.int32)),
        }


@dataclass(frozen=True)
class ImageCollator:
    """Rows of pixels with a mask: black ones, id 0, are padding, and neighbours across them aren't neighbours.

    Gives `labels [B]`, `input_ids`, `segment_ids` and `attention_mask` `[B, N]`, `position_ids` `[1, N]`, all int64.
    The model packs the pixels that count, which a packed call couldn't say the places of.
    """

    segments: Segments

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        ids = np.stack([example["input_ids"] for example in examples])
        input_ids = torch.from_numpy(ids)
        positions = np.arange(ids.shape[1])
        return {
            "labels": _labels(examples),
            "input_ids": input_ids,
            "attention_mask": (input_ids != 0).long(),
            "segment_ids": torch.from_numpy(self.segments(ids[0], positions)).expand(ids.shape),
            "position_ids": torch.from_numpy(positions)[None],
        }


def _labels(examples: Sequence[Example]) -> "Tensor":
    import torch

    return torch.tensor([example["labels"] for example in examples])


def segment_rule(task: LraTask, options: LraOptions, padded_length: int) -> Segments:
    """The rule that a recipe asks for; the published segment length follows from the model's positions `N`."""
    if options.segments == "fixed":
        return partial(fixed, length=padded_length // options.segment_num + 1)
    if task.images:
        return partial(fixed, length=IMAGE_WIDTH)
    return lists if task.name == "listops" else words


def fixed(ids: Ids, positions: Ids, length: int) -> Ids:
    """Runs of `length` tokens; of 32 pixels, the rows of an image."""
    return positions // length


def words(ids: Ids, positions: Ids) -> Ids:
    """Words of bytes, each with the white space after it."""
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
        here = depth == level
        segments[here] = np.maximum.accumulate(np.where(opens & here, number, 0))[here]
    return segments
