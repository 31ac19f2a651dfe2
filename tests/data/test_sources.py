"""Where rows are looked for, and which file is which split."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ponet.data.sources import TableSource, open_source
from ponet.utils.errors import PoNetError

Write = Callable[..., Path]
ROW = [{"text": "a", "label": "x"}]


def sizes(source: TableSource) -> dict[str, int]:
    return {name: len(table) for name, table in source.splits.items()}


def rows(count: int, name: str = "t") -> list[dict[str, str]]:
    return [{"text": f"{name}{i}", "label": "x"} for i in range(count)]


def test_a_single_file_is_training_rows(folder: Path, write_rows: Write) -> None:
    write_rows(folder / "mine.csv", rows(3))
    source = open_source("mine.csv")
    assert sizes(source) == {"train": 3}
    assert source.is_file


@pytest.mark.parametrize("validation", ["validation", "valid", "val", "dev", "Dev"])
def test_a_folder_of_splits(folder: Path, write_rows: Write, validation: str) -> None:
    for count, name in enumerate(["train.csv", f"{validation}.jsonl", "test.parquet"], 1):
        write_rows(folder / "set" / name, rows(count))
    (folder / "set" / "README.md").write_text("# about")
    (folder / "set" / "labels.txt").write_text("x")
    source = open_source("set")
    assert sizes(source) == {"train": 1, "validation": 2, "test": 3}
    assert source.splits["validation"].origin == f"set/{validation}.jsonl"
    assert not source.is_file


@pytest.mark.parametrize("layout", ["", "data/"])
def test_shards_are_joined_in_order(folder: Path, write_rows: Write, layout: str) -> None:
    for shard in (2, 0, 1):
        write_rows(folder / "set" / f"{layout}train-0000{shard}-of-00003.parquet", rows(2, f"shard{shard}-"))
    write_rows(folder / "set" / f"{layout}test-00000-of-00001.parquet", rows(1))
    source = open_source("set")
    texts = source.splits["train"].data.column("text").to_pylist()
    assert texts == ["shard0-0", "shard0-1", "shard1-0", "shard1-1", "shard2-0", "shard2-1"]
    assert sizes(source) == {"train": 6, "test": 1}


def test_a_missing_shard_is_said(folder: Path, write_rows: Write) -> None:
    for shard in (0, 2):
        write_rows(folder / "set" / f"train-0000{shard}-of-00003.parquet", ROW)
    with pytest.raises(PoNetError, match="2 files of the train split, not as many as their names say"):
        open_source("set")


def test_two_files_for_one_split_are_said(folder: Path, write_rows: Write) -> None:
    write_rows(folder / "set" / "train.csv", ROW)
    write_rows(folder / "set" / "train.jsonl", ROW)
    with pytest.raises(PoNetError, match=r"both 'train\.csv' and 'train\.jsonl' for the train split"):
        open_source("set")


def test_shards_with_other_columns_or_types_are_said(folder: Path, write_rows: Write) -> None:
    write_rows(folder / "set" / "train-0-of-2.parquet", ROW)
    second = write_rows(folder / "set" / "train-1-of-2.parquet", [{"text": "a", "class": "x"}])
    with pytest.raises(PoNetError, match="has other columns than"):
        open_source("set")
    write_rows(second, [{"text": "a", "label": [1]}])
    with pytest.raises(PoNetError, match="differ in their column types"):
        open_source("set")


def test_a_folder_for_each_split_and_one_for_each_class(folder: Path, write_rows: Write) -> None:
    write_rows(folder / "set" / "train" / "part1.csv", rows(2))
    for name in ("pos", "neg"):
        (folder / "set" / "test" / name).mkdir(parents=True)
        (folder / "set" / "test" / name / "1.txt").write_text(f"{name} text\nin two lines", encoding="utf-8")
    source = open_source("set")
    assert source.splits["test"].data.to_pylist() == [
        {"text": "neg text\nin two lines", "label": "neg"},
        {"text": "pos text\nin two lines", "label": "pos"},
    ]
    assert sizes(source) == {"train": 2, "test": 2}
    assert sizes(open_source("set/test")) == {"train": 2}


def test_folders_that_cannot_be_understood(folder: Path, write_rows: Write) -> None:
    (folder / "nothing").mkdir()
    with pytest.raises(PoNetError, match="holds no data"):
        open_source("nothing")
    write_rows(folder / "one" / "reviews.csv", rows(2))
    assert sizes(open_source("one")) == {"train": 2}
    write_rows(folder / "one" / "more.csv", rows(2))
    with pytest.raises(PoNetError, match=r"has 2 data files .* none is called train"):
        open_source("one")


def test_a_set_in_the_data_folder_has_a_name(folder: Path, write_rows: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(folder / "sets" / "mine" / "train.csv", rows(2))
    write_rows(folder / "sets" / "glue" / "rte" / "train.csv", rows(3))
    monkeypatch.setenv("PONET_DATA", str(folder / "sets"))
    assert sizes(open_source("mine")) == {"train": 2}
    assert sizes(open_source("glue/rte")) == {"train": 3}
    write_rows(folder / "mine" / "train.csv", rows(5))
    assert sizes(open_source("mine")) == {"train": 5}  # what lies here goes before


def test_what_changes_on_disk_is_read_anew(folder: Path, write_rows: Write) -> None:
    write_rows(folder / "a.csv", rows(2))
    first = open_source("a.csv")
    write_rows(folder / "a.csv", rows(3))
    assert (len(first.splits["train"]), len(open_source("a.csv").splits["train"])) == (2, 3)
    assert [path.name for path in folder.iterdir()] == ["a.csv"]  # and nothing is left lying about


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reviws.csv", r"There is no 'reviws\.csv'\. Did you mean 'reviews\.csv'"),
        ("nowhere/reviews.csv", r"There is no 'nowhere/reviews\.csv'\. Check the path"),
        ("/no/such/folder", "There is no '/no/such/folder'"),
        ("./set", r"There is no '\./set'"),
        ("mein", r"There is no 'mein' here or in .*hub can't be reached\. Did you mean 'mine'"),
        ("owner/quite-another", r"hub can't be reached\. Check the path, or the connection"),
        ("", "No data is named"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(
    folder: Path, write_rows: Write, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    write_rows(folder / "reviews.csv", ROW)
    write_rows(folder / "sets" / "mine" / "train.csv", ROW)
    monkeypatch.setenv("PONET_DATA", str(folder / "sets"))
    with pytest.raises(PoNetError, match=message) as caught:
        open_source(name)
    assert "\n" not in str(caught.value)


def test_a_hub_set_keeps_its_splits_and_class_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    made = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict({"text": ["a"] * size, "label": [1] * size}, features=features)
            for name, size in (("train", 3), ("test", 2), ("unsupervised", 9))
        }
    )
    asked: list[Any] = []
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, name, timeout: asked.append(name))
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config, split: (asked.append((name, config)), made)[1])
    source = open_source("owner/set:small")
    assert asked == ["owner/set", ("owner/set", "small")]
    assert sizes(source) == {"train": 3, "test": 2}
    assert source.splits["train"].class_names == {"label": ["no", "yes"]}
    assert source.splits["train"].data.to_pylist()[0] == {"text": "a", "label": 1}


def test_splits_of_other_names(folder: Path, write_rows: Write) -> None:
    names = ("train", "validation_matched", "validation_mismatched-00000-of-00001", "validation")
    for count, name in enumerate(names, 1):
        write_rows(folder / "set" / f"{name}.parquet", rows(count))
    assert sizes(open_source("set")) == {"train": 1, "validation": 4}
    chosen = {"validation": "validation_matched", "test": "validation_mismatched"}
    assert sizes(open_source("set", chosen)) == {"train": 1, "validation": 2, "test": 3}
    assert sizes(open_source("set", {"test": "validation"})) == {"train": 1, "test": 4}
    assert sizes(open_source("set", {"validation": None})) == {"train": 1}
    with pytest.raises(PoNetError, match="'set' has no split 'devel', which is to be its validation split"):
        open_source("set", {"validation": "devel"})


def test_a_hub_name_means_its_copy_in_the_data_folder(
    folder: Path, write_rows: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(folder / "sets" / "glue" / "rte" / "train.csv", rows(3))
    write_rows(folder / "sets" / "imdb" / "train.csv", rows(2))
    monkeypatch.setenv("PONET_DATA", str(folder / "sets"))
    assert sizes(open_source("nyu-mll/glue:rte")) == {"train": 3}
    assert sizes(open_source("stanfordnlp/imdb")) == {"train": 2}
    with pytest.raises(PoNetError, match="There is no 'nyu-mll/glue:mnli' here or in"):
        open_source("nyu-mll/glue:mnli")
