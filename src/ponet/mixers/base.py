"""The base class of token mixers, and their registry by name."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn

from ponet.ops.layout import Layout

_MIXERS: dict[str, type["Mixer"]] = {}


class Mixer(nn.Module):
    """Mixes the tokens of each document of a batch; built from a `PoNetConfig`."""

    title: ClassVar[str] = ""
    """What a model with this mixer is called in tables and plots; without one, the name that it is registered by."""
    has_output_projection = True
    """Whether a linear map follows the mixer, as in BERT and PoNet, and not in FNet."""

    takes_padded: ClassVar[bool] = False
    """Whether `forward` also takes the layout of padded rows, `ops.padded.PaddedLayout`."""

    def __init__(self, config: Any) -> None:
        super().__init__()

    def forward(
        self, hidden_states: Tensor, layout: Layout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and, where asked for, the weights of the mixer: `[B, h, N]`, `[B, h, N, N]`, or None.

        While gradients are recorded, the output is computed from the returned weights, so that these have a gradient.
        """
        raise NotImplementedError

    def forward_chunks(
        self, read: Callable[[int, int], Tensor], layout: Layout, bounds: Sequence[int]
    ) -> Iterator[Tensor]:
        """`forward` without gradients, a chunk at a time, where all tokens at once take too much memory.

        By default all tokens are mixed at once, and the result is cut; a mixer that needs less memory overrides this.

        Args:
            read: the hidden states of the tokens `begin : end`, `[end - begin, d]`; may be called any number of times.
            layout: of all tokens.
            bounds: from 0 to `T`, rising: where each chunk begins, and the end.

        Yields:
            The mixed tokens of each chunk, in order.
        """
        mixed, _ = self(read(0, layout.num_tokens), layout)
        for begin, end in pairwise(bounds):
            yield mixed[begin:end]


def register_mixer(name: str) -> Callable[[type[Mixer]], type[Mixer]]:
    """Class decorator: registers a mixer as `name`, a value of `PoNetConfig.mixer_types`."""

    def register(mixer: type[Mixer]) -> type[Mixer]:
        _MIXERS[name] = mixer
        return mixer

    return register


def mixer_names() -> list[str]:
    """The names of all mixers."""
    return sorted(_MIXERS)


def takes_padded(name: str) -> bool:
    """Whether a mixer can compute on padded rows."""
    return name in _MIXERS and _MIXERS[name].takes_padded


def mixer_title(name: str) -> str:
    """What a model with that mixer is called in tables and plots: "PoNet" for "pooling"."""
    return (_MIXERS[name].title if name in _MIXERS else "") or name


def build_mixer(name: str, config: Any) -> Mixer:
    """A new mixer of that name.

    Raises:
        ValueError: for a name that no mixer has.
    """
    if name not in _MIXERS:
        raise ValueError(f"unknown mixer '{name}' in mixer_types; known: {', '.join(mixer_names())}")
    return _MIXERS[name](config)
