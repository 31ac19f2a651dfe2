"""Encoded documents -> a packed batch, whole or in windows of whole sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from ponet.tasks.base import Example
from ponet.tasks.sentences.encode import SPECIAL_TOKENS

INPUTS = ("input_ids", "segment_ids", "sentence_ids", "cu_seqlens")


class Window(NamedTuple):
    """Sentences `begin : end` of a document, of which `first : last` have their scores from here."""

    begin: int
    end: int
    first: int
    last: int


def plan_windows(counts: np.ndarray, room: int, overlap: float) -> list[Window]:
    """Windows over a document's sentences, of `counts` `[k]` tokens; each sentence has its score from exactly one of
    them. A window has at most `room` tokens (a longer sentence is alone in one), and repeats at most a share `overlap`
    of the one before."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    k = len(counts)
    bounds: list[tuple[int, int]] = []
    begin = 0
    while begin < k:
        end = max(begin + 1, int(np.searchsorted(ends, ends[begin] + room, side="right")) - 1)
        bounds.append((begin, end))
        if end == k:
            break
        again = int(np.searchsorted(ends, ends[end] - overlap * room, side="left"))
        begin = min(max(begin + 1, again), end)
    middles = [(following[0] + window[1]) // 2 for window, following in pairwise(bounds)]
    edges = [0, *middles, k]
    return [Window(*bound, *edges[i : i + 2]) for i, bound in enumerate(bounds)]


@dataclass(frozen=True)
class SentenceCollator:
    """Lays documents, or their windows, end to end.

    Gives `input_ids`, `segment_ids` (a segment for each sentence and special token) and `sentence_ids` `[1, T]` int64,
    `cu_seqlens` `[W + 1]` int32 of the windows; `owned` `[S]` int64, the places of the documents' sentences among
    those of all windows; `cu_sentences` `[B + 1]` int64, where in `S` each document begins; and `labels` `[S]` float32
    where the examples have them.

    Args:
        window: the most tokens of a window, special ones included; a longer sentence is cut to it. None: documents are
            whole.
        overlap: the share of a window that the next one repeats.
    """

    window: int | None = None
    overlap: float = 0.25

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        ids: list[np.ndarray] = []
        sentences: list[np.ndarray] = []
        owned: list[np.ndarray] = []
        before = 0  # sentences in the windows so far
        sizes = [int(example["sentence_ids"].max(initial=-1)) + 1 for example in examples]
        for example, size in zip(examples, sizes, strict=True):
            for window in self._windows(example, size):
                places = self._places(example["sentence_ids"], window)
                ids.append(example["input_ids"][places])
                number = example["sentence_ids"][places]
                sentences.append(np.where(number < 0, -1, number - window.begin))
                owned.append(before - window.begin + np.arange(window.first, window.last))
                before += window.end - window.begin
        segments = [np.concatenate([[0], each[1:-1] + 1, [each.max(initial=-1) + 2]]) for each in sentences]
        batch = {
            name: torch.from_numpy(np.concatenate(rows).astype(np.int64))[None]
            for name, rows in zip(INPUTS, (ids, segments, sentences), strict=False)
        }
        batch["cu_seqlens"] = torch.from_numpy(np.cumsum([0, *map(len, ids)]).astype(np.int32))
        batch["owned"] = torch.from_numpy(np.concatenate(owned).astype(np.int64))
        batch["cu_sentences"] = torch.from_numpy(np.cumsum([0, *sizes]))
        if "labels" in examples[0]:
            batch["labels"] = torch.from_numpy(np.concatenate([each["labels"] for each in examples]).astype(np.float32))
        return batch

    def _windows(self, example: Example, size: int) -> list[Window]:
        if self.window is None or len(example["input_ids"]) <= self.window:
            return [Window(0, size, 0, size)]
        counts = np.bincount(example["sentence_ids"][1:-1], minlength=size)
        return plan_windows(counts, self.window - SPECIAL_TOKENS, self.overlap)

    def _places(self, sentence_ids: np.ndarray, window: Window) -> np.ndarray:
        """The tokens of a window between the document's special tokens."""
        inner = sentence_ids[1:-1]
        begin, end = np.searchsorted(inner, [window.begin, window.end])
        if self.window is not None:
            end = min(end, begin + self.window - SPECIAL_TOKENS)
        return np.concatenate([[0], np.arange(1 + begin, 1 + end), [len(sentence_ids) - 1]])
