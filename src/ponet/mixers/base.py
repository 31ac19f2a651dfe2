"""What every token mixer is: a module on packed tokens, and a name in the registry."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from ponet.ops.layout import Layout

_MIXERS: dict[str, type["Mixer"]] = {}


class Mixer(nn.Module):
    """Mixes the tokens of each document of a batch; built from a `PoNetConfig`."""

    has_output_projection = True
    """Whether the layer puts a linear map behind the mixer, as BERT and PoNet do and FNet doesn't."""

    def __init__(self, config: Any) -> None:
        super().__init__()

    def forward(
        self, hidden_states: Tensor, layout: Layout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and, where asked for, the weights of the mixer: `[B, h, N]`, `[B, h, N, N]`, or None.

        While gradients are recorded, the output is computed from those very weights, and so has a gradient for them.
        """
        raise NotImplementedError

    def in_parts(self, read: Callable[[int, int], Tensor], layout: Layout, borders: Sequence[int]) -> Iterator[Tensor]:
        """`forward` without gradients, part by part, for documents whose every token at once is too much memory.

        Here the whole is mixed at once and then cut; a mixer that can do with less overrides this.

        Args:
            read: the hidden states of the tokens `begin : end`, `[end - begin, d]`; to be asked any number of times.
            layout: of all tokens.
            borders: from 0 to `T`, rising: where each part begins, and the end.

        Yields:
            The mixed tokens of each part, in order.
        """
        mixed, _ = self(read(0, layout.num_tokens), layout)
        for begin, end in pairwise(borders):
            yield mixed[begin:end]


def register_mixer(name: str) -> Callable[[type[Mixer]], type[Mixer]]:
    """Class decorator: makes a mixer known as `name` in `PoNetConfig.mixer_types`."""

    def register(mixer: type[Mixer]) -> type[Mixer]:
        _MIXERS[name] = mixer
        return mixer

    return register


def mixer_names() -> list[str]:
    """The names of all mixers."""
    return sorted(_MIXERS)


def build_mixer(name: str, config: Any) -> Mixer:
    """A new mixer of that name.

    Raises:
        ValueError: for a name that no mixer has.
    """
    if name not in _MIXERS:
        raise ValueError(f"unknown mixer '{name}' in mixer_types; known: {', '.join(mixer_names())}")
    return _MIXERS[name](config)
