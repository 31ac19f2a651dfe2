"""Image: CIFAR-10 as 8-bit gray, row by row; the last tenth of the training images is the validation split.

Gray is 0.2989 R + 0.5870 G + 0.1140 B (ITU-R BT.601) in float32, then scaled to 255.5 and cut to a whole number: what
the published pipeline's `tf.image.rgb_to_grayscale` does to 8-bit images.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ponet.config.lra import DataOptions
from ponet.tasks.lra.published import Rows, identity, left_out, open_tables, source_sizes, table_source
from ponet.tasks.lra.spec import DatasetSpec, ExampleSource
from ponet.tasks.lra.store import Examples
from ponet.utils.errors import PoNetError
from ponet.utils.extras import require

VERSION = 1
DEFAULT = "cifar10"
SIDE = 32
WEIGHTS = (0.2989, 0.5870, 0.1140)
_IMAGE_COLUMNS = ("img", "image")
_CLASSES = 10


def spec(options: DataOptions) -> DatasetSpec:
    """The whole data set."""
    source = options.source or DEFAULT

    def sources() -> list[ExampleSource]:
        tables = open_tables(source, "CIFAR-10")
        for table in tables.values():
            if not set(_IMAGE_COLUMNS) & set(table.columns) or "label" not in table.columns:
                raise PoNetError(f"'{table.origin}' has no columns 'img' and 'label', as CIFAR-10 has on the hub.")
        train, test = tables.values()
        if len(train) < 2:
            raise PoNetError(f"'{source}' has {len(train)} training images: it needs two, to keep some for validation.")
        kept = max(1, min(len(train) - 1, len(train) * 9 // 10))
        splits = {
            "train": Rows(train, 0, kept),
            "validation": Rows(train, kept, len(train)),
            "test": Rows(test, 0, len(test)),
        }
        return [table_source(split, rows, _read, "images") for split, rows in splits.items()]

    def remarks(notes: Mapping[str, int]) -> list[str]:
        lossy = f"CIFAR-10, JPEG: {notes['jpeg']:,} images are compressed with loss; the published ones aren't."
        return [*([lossy] if notes["jpeg"] else []), *left_out(notes, "empty images")]

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


def _read(rows: Rows) -> Examples:
    column = next(name for name in _IMAGE_COLUMNS if name in rows.table.columns)
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    notes = {"jpeg": 0, "empty": 0}
    for where, image, label in rows.read(column):
        content = image.get("bytes") if isinstance(image, dict) else None
        if content:
            if not isinstance(label, int) or not 0 <= label < _CLASSES:
                raise PoNetError(f"{where} has the label {label!r}: CIFAR-10's are 0 to 9.")
            gray = to_gray(decode(content, "RGB", where, "copy the file again"))
            if gray.any():  # black pixels are padding: of a black image nothing would be left
                notes["jpeg"] += content.startswith(b"\xff\xd8")
                images.append(gray)
                labels.append(label)
    notes["empty"] = rows.stop - rows.start - len(images)
    return from_images(images, labels, notes)


def from_images(images: Sequence[NDArray[np.uint8]], labels: Sequence[int], notes: dict[str, int]) -> Examples:
    """Examples of `[32, 32]` pixels each."""
    pixels = np.stack(images).reshape(-1) if images else np.empty(0, np.uint8)
    return Examples([pixels], [np.full(len(labels), SIDE * SIDE, np.int64)], np.array(labels, np.uint8), notes)


def decode(content: bytes, mode: str, where: str, advice: str) -> NDArray[Any]:
    """The pixels of an image file in a mode of Pillow's, `[32, 32, ...]`. Raises a PoNetError: not a whole image, or
    not one of that size."""
    require("PIL", "images")
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert(mode))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise PoNetError(f"{where} is not a whole image: {advice}.") from error
    if pixels.shape[:2] != (SIDE, SIDE):
        raise PoNetError(f"{where} is an image of {pixels.shape[1]} x {pixels.shape[0]} pixels, not {SIDE} x {SIDE}.")
    return pixels
