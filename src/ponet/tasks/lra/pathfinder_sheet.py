"""A sheet of Pathfinder images, to see what the task is."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ponet.tasks.lra.pathfinder import Pathfinder, generate
from ponet.utils.files import replacing

ACROSS = 8
_ENLARGED = 3
"""An image is drawn this many times its size."""
_GAP = 4
_EDGE, _PAPER, _INK = 90, 255, 0
_LINE = 22
"""Height of a heading."""


def draw_sheet(out: Path, contour_length: int, seed: int, each: int) -> None:
    """Writes `each` images with label 1 and as many with label 0 under headings, as a PNG file.

    Raises:
        PoNetError: for an unknown contour length, or a file that can't be written.
    """
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
