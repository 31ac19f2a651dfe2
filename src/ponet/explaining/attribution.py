"""What each token adds to the logit of a class: integrated gradients, and gradient x input.

Both are taken at the embeddings' output, the first tensor that a token has to itself.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ponet.models.modeling_ponet import PoNetForSequenceClassification
from ponet.models.packing import PackedBatch, find_special_tokens

TOLERANCE = 1e-3
MAX_STEPS = 513
CHANCE = 10
"""The errors' sizes may sum to so many times the tolerance."""
FIRST_STEPS = 17
"""Points at which the gradient is taken before anything is said about the error: 8 intervals of 3 points."""


@dataclass(frozen=True)
class Attributions:
    """Of `T` tokens in a batch of `E` examples, each for the logit of one class."""

    values: np.ndarray
    """`[T]` float64, integrated gradients: they sum to `differences` over each example, up to `errors`."""
    gradient_x_input: np.ndarray
    """`[T]` float64: the gradient of the logit times the token's embedding."""
    targets: np.ndarray
    """`[E]` int64, the class."""
    logits: np.ndarray
    """`[E]` float64, of that class."""
    differences: np.ndarray
    """`[E]` float64, how much less the logit is for the baseline."""
    errors: np.ndarray
    """`[E]` float64, by how much the attributions' sum misses `differences`; NaN without an integral."""
    steps: np.ndarray
    """`[E]` int64: points of the path at which the gradient was taken."""


