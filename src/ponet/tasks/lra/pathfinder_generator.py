"""Pathfinder, made as Long Range Arena makes it: does a dashed curve join the two circles?

Two curves grow dash by dash, each dash on free pixels and turned little against the last; shorter ones are put in
between. A circle lies on the begin of one of the two curves and another on the end of the same one (label 1) or of
the other one (label 0). After `snakes2.py` of drewlinsley/pathfinder; instead of one image after the other, all images
of a block grow at once in array operations, and those whose curves don't fit are dropped, which is the same as trying
again. A block depends on its seed and number alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ponet.tasks.lra.pathfinder_shapes import (
    COLLISION,
    FREE,
    OUTSIDE,
    PADDING,
    PIXELS,
    SEED_DISTANCE,
    SIDE,
    Bytes,
    Integers,
    Shapes,
    cells,
    shapes,
)
from ponet.utils.errors import PoNetError

CONTOUR_LENGTHS = (6, 9, 14)
"""Dashes in each of the two curves."""
CURVE_BRIGHTNESS, OTHER_BRIGHTNESS, MARKER_BRIGHTNESS = 3, 4, 2
"""Published contrasts 2 x 0.75 of the two curves, 2 of the others and 1 of the circles, in halves."""
_DEGREES = 360
_DRAWS = 3
"""How often a place is drawn before a dash is given up."""
_TRIES = 5
"""How often a short curve is tried before it is left out."""
_DEAD_END = 1e-4 * 255


@dataclass
class Pathfinder:
    """`n` images and what is in them."""

    images: Bytes
    """`[n, 32, 32]`"""
    labels: Bytes
    """`[n]`"""
    circles: Integers
    """`[n, 2, 2]` `(y, x)` of the two circles."""
    curves: Integers
    """`[n, 2, length, 2, 2]` `(y, x)` of both ends of each dash of the two curves, in the order that they grew in."""
    others: Integers
    """`[n]` how many short curves found place."""

    def __len__(self) -> int:
        return len(self.labels)


def generate(seed: int, block: int, count: int, contour_length: int = 14, split: int = 0) -> Pathfinder:
    """`count` images, a function of the arguments alone. `split` draws from another stream of the same seed. Raises a
    PoNetError for a contour length other than 6, 9 or 14."""
    check_contour_length(contour_length)
    random = np.random.default_rng([seed, split, contour_length, block])
    found: list[_Curves] = []
    while sum(map(len, found)) < count:
        found.append(_two_curves(random, count, contour_length))
    curves = _Curves(
        *(np.concatenate(parts)[:count] for parts in zip(*(vars(part).values() for part in found), strict=True))
    )
    short = contour_length // 3
    others = _short_curves(random, curves.claims, short, 20 // short)
    labels = random.integers(2, size=count)
    marked = random.integers(2, size=count)
    every = np.arange(count)
    first, last = curves.ends()
    circles = np.stack([first[every, marked], last[every, np.where(labels == 1, marked, 1 - marked)]], axis=1)
    images = _draw(curves, others, circles)
    return Pathfinder(images, labels.astype(np.uint8), circles, curves.dashes(), others.placed.sum(axis=1))


def check_contour_length(contour_length: int) -> None:
    """Raises a PoNetError for one that isn't published."""
    if contour_length not in CONTOUR_LENGTHS:
        raise PoNetError(f"contour_length is {contour_length}: choose {', '.join(map(str, CONTOUR_LENGTHS))}.")


@dataclass
class _Ends:
    """Where one growing curve of each of `n` images has got to."""

    begin: Integers
    """`[n]` the cell that its last dash is drawn from; the dash claims its space only when the next one is there."""
    drawn: Integers
    """`[n]` the dash's row in the tables of shapes."""
    pivot: Integers
    """`[n, 2]` the point that it was continued from."""
    direction: Integers
    """`[n]`"""

    def __getitem__(self, rows: "Integers | NDArray[np.bool_]") -> "_Ends":
        return _Ends(self.begin[rows], self.drawn[rows], self.pivot[rows], self.direction[rows])


