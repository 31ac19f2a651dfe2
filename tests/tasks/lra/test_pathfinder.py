"""Pathfinder: labels by tracing, looks by the description, and all against a slow generator of one image at a time."""

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter
from tests.tasks.lra import pathfinder_slowly

from ponet.tasks.lra.pathfinder_generator import Pathfinder, generate
from ponet.tasks.lra.pathfinder_shapes import shapes
from ponet.utils.errors import PoNetError

LENGTHS = (6, 9, 14)
Dash = tuple[tuple[int, int], tuple[int, int]]
"""Its near and far end."""


@pytest.fixture(scope="module", params=LENGTHS)
def made(request: pytest.FixtureRequest) -> Pathfinder:
    return generate(seed=3, block=0, count=200, contour_length=request.param)


def legal(pivot: tuple[int, int], angle: float) -> dict[tuple[tuple[int, int], ...], tuple[tuple[int, int], float]]:
    """The dashes (both ends) that may follow by the published rule, each with the next pivot and angle."""
    slowly = pathfinder_slowly
    pivot = slowly.moved(pivot, angle, slowly.DASH + 2 * slowly.MARGIN)
    found = {}
    for far in slowly.around(pivot):
        onward = math.atan2(far[0] - pivot[0], far[1] - pivot[1])
        turned = abs((onward - angle + math.pi) % (2 * math.pi) - math.pi)
        if turned < math.pi / 2 - 1e-9:
            found[(slowly.moved(far, slowly.flip(onward), slowly.DASH), far)] = (pivot, onward)
    return found


def ways(dashes: frozenset[Dash], pivot: tuple[int, int], angle: float, steps: int) -> Iterator[tuple[int, int]]:
    """Where `steps` more of the dashes lead to, in every way that the rule allows."""
    for dash, (onward_pivot, onward) in legal(pivot, angle).items():
        if dash in dashes:
            if steps == 1:
                yield dash[1]
            else:
                yield from ways(dashes - {dash}, onward_pivot, onward, steps - 1)


