"""Documents one behind the other, as `DataCollatorWithFlattening` gives them: every head reads them one by one."""

import pytest
import torch
from transformers import DataCollatorWithFlattening

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

SETTINGS = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
SETTINGS |= {"intermediate_size": 24, "max_position_embeddings": 12, "cls_token_id": 2, "sep_token_id": 3}
SETTINGS |= {"num_labels": 4, "initializer_range": 0.3}
DOCUMENTS = [[2, 5, 6, 3, 7, 8, 3], [2, 3], [2, 9, 10, 11, 3], [2, 12, 3, 13, 3, 14]]
TOKENS = [PoNetModel, PoNetForMaskedLM, PoNetForTokenClassification, PoNetForQuestionAnswering]
HEADS = [*TOKENS, PoNetForPreTraining, PoNetForSequenceClassification, PoNetForMultipleChoice]
WAYS = {
    "positions": {},
    "cu_seq_lens": {"return_flash_attn_kwargs": True},
    "cu_seq_lens alone": {"return_flash_attn_kwargs": True, "return_position_ids": False},
    "seq_idx": {"return_seq_idx": True},
    "seq_idx alone": {"return_seq_idx": True, "return_position_ids": False},
    "all": {"return_flash_attn_kwargs": True, "return_seq_idx": True},
}


def build(head=PoNetModel, **changes):
    return head(PoNetConfig(**SETTINGS | changes)).eval()


def flattened(documents=DOCUMENTS, **how):
    batch = DataCollatorWithFlattening(**how)([{"input_ids": each} for each in documents])
    batch.pop("labels")  # those of a causal language model
    return batch


def one_by_one(model, documents=DOCUMENTS):
    return [model(torch.tensor([each])) for each in documents]


