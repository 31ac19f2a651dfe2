"""Pathfinder one image and one dash at a time, on whole float images, as the published script works: slow and plain.

Written from the description of the published algorithm, without the tables and the array operations of
`ponet.tasks.lra.pathfinder`; the tests compare the two in distribution.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import maximum_filter

SIDE, DASH, MARGIN = 32, 2, 1
REACH = DASH + 1 + MARGIN


@dataclass
class Slow:
    image: np.ndarray
    label: int
    circles: list[tuple[int, int]]
    others: int
    tries: int
    """How often two curves were begun until both fitted."""


def moved(point, angle, distance):
    down, right = round(distance * math.sin(angle), 9), round(distance * math.cos(angle), 9)
    return math.ceil(point[0] + down), math.ceil(point[1] + right)


def flip(angle):
    return angle + math.pi if angle < 0 else angle - math.pi


def shrunk(drawing, side):
    return np.asarray(Image.fromarray(drawing).resize((side, side), Image.Resampling.LANCZOS)) / 255


def dash(shape, start, angle):
    """A dash and the space it claims, each a whole image of floats."""
    side, middle = 4 * REACH + 1, 2 * REACH
    drawing = Image.new("L", (side, side))
    end = moved((middle, middle), angle, 2 * DASH)
    ImageDraw.Draw(drawing).line([(middle, middle), (end[1], end[0])], fill=255)
    pixels = np.asarray(drawing)
    around = np.arange(-2, 3)
    wide = maximum_filter(pixels, footprint=around[:, None] ** 2 + around**2 <= 4, mode="constant")
    out = []
    for patch in (shrunk(pixels, 2 * REACH + 1), shrunk(wide, 2 * REACH + 1)):
        whole = np.zeros((shape[0] + 4 * REACH, shape[1] + 4 * REACH))
        top, left = start[0] + REACH, start[1] + REACH
        whole[top : top + 2 * REACH + 1, left : left + 2 * REACH + 1] = patch
        out.append(whole[2 * REACH : 2 * REACH + shape[0], 2 * REACH : 2 * REACH + shape[1]])
    return out


def disc(center):
    y, x = np.mgrid[: 2 * SIDE, : 2 * SIDE]
    inside = (y - 2 * center[0]) ** 2 + (x - 2 * center[1]) ** 2 <= 9
    return shrunk(inside.astype(np.uint8) * 255, SIDE)


def room(claimed, angle):
    """Where a dash in this direction can begin. Outside counts as less than 0, and one pixel of that as no room."""
    side = 2 * (DASH + MARGIN) + 1
    _, wanted = dash((side, side), (side // 2 + 1, side // 2 + 1), angle)
    filtered = maximum_filter(claimed, footprint=wanted == 1.0, mode="constant", cval=-1e308)
    return np.argwhere(filtered <= 0.3) if filtered.min() >= 0 else np.empty((0, 2), int)


def seed(random, claimed):
    for _ in range(3):
        angle = math.radians(random.integers(-180, 180))
        places = room(claimed, angle)
        if not len(places):
            return None
        start = tuple(places[random.integers(len(places))])
        head = moved(start, angle, DASH)
        pivot = moved(head, flip(angle), DASH + MARGIN)
        if all(0 <= value < SIDE for value in (*head, *pivot)):
            return start, pivot, angle
    return None


def around(pivot):
    """The pixels on the circle that the next dash may end on."""
    radius = DASH + MARGIN
    places = set()
    for step in np.arange(0, 360, 360 / (2 * radius * np.pi)) * np.pi / 180:
        y, x = pivot[0] + round(radius * math.sin(step), 9), pivot[1] + round(radius * math.cos(step), 9)
        if 0 <= y < SIDE and 0 <= x < SIDE:
            places.add((math.floor(y), math.floor(x)))
    return sorted(places)


def extend(random, claimed, pivot, angle):
    """The next dash: where it is drawn from, the new pivot and angle; None where there is no room."""
    pivot = moved(pivot, angle, DASH + 2 * MARGIN)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    dilated = maximum_filter(claimed, footprint=cross, mode="constant")
    likely = {}
    for place in around(pivot):
        onward = math.atan2(place[0] - pivot[0], place[1] - pivot[1])
        turned = min(abs(onward - angle), 2 * math.pi - abs(onward - angle))
        likely[place] = (1 - dilated[place]) * math.cos(min(turned, math.pi / 2)) ** 2
    total = sum(likely.values())
    if total < 1e-4:
        return None
    for _ in range(3):
        place = list(likely)[random.choice(len(likely), p=np.array(list(likely.values())) / total)]
        onward = math.atan2(place[0] - pivot[0], place[1] - pivot[1])
        line, wanted = dash((SIDE, SIDE), place, flip(onward))
        if (claimed + wanted).max() < 1.8:
            return place, line, wanted, pivot, onward
    return None


def two_curves(random):
    claimed = np.zeros((SIDE, SIDE))
    claimed[0] = claimed[-1] = claimed[:, 0] = claimed[:, -1] = 1
    middle = np.ones((SIDE, SIDE))
    middle[14:18, 14:18] = 0
    places = np.empty((0, 2))
    while not len(places):
        angle = math.radians(random.integers(-180, 180))
        places = room(middle, angle)
    start = tuple(places[random.integers(len(places))])
    around = math.radians(random.integers(360))
    other = tuple(round(round(s + 7 * f(around), 9)) for s, f in zip(start, (math.sin, math.cos), strict=True))
    return claimed, [(start, angle), (other, math.radians(random.integers(-180, 180)))]


def grow_two(random, length):
    claimed, seeds = two_curves(random)
    image = np.zeros((SIDE, SIDE))
    state, ends = [], []
    for start, angle in seeds:
        line, wanted = dash((SIDE, SIDE), start, angle)
        image = np.maximum(image, 1.5 * line)
        state.append((moved(moved(start, angle, DASH), flip(angle), DASH + MARGIN), angle, wanted))
        ends.append([start, start])
    for _ in range(length - 1):
        for curve in range(2):
            grown = extend(random, claimed, *state[curve][:2])
            if grown is None:
                return None
            place, line, wanted, pivot, onward = grown
            claimed = np.maximum(claimed, state[curve][2])
            image = np.maximum(image, 1.5 * line)
            state[curve] = (pivot, onward, wanted)
            ends[curve][1] = place
    return image, np.maximum(claimed, state[1][2]), ends


def grow_short(random, image, claimed, length):
    seeded = seed(random, claimed)
    if seeded is None:
        return None
    start, pivot, angle = seeded
    line, last = dash((SIDE, SIDE), start, angle)
    image = np.maximum(image, 2 * line)
    for _ in range(length - 1):
        grown = extend(random, claimed, pivot, angle)
        if grown is None:
            return None
        _, line, wanted, pivot, angle = grown
        claimed = np.maximum(claimed, last)
        image = np.maximum(image, 2 * line)
        last = wanted
    return image, np.maximum(claimed, last)


def make(random, length):
    tries = 1
    while (grown := grow_two(random, length)) is None:
        tries += 1
    image, claimed, ends = grown
    others = 0
    for _ in range(20 // (length // 3)):
        for _ in range(5):
            grown = grow_short(random, image, claimed, length // 3)
            if grown is not None:
                image, claimed = grown
                others += 1
                break
    label, marked = int(random.integers(2)), int(random.integers(2))
    circles = [ends[marked][0], ends[marked if label else 1 - marked][1]]
    image = np.maximum(image, np.maximum(disc(circles[0]), disc(circles[1])))
    return Slow((image * 255 / image.max() + 0.5).astype(np.uint8), label, circles, others, tries)