@dataclass
class _Curves:
    """The two curves of `n` images."""

    claims: Bytes
    """`[n, 1025]` how far each pixel is claimed."""
    begin: Integers
    """`[n, 2, length]` the cells that dashes are drawn from: the near end of the first, the far ends of the others."""
    drawn: Integers
    """`[n, 2, length]` their rows in the tables of shapes."""

    def __len__(self) -> int:
        return len(self.begin)

    def dashes(self) -> Integers:
        """`[n, 2, length, 2, 2]` both ends of each dash."""
        table = shapes()
        begin = np.stack(np.divmod(self.begin, SIDE), axis=-1)
        to_far = table.heads[self.drawn[..., 0]]
        to_near = table.tails[self.drawn[..., 1:] - _DEGREES]
        first = np.stack([begin[..., :1, :], (begin[..., 0, :] + to_far)[..., None, :]], axis=-2)
        return np.concatenate([first, np.stack([begin[..., 1:, :] + to_near, begin[..., 1:, :]], axis=-2)], axis=-3)

    def ends(self) -> Integers:
        """`[2, n, 2, 2]` begins and ends of the curves."""
        return np.stack([np.stack(np.divmod(self.begin[..., end], SIDE), axis=-1) for end in (0, -1)])


@dataclass
class _Others:
    """The short curves of `n` images."""

    placed: NDArray[np.bool_]
    """`[n, many]`"""
    begin: Integers
    """`[n, many, length]`"""
    drawn: Integers
    """`[n, many, length]`"""


def _two_curves(random: np.random.Generator, tries: int, length: int) -> _Curves:
    """The curves of the images, of that many, in which both reach their length."""
    claims = np.zeros((SIDE, SIDE), np.uint8)
    claims[:PADDING] = claims[-PADDING:] = claims[:, :PADDING] = claims[:, -PADDING:] = 255
    claims = np.tile(np.append(claims.reshape(-1), np.uint8(0)), (tries, 1))
    growing = _two_first_dashes(random, tries)
    images, begin, drawn = _grow(random, claims, np.arange(tries), growing, length)
    return _Curves(claims[images], begin, drawn)


def _grow(
    random: np.random.Generator, claims: Bytes, images: Integers, growing: list[_Ends], length: int
) -> tuple[Integers, Integers, Integers]:
    """Grows `c` curves in each of these images dash by dash in turn: the images `[m]` in which all reach their length,
    and there `begin` and `drawn`, `[m, c, length]`."""
    begin = np.empty((len(claims), len(growing), length), np.int64)
    drawn = np.empty_like(begin)
    for dash in range(length):
        for curve in range(len(growing)):
            if dash:
                growing[curve], fits = _extend(random, claims, images, growing[curve])
                images = images[fits]
                growing = [ends[fits] for ends in growing]
            begin[images, curve, dash] = growing[curve].begin
            drawn[images, curve, dash] = growing[curve].drawn
    _claim(claims, images, growing[-1])  # the first curve's last dash claims nothing in the published script
    return images, begin[images], drawn[images]


def _two_first_dashes(random: np.random.Generator, count: int) -> list[_Ends]:
    """The first dash of one curve near the middle, that of the other one at a distance from it, in any direction."""
    table = shapes()
    numbers = np.array([len(start) for start in table.starts])
    direction = random.choice(np.flatnonzero(numbers), count)
    firsts = np.concatenate([[0], np.cumsum(numbers)])
    chosen = firsts[direction] + random.integers(numbers[direction])
    start = np.concatenate(table.starts)[chosen]
    angle = random.integers(_DEGREES, size=count) * np.pi / 180
    exact = start + SEED_DISTANCE * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    other = np.round(np.round(exact, 9)).astype(np.int64)
    return [_first(table, start, direction), _first(table, other, random.integers(_DEGREES, size=count))]


def _first(table: Shapes, start: Integers, direction: Integers) -> _Ends:
    return _Ends(start[:, 0] * SIDE + start[:, 1], direction, start + table.pivots[direction], direction)


def _extend(
    random: np.random.Generator, claims: Bytes, images: Integers, ends: _Ends
) -> tuple[_Ends, NDArray[np.bool_]]:
    """One more dash on a curve of each of these images; which of them found place. Their last dashes claim theirs."""
    table = shapes()
    pivot = ends.pivot + table.steps[ends.direction]
    places = cells(pivot[:, :1] + table.turns[:, 0], pivot[:, 1:] + table.turns[:, 1])
    claimed = claims[images[:, None, None], table.crosses[places]].max(axis=-1)
    likely = (255.0 - claimed) * table.weights[ends.direction] * (places != OUTSIDE)
    likely = np.cumsum(likely, axis=1)
    fits = np.zeros(len(images), bool)
    begin = np.zeros(len(images), np.int64)
    turn = np.zeros(len(images), np.int64)
    left = np.flatnonzero(likely[:, -1] >= _DEAD_END)
    for _ in range(_DRAWS):
        drawn = random.random(len(left)) * likely[left, -1]
        turn[left] = (likely[left] > drawn[:, None]).argmax(axis=1)
        begin[left] = places[left, turn[left]]
        wanted = table.claims[table.flipped[turn[left]]]
        there = claims[images[left, None], table.patches[begin[left]]]
        fits[left] = (wanted.astype(np.int16) + there).max(axis=1) < COLLISION
        left = left[~fits[left]]
    _claim(claims, images[fits], ends[fits])
    return _Ends(begin, table.flipped[turn], pivot, turn + _DEGREES), fits