def same(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("head", HEADS)
def test_every_head(head, way):
    model = build(head)
    inputs = flattened(**WAYS[way])
    if head is PoNetForMultipleChoice:
        alone = [model(torch.tensor([[each]])).logits for each in DOCUMENTS]
        same(model(**inputs, num_choices=2).logits, torch.cat(alone).reshape(2, 2))
        return
    together, alone = model(**inputs), one_by_one(model)
    for name, value in together.items():
        dim = 1 if value.shape[0] == 1 else 0  # of tokens, of documents
        same(value, torch.cat([each[name] for each in alone], dim))


@pytest.mark.parametrize("mixer", ["attention", "fourier", "linear"])
def test_other_mixers(mixer):
    model = build(mixer_types=mixer)
    same(
        model(**flattened()).last_hidden_state,
        torch.cat([each.last_hidden_state for each in one_by_one(model)], 1),
    )


def test_labels_and_gradients():
    """Labels of tokens as the collator flattens them, documents' own as for any packed input."""
    labels = [[i % 4 for i in range(len(each))] for each in DOCUMENTS]
    features = [{"input_ids": each, "labels": row} for each, row in zip(DOCUMENTS, labels, strict=True)]
    model, twin = build(PoNetForTokenClassification), build(PoNetForTokenClassification)
    twin.load_state_dict(model.state_dict())
    model(**DataCollatorWithFlattening()(features)).loss.backward()
    losses = [twin(torch.tensor([f["input_ids"]]), labels=torch.tensor([[-100, *f["labels"][1:]]])) for f in features]
    count = sum(len(row) - 1 for row in labels)
    sum(each.loss * (len(row) - 1) / count for each, row in zip(losses, labels, strict=True)).backward()
    for (name, p), q in zip(model.named_parameters(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(p.grad, q[1].grad, rtol=1e-4, atol=1e-5, msg=name)
    documents = build(PoNetForSequenceClassification)
    assert documents(**flattened(), labels=torch.tensor([0, 1, 2, 3])).loss > 0


def test_segments_and_embeddings_are_taken_along():
    model = build()
    inputs = flattened()
    segments = torch.tensor([[0, 1, 1, 0, 2, 2, 0, 0, 0, 3, 3, 1, 1, 0, 0, 1, 1, 0, 0, 5]])
    offsets = torch.tensor([0, 7, 9, 14, 20])
    expected = model(inputs["input_ids"], segment_ids=segments, cu_seqlens=offsets).last_hidden_state
    same(model(**inputs, segment_ids=segments).last_hidden_state, expected)
    embeds = model.get_input_embeddings()(inputs["input_ids"])
    special = (inputs["input_ids"] == 2) | (inputs["input_ids"] == 3)
    more = {"special_tokens_mask": special, "segment_ids": segments, "position_ids": inputs["position_ids"]}
    same(model(inputs_embeds=embeds, **more).last_hidden_state, expected)


@pytest.mark.parametrize("start", [0, 2])
def test_positions_may_begin_anywhere(start):
    model = build()
    together = model(**flattened(position_ids_start=start)).last_hidden_state
    alone = [
        model(torch.tensor([each]), position_ids=torch.arange(len(each)) + start).last_hidden_state
        for each in DOCUMENTS
    ]
    same(together, torch.cat(alone, 1))


@pytest.mark.parametrize("length", [1, 3])
def test_short_documents(length):
    """Of one token each but the last: a run of one token is a document too."""
    documents = [[5], [6], list(range(7, 7 + length)), [4, 5]]
    model = build()
    expected = torch.cat([each.last_hidden_state for each in one_by_one(model, documents)], 1)
    same(model(**flattened(documents)).last_hidden_state, expected)


def test_a_first_document_whose_beginning_was_cut():
    model = build()
    positions = torch.tensor([[4, 5, 6, 0, 1, 2, 3, 0]])
    ids = torch.randint(4, 20, (1, 8))
    together = model(ids, position_ids=positions).last_hidden_state
    offsets = torch.tensor([0, 3, 7, 8])
    same(together, model(ids, position_ids=positions, cu_seqlens=offsets).last_hidden_state)


@pytest.mark.parametrize(
    "positions",
    [
        [0, 0, 0, 0, 0, 0],
        [3, 3, 3, 3, 3, 3],
        [0, 1, 2, 5, 6, 7],
        [5, 4, 3, 2, 1, 0],
        [3, 0, 5, 1, 4, 2],
        [0, 0, 1, 1, 2, 2],
        [2, 3, 4, 5, 6, 7],
        [0, 1, 1, 2, 3, 4],
        [0, 2, 4, 0, 2, 4],
    ],
    ids=str,
)
@pytest.mark.parametrize("rows", [1, 2])
def test_other_positions_are_somebodys_own(positions, rows):
    """One document a row, as with a mask or with its own offsets; nothing is cut."""
    model = build()
    ids, positions = torch.randint(4, 20, (rows, 6)), torch.tensor(positions)
    found = model(ids, position_ids=positions)
    assert found.pooler_output.shape[0] == rows
    ends = torch.arange(rows + 1) * 6
    packed = model(ids.reshape(1, -1), position_ids=positions.repeat(rows)[None], cu_seqlens=ends)
    same(found.last_hidden_state.reshape(1, -1, 16), packed.last_hidden_state)


RESTART = "position_ids restart within a row, .* one row without attention_mask, or with cu_seqlens"


@pytest.mark.parametrize(
    ("positions", "mask"),
    [
        ([[0, 1, 2, 0, 1], [0, 1, 2, 0, 1]], None),
        ([[0, 1, 2, 3, 4], [0, 1, 0, 1, 2]], None),
        ([[0, 1, 2, 0, 1]], [[1, 1, 1, 1, 1]]),
        ([[0, 1, 2, 0, 1]], [[1, 1, 1, 1, 0]]),
        ([[0, 1, 2, 0, 1]], [[0, 1, 0, 1, 1]]),
    ],
)
def test_restarts_that_cannot_be_packed_are_refused(positions, mask):
    positions, mask = torch.tensor(positions), None if mask is None else torch.tensor(mask)
    with pytest.raises(ValueError, match=RESTART):
        build()(torch.full(positions.shape, 5), position_ids=positions, attention_mask=mask)


def test_positions_at_padding_do_not_count():
    """As left and right padding have them, counted by the mask."""
    model = build()
    ids, mask = torch.randint(4, 20, (2, 6)), torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    expected = model(ids, attention_mask=mask).last_hidden_state
    for positions in (
        mask.cumsum(1) - 1,
        (mask.cumsum(1) - 1).clamp(min=0),
        (mask.cumsum(1) - 1).masked_fill(mask == 0, 1),
    ):
        same(model(ids, attention_mask=mask, position_ids=positions).last_hidden_state, expected)


def test_one_document_may_be_said_to_be_one():
    model, ids = build(), torch.randint(4, 20, (1, 5))
    inputs = {"position_ids": torch.tensor([[0, 1, 2, 0, 1]]), "cu_seqlens": torch.tensor([0, 5])}
    assert model(ids, **inputs).pooler_output.shape == (1, 16)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cu_seqlens": torch.tensor([0, 5])}, "cu_seqlens, cu_seq_lens_q and cu_seq_lens_k must be the same"),
        ({"cu_seq_lens_k": torch.tensor([0, 2, 3, 5])}, "cu_seqlens, cu_seq_lens_q and cu_seq_lens_k must be the same"),
        ({"cu_seq_lens_q": torch.tensor([0, 3, 6])}, "cu_seqlens ends at 6; there are 5 packed tokens"),
        ({"cu_seq_lens_q": None, "seq_idx": torch.tensor([[0, 0, 1, 0, 1]])}, "seq_idx must be .1, tokens., .* rising"),
        ({"cu_seq_lens_q": None, "seq_idx": torch.tensor([0, 0, 1, 1, 1])}, "seq_idx must be .1, tokens."),
        ({"cu_seq_lens_q": None, "seq_idx": torch.tensor([[0, 1, 1]])}, "cu_seqlens ends at 3; there are 5"),
    ],
)
def test_offsets_that_do_not_fit(more, message):
    inputs = {"input_ids": torch.full((1, 5), 5), "cu_seq_lens_q": torch.tensor([0, 3, 5], dtype=torch.int32)}
    with pytest.raises(ValueError, match=message):
        build()(**inputs | more)


def test_other_names_are_still_unknown():
    with pytest.raises(TypeError, match="cu_seq_lens"):
        build()(torch.full((1, 5), 5), cu_seq_lens=torch.tensor([0, 5]))


def test_a_row_of_choices_is_not_packed():
    ids, positions = torch.full((1, 1, 5), 5), torch.tensor([[[0, 1, 2, 0, 1]]])
    with pytest.raises(ValueError, match="multiple choice wants"):
        build(PoNetForMultipleChoice)(ids, position_ids=positions)
