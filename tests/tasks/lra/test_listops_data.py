"""ListOps as a data set: no overlap, fresh test data, and the published files, whole and broken."""

from pathlib import Path

import pytest

from ponet.tasks.lra.data import fresh_test, open_data
from ponet.tasks.lra.listops import decode, generate
from ponet.tasks.lra.spec import DataOptions
from ponet.utils.errors import PoNetError

SMALL = {"train_size": 1200, "validation_size": 20, "test_size": 30, "workers": 1}


def test_splits_and_fresh_data_do_not_overlap(tmp_path: Path) -> None:
    options = DataOptions(cache=tmp_path, **SMALL)
    data = open_data("listops", options)
    kept = {split: store.contents() for split, store in data.splits.items()}
    assert {split: len(keys) for split, keys in kept.items()} == {"train": 1200, "validation": 20, "test": 30}
    fresh = fresh_test("listops", options, seed=0, count=40)
    assert len(set.union(*kept.values(), fresh.contents())) == 1290
    again = fresh_test("listops", DataOptions(cache=tmp_path / "other", **SMALL), seed=0, count=40)
    assert again.contents() == fresh.contents()
    assert fresh_test("listops", options, seed=1, count=40).contents().isdisjoint(fresh.contents())
    made = generate(seed=0, n=1200)
    assert data.splits["train"][1199]["input_ids"].tolist() == made[1199].tolist()
    assert data.splits["train"].labels.tolist() == made.labels.tolist()
    assert data.facts["differences"][0] == "train: 1,200 examples as chosen, officially 96,000."


def archive(folder: Path, lines: int = 30) -> Path:
    made = generate(seed=2, n=lines)
    folder = folder / "lra_release" / "listops-1000"
    folder.mkdir(parents=True)
    rows = [f"( ( {decode(made[i])} ) )\t{made.labels[i]}\n" for i in range(lines)]
    for name, some in (("train", rows[:20]), ("val", rows[20:25]), ("test", rows[25:])):
        (folder / f"basic_{name}.tsv").write_text("Source\tTarget\n" + "".join(some))
    return folder


def test_published_files(tmp_path: Path) -> None:
    archive(tmp_path)
    data = open_data("listops", DataOptions(source=str(tmp_path / "lra_release"), cache=tmp_path / "c", workers=1))
    made = generate(seed=2, n=30)
    rows = [row for split in ("train", "validation", "test") for row in data.splits[split]]
    assert [row["input_ids"].tolist() for row in rows] == [made[i].tolist() for i in range(30)]
    assert [row["label"] for row in rows] == made.labels.tolist()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[MAX 1 2 ] 2\n", r"line 22, has no tab"),
        ("[MAX 1 2 ]\t12\n", r"line 22, has the value '12', not a digit"),
        ("[MOX 1 2 ]\t2\n", r"line 22, is not an expression in ListOps' 15 tokens"),
        ("[MAX 1 2 ]\t2", r"line 22, has no end: the file has been cut off"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = archive(tmp_path) / "basic_train.tsv"
    path.write_text(path.read_text() + line)
    with pytest.raises(PoNetError, match=r"basic_train\.tsv', " + message):
        open_data("listops", DataOptions(source=str(tmp_path), cache=tmp_path / "c", workers=1))


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (archive(tmp_path) / "basic_val.tsv").write_text("Source\tTarget\n")
    with pytest.raises(PoNetError, match=r"basic_val\.tsv' is empty"):
        open_data("listops", DataOptions(source=str(tmp_path), cache=tmp_path / "c", workers=1))