class EmbeddingPath:
    """The way from a baseline to a batch's embeddings, and a classifier's logits and gradients along it.

    The baseline has the batch's positions, token types and special tokens, and zero for the vector of every other word.

    Args:
        model: in evaluation mode.
        inputs: of its `forward`.
        examples: `[T]`, the example of each token.
    """

    def __init__(self, model: PoNetForSequenceClassification, inputs: Mapping[str, Any], examples: np.ndarray) -> None:
        self.model, self.inputs = model, inputs
        self.embeddings = model.ponet.embeddings
        self.tokens = torch.from_numpy(examples).to(model.device)
        seen: list[tuple[PackedBatch, Tensor]] = []

        def see(_: torch.nn.Module, arguments: tuple[PackedBatch], output: Tensor) -> None:
            seen.append((arguments[0], output))

        with _hooked(self.embeddings, see), torch.no_grad():
            self.logits = model(**inputs).logits.double()
            [(batch, self.end)] = seen
            self.begin = self.embeddings(_without_words(self.embeddings, model.config, batch))

    def at(self, places: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """The logits `[E]` of the classes `targets [E]` at the points `places [E]` from 0 to 1, each example at one of
        its own, and their gradient there, `[T, d]`."""
        share = torch.from_numpy(places).to(self.end)[self.tokens][:, None]
        point = torch.lerp(self.begin, self.end, share).detach().requires_grad_()
        with _hooked(self.embeddings, lambda *_: point), torch.enable_grad():
            logits = self.model(**self.inputs).logits
            chosen = logits.gather(1, torch.from_numpy(targets).to(logits.device)[:, None])[:, 0]
            (gradient,) = torch.autograd.grad(chosen.sum(), point)
        values: np.ndarray = chosen.detach().double().cpu().numpy()
        return values, gradient

    def difference_times(self, gradient: Tensor) -> np.ndarray:
        """`[T]` float64: a gradient `[T, d]` along the path."""
        return _products(gradient, self.end.double() - self.begin.double())


def gradient_x_input(path: EmbeddingPath, targets: np.ndarray) -> np.ndarray:
    """`[T]` float64, for the classes `targets [E]`."""
    _, gradient = path.at(np.ones(len(targets)), targets)
    return _products(gradient, path.end)


def attribute(
    path: EmbeddingPath,
    examples: np.ndarray,
    targets: np.ndarray,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
    integrate: bool = True,
) -> Attributions:
    """Integrated gradients (Sundararajan et al. 2017) by Simpson's rule on intervals that are halved where it errs.

    By the fundamental theorem the integral over an interval is the difference of the logit at its ends, which is known:
    so the error of every interval is known too. The interval that errs most is halved until the errors of an
    example sum to at most `tolerance` (and their sizes to ten times that, lest they cancel by chance), or the gradient
    was taken at `max_steps` points.

    Args:
        path: of a batch.
        examples: `[T]`, the example of each token.
        targets: `[E]`, the class of each.
        integrate: whether to; else the values are NaN.
    """
    count = len(targets)
    own = [np.flatnonzero(examples == e) for e in range(count)]
    values, errors = np.full(len(examples), np.nan), np.full(count, np.nan)
    logits, gradient = path.at(np.ones(count), targets)
    shortcut = _products(gradient, path.end)
    differences, steps = np.full(count, np.nan), np.ones(count, dtype=np.int64)
    if integrate and count:
        integrals = [_Integral() for _ in range(count)]

        def take(places: np.ndarray) -> None:
            reached, gradient = path.at(places, targets)
            parts = path.difference_times(gradient)
            for e, integral in enumerate(integrals):
                integral.add(places[e], reached[e], parts[own[e]])

        for place in np.linspace(0, 1, FIRST_STEPS):
            take(np.full(count, place))
        for integral in integrals:
            integral.begin()
        while True:
            # an example that is done takes part as the others need, at a point that it knows already
            going = [not each.within(tolerance) and len(each.points) + 2 <= max_steps for each in integrals]
            if not any(going):
                break
            halves = [each.worst() if more else (1.0, 1.0) for each, more in zip(integrals, going, strict=True)]
            for side in (0, 1):
                take(np.array([pair[side] for pair in halves]))
            for integral, more in zip(integrals, going, strict=True):
                if more:
                    integral.halve()
        for e, integral in enumerate(integrals):
            values[own[e]] = integral.sum()
            differences[e], errors[e] = integral.points[1.0][0] - integral.points[0.0][0], integral.error
            steps[e] = len(integral.points)
    return Attributions(values, shortcut, targets, logits, differences, errors, steps)


@dataclass
class _Integral:
    """One example's integral as it is refined."""

    points: dict[float, tuple[float, np.ndarray]] = field(default_factory=dict)
    """The logit and each token's part of its derivative, float32, by the place."""
    intervals: dict[tuple[float, float], float] = field(default_factory=dict)
    """The error of each."""

    def add(self, place: float, logit: float, parts: np.ndarray) -> None:
        self.points.setdefault(float(place), (float(logit), parts.astype(np.float32)))

    def begin(self) -> None:
        places = sorted(self.points)
        for pair in zip(places[:-2:2], places[2::2], strict=True):
            self.intervals[pair] = self._error(pair)

    @property
    def error(self) -> float:
        return float(sum(self.intervals.values()))

    def within(self, tolerance: float) -> bool:
        return abs(self.error) <= tolerance and sum(map(abs, self.intervals.values())) <= CHANCE * tolerance

    def worst(self) -> tuple[float, float]:
        """The middles of the two halves of the interval that errs most."""
        low, high = self._worst()
        return (3 * low + high) / 4, (low + 3 * high) / 4

    def halve(self) -> None:
        low, high = self._worst()
        del self.intervals[low, high]
        middle = (low + high) / 2
        for pair in ((low, middle), (middle, high)):
            self.intervals[pair] = self._error(pair)

    def sum(self) -> np.ndarray:
        """`[n]` float64 over all intervals."""
        total: np.ndarray = sum(self._simpson(pair) for pair in self.intervals)  # type: ignore[assignment]
        return total

    def _worst(self) -> tuple[float, float]:
        return max(self.intervals, key=lambda pair: abs(self.intervals[pair]))

    def _error(self, pair: tuple[float, float]) -> float:
        low, high = pair
        return float(self._simpson(pair).sum()) - (self.points[high][0] - self.points[low][0])

    def _simpson(self, pair: tuple[float, float]) -> np.ndarray:
        low, high = pair
        first, middle, last = (self.points[place][1].astype(np.float64) for place in (low, (low + high) / 2, high))
        return (high - low) / 6 * (first + 4 * middle + last)


def _products(gradient: Tensor, states: Tensor) -> np.ndarray:
    found: np.ndarray = (gradient.double() * states.double()).sum(1).cpu().numpy()
    return found


def _without_words(embeddings: torch.nn.Module, config: Any, batch: PackedBatch) -> PackedBatch:
    """The batch with the zero vector for every word, and the special tokens' own."""
    tokens, layout = batch.tokens, batch.layout
    special = layout.special
    if tokens.is_floating_point():
        words = tokens
    else:
        words = batch.unpad(embeddings.word_embeddings(batch.pad(tokens)))  # type: ignore[operator]
        special = find_special_tokens(config, tokens) if special is None else special
    kept = torch.zeros_like(words[:, :1]) if special is None else special[:, None].to(words)
    return batch._replace(tokens=words * kept)


@contextmanager
def _hooked(module: torch.nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
