"""The operations that a model needs, from its shape: what utilisation of the hardware is measured against."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ponet.models.configuration_ponet import PoNetConfig


def forward_flops(config: "PoNetConfig", lengths: Sequence[int], predicted: int) -> float:
    """Floating-point operations of one forward pass, matrix products and FFTs only; 0 where a mixer isn't counted.

    A multiplication and an addition are two. Pooling is counted as it is computed here, with three projections (the
    published five would flatter it).

    Args:
        config: the model's.
        lengths: tokens of each document.
        predicted: words that are scored over the vocabulary.
    """
    d, tokens = config.hidden_size, sum(lengths)
    dense = 2 * d * d * tokens
    feed_forward = 4 * d * config.intermediate_size * tokens
    total = 0.0
    for mixer in config.layer_mixers:
        if mixer == "pooling":
            total += 4 * dense + 4 * config.num_attention_heads * d * tokens  # o, s, l, output; scores and their sum
        elif mixer == "attention":
            total += 4 * dense + sum(4 * d * n * n for n in lengths)
        elif mixer == "fourier":
            total += sum(5 * n * d * (math.log2(max(n, 2)) + math.log2(d)) for n in lengths)
        else:
            return 0.0
        total += feed_forward
    total += predicted * (2 * d * d + 2 * d * config.vocab_size)
    return total + len(lengths) * 2 * d * d
