"""A corpus prepared in parts is, once merged, what one process makes; anything missing or mixed is named."""

import json
import shutil
from pathlib import Path

import pytest
from tests.tasks.pretraining.corpora import documents, files, prepared, vocabulary, write

from ponet.tasks.pretraining.prepare import merge
from ponet.tasks.pretraining.shards import TokenCorpus
from ponet.utils.errors import PoNetError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a held-out one with a document of it, and a vocabulary."""
    home = tmp_path_factory.mktemp("merge")
    write(home / "corpus.jsonl", documents())
    write(home / "held-out.jsonl", documents()[17:18])
    vocabulary(home / "vocab.txt")
    return home


def parts(home: Path, out: Path, count: int, **options) -> None:
    for number in range(1, count + 1):
        part(home, out, number, count, **options)


def part(home: Path, out: Path, number: int, count: int, **options) -> None:
    prepared(str(home / "corpus.jsonl"), out, tokenizer=str(home / "vocab.txt"), part=(number, count), **options)


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("held_out", ["fraction", "corpus"])
def test_the_same_bytes_as_one_process(home: Path, tmp_path: Path, count: int, held_out: str) -> None:
    wanted = {"fraction": {"validation_fraction": 0.2}, "corpus": {"validation": [str(home / "held-out.jsonl")]}}
    options = wanted[held_out]
    whole = prepared(str(home / "corpus.jsonl"), tmp_path / "one", tokenizer=str(home / "vocab.txt"), **options)
    assert whole.shards > 5
    parts(home, tmp_path / "data", count, **options)
    assert not (tmp_path / "data").exists()
    made = merge(tmp_path / "data")
    assert made.shards == whole.shards
    assert made.splits == whole.splits
    assert files(tmp_path / "data") == files(tmp_path / "one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "one"]
    assert merge(tmp_path / "data").shards == whole.shards  # again


def test_parts_that_are_missing_are_named(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    with pytest.raises(PoNetError, match="no parts"):
        merge(out)
    for number in (1, 3):
        part(home, out, number, 4)
    (tmp_path / "data.parts" / "2-of-4" / ".ponet.building").mkdir(parents=True)  # killed in the middle
    with pytest.raises(PoNetError, match=r"2 of 4 parts .* prepare --shard 2, 4 again"):
        merge(out)
    for number in (2, 4):
        part(home, out, number, 4)
    part(home, out, 1, 3)
    with pytest.raises(PoNetError, match="divisions into 3 and 4"):
        merge(out)
    shutil.rmtree(tmp_path / "data.parts" / "1-of-3")
    assert merge(out).shards > 5
    part(home, out, 2, 4)  # what a kill after the merge may leave
    assert merge(out).shards > 5
    assert not (tmp_path / "data.parts").exists()
    part(home, out, 2, 4, validation_fraction=0.3)
    with pytest.raises(PoNetError, match="holds other data"):
        merge(out)


def test_other_settings_and_damage_are_named(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    part(home, out, 1, 2)
    part(home, out, 2, 2, validation_fraction=0.3)
    with pytest.raises(PoNetError, match="differ in validation_fraction"):
        merge(out)
    with pytest.raises(PoNetError, match=r"other settings \(validation_fraction\)"):
        part(home, out, 2, 2)
    shutil.rmtree(tmp_path / "data.parts" / "2-of-2")
    part(home, out, 2, 2)
    array = next((tmp_path / "data.parts" / "2-of-2").rglob("train.tokens.npy"))
    array.write_bytes(array.read_bytes()[:-2])
    with pytest.raises(PoNetError, match="is damaged"):
        merge(out)
    with pytest.raises(PoNetError, match=r"is damaged: .* Delete '.*2-of-2'"):
        part(home, out, 2, 2)
    shutil.rmtree(tmp_path / "data.parts" / "2-of-2")
    part(home, out, 2, 2)
    file = tmp_path / "data.parts" / "2-of-2" / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "blocks": 3}))
    with pytest.raises(PoNetError, match="a corpus that changed"):
        merge(out)
    assert not out.exists()


def test_a_part_is_no_data_and_needs_a_tokenizer(home: Path, tmp_path: Path) -> None:
    part(home, tmp_path / "data", 1, 2)
    with pytest.raises(PoNetError, match="ponet pretrain merge"):
        TokenCorpus(tmp_path / "data.parts" / "1-of-2")
    with pytest.raises(PoNetError, match="--tokenizer"):
        prepared(str(home / "corpus.jsonl"), tmp_path / "data", part=(1, 2))
    for wrong in ((0, 2), (3, 2)):
        with pytest.raises(PoNetError, match="from 1 to n"):
            part(home, tmp_path / "data", *wrong)
