"""What Pathfinder's images are put together from: dashes, the space that they claim, circles, and where curves may go.

After `snakes.py` and `snakes2.py` of drewlinsley/pathfinder with Long Range Arena's parameters for 32 pixels.
Coordinates are whole pixels `(y, x)`, so a dash can only lie in a few ways, and everything about it is looked up.
Brightness and claimed space are 8-bit, as the published script has them after it scales a drawing of twice the size
down.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ponet.utils.extras import require

SIDE = 32
PIXELS = SIDE * SIDE
OUTSIDE = PIXELS
"""The number of the cell, behind the 1,024 of an image, that stands for every pixel outside."""
PADDING = 1
"""Rows and columns at each edge that no curve may claim."""
DASH = 2
"""Length of a dash."""
MARGIN = 1
"""Free pixels on each side of a dash."""
SUPERSAMPLING = 2
MARKER_RADIUS = 1.5
SEED_DISTANCE = 7
"""Between the first pixels of the two curves."""
CONTINUITY = 1.0
"""The larger, the straighter the curves."""
FREE = 76
"""A pixel counts as free if at most so much of 255 of it is claimed (0.3, as published)."""
COLLISION = 459
"""Claims that add up to so much of 255 (1.8, as published) collide."""

REACH = 4
"""A dash's patch reaches so far from the pixel it is drawn from."""
PATCH = 2 * REACH + 1
_DEGREES = 360
_SHIFTS = np.argwhere(np.ones((2 * REACH - 1, 2 * REACH - 1))) - (REACH - 1)

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Shapes:
    """Tables by direction: 0 to 359 are those of a first dash, -180 to 179 degrees; the `k` after them, those that a
    curve can go on in."""

    lines: Bytes
    """`[360 + k, 81]` brightness of a dash around the pixel that it begins at."""
    claims: Bytes
    """`[360 + k, 81]` the space that it claims, 255 wholly."""
    flipped: Integers
    """`[k]` row of `lines` and `claims` for a dash drawn from its far end back, for each direction of going on."""
    heads: Integers
    """`[360, 2]` from a first dash's begin to its far end."""
    pivots: Integers
    """`[360, 2]` from a first dash's begin to the point that the curve is continued from."""
    steps: Integers
    """`[360 + k, 2]` from the point a dash was continued from to the next such point."""
    turns: Integers
    """`[k, 2]` from such a point to the far ends that the next dash may have."""
    tails: Integers
    """`[k, 2]` from a later dash's far end to its near one."""
    weights: NDArray[np.float64]
    """`[360 + k, k]` how likely each of these is by the angle alone."""
    possible: NDArray[np.bool_]
    """`[360]` which of the first directions are ever taken, see `_possible`."""
    starts: list[Integers]
    """`[n, 2]` for each first direction: where the first curve of an image can begin; none for one never taken."""
    needed: Integers
    """`[360, m]` rows of `shifts`, some of them twice: the pixels around a first dash's begin that have to be free."""
    shifts: Integers
    """`[s, 1024]` the cells at a distance from each pixel."""
    patches: Integers
    """`[1025, 81]` the cells of a patch around each pixel."""
    crosses: Integers
    """`[1025, 5]` each pixel's cell and those of its neighbours on the left, right, above and below."""
    circles: Bytes
    """`[1024, 1024]` brightness of an image with a circle on each pixel."""


@lru_cache(maxsize=1)
def shapes() -> Shapes:
    """The tables; made once, in a second."""
    first = np.arange(-180, 180) * np.pi / 180
    turns, onward = _turns()
    directions = np.concatenate([first, onward])
    flipped = np.where(onward < 0, onward + np.pi, onward - np.pi)
    drawn = [_dash(direction) for direction in [*first, *flipped]]
    lines = np.stack([line for line, _ in drawn])
    claims = np.stack([claim for _, claim in drawn])
    reaches = [np.argwhere(claim[: 2 * REACH - 1, : 2 * REACH - 1] == 255) - (REACH - 1) for claim in claims[:_DEGREES]]
    possible = np.array([_possible(reach) for reach in reaches])
    most = max(map(len, reaches))
    heads = _moved(first, DASH)
    back = np.where(first < 0, first + np.pi, first - np.pi)
    return Shapes(
        lines=lines.reshape(len(lines), -1),
        claims=claims.reshape(len(claims), -1),
        flipped=np.arange(len(onward)) + _DEGREES,
        heads=heads,
        pivots=heads + _moved(back, DASH + MARGIN),
        steps=_moved(directions, DASH + 2 * MARGIN),
        turns=turns,
        tails=_moved(flipped, DASH),
        weights=_weights(directions, onward),
        possible=possible,
        starts=[_starts(reach)[: None if taken else 0] for reach, taken in zip(reaches, possible, strict=True)],
        needed=np.stack([np.resize(_shift_rows(reach), most) for reach in reaches]),
        shifts=_cells(_SHIFTS)[:PIXELS].T.copy(),
        patches=_cells(np.argwhere(np.ones((PATCH, PATCH))) - REACH),
        crosses=_cells(np.array([(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)])),
        circles=np.stack([_circle(y, x) for y in range(SIDE) for x in range(SIDE)]),
    )


