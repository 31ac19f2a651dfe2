"""How well boundaries agree (Pk, WindowDiff, the F1 of exact places), and how much sentences share with a summary."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise

import numpy as np

_WORD = re.compile(r"[a-z0-9]+")


def half_segment(reference: np.ndarray) -> int:
    """The usual window of Pk and WindowDiff: half of the mean segment of a reference `[k - 1]` (bool, whether a topic
    ends between each sentence and the next), in sentences, at least 1."""
    return max(1, round((len(reference) + 1) / (2 * (int(reference.sum()) + 1))))


def pk(reference: np.ndarray, predicted: np.ndarray, window: int | None = None) -> float:
    """The share of pairs of sentences, `window` apart (None: `half_segment`), of which one side, each `[k - 1]` bool,
    says that a topic ends between and the other doesn't (Beeferman et al. 1999); 0 is best."""
    ours, theirs = _counts(reference, predicted, window)
    return float(((ours > 0) != (theirs > 0)).mean()) if len(ours) else 0.0


def window_diff(reference: np.ndarray, predicted: np.ndarray, window: int | None = None) -> float:
    """As `pk`, but a pair is wrong wherever the numbers of boundaries between differ (Pevzner and Hearst 2002)."""
    ours, theirs = _counts(reference, predicted, window)
    return float((ours != theirs).mean()) if len(ours) else 0.0


def _counts(reference: np.ndarray, predicted: np.ndarray, window: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The boundaries of either side in each window `[k - window]`."""
    if reference.shape != predicted.shape:
        raise ValueError(f"boundaries of {len(reference)} and {len(predicted)} gaps can't be compared")
    size = min(half_segment(reference) if window is None else window, len(reference))
    sums = [np.concatenate([[0], np.cumsum(each, dtype=np.int64)]) for each in (reference, predicted)]
    ours, theirs = (each[size:] - each[: len(each) - size] for each in sums)
    return (ours, theirs) if size else (ours[:0], theirs[:0])


def boundary_counts(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """`[..., 3]`: boundaries right, wrong and missed; `predicted` may have leading dimensions."""
    right = (predicted & reference).sum(-1)
    return np.stack([right, predicted.sum(-1) - right, reference.sum() - right], axis=-1)


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 of right, wrong and missed `[..., 3]`; 0 where there are none."""
    right, wrong, missed = np.moveaxis(np.asarray(counts, dtype=float), -1, 0)
    return 2 * right / np.maximum(2 * right + wrong + missed, 1e-12)


def words(text: str) -> list[str]:
    """Words of a text in lower case, as ROUGE counts them: without stemming, runs of Latin letters and digits."""
    return _WORD.findall(text.lower())


def oracle(sentences: Sequence[str], reference: str, most: int) -> list[int]:
    """The sentences, at most so many, that together are most like the reference, by the mean F1 of ROUGE-1 and ROUGE-2,
    in text order. They are chosen greedily, one by one, as long as the next one adds to it (Nallapati et al. 2017,
    arXiv:1611.04230)."""
    target, offered = words(reference), [words(sentence) for sentence in sentences]
    pairs = [list(pairwise(each)) for each in offered]
    single, double = _overlap(offered, target), _overlap(pairs, list(pairwise(target)))
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < min(most, len(sentences)):
        scores = (single(chosen) + double(chosen)) / 2
        scores[chosen] = -1
        top = int(scores.argmax())
        if scores[top] <= best:
            break
        best = float(scores[top])
        chosen.append(top)
    return sorted(chosen)


def _overlap(
    sentences: Sequence[Sequence[Hashable]], reference: Sequence[Hashable]
) -> Callable[[list[int]], np.ndarray]:
    """Of sentences (the words, or pairs, of each): gives the F1 `[k]` of each one beside those that are chosen."""
    wanted = Counter(reference)
    limits = np.array(list(wanted.values()), dtype=np.int64)
    lengths = np.array([len(each) for each in sentences], dtype=np.int64)
    place = {gram: index for index, gram in enumerate(wanted)}
    counts = np.zeros((len(sentences), len(place)), dtype=np.int64)
    for row, sentence in enumerate(sentences):
        for gram in sentence:
            if gram in place:
                counts[row, place[gram]] += 1

    def f1(chosen: list[int]) -> np.ndarray:
        common = np.minimum(counts + counts[chosen].sum(0), limits).sum(1)
        return 2 * common / np.maximum(lengths + lengths[chosen].sum() + len(reference), 1)

    return f1
