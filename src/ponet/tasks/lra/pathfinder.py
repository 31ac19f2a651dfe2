"""Pathfinder as a data set: generated, or read from the published archive.

The archive has `curv_contour_length_14/metadata/*.npy`, one line an image, and `imgs/*/sample_*.png`. Despite their
names, the metadata files are text: `imgs/0 sample_0.png 0 1 ...`, where the fourth field is the label. What the
generator of drewlinsley/pathfinder itself writes, an array of strings of the same fields, is read too.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ponet.config.lra import DataOptions
from ponet.tasks.lra.image import decode, from_images
from ponet.tasks.lra.pathfinder_generator import Pathfinder, check_contour_length, generate
from ponet.tasks.lra.published import cut_off, find, left_out, sizes, wrong
from ponet.tasks.lra.spec import SPLITS, DatasetSpec, ExampleSource, Fresh, generated_spec
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require
from ponet.utils.files import explained, replacing

VERSION = 1
_PER_BLOCK = 1_000
FOLDERS = {6: "curv_baseline", 9: "curv_contour_length_9", 14: "curv_contour_length_14"}
_FIELDS = 4
_ARRAY = b"\x93NUMPY"
ACROSS = 8
_ENLARGED = 3
"""An image is drawn this many times its size."""
_GAP = 4
_EDGE, _PAPER, _INK = 90, 255, 0
_LINE = 22
"""Height of a heading."""


def spec(options: DataOptions, fresh: Fresh | None = None) -> DatasetSpec:
    """The whole data set, or new test data."""
    check_contour_length(options.contour_length)
    if options.source is not None and fresh is None:
        return _published(options, options.source)
    made = generated_spec(
        "pathfinder",
        VERSION,
        partial(_make, options.contour_length),
        options,
        fresh,
        _PER_BLOCK,
        "images",
        contour_length=options.contour_length,
    )
    return made if fresh else replace(made, remarks=lambda notes: _contour_remark(options))


def _make(contour_length: int, seed: int, split: int, block: int) -> Examples:
    made = generate(seed, block, _PER_BLOCK, contour_length, split)
    return from_images(list(made.images), made.labels.tolist(), {})


def _published(options: DataOptions, source: str) -> DatasetSpec:
    def sources() -> list[ExampleSource]:
        return [
            ExampleSource(read_images, jobs, {split: None}, per_job=_PER_BLOCK, unit="images")
            for split, jobs in row_jobs(source, options.contour_length, _PER_BLOCK).items()
        ]

    def remarks(notes: Mapping[str, int]) -> list[str]:
        empty = left_out(notes, "empty images")
        return [
            *_contour_remark(options),
            *(f"{each[:-1]}; of the published set, one is known to be empty." for each in empty),
            "The splits are cut in the order of the metadata; the published ones in TensorFlow Datasets' order.",
        ]

    return DatasetSpec(
        task="pathfinder",
        version=VERSION,
        parameters={"source": str(Path(source).expanduser().resolve()), "contour_length": options.contour_length},
        source="the published archive",
        sources=sources,
        inputs=lambda: sizes(metadata_files(source, options.contour_length)),
        shown=options.chosen,
        remarks=remarks,
    )


def _contour_remark(options: DataOptions) -> list[str]:
    if options.contour_length == 14:
        return []
    return [f"Curves of {options.contour_length} dashes; published results are for 14."]


@dataclass(frozen=True)
class Rows:
    """Some lines of a metadata file."""

    path: Path
    start: int
    stop: int


def metadata_files(source: str, contour_length: int) -> list[Path]:
    """The metadata files in the order of their numbers. Raises a PoNetError where there are none."""
    folder = find(source, f"pathfinder32/{FOLDERS[contour_length]}") / "metadata"
    files = list(folder.glob("*.npy"))
    if not files:
        raise PoNetError(f"'{folder}' has no metadata, *.npy: copy it from the published archive again.")
    return sorted(files, key=lambda path: (int(path.stem) if path.stem.isdigit() else -1, path.stem))


def row_jobs(source: str, contour_length: int, per_job: int) -> dict[str, list[Rows]]:
    """What to read for each split: 80, 10 and 10 hundredths of the images, in the order of the metadata."""
    counts = {path: len(read_metadata(path)) for path in metadata_files(source, contour_length)}
    total = sum(counts.values())
    if total < 10:
        raise PoNetError(f"'{source}' has {total} Pathfinder images, too few for three splits: it needs 10 or more.")
    ends = [0, total * 8 // 10, total * 9 // 10, total]
    jobs: dict[str, list[Rows]] = {split: [] for split in SPLITS}
    for split, (begin, end) in zip(SPLITS, pairwise(ends), strict=True):
        place = 0
        for path, count in counts.items():
            low, high = max(begin, place) - place, min(end, place + count) - place
            jobs[split] += [Rows(path, start, min(start + per_job, high)) for start in range(low, high, per_job)]
            place += count
    return jobs


def read_metadata(path: Path) -> list[tuple[str, int]]:
    """Image, as a path from the data set's folder, and label of each line. Raises a PoNetError for a line that is
    something else, by its number."""
    with explained(path):
        content = path.read_bytes()
    if content.startswith(_ARRAY):
        try:
            array = np.load(io.BytesIO(content), allow_pickle=False)
        except ValueError as error:
            raise PoNetError(f"'{path}' is not an array of text: copy it from its archive again.") from error
        lines = [[str(field) for field in row] for row in np.atleast_2d(array)]
    else:
        if content and not content.endswith(b"\n"):
            raise cut_off(path, content.count(b"\n") + 1)
        lines = [line.decode(errors="replace").split() for line in content.splitlines()]
    rows = []
    for number, fields in enumerate(lines, 1):
        if len(fields) < _FIELDS or fields[3] not in ("0", "1") or not fields[1].endswith(".png"):
            raise wrong(path, number, "is not a folder, an image, a number and a label of 0 or 1")
        rows.append((f"{fields[0]}/{fields[1]}", int(fields[3])))
    return rows


def read_images(job: Rows) -> Examples:
    """The images of some lines. One without a byte, or without anything on it, is left out and counted as `empty`.
    Raises a PoNetError for an image that is missing or isn't a whole one of 32 x 32, by its path."""
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    rows = read_metadata(job.path)[job.start : job.stop]
    for name, label in rows:
        path = job.path.parent.parent / name
        with explained(path):
            content = path.read_bytes()
        image = decode(content, "L", f"'{path}'", "copy it from its archive again") if content else None
        if image is not None and image.any():
            images.append(image)
            labels.append(label)
    return from_images(images, labels, {"empty": len(rows) - len(labels)})