def cells(y: Integers, x: Integers) -> Integers:
    """The cells of pixels by their coordinates; `OUTSIDE` for those outside."""
    inside = (y >= 0) & (y < SIDE) & (x >= 0) & (x < SIDE)
    return np.where(inside, y * SIDE + x, OUTSIDE)


def _moved(directions: NDArray[np.float64], distance: float) -> Integers:
    """`[n, 2]` whole pixels, rounded up as published, and first to what is meant: the sine of 180 degrees is 0."""
    exact = distance * np.stack([np.sin(directions), np.cos(directions)], axis=-1)
    return np.ceil(np.round(exact, 9)).astype(np.int64)


def _turns() -> tuple[Integers, NDArray[np.float64]]:
    """The pixels on a circle of a dash and its margin, and their directions."""
    radius = DASH + MARGIN
    around = np.arange(0, 360, 360 / (2 * radius * np.pi)) * np.pi / 180
    pixels = np.floor(np.round(radius * np.stack([np.sin(around), np.cos(around)], axis=-1), 9)).astype(np.int64)
    pixels = np.unique(pixels, axis=0)
    return pixels, np.arctan2(pixels[:, 0], pixels[:, 1])


def _weights(directions: NDArray[np.float64], onward: NDArray[np.float64]) -> NDArray[np.float64]:
    turned = np.abs(onward - directions[:, None])
    turned = np.minimum(np.minimum(turned, 2 * np.pi - turned) * CONTINUITY, np.pi / 2)
    return np.maximum(np.cos(turned), 0) ** 2


def _possible(reach: Integers) -> bool:
    """Whether a first dash is ever laid in a direction, from the pixels around its begin that have to be free.

    The published script looks for space by dilating the claimed pixels with OpenCV, which gives the lowest number there
    is to a pixel all of whose needed pixels lie outside the image, and it takes an image with a negative number in it
    for a full one. At this size that happens to all directions but -150 to -120 degrees, so that the first curve
    always sets out to the upper left, and most of the tries to place a short one come to nothing.
    """
    needed = np.argwhere(np.ones((SIDE, SIDE)))[:, None] + reach
    inside = ((needed >= 0) & (needed < SIDE)).all(axis=2)
    return bool(np.any(inside, axis=1).all())


def _starts(reach: Integers) -> Integers:
    """The first curve begins near the middle: all that its first dash needs lies in the middle pixels."""
    low, high = 2 * SEED_DISTANCE, SIDE - 2 * SEED_DISTANCE
    pixels = np.argwhere(np.ones((SIDE, SIDE)))
    needed = pixels[:, None] + reach
    return pixels[((needed >= low) & (needed < high)).all(axis=(1, 2))]


def _shift_rows(reach: Integers) -> Integers:
    return np.array([(offset == _SHIFTS).all(axis=1).argmax() for offset in reach])


def _dash(direction: float) -> tuple[Bytes, Bytes]:
    """`[9, 9]` brightness and claimed space of a dash from the middle pixel on."""
    require("PIL", "images")
    from PIL import Image, ImageDraw
    from scipy.ndimage import grey_dilation

    large = PATCH * SUPERSAMPLING - 1
    middle = REACH * SUPERSAMPLING
    end = middle + _moved(np.array([direction]), DASH * SUPERSAMPLING)[0]
    drawing = Image.new("L", (large, large))
    ImageDraw.Draw(drawing).line([(middle, middle), (int(end[1]), int(end[0]))], fill=255, width=1)
    line = np.asarray(drawing)
    around = np.arange(-MARGIN * SUPERSAMPLING, MARGIN * SUPERSAMPLING + 1)
    disc = around[:, None] ** 2 + around**2 <= (MARGIN * SUPERSAMPLING) ** 2
    return _shrunk(line, PATCH), _shrunk(grey_dilation(line, footprint=disc), PATCH)


def _circle(y: int, x: int) -> Bytes:
    """`[1024]` an image with one circle."""
    rows, columns = np.ogrid[: SIDE * SUPERSAMPLING, : SIDE * SUPERSAMPLING]
    square = (rows - y * SUPERSAMPLING) ** 2 + (columns - x * SUPERSAMPLING) ** 2
    disc = square <= (MARKER_RADIUS * SUPERSAMPLING) ** 2
    return _shrunk(disc.astype(np.uint8) * 255, SIDE).reshape(-1)


def _shrunk(drawing: Bytes, side: int) -> Bytes:
    from PIL import Image

    return np.asarray(Image.fromarray(drawing).resize((side, side), resample=Image.Resampling.LANCZOS))


def _cells(offsets: Integers) -> Integers:
    """`[1025, n]` the cells at these offsets from each pixel, and of none from outside."""
    y, x = np.divmod(np.arange(PIXELS)[:, None], SIDE)
    around = cells(y + offsets[:, 0], x + offsets[:, 1])
    return np.concatenate([around, np.full((1, len(offsets)), OUTSIDE)])