def trace(dashes: frozenset[Dash], start: tuple[int, int], length: int) -> set[tuple[int, int]]:
    """Where curves of that many of the dashes end that begin at `start`, in any direction."""
    slowly = pathfinder_slowly
    begun = {}
    for degrees in range(-180, 180):
        angle = math.radians(degrees)
        head = slowly.moved(start, angle, slowly.DASH)
        pivot = slowly.moved(head, slowly.flip(angle), slowly.DASH + slowly.MARGIN)
        if (start, head) in dashes:
            begun[head, pivot, slowly.moved(pivot, angle, slowly.DASH + 2 * slowly.MARGIN), degrees // 30] = angle
    return {
        end
        for (head, pivot, *_), angle in begun.items()
        for end in ways(dashes - {(start, head)}, pivot, angle, length - 1)
    }


def test_labels_by_tracing(made: Pathfinder) -> None:
    """Follows the dashes of both curves, without being told which is whose, from the first circle on by the rule."""
    length = made.curves.shape[2]
    sure = right = 0
    for curves, circles, joined in zip(made.curves[:100], made.circles, made.labels, strict=False):
        dashes = frozenset((tuple(near), tuple(far)) for near, far in curves.reshape(-1, 2, 2).tolist())
        ends = trace(dashes, tuple(circles[0].tolist()), length)
        assert ends
        if len(ends) == 1 and (curves[0, -1, 1] != curves[1, -1, 1]).any():  # else both end under the second circle
            sure += 1
            right += (ends == {tuple(circles[1].tolist())}) == joined
    assert sure > 70
    assert right == sure


def test_labels_from_the_image_alone(made: Pathfinder) -> None:
    """Where no chain of bright pixels with gaps of two joins the circles, no curve does."""
    joined = np.empty(len(made), bool)
    for i, (image, (one, other)) in enumerate(zip(made.images, made.circles, strict=True)):
        parts, _ = label(maximum_filter(image, 3) > 40, structure=np.ones((3, 3)))
        joined[i] = parts[tuple(one)] == parts[tuple(other)]
    assert joined[made.labels == 1].all()
    if made.curves.shape[2] == 6:  # longer curves all touch somewhere
        assert (~joined).sum() > 20


def test_labels_by_the_ends_of_the_curves(made: Pathfinder) -> None:
    begins, ends = made.curves[:, :, 0, 0], made.curves[:, :, -1, 1]
    first = (begins == made.circles[:, :1]).all(axis=-1)
    last = (ends == made.circles[:, 1:]).all(axis=-1)
    sure = (first.sum(axis=1) == 1) & (last.sum(axis=1) == 1)
    assert sure.mean() > 0.98
    assert ((first & last).any(axis=1) == made.labels)[sure].all()


def find_circles(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """`[2, 2]` the two places where the image looks most like a filled circle."""
    patches = np.lib.stride_tricks.sliding_window_view(np.pad(image.astype(float), 2), (5, 5)).reshape(32, 32, 25)
    disc = pathfinder_slowly.disc((16, 16))[14:19, 14:19].reshape(25)
    scale = patches @ disc / (disc @ disc)
    likeness = scale - np.abs(patches - scale[..., None] * disc).mean(axis=-1)
    found = []
    for _ in range(2):
        y, x = np.unravel_index(likeness.argmax(), likeness.shape)
        found.append((y, x))
        likeness[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = -np.inf
    return np.array(found)


def test_circles_are_where_the_image_shows_them(made: Pathfinder) -> None:
    near = []
    for image, circles in zip(made.images, made.circles, strict=True):
        distance = np.linalg.norm(find_circles(image)[:, None] - circles[None], axis=-1)
        near.append(min(max(distance[0, 0], distance[1, 1]), max(distance[0, 1], distance[1, 0])) <= 1.5)
    assert np.mean(near) > 0.9


def test_images_show_the_curves_and_nothing_else(made: Pathfinder) -> None:
    y, x = np.mgrid[:32, :32]
    for i in np.flatnonzero(made.others == 0):
        ends = made.curves[i].reshape(-1, 2)
        nearest = np.min([(y - end[0]) ** 2 + (x - end[1]) ** 2 for end in [*ends, *made.circles[i]]], axis=0)
        assert made.images[i][nearest > 4**2].max() <= 8  # the overshoot of the filter that scales drawings down
    for i in range(len(made)):
        inside = made.curves[i].clip(0, 31)
        assert (made.images[i][inside[..., 0], inside[..., 1]].max(axis=-1) > 20).all()


def test_dashes_follow_the_published_rules(made: Pathfinder) -> None:
    near, far = made.curves[..., 0, :], made.curves[..., 1, :]
    assert set(np.abs(far - near).max(axis=-1).ravel()) <= {1, 2}
    gaps = np.linalg.norm(near[:, :, 1:] - far[:, :, :-1], axis=-1)
    assert 1 < np.median(gaps) < 2.5
    assert gaps.max() < 5
    first = far[:, 0, 0] - near[:, 0, 0]  # to the upper left, see `_possible`
    assert (first <= 0).all()
    assert ((near[:, 0, 0] >= 14) & (near[:, 0, 0] < 18)).all()
    apart = np.linalg.norm(near[:, 0, 0] - near[:, 1, 0], axis=-1)
    assert abs(apart - 7).max() < 0.75


def test_looks(made: Pathfinder) -> None:
    assert made.images.dtype == np.uint8
    assert made.images.shape == (200, 32, 32)
    assert (made.images.max(axis=(1, 2)) == 255).all()
    assert 0.4 < made.labels.mean() < 0.6
    length = made.curves.shape[2]
    assert made.others.max() <= 20 // (length // 3)
    assert made.circles.min() >= 0
    assert made.circles.max() < 32


@pytest.mark.parametrize(
    ("length", "count"),
    [(6, 20), pytest.param(9, 600, marks=pytest.mark.slow), pytest.param(14, 300, marks=pytest.mark.slow)],
)
def test_as_the_slow_generator(length: int, count: int) -> None:
    random = np.random.default_rng(1)
    slow = [pathfinder_slowly.make(random, length) for _ in range(count)]
    fast = generate(seed=1, block=0, count=1000, contour_length=length)
    slow_images = np.array([one.image for one in slow]).astype(float)
    images = fast.images.astype(float)
    apart = [float(np.hypot(*np.subtract(*one.circles))) for one in slow]
    measures = {
        "short curves": (np.array([one.others for one in slow]), fast.others),
        "mean": (slow_images.mean(axis=(1, 2)), images.mean(axis=(1, 2))),
        "contrast": (slow_images.std(axis=(1, 2)), images.std(axis=(1, 2))),
        "black": ((slow_images == 0).mean(axis=(1, 2)), (images == 0).mean(axis=(1, 2))),
        "bright": ((slow_images > 200).mean(axis=(1, 2)), (images > 200).mean(axis=(1, 2))),
        "upper half": (slow_images[:, :16].mean(axis=(1, 2)), images[:, :16].mean(axis=(1, 2))),
        "left half": (slow_images[:, :, :16].mean(axis=(1, 2)), images[:, :, :16].mean(axis=(1, 2))),
        "circles apart": (np.array(apart), np.linalg.norm(fast.circles[:, 0] - fast.circles[:, 1], axis=1)),
        "labels": (np.array([one.label for one in slow]), fast.labels),
    }
    for name, (one, other) in measures.items():
        error = np.sqrt(np.var(one) / len(one) + np.var(other) / len(other))
        assert abs(np.mean(one) - np.mean(other)) < 4 * error, name


def test_shapes_are_those_of_the_slow_drawing() -> None:
    table = shapes()
    for row, degrees in ((0, -180), (45, -135), (217, 37), (359, 179)):
        line, claim = pathfinder_slowly.dash((32, 32), (16, 16), np.radians(degrees))
        np.testing.assert_array_equal(table.lines[row].reshape(9, 9), np.round(line[12:21, 12:21] * 255))
        np.testing.assert_array_equal(table.claims[row].reshape(9, 9), np.round(claim[12:21, 12:21] * 255))
    for y, x in ((0, 31), (16, 3)):
        np.testing.assert_array_equal(
            table.circles[y * 32 + x].reshape(32, 32), np.round(pathfinder_slowly.disc((y, x)) * 255)
        )


def test_possible_directions() -> None:
    """What follows from OpenCV's border; the slow generator finds the same by doing it."""
    free = np.zeros((32, 32))
    free[0] = free[-1] = free[:, 0] = free[:, -1] = 1
    possible = [len(pathfinder_slowly.room(free, np.radians(degrees))) > 0 for degrees in range(-180, 180)]
    assert shapes().possible.tolist() == possible
    assert np.flatnonzero(possible).tolist() == list(range(30, 61))  # -150 to -120 degrees


def test_a_block_is_a_function_of_its_arguments() -> None:
    one, other = (generate(seed=5, block=2, count=40, contour_length=6) for _ in range(2))
    assert (one.images == other.images).all()
    assert (one.labels == other.labels).all()
    for changed in ({"seed": 6}, {"block": 3}, {"split": 1}, {"contour_length": 9}):
        arguments = {"seed": 5, "block": 2, "contour_length": 6, **changed}
        assert (generate(count=40, **arguments).images != one.images).any(axis=(1, 2)).all()


def test_the_data_of_a_seed_stays_the_same() -> None:
    """Fails where a new version of a library (numpy's random numbers, Pillow's drawing) changes the data: then
    `pathfinder_data.VERSION` has to be raised, so that caches don't mix the two."""
    made = generate(seed=0, block=0, count=30, contour_length=14)
    digest = hashlib.sha256(made.images.tobytes() + made.labels.tobytes()).hexdigest()
    assert digest[:16] == "0eebb1ba7e7c323b"


def test_other_lengths_are_refused() -> None:
    with pytest.raises(PoNetError, match="contour_length is 12: choose 6, 9, 14"):
        generate(seed=0, block=0, count=1, contour_length=12)
