"""Image: CIFAR-10 as 8-bit gray, row by row; the last tenth of the training images is the validation split.

Gray is 0.2989 R + 0.5870 G + 0.1140 B (ITU-R BT.601) in float32, then scaled to 255.5 and cut to a whole number: what
the published pipeline's `tf.image.rgb_to_grayscale` does to 8-bit images.
"""

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ponet.config.lra import DataOptions
from ponet.tasks.lra.published import identity, source_sizes
from ponet.tasks.lra.spec import DatasetSpec, ExampleSource
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require

if TYPE_CHECKING:
    from ponet.data.tables import DataTable

VERSION = 1
DEFAULT = "cifar10"
SIDE = 32
WEIGHTS = (0.2989, 0.5870, 0.1140)
_ROWS = 2_500
_IMAGE_COLUMNS = ("img", "image")
_CLASSES = 10

Job = tuple[str, str, int, int]
"""Source, split in it, first row and the one behind the last."""


def spec(options: DataOptions) -> DatasetSpec:
    """The whole data set."""
    source = options.source or DEFAULT

    def sources() -> list[ExampleSource]:
        train = len(_table(source, "train"))
        if train < 2:
            raise PoNetError(f"'{source}' has {train} training images: it needs two, to keep some for validation.")
        kept = max(1, min(train - 1, train * 9 // 10))
        rows = {
            "train": ("train", 0, kept),
            "validation": ("train", kept, train),
            "test": ("test", 0, len(_table(source, "test"))),
        }
        found = []
        for split, (file, first, stop) in rows.items():
            jobs = [(source, file, start, min(start + _ROWS, stop)) for start in range(first, stop, _ROWS)]
            found.append(ExampleSource(_read, jobs, {split: None}, per_job=_ROWS, unit="images", parallel=False))
        return found

    def remarks(notes: Mapping[str, int]) -> list[str]:
        found = []
        if notes.get("jpeg"):
            found.append(
                f"CIFAR-10, JPEG: {notes['jpeg']:,} images are compressed with loss; the published ones aren't."
            )
        if notes.get("empty"):
            found.append(f"{notes['empty']:,} empty images left out.")
        return found

    return DatasetSpec(
        task="image",
        version=VERSION,
        parameters={"source": DEFAULT if options.source is None else identity(source)},
        source=f"CIFAR-10 from '{source}', gray with ITU-R BT.601 weights as in TensorFlow",
        sources=sources,
        inputs=lambda: source_sizes(source),
        shown=options.chosen,
        remarks=remarks,
    )


def to_gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`[..., 3]` red, green and blue to `[...]` gray."""
    unit = image.astype(np.float32) * np.float32(1 / 255)
    gray = unit @ np.array(WEIGHTS, np.float32)
    return (gray * np.float32(255.5)).astype(np.uint8)


@lru_cache(maxsize=2)
def _table(source: str, split: str) -> "DataTable":
    from ponet.data.sources import open_source

    tables = open_source(source).splits
    if split not in tables:
        raise PoNetError(f"'{source}' has no {split} split: it needs train and test, as CIFAR-10 has.")
    table = tables[split]
    if not any(name in table.columns for name in _IMAGE_COLUMNS) or "label" not in table.columns:
        raise PoNetError(f"'{table.origin}' has no columns 'img' and 'label', as CIFAR-10 has on the hub.")
    return table


def _read(job: Job) -> Examples:
    source, split, start, stop = job
    table = _table(source, split)
    column = next(name for name in _IMAGE_COLUMNS if name in table.columns)
    rows = table.data.slice(start, stop - start)
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    notes = {"jpeg": 0, "empty": 0}
    for place, (image, label) in enumerate(zip(rows[column].to_pylist(), rows["label"].to_pylist(), strict=True)):
        where = f"'{table.origin}', row {start + place:,},"
        content = image.get("bytes") if isinstance(image, dict) else None
        if not content:
            notes["empty"] += 1
            continue
        if not isinstance(label, int) or not 0 <= label < _CLASSES:
            raise PoNetError(f"{where} has the label {label!r}: CIFAR-10's are 0 to 9.")
        gray = to_gray(_decode(content, where))
        if not gray.any():  # black pixels are padding: nothing would be left of it
            notes["empty"] += 1
            continue
        notes["jpeg"] += content.startswith(b"\xff\xd8")
        images.append(gray)
        labels.append(label)
    pixels = np.stack(images) if images else np.empty(0, np.uint8)
    return Examples(
        [pixels.reshape(-1)], [np.full(len(labels), SIDE * SIDE, np.int64)], np.array(labels, np.uint8), notes
    )


def _decode(content: bytes, where: str) -> NDArray[Any]:
    """`[32, 32, 3]`"""
    require("PIL", "images")
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise PoNetError(f"{where} is not a whole image: copy the file again.") from error
    if pixels.shape != (SIDE, SIDE, 3):
        raise PoNetError(f"{where} is an image of {pixels.shape[1]} x {pixels.shape[0]} pixels, not 32 x 32.")
    return pixels
