"""Passages and masked pairs -> a packed batch, with the windows in which the teacher reads what is too long for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ponet.config.distillation import SPECIAL_TOKENS
from ponet.tasks.base import Example
from ponet.tasks.pretraining.examples import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DistillationCollator:
    """Lays examples end to end, passages before masked pairs.

    Gives `input_ids`, `segment_ids` and `token_type_ids` `[1, T]` int64, `cu_seqlens` `[B + 1]` int32, and
    `passage_cu_seqlens` `[P + 1]` int32 of the passages alone, which come first. Of the pairs: `prediction_positions`
    `[M]`, where in `T` a word is masked, `labels` `[M]`, and `sentence_labels` `[B - P]`, all int64.

    Where a passage is longer than `window`, also what the teacher reads: `teacher_input_ids` `[1, T']`,
    `teacher_cu_seqlens` `[W + 1]` of the windows of all passages in order, `teacher_documents` `[W]`, the passage of
    each window, and `teacher_places` `[t]`, where among the `T'` tokens each of the passages' tokens lies: in the
    window in which it has most context.

    Args:
        window: the most tokens that the teacher reads at a time, special ones included.
        overlap: the share of a window that the next one repeats.
    """

    window: int
    overlap: float = 0.25

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        passages = [example for example in examples if "labels" not in example]
        pairs = [example for example in examples if "labels" in example]
        batch = {
            name: torch.from_numpy(np.concatenate([example[name] for example in (*passages, *pairs)]))[None]
            for name in ("input_ids", "segment_ids", "token_type_ids")
        }
        sizes = [len(example["input_ids"]) for example in (*passages, *pairs)]
        ends = torch.from_numpy(np.cumsum([0, *sizes]).astype(np.int32))
        batch["cu_seqlens"], batch["passage_cu_seqlens"] = ends, ends[: len(passages) + 1]
        labels = np.concatenate([np.zeros(0, dtype=np.int64), *(example["labels"] for example in pairs)])
        masked = np.flatnonzero(labels != IGNORED)
        batch["prediction_positions"] = torch.from_numpy(masked) + int(ends[len(passages)])
        batch["labels"] = torch.from_numpy(labels[masked])
        batch["sentence_labels"] = torch.tensor([example["sentence_label"] for example in pairs], dtype=torch.int64)
        if max(sizes[: len(passages)], default=0) > self.window:
            batch |= self._windows(passages)
        return batch

    def _windows(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        ids: list[np.ndarray] = []
        places: list[np.ndarray] = []
        lengths: list[int] = []
        documents: list[int] = []
        for number, passage in enumerate(example["input_ids"] for example in examples):
            starts, text = self.windows(len(passage))
            places.append(self._places(len(passage), starts, text) + sum(lengths))
            texts = (passage[1 + start : 1 + start + text] for start in starts)
            ids += [np.concatenate([passage[:1], words, passage[-1:]]) for words in texts]
            lengths += [text + SPECIAL_TOKENS] * len(starts)
            documents += [number] * len(starts)
        return {
            "teacher_input_ids": torch.from_numpy(np.concatenate(ids))[None],
            "teacher_cu_seqlens": torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32)),
            "teacher_documents": torch.tensor(documents),
            "teacher_places": torch.from_numpy(np.concatenate(places)),
        }

    def windows(self, size: int) -> tuple[list[int], int]:
        """The windows of a passage of `size` tokens: where in its text each begins, and how much text each has.

        They are of one length, spread evenly, and neighbours share at least `overlap` of it.
        """
        text = size - SPECIAL_TOKENS
        size = min(self.window - SPECIAL_TOKENS, text)
        if size == text:
            return [0], text
        step = max(1, int(size * (1 - self.overlap)))
        count = 1 + -(-(text - size) // step)
        return [round(index * (text - size) / (count - 1)) for index in range(count)], size

    @staticmethod
    def _places(size: int, starts: list[int], text: int) -> np.ndarray:
        """`[size]`: for each token of a passage its place in the windows' tokens end to end."""
        stride = text + SPECIAL_TOKENS
        begin = np.array(starts)
        tokens = np.arange(size - SPECIAL_TOKENS)
        middle = begin + (text - 1) / 2
        nearest = np.abs(tokens[:, None] - middle).argmin(1)
        inside = nearest * stride + 1 + tokens - begin[nearest]
        return np.concatenate([[0], inside, [len(starts) * stride - 1]])