def _claim(claims: Bytes, images: Integers, ends: _Ends) -> None:
    table = shapes()
    rows, patch = images[:, None], table.patches[ends.begin]
    claims[rows, patch] = np.maximum(claims[rows, patch], table.claims[ends.drawn])
    claims[images, OUTSIDE] = 0


def _short_curves(random: np.random.Generator, claims: Bytes, length: int, many: int) -> _Others:
    """Up to `many` short curves in each image, where there is free space. They claim theirs in `claims`."""
    shape = (len(claims), many, length)
    others = _Others(np.zeros(shape[:2], bool), np.zeros(shape, int), np.zeros(shape, int))
    for number in range(many):
        left = np.arange(len(claims))
        for _ in range(_TRIES):
            tried = claims[left]
            images, ends = _first_dash(random, tried)
            images, begin, drawn = _grow(random, tried, images, [ends], length)
            placed = left[images]
            claims[placed] = tried[images]
            others.placed[placed, number] = True
            others.begin[placed, number] = begin[:, 0]
            others.drawn[placed, number] = drawn[:, 0]
            left = left[~others.placed[left, number]]
    return others


def _first_dash(random: np.random.Generator, claims: Bytes) -> tuple[Integers, _Ends]:
    """The first dash of a short curve, anywhere free; the images where it fits."""
    table = shapes()
    count = len(claims)
    start = np.zeros((count, 2), np.int64)
    direction = np.zeros(count, np.int64)
    fits = np.zeros(count, bool)
    left = np.arange(count)
    for _ in range(_DRAWS):
        direction[left] = random.integers(_DEGREES, size=len(left))
        left = left[table.possible[direction[left]]]
        free = _free(claims, left, direction[left])
        free_before = np.cumsum(free, axis=1, dtype=np.int16)
        left, free_before = left[free_before[:, -1] > 0], free_before[free_before[:, -1] > 0]  # else nothing is tried
        chosen = (free_before > random.integers(free_before[:, -1])[:, None]).argmax(axis=1)
        start[left] = np.stack(np.divmod(chosen, SIDE), axis=-1)
        head, pivot = start[left] + table.heads[direction[left]], start[left] + table.pivots[direction[left]]
        fits[left] = ((head >= 0) & (head < SIDE) & (pivot >= 0) & (pivot < SIDE)).all(axis=1)
        left = left[~fits[left]]
    images = np.flatnonzero(fits)
    return images, _first(table, start[images], direction[images])


def _free(claims: Bytes, images: Integers, directions: Integers) -> NDArray[np.bool_]:
    """`[n, 1024]` at which pixels of each image a first dash in this direction can begin."""
    table = shapes()
    taken = claims[images] > FREE
    free = np.ones((len(images), PIXELS), bool)
    for place in range(table.needed.shape[1]):
        needed = table.needed[directions, place]
        free &= ~np.take_along_axis(taken, table.shifts[needed], axis=1)
    return free


def _draw(curves: _Curves, others: _Others, circles: Integers) -> Bytes:
    """The images: whatever is brightest at a pixel, scaled so that the brightest of an image is 255."""
    table = shapes()
    count = len(curves)
    canvas = np.zeros((count, PIXELS + 1), np.int16)

    def add(images: Integers, curve: int, made: _Curves | _Others, brightness: int) -> None:
        for begin, drawn in zip(made.begin[images, curve].T, made.drawn[images, curve].T, strict=True):
            rows, patch = images[:, None], table.patches[begin]
            canvas[rows, patch] = np.maximum(canvas[rows, patch], table.lines[drawn].astype(np.int16) * brightness)

    for curve in range(2):
        add(np.arange(count), curve, curves, CURVE_BRIGHTNESS)
    for number in range(others.placed.shape[1]):
        add(np.flatnonzero(others.placed[:, number]), number, others, OTHER_BRIGHTNESS)
    pixels = canvas[:, :PIXELS]
    for circle in range(2):
        place = circles[:, circle, 0] * SIDE + circles[:, circle, 1]
        pixels = np.maximum(pixels, table.circles[place].astype(np.int16) * MARKER_BRIGHTNESS)
    scaled = pixels * (255 / pixels.max(axis=1, keepdims=True))
    return np.floor(scaled + 0.5).astype(np.uint8).reshape(count, SIDE, SIDE)