def draw_sheet(out: Path, contour_length: int, seed: int, each: int) -> None:
    """Writes `each` images with label 1 and as many with label 0 under headings, as a PNG file. Raises a PoNetError for
    an unknown contour length, or a file that can't be written."""
    require("PIL", "images")
    from PIL import Image, ImageDraw

    made = generate(seed, 0, 6 * each + 24, contour_length, split=2)
    blocks = []
    for label, words in ((1, "label 1: one curve joins the circles"), (0, "label 0: each is on a curve of its own")):
        images = _grid(made, label, each)
        heading = Image.new("L", (images.shape[1], _LINE), _PAPER)
        ImageDraw.Draw(heading).text((_GAP, 5), words, fill=_INK)
        blocks += [np.asarray(heading), images]
    with replacing(out) as temporary:
        Image.fromarray(np.concatenate(blocks)).save(temporary, format="PNG", optimize=True)


def _grid(made: Pathfinder, label: int, each: int) -> NDArray[np.uint8]:
    images = made.images[made.labels == label][:each]
    images = np.kron(images, np.ones((1, _ENLARGED, _ENLARGED), np.uint8))
    images = np.pad(images, ((0, 0), (_GAP, _GAP), (_GAP, _GAP)), constant_values=_EDGE)
    short = -len(images) % ACROSS
    side = images.shape[1]
    images = np.concatenate([images, np.full((short, side, side), _EDGE, np.uint8)])
    return images.reshape(-1, ACROSS, side, side).swapaxes(1, 2).reshape(-1, ACROSS * side)
