"""Shards on disk: what was written is what is read."""

from dataclasses import asdict

import numpy as np

from ponet.artifacts import sha256
from ponet.tasks.pretraining.shards import ARRAYS, Counts, Encoded, Shard, write_shard


def encoded(count=3, dtype=np.uint16):
    return Encoded(
        np.arange(4 * count, dtype=dtype),
        np.arange(0, 4 * count + 1, 2, dtype=np.uint32),
        np.arange(0, 2 * count + 1, 2, dtype=np.uint32),
        np.arange(count, dtype=np.uint64) << 60,
        Counts(count, count, 2 * count, 4 * count, 1, 20 * count),
    )


def test_round_trip(tmp_path):
    splits = {"train": encoded(5), "validation": encoded(2, np.uint32)}
    written = write_shard(tmp_path, "000007", splits, {"too_short": 2})
    assert (written.name, written.left_out) == ("000007", {"too_short": 2})
    assert {split: counts.tokens for split, counts in written.splits.items()} == {"train": 20, "validation": 8}
    for split, part in splits.items():
        for array in ARRAYS:
            read = np.load(tmp_path / "000007" / f"{split}.{array}.npy", mmap_mode="r")
            assert read.dtype == getattr(part, array).dtype
            np.testing.assert_array_equal(read, getattr(part, array))
    for name, facts in written.files.items():
        path = tmp_path / "000007" / name
        assert facts == {"bytes": path.stat().st_size, "sha256": sha256(path)}
    assert Shard.from_dict(asdict(written)) == written
    assert Shard.from_dict({**asdict(written), "end": [3, 44]}) == written, "as earlier versions wrote it"


def test_counts_add_up():
    total = Counts(1, 2, 3, 4, 5, 6)
    total.add(Counts(10, 20, 30, 40, 50, 60))
    assert total == Counts(11, 22, 33, 44, 55, 66)
