"""Examples in memory and on disk."""

import pickle
from pathlib import Path

import numpy as np

from ponet.tasks.lra.store import Examples, TokenStore, digest


def examples() -> Examples:
    tokens = [np.arange(10, 20, dtype=np.uint8), np.arange(50, 56, dtype=np.uint8)]
    lengths = [np.array([2, 5, 0, 3]), np.array([1, 1, 3, 1])]
    return Examples(tokens, lengths, np.array([3, 1, 4, 1], np.uint8), {"cut": 2})


def store(folder: Path, shift: int = 0) -> TokenStore:
    made = examples()
    files = [folder / "0.bin", folder / "1.bin"]
    for file, tokens in zip(files, made.tokens, strict=True):
        file.write_bytes(tokens.tobytes())
    starts = [np.cumsum(lengths) - lengths for lengths in made.lengths]
    return TokenStore(files, starts, made.lengths, made.labels.astype(np.int64), shift)


def test_select_takes_rows_in_any_order() -> None:
    chosen = examples().select(np.array([3, 0]))
    assert chosen.tokens[0].tolist() == [17, 18, 19, 10, 11]
    assert chosen.tokens[1].tolist() == [55, 50]
    assert chosen.labels.tolist() == [1, 3]
    assert chosen.contents() == [examples().contents()[3], examples().contents()[0]]


def test_split_and_new() -> None:
    first, rest = examples().split(3)
    assert (len(first), len(rest)) == (3, 1)
    assert first.contents() + rest.contents() == examples().contents()
    assert len(examples().split(9)[1]) == 0
    seen = {digest(examples().contents()[1])}
    new = examples().new(seen)
    assert new.labels.tolist() == [3, 4, 1]
    assert new.notes == {"cut": 2}
    assert len(seen) == 4
    assert len(examples().new(seen)) == 0


def test_store_gives_ids(tmp_path: Path) -> None:
    made = store(tmp_path, shift=1)
    assert len(made) == 4
    assert made[1]["input_ids"].tolist() == [13, 14, 15, 16, 17]
    assert made[1]["input_ids"].dtype == np.int64
    assert made[1]["input_ids_2"].tolist() == [52]
    assert made[-1]["label"] == 1
    assert made.lengths.tolist() == [3, 6, 3, 4]
    assert made.contents() == set(examples().contents())


def test_store_slices_spreads_and_travels(tmp_path: Path) -> None:
    made = store(tmp_path)
    assert [row["label"] for row in made[1:3]] == [1, 4]
    assert made.spread(2).labels.tolist() == [3, 4]
    assert made.spread(9) is made
    sent = pickle.dumps(made.select(np.array([2])))
    assert len(sent) < 2000
    back = pickle.loads(sent)
    assert back[0]["input_ids_2"].tolist() == [52, 53, 54]


def test_store_of_a_file_without_a_byte(tmp_path: Path) -> None:
    (tmp_path / "0.bin").write_bytes(b"")
    none = np.zeros(1, np.int64)
    assert TokenStore([tmp_path / "0.bin"], [none], [none], none)[0]["input_ids"].tolist() == []
