"""How well boundaries agree: Pk, WindowDiff and the F1 of exact places."""

import numpy as np


def half_segment(reference: np.ndarray) -> int:
    """The usual window of Pk and WindowDiff: half of the reference's mean segment, in sentences, at least 1.

    Args:
        reference: `[k - 1]` bool, whether a topic ends between each sentence and the next.
    """
    return max(1, round((len(reference) + 1) / (2 * (int(reference.sum()) + 1))))


def pk(reference: np.ndarray, predicted: np.ndarray, window: int | None = None) -> float:
    """The share of pairs of sentences, `window` apart, of which one side says that a topic ends between and the other
    doesn't (Beeferman et al. 1999); 0 is best.

    Args:
        reference, predicted: `[k - 1]` bool, whether a topic ends between each sentence and the next.
        window: in sentences; None for half of the reference's mean segment.
    """
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
