"""Shards on disk: what was written is what is read, whole or not at all."""

import errno
import json

import numpy as np
import pytest

from ponet.tasks.pretraining import shards
from ponet.tasks.pretraining.shards import ARRAYS, Counts, Encoded, check, digest, read_shard, write_shard
from ponet.utils.errors import PoNetError


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
    written = write_shard(tmp_path, "000007", splits, (3, 44), {"too_short": 2})
    assert read_shard(tmp_path / "000007") == written
    assert (written.name, written.end, written.left_out) == ("000007", (3, 44), {"too_short": 2})
    assert {split: counts.tokens for split, counts in written.splits.items()} == {"train": 20, "validation": 8}
    for split, part in splits.items():
        for array in ARRAYS:
            read = np.load(tmp_path / "000007" / f"{split}.{array}.npy", mmap_mode="r")
            assert read.dtype == getattr(part, array).dtype
            np.testing.assert_array_equal(read, getattr(part, array))
    for name, facts in written.files.items():
        assert facts == {
            "bytes": (tmp_path / "000007" / name).stat().st_size,
            "sha256": digest(tmp_path / "000007" / name),
        }
        check(tmp_path / "000007", name, facts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000007"]


def test_counts_add_up():
    total = Counts(1, 2, 3, 4, 5, 6)
    total.add(Counts(10, 20, 30, 40, 50, 60))
    assert total == Counts(11, 22, 33, 44, 55, 66)


@pytest.mark.parametrize("how", ["cut", "changed", "missing"])
def test_a_damaged_array_is_named(tmp_path, how):
    written = write_shard(tmp_path, "000000", {"train": encoded()}, (1, 0), {})
    path = tmp_path / "000000" / "train.tokens.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(content if how == "changed" else content[:-2])
    facts = written.files["train.tokens.npy"]
    if how == "changed":
        check(tmp_path / "000000", "train.tokens.npy", facts, contents=False)  # the size alone is as it was
    with pytest.raises(PoNetError) as told:
        check(tmp_path / "000000", "train.tokens.npy", facts)
    assert "000000' " in str(told.value)
    assert "train.tokens.npy" in str(told.value)
    assert "prepare again with the same command" in str(told.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"name": "0", "splits": 3}', "{"])
def test_a_damaged_summary_is_named(tmp_path, text):
    write_shard(tmp_path, "000000", {"train": encoded()}, (1, 0), {})
    (tmp_path / "000000" / "shard.json").write_text(text)
    with pytest.raises(PoNetError, match="000000"):
        read_shard(tmp_path / "000000")


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, at):
    save, calls = np.save, []

    def full(file, array):
        calls.append(1)
        if len(calls) > at:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, array)

    monkeypatch.setattr(shards.np, "save", full)
    with pytest.raises(PoNetError, match=r"The disk is full: '.*000000'"):
        write_shard(tmp_path, "000000", {"train": encoded()}, (1, 0), {})
    assert list(tmp_path.iterdir()) == []


def test_the_summary_is_json_that_others_can_read(tmp_path):
    write_shard(tmp_path, "000000", {"train": encoded()}, (1, 0), {"too_short": 1})
    values = json.loads((tmp_path / "000000" / "shard.json").read_text())
    assert values["splits"]["train"]["documents"] == 3
    assert values["end"] == [1, 0]
