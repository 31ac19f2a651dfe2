"""Pathfinder as a data set: splits without overlap, and the files of the published archive, whole and broken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ponet.config.lra import DataOptions
from ponet.tasks.lra.data import fresh_test, open_data
from ponet.tasks.lra.pathfinder import draw_sheet
from ponet.tasks.lra.pathfinder_generator import generate
from ponet.utils.errors import PoNetError

SMALL = {"train_size": 80, "validation_size": 10, "test_size": 10, "contour_length": 6, "workers": 1}


def test_splits_of_different_images(tmp_path: Path) -> None:
    options = DataOptions(cache=tmp_path, **SMALL)
    data = open_data("pathfinder", options)
    kept = {split: store.contents() for split, store in data.splits.items()}
    assert {split: len(keys) for split, keys in kept.items()} == {"train": 80, "validation": 10, "test": 10}
    fresh = fresh_test("pathfinder", options, seed=0, count=50).contents()
    assert len(set.union(*kept.values(), fresh)) == 150
    made = generate(seed=0, block=0, count=1000, contour_length=6)
    np.testing.assert_array_equal(data.splits["train"][7]["input_ids"], made.images[7].reshape(-1))
    assert data.splits["train"][7]["label"] == made.labels[7]
    assert any("published results are for 14" in notice for notice in data.notices)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """An archive of 20 images in two metadata files, the fourth image without a byte and the sixth all black."""
    folder = tmp_path / "lra_release" / "lra_release" / "pathfinder32" / "curv_contour_length_14"
    made = generate(seed=1, block=0, count=20)
    for i in range(20):
        image = folder / "imgs" / str(i // 10) / f"sample_{i % 10}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made.images[i] * (i != 5)).save(image)
    (folder / "imgs" / "0" / "sample_3.png").write_bytes(b"")
    (folder / "metadata").mkdir()
    for part in range(2):
        rows = [f"imgs/{part} sample_{i}.png {i} {made.labels[10 * part + i]} 1.0 14 4 2 0.5 1 1\n" for i in range(10)]
        (folder / "metadata" / f"{part}.npy").write_text("".join(rows))
    return folder


def opened(tmp_path: Path, name: str = "cache") -> dict[str, list[dict[str, object]]]:
    source = str(tmp_path / "lra_release")
    data = open_data("pathfinder", DataOptions(source=source, cache=tmp_path / name, workers=1))
    return {"notices": data.notices, **{split: list(store) for split, store in data.splits.items()}}


def test_published_archive(tmp_path: Path, release: Path) -> None:
    data = opened(tmp_path)
    assert [len(data[split]) for split in ("train", "validation", "test")] == [14, 2, 2]
    made = generate(seed=1, block=0, count=20)
    for place, i in enumerate([i for i in range(16) if i not in (3, 5)]):
        np.testing.assert_array_equal(data["train"][place]["input_ids"], made.images[i].reshape(-1))
        assert data["train"][place]["label"] == made.labels[i]
    assert any(notice.startswith("2 empty images left out") for notice in data["notices"])


def test_metadata_as_the_generator_writes_it(tmp_path: Path, release: Path) -> None:
    as_text = opened(tmp_path)
    for path in (release / "metadata").iterdir():
        rows = [line.split() for line in path.read_text().splitlines()]
        np.save(path, np.array(rows))
    as_array = opened(tmp_path, "other")
    assert [row["label"] for row in as_array["train"]] == [row["label"] for row in as_text["train"]]


def break_metadata(folder: Path) -> None:
    path = folder / "metadata" / "1.npy"
    path.write_text(path.read_text()[:-10])


def break_label(folder: Path) -> None:
    path = folder / "metadata" / "1.npy"
    path.write_text(path.read_text().replace("sample_4.png 4 0", "sample_4.png 4 2").replace("4.png 4 1", "4.png 4 2"))


def break_image(folder: Path) -> None:
    path = folder / "imgs" / "1" / "sample_2.png"
    path.write_bytes(path.read_bytes()[:40])


def break_size(folder: Path) -> None:
    Image.new("L", (64, 32), 9).save(folder / "imgs" / "1" / "sample_2.png")


def lose_image(folder: Path) -> None:
    (folder / "imgs" / "1" / "sample_2.png").unlink()


def lose_metadata(folder: Path) -> None:
    for path in (folder / "metadata").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (break_metadata, r"1\.npy', line 10, has no end"),
        (break_label, r"1\.npy', line 5, is not a folder, an image, a number and a label of 0 or 1"),
        (break_image, r"sample_2\.png' is not a whole image"),
        (break_size, r"sample_2\.png' is an image of 64 x 32 pixels, not 32 x 32"),
        (lose_image, r"There is no '.*sample_2\.png'"),
        (lose_metadata, r"has no metadata"),
    ],
)
def test_broken_archive(tmp_path: Path, release: Path, harm, message: str) -> None:  # type: ignore[no-untyped-def]
    harm(release)
    with pytest.raises(PoNetError, match=message):
        opened(tmp_path)


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match="has no 'pathfinder32/curv_baseline'"):
        open_data("pathfinder", DataOptions(source=str(tmp_path), cache=tmp_path / "c", contour_length=6))


def test_sheet(tmp_path: Path) -> None:
    draw_sheet(tmp_path / "sheet.png", contour_length=6, seed=0, each=9)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 104, 2 * (22 + 2 * 104))
