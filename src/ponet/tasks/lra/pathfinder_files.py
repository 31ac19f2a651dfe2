"""Pathfinder's published files: `curv_contour_length_14/metadata/*.npy`, one line an image, and `imgs/*/sample_*.png`.

Despite their names, the published metadata files are text: `imgs/0 sample_0.png 0 1 ...`, where the fourth field is the
label. What the generator of drewlinsley/pathfinder itself writes, an array of strings of the same fields, is read too.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ponet.tasks.lra.pathfinder_shapes import PIXELS, SIDE
from ponet.tasks.lra.published import find, wrong
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain

FOLDERS = {6: "curv_baseline", 9: "curv_contour_length_9", 14: "curv_contour_length_14"}
_FIELDS = 4
_ARRAY = b"\x93NUMPY"


@dataclass(frozen=True)
class Rows:
    """Some lines of a metadata file."""

    path: Path
    start: int
    stop: int


def metadata_files(source: str, contour_length: int) -> list[Path]:
    """The metadata files in the order of their numbers.

    Raises:
        PoNetError: where there are none.
    """
    folder = find(source, f"pathfinder32/{FOLDERS[contour_length]}") / "metadata"
    files = list(folder.glob("*.npy"))
    if not files:
        raise PoNetError(f"'{folder}' has no metadata, *.npy: copy it from the published archive again.")
    return sorted(files, key=lambda path: (int(path.stem) if path.stem.isdigit() else -1, path.stem))


def row_jobs(source: str, contour_length: int, per_job: int) -> dict[str, list[Rows]]:
    """What to read for each split: 80, 10 and 10 hundredths of the images, in the order of the metadata."""
    counts = [(path, len(read_metadata(path))) for path in metadata_files(source, contour_length)]
    total = sum(count for _, count in counts)
    ends = {"train": total * 8 // 10, "validation": total * 9 // 10, "test": total}
    jobs: dict[str, list[Rows]] = {}
    begin = 0
    for split, end in ends.items():
        jobs[split] = []
        place = 0
        for path, count in counts:
            low, high = max(begin, place) - place, min(end, place + count) - place
            jobs[split] += [Rows(path, start, min(start + per_job, high)) for start in range(low, high, per_job)]
            place += count
        if not jobs[split]:
            raise PoNetError(
                f"'{source}' has {total} Pathfinder images, too few for three splits: it needs 10 or more."
            )
        begin = end
    return jobs


def read_metadata(path: Path) -> list[tuple[str, int]]:
    """Image, as a path from the data set's folder, and label of each line.

    Raises:
        PoNetError: for a line that is something else, by its number.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise explain(error, path) from error
    if content.startswith(_ARRAY):
        try:
            array = np.load(io.BytesIO(content), allow_pickle=False)
        except ValueError as error:
            raise PoNetError(f"'{path}' is not an array of text: copy it from its archive again.") from error
        lines = [[str(field) for field in row] for row in np.atleast_2d(array)]
    else:
        if content and not content.endswith(b"\n"):
            raise wrong(path, content.count(b"\n") + 1, "has no end: the file has been cut off")
        lines = [line.decode(errors="replace").split() for line in content.splitlines()]
    rows = []
    for number, fields in enumerate(lines, 1):
        if len(fields) < _FIELDS or fields[3] not in ("0", "1") or not fields[1].endswith(".png"):
            raise wrong(path, number, "is not a folder, an image, a number and a label of 0 or 1")
        rows.append((f"{fields[0]}/{fields[1]}", int(fields[3])))
    return rows


def read_images(job: Rows) -> Examples:
    """The images of some lines. One without a byte, or without anything on it, is left out and counted as `empty`.

    Raises:
        PoNetError: for an image that is missing or isn't a whole one of 32 x 32, by its path.
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    empty = 0
    for name, label in read_metadata(job.path)[job.start : job.stop]:
        image = read_image(job.path.parent.parent / name)
        if image is None or not image.any():
            empty += 1
            continue
        images.append(image.reshape(-1))
        labels.append(label)
    pixels = np.concatenate(images) if images else np.empty(0, np.uint8)
    return Examples([pixels], [np.full(len(labels), PIXELS, np.int64)], np.array(labels, np.uint8), {"empty": empty})


def read_image(path: Path) -> NDArray[np.uint8] | None:
    """`[32, 32]` gray, or None for a file without a byte."""
    from PIL import Image, UnidentifiedImageError

    try:
        content = path.read_bytes()
    except OSError as error:
        raise explain(error, path) from error
    if not content:
        return None
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise PoNetError(f"'{path}' is not a whole image: copy it from its archive again.") from error
    if pixels.shape != (SIDE, SIDE):
        raise PoNetError(f"'{path}' is an image of {pixels.shape[1]} x {pixels.shape[0]} pixels, not {SIDE} x {SIDE}.")
    return pixels
