"""Input that doesn't fit gets one helpful sentence, and is never broadcast, cut or read askew in silence."""

import pytest
import torch

from ponet import (
    PoNetConfig,
    PoNetForMaskedLM,
    PoNetForMultipleChoice,
    PoNetForPreTraining,
    PoNetForQuestionAnswering,
    PoNetForSequenceClassification,
    PoNetForTokenClassification,
    PoNetModel,
)

D = 16


def build(head, **changes):
    settings = {"vocab_size": 20, "hidden_size": D, "num_hidden_layers": 2, "num_attention_heads": 4, "num_labels": 4}
    settings |= {"intermediate_size": 24, "max_position_embeddings": 12, "cls_token_id": 2, "sep_token_id": 3}
    return head(PoNetConfig(**settings | changes)).eval()


PACKED = {"input_ids": torch.full((1, 7), 5), "cu_seqlens": torch.tensor([0, 3, 7])}
PLAIN = {"input_ids": torch.full((2, 5), 5)}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "give either input_ids or inputs_embeds"),
        ({**PLAIN, "inputs_embeds": torch.zeros(2, 5, D)}, "give either input_ids or inputs_embeds"),
        ({"input_ids": torch.full((5,), 5)}, r"input_ids must be integers \[batch, length\], not int64 \[5\]"),
        ({"input_ids": torch.zeros(2, 5)}, r"input_ids must be integers \[batch, length\], not float32 \[2, 5\]"),
        ({"inputs_embeds": torch.zeros(5, D)}, r"inputs_embeds must be \[batch, length, 16\].*not float32 \[5, 16\]"),
        ({"inputs_embeds": torch.zeros(2, 5, 8)}, r"inputs_embeds must be \[batch, length, 16\]"),
        ({**PLAIN, "attention_mask": torch.ones(5)}, r"attention_mask has the shape \[5\]; the input's is \[2, 5\]"),
        ({**PLAIN, "attention_mask": torch.ones(2, 1, 1, 5)}, "attention_mask has the shape"),
        ({**PLAIN, "token_type_ids": torch.zeros(2, 4)}, "token_type_ids has the shape"),
        ({**PLAIN, "segment_ids": torch.zeros(1, 5)}, "segment_ids has the shape"),
        ({**PLAIN, "special_tokens_mask": torch.zeros(2, 6)}, "special_tokens_mask has the shape"),
        ({**PLAIN, "position_ids": torch.arange(6)}, r"position_ids have the shape \[6\]; the input's is \[2, 5\]"),
        (
            {**PLAIN, "position_ids": torch.arange(8, 13)},
            "position_ids run from 8 to 12, but the model has 12 positions",
        ),
        ({**PLAIN, "position_ids": torch.arange(5) - 1}, "position_ids run from -1 to 3"),
        (
            {"input_ids": torch.full((2, 13), 5)},
            r"a document of 13 tokens, but the model has 12 positions: truncate it, or call .*positi.*\(13\) first",
        ),
        ({"input_ids": torch.full((1, 14), 5), "cu_seqlens": torch.tensor([0, 1, 14])}, "a document of 13 tokens"),
        ({**PACKED, "cu_seqlens": torch.tensor([0, 3, 6])}, "cu_seqlens ends at 6; there are 7 packed tokens"),
        ({**PACKED, "cu_seqlens": torch.tensor([1, 7])}, "cu_seqlens must rise from 0"),
        ({**PACKED, "cu_seqlens": torch.tensor([0, 5, 3, 7])}, "cu_seqlens must rise from 0"),
        ({**PACKED, "cu_seqlens": torch.tensor([[0, 7]])}, r"cu_seqlens must be integers \[documents \+ 1\]"),
        ({**PACKED, "cu_seqlens": torch.tensor([])}, r"cu_seqlens must be integers \[documents \+ 1\]"),
        ({**PACKED, "cu_seqlens": torch.tensor([0.0, 7.0])}, "cu_seqlens must be integers"),
        ({**PACKED, "input_ids": torch.full((2, 7), 5)}, "has one row; this has 2"),
        ({**PACKED, "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1, 0]])}, "has no padding, but attention_mask has"),
    ],
)
def test_input_that_does_not_fit(inputs, message):
    with pytest.raises(ValueError, match=message):
        build(PoNetModel)(**inputs)


def test_padding_may_be_longer_than_the_model():
    ids, mask = torch.full((1, 30), 5), torch.zeros(1, 30)
    mask[0, 20:] = 1
    model = build(PoNetModel)
    output = model(ids, attention_mask=mask, position_ids=torch.arange(-20, 10)[None])
    torch.testing.assert_close(output.last_hidden_state[:, 20:], model(ids[:, :10]).last_hidden_state)


@pytest.mark.parametrize(
    ("head", "inputs", "message"),
    [
        (PoNetForTokenClassification, {"labels": torch.zeros(2, 6)}, r"labels have the shape \[2, 6\]; the input's is"),
        (PoNetForTokenClassification, {"labels": torch.zeros(10)}, "labels have the shape"),
        (PoNetForMaskedLM, {"labels": torch.zeros(1, 5)}, "labels have the shape"),
        (PoNetForPreTraining, {"labels": torch.zeros(2)}, "labels have the shape"),
        (PoNetForPreTraining, {"next_sentence_label": torch.zeros(3)}, r"labels have the shape \[3\], but there are 2"),
        (PoNetForSequenceClassification, {"labels": torch.zeros(1).long()}, "labels have the shape"),
        (PoNetForSequenceClassification, {"labels": torch.zeros(2)}, r"wants labels \[2, 4\], not \[2\]"),
        (
            PoNetForQuestionAnswering,
            {"start_positions": torch.zeros(1), "end_positions": torch.zeros(2)},
            "1 answer positions for 2 documents",
        ),
        (PoNetForMultipleChoice, {}, r"multiple choice wants \[batch, choices, length\] input, not \[2, 5\]"),
    ],
)
def test_labels_that_do_not_fit(head, inputs, message):
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    with pytest.raises(ValueError, match=message):
        build(head)(torch.full((2, 5), 5), attention_mask=mask, **inputs)


@pytest.mark.parametrize("choices", [None, 0, 2])
def test_packed_choices_that_do_not_fit(choices):
    inputs = {"input_ids": torch.full((1, 7), 5), "cu_seqlens": torch.tensor([0, 2, 3, 7])}
    with pytest.raises(ValueError, match=f"packed input needs num_choices.* it is {choices}, for 3 documents"):
        build(PoNetForMultipleChoice)(**inputs, num_choices=choices)


def test_packed_labels_must_be_a_row():
    inputs = {"input_ids": torch.full((1, 7), 5), "cu_seqlens": torch.tensor([0, 3, 7])}
    with pytest.raises(ValueError, match=r"labels have the shape \[7\]; the input's is \[1, 7\]"):
        build(PoNetForTokenClassification)(**inputs, labels=torch.zeros(7))


def test_a_regression_of_several_numbers_is_not_broadcast():
    model = build(PoNetForSequenceClassification, problem_type="regression")
    with pytest.raises(ValueError, match=r"regression wants labels \[1, 4\], not \[1\]"):
        model(torch.full((1, 5), 5), labels=torch.tensor([1.0]))
