"""Drawing rows: a validation or test split out of the training rows, or fewer rows than there are."""

import numpy as np


def draw(size: int, count: int, strata: np.ndarray | None, seed: int) -> np.ndarray:
    """`count` of `size` rows at random, each stratum at its share (largest remainders first), one row of it left over.

    `strata` `[size]` is the class of each row; None: without regard to classes. Returns row numbers, sorted; fewer than
    `count` only where the strata don't have as many to give."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(size)
    if strata is None or count >= size:
        return np.sort(order[:count])
    classes, inverse, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    spare = sizes - 1
    wanted = sizes * count / size
    shares = np.minimum(np.floor(wanted).astype(np.int64), spare)
    for index in np.argsort(-(wanted - np.floor(wanted)), kind="stable"):  # largest remainders first
        if shares.sum() < count and shares[index] < spare[index]:
            shares[index] += 1
    for index in np.argsort(-spare, kind="stable"):
        if shares.sum() < count:
            shares[index] += min(count - shares.sum(), spare[index] - shares[index])
    drawn = [order[inverse[order] == index][: shares[index]] for index in range(len(classes))]
    return np.sort(np.concatenate(drawn))


def limit(size: int, count: int | None, strata: np.ndarray | None, seed: int) -> np.ndarray | None:
    """The rows that stay under a limit, or None where all do; every class keeps a row where the limit allows."""
    if count is None or count >= size:
        return None
    # The complement of a draw: `draw` leaves each class at least one row, which here is the one that stays.
    kept = np.ones(size, dtype=bool)
    kept[draw(size, size - count, strata, seed)] = False
    rows = np.flatnonzero(kept)
    return rows if len(rows) <= count else np.sort(np.random.default_rng(seed).permutation(rows)[:count])
