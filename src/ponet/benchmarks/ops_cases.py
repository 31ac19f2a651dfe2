"""The batches that ops are measured on, and the least that an op must read, write and compute."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from ponet.benchmarks.encoders import fixed_ids, sentence_ids
from ponet.ops import Layout


@dataclass(frozen=True)
class Case:
    """A batch to run the ops on."""

    name: str
    documents: int
    length: int
    """Tokens of each document."""
    width: int
    heads: int
    segments: str
    """ "pairs" (runs of 2 tokens), "sentences" (between special tokens), or "one" a document."""

    @property
    def tokens(self) -> int:
        """`T`."""
        return self.documents * self.length

    def layout(self, seed: int, device: str = "cpu") -> Layout:
        """Where its documents and segments lie."""
        random = np.random.default_rng(seed)
        ids, special = [], np.zeros(self.tokens, dtype=bool)
        for i in range(self.documents):
            if self.segments == "pairs":
                ids.append(fixed_ids(self.length, 2))
            elif self.segments == "sentences":
                ids.append(np.concatenate([[0], sentence_ids(self.length - 2, random) + 1, [self.length]]))
                special[[i * self.length, (i + 1) * self.length - 1]] = True
            else:
                ids.append(np.zeros(self.length, dtype=np.int64))
        offsets = torch.arange(self.documents + 1) * self.length
        flags = torch.from_numpy(special) if special.any() else None
        return Layout.from_packed(offsets, torch.from_numpy(np.concatenate(ids)), flags).to(device)


CASES = {
    "lra-text": Case("LRA Text: d 64, segments of 2 tokens", 4, 4096, 64, 2, "pairs"),
    "base": Case("Base: d 768, sentences", 8, 1024, 768, 12, "sentences"),
    "one-segment": Case("Base: d 768, one long segment", 1, 8192, 768, 12, "one"),
}
QUICK_CASES = {
    "lra-text": replace(CASES["lra-text"], documents=1),
    "base": replace(CASES["base"], documents=2, length=512),
    "one-segment": replace(CASES["one-segment"], length=1024),
}
GPU_SCALE = 16
"""Times as many documents (tokens of the one document) on a GPU, whose memory is that much faster."""


class Need(NamedTuple):
    """The least that an op needs: every input read once, every result written once."""

    bytes: int
    operations: int
    """Additions, multiplications and comparisons."""


def need(op: str, direction: str, case: Case, num_segments: int, size: int) -> Need:
    """The least that an op must do on a case.

    Args:
        op: of `OPS`.
        direction: of `DIRECTIONS`.
        case: the batch.
        num_segments: `S`.
        size: bytes of a number.

    The backward of `segment_local_fusion` reads the gradient, o, l, and of each segment its maxima and the int32 tokens
    that hold them (s itself is no longer needed), and writes the gradients of o, s, l.
    """
    T, d, h, B, S = case.tokens, case.width, case.heads, case.documents, num_segments
    forward = direction == "forward"
    if op == "mean_aggregation":
        return Need((T + B) * d * size, T * d if forward else B * d)
    if op == "softmax_aggregation":
        if forward:
            return Need((T + 2 * B * h) * d * size, 4 * T * h * d)
        return Need((2 * T + 4 * B * h) * d * size, 10 * T * h * d)
    if forward:
        return Need((4 * T + B) * d * size, 6 * T * d)
    return Need((6 * T + 2 * B) * d * size + S * d * (size + 4), 8 * T * d)
