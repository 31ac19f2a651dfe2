"""Operations counted from shapes, against what PyTorch counts as the products are computed."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ponet import PoNetConfig, PoNetForPreTraining
from ponet.ops import use_backend
from ponet.tasks.pretraining.examples import IGNORED, PretrainingCollator
from ponet.tasks.pretraining.objective import PretrainingObjective, forward_flops

D, LAYERS, CLASSES = 64, 2, 3


def config(mixer: Any, **values: Any) -> PoNetConfig:
    return PoNetConfig(
        vocab_size=300,
        hidden_size=D,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=160,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        mixer_types=mixer,
        attention_kernel="eager",
        cls_token_id=2,
        sep_token_id=3,
        **values,
    )


def batch(lengths: list[int], predicted: int = 9) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(0)
    examples = []
    for length in lengths:
        labels = np.full(length, IGNORED)
        labels[1 : 1 + predicted] = 7
        examples.append(
            {
                "input_ids": generator.integers(5, 300, length),
                "segment_ids": np.arange(length) // 6,
                "token_type_ids": np.zeros(length, dtype=np.int64),
                "labels": labels,
                "sentence_label": 0,
            }
        )
    return PretrainingCollator()(examples)


def counted(shape: PoNetConfig, inputs: dict[str, torch.Tensor], backward: bool = False) -> int:
    """What PyTorch counts of a pass, with plain operators."""
    model, objective = PoNetForPreTraining(shape), PretrainingObjective(shape)
    with use_backend("reference"), FlopCounterMode(display=False) as counter:
        loss, _ = objective(model, inputs, objective.counts(inputs))
        if backward:
            loss.backward()
    return int(counter.get_total_flops())


def relationship(documents: int) -> int:
    """The sentence head, which is too small for the formula."""
    return 2 * documents * D * CLASSES


def test_attention_to_the_last_operation() -> None:
    shape, lengths = config("attention"), [50] * 4
    assert counted(shape, batch(lengths)) == forward_flops(shape, lengths, 36) + relationship(4)


def test_pooling_but_for_a_document_s_own_products() -> None:
    shape, lengths = config("pooling"), [120, 200, 77]
    # GA's products of one row a document, left out: its query, the keys absorbed into it, the values out of its mean
    own = LAYERS * len(lengths) * 3 * 2 * D * D
    formula = forward_flops(shape, lengths, 27)
    assert counted(shape, batch(lengths)) == formula + relationship(3) + own
    assert own < 0.003 * formula


def test_pooling_is_counted_as_it_is_computed_here() -> None:
    """The published form has two projections more for every token, which would flatter the utilisation."""
    lengths = [120, 200, 77]
    tokens = sum(lengths)
    published = config("pooling", pooling_formulation="published")
    formula = forward_flops(published, lengths, 27)
    assert formula == forward_flops(config("pooling"), lengths, 27)
    projections = LAYERS * 2 * 2 * D * D * tokens
    narrower = LAYERS * 4 * (published.num_attention_heads - 1) * D * tokens  # its heads see their own part of a token
    assert counted(published, batch(lengths)) == formula + relationship(3) + projections - narrower


def test_fourier_is_dense_layers_and_two_transforms() -> None:
    shape, lengths = config("fourier"), [60, 90]
    transforms = LAYERS * sum(5 * n * D * math.log2(n * D) for n in lengths)
    assert counted(shape, batch(lengths)) + transforms == pytest.approx(
        forward_flops(shape, lengths, 18) + relationship(2), rel=1e-12
    )


def test_a_training_step_is_three_times_as_much() -> None:
    shape = config("attention")
    inputs = batch([50] * 4)
    found = PretrainingObjective(shape).flops(inputs)
    assert found == 3 * forward_flops(shape, [50] * 4, 36)
    assert counted(shape, inputs, backward=True) == pytest.approx(found, rel=0.01)


@pytest.mark.parametrize("mixer", ["attention", "pooling", "fourier", ["attention", "pooling"]])
def test_documents_add_up(mixer: Any) -> None:
    """Packing makes nothing dearer: a document costs what it costs alone."""
    shape = config(mixer)
    apart = sum(forward_flops(shape, [length], predicted) for length, predicted in ((30, 4), (50, 8), (7, 1)))
    assert forward_flops(shape, [30, 50, 7], 13) == pytest.approx(apart, rel=1e-12)


def test_layers_of_several_kinds() -> None:
    both = forward_flops(config(["attention", "pooling"]), [80], 12)
    assert both == (forward_flops(config("attention"), [80], 12) + forward_flops(config("pooling"), [80], 12)) / 2


def test_what_nobody_has_counted_is_none() -> None:
    assert forward_flops(config(["pooling", "linformer"]), [80], 12) == 0
