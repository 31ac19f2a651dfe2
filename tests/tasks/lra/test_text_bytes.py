"""Text and Image: rows of IMDb and CIFAR-10 as the ids that the published models take."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ponet.config.lra import DataOptions
from ponet.tasks.lra.data import LraData, fresh_test, open_data
from ponet.tasks.lra.image import to_gray
from ponet.utils.errors import PoNetError


def write(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    for split, rows in splits.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    return folder


def read(task: str, folder: Path, **options: Any) -> LraData:
    return open_data(task, DataOptions(source=str(folder), cache=folder.parent / "cache", workers=1, **options))


REVIEWS = [
    {"text": "Über <br />", "label": 1},
    {"text": "x" * 5000, "label": 0},
    {"text": "", "label": 0},
    {"text": "ok", "label": 1},
]


def test_reviews_are_bytes_plus_one(tmp_path: Path) -> None:
    data = read("text", write(tmp_path / "imdb", train=REVIEWS, test=REVIEWS[:2]))
    train = data.splits["train"]
    assert (train[0]["input_ids"] - 1).astype(np.uint8).tobytes().decode() == "Über <br />"
    assert train.lengths.tolist() == [12, 4000, 2]
    assert train.labels.tolist() == [1, 0, 1]
    assert data.splits["validation"].contents() == data.splits["test"].contents()
    assert data.facts["notes"] == {"cut": 2, "empty": 1}
    assert "1 empty reviews left out." in data.notices
    assert "train: 3 examples, officially 25,000." in data.notices


def test_some_of_the_reviews(tmp_path: Path) -> None:
    rows = [{"text": f"{i:02}", "label": i // 10} for i in range(20)]
    folder = write(tmp_path / "imdb", train=rows, test=rows)
    data = read("text", folder, train_size=4)
    assert data.splits["train"].labels.tolist() == [0, 0, 1, 1]
    assert "train: 4 examples as chosen, officially 25,000." in data.notices
    assert read("text", folder).folder == data.folder


def test_wrong_reviews(tmp_path: Path) -> None:
    with pytest.raises(PoNetError, match="row 1, has the label 7: IMDb's are 0"):
        read("text", write(tmp_path / "a", train=[REVIEWS[0], {"text": "no", "label": 7}], test=REVIEWS))
    with pytest.raises(PoNetError, match="has no column 'text'"):
        read("text", write(tmp_path / "b", train=[{"label": 1}], test=REVIEWS))
    with pytest.raises(PoNetError, match="has no test split"):
        read("text", write(tmp_path / "c", train=REVIEWS))
    with pytest.raises(PoNetError, match="No new test data can be made for 'text'"):
        fresh_test("text", DataOptions(), seed=1, count=5)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, format=kind)
    return {"bytes": stream.getvalue(), "path": None}


def photos(count: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(count)
    return [{"img": encoded(random.integers(256, size=(32, 32, 3))), "label": i % 10} for i in range(count)]


def test_gray_is_that_of_the_published_pipeline() -> None:
    """Against the same sum in whole numbers: 0.2989 R + 0.587 G + 0.114 B, rounded to the nearest of 255.5 / 255."""
    random = np.random.default_rng(0)
    colors = random.integers(256, size=(5000, 3), dtype=np.uint8)
    exact = colors.astype(float) @ np.array([0.2989, 0.5870, 0.1140]) * (255.5 / 255)
    near = np.abs(exact - np.round(exact)) < 1e-3
    assert (to_gray(colors)[~near] == np.floor(exact)[~near]).all()
    assert to_gray(np.array([[0, 0, 0], [255, 255, 255]], np.uint8)).tolist() == [0, 255]


def test_photos_are_gray_and_the_last_tenth_validates(tmp_path: Path) -> None:
    rows = photos(20)
    rows[4]["img"] = encoded(np.full((32, 32, 3), 80), "JPEG")
    data = read("image", write(tmp_path / "cifar", train=rows, test=photos(3)))
    assert [len(data.splits[split]) for split in ("train", "validation", "test")] == [18, 2, 3]
    assert data.splits["train"].labels.tolist() == [i % 10 for i in range(18)]
    first = np.asarray(Image.open(io.BytesIO(rows[0]["img"]["bytes"])))
    np.testing.assert_array_equal(data.splits["train"][0]["input_ids"], to_gray(first).reshape(-1))
    assert data.splits["train"][4]["input_ids"].shape == (1024,)
    assert any(notice.startswith("CIFAR-10, JPEG: 1 images") for notice in data.notices)


def test_empty_photos_are_left_out(tmp_path: Path) -> None:
    rows = photos(20)
    rows[0]["img"]["bytes"] = b""
    rows[1]["img"] = encoded(np.zeros((32, 32, 3)))
    data = read("image", write(tmp_path / "cifar", train=rows, test=photos(3)))
    assert data.splits["train"].labels[:2].tolist() == [2, 3]
    assert "2 empty images left out." in data.notices


def test_wrong_photos(tmp_path: Path) -> None:
    cut, large, unknown = photos(3), photos(3), photos(3)
    cut[1]["img"]["bytes"] = cut[1]["img"]["bytes"][:50]
    large[2]["img"] = encoded(np.ones((32, 64, 3)))
    unknown[0]["label"] = 10
    for name, rows, message in (
        ("cut", cut, "row 1, is not a whole image"),
        ("large", large, "row 2, is an image of 64 x 32 pixels"),
        ("unknown", unknown, "row 0, has the label 10"),
    ):
        with pytest.raises(PoNetError, match=message):
            read("image", write(tmp_path / name, train=rows, test=photos(3)))


@pytest.mark.data
def test_the_real_sets(data_dir: Path, tmp_path: Path) -> None:
    if not (data_dir / "imdb").is_dir() or not (data_dir / "cifar10").is_dir():
        pytest.skip("needs imdb and cifar10 in the data folder")
    data = open_data("text", DataOptions(source=str(data_dir / "imdb"), cache=tmp_path, workers=1))
    assert {split: len(store) for split, store in data.splits.items()} == dict(data.task.official)
    assert data.notices == []
    assert data.splits["train"].labels.mean() == 0.5
