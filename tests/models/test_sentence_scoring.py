"""Scores of sentences: which tokens make a sentence, packed as padded, no influence of a batch, saved as loaded."""

import pytest
import torch

from ponet import PoNetConfig, PoNetForSentenceScoring
from ponet.models.modeling_ponet import pool_sentences

CLS, SEP = 2, 3
FIELDS = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "cls_token_id": CLS,
    "sep_token_id": SEP,
    "sentence_hidden_size": 8,
    "initializer_range": 0.3,
}
DOCUMENTS = [[3, 1, 4], [2], [1, 1, 1, 5, 2, 1], []]
"""The tokens of each sentence of each document."""


def build(**changes):
    return PoNetForSentenceScoring(PoNetConfig(**FIELDS | changes)).eval()


def document(sizes):
    ids = torch.cat([torch.tensor([CLS]), torch.randint(4, 20, (sum(sizes),)), torch.tensor([SEP])])
    segments = [0, *(i + 1 for i, size in enumerate(sizes) for _ in range(size)), len(sizes) + 1]
    return ids, torch.tensor(segments)


def packed(documents):
    return {
        "input_ids": torch.cat([ids for ids, _ in documents])[None],
        "segment_ids": torch.cat([segments for _, segments in documents])[None],
        "cu_seqlens": torch.tensor([0, *(len(ids) for ids, _ in documents)]).cumsum(0),
    }


def padded(documents):
    longest = max(len(ids) for ids, _ in documents)
    rows = {"input_ids": torch.zeros(len(documents), longest, dtype=torch.long)}
    rows |= {"segment_ids": rows["input_ids"].clone(), "attention_mask": rows["input_ids"].clone()}
    for row, (ids, segments) in enumerate(documents):
        rows["input_ids"][row, : len(ids)] = ids
        rows["segment_ids"][row, : len(ids)] = segments
        rows["attention_mask"][row, : len(ids)] = 1
    return rows


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("layers", [0, 3])
def test_a_document_has_the_scores_that_it_has_alone(pooling, layers) -> None:
    model, documents = build(sentence_pooling=pooling, sentence_layers=layers), [document(d) for d in DOCUMENTS]
    together, rows = model(**packed(documents)), model(**padded(documents))
    alone = torch.cat([model(**packed([each])).logits for each in documents])
    assert together.cu_sentences.tolist() == [0, 3, 4, 10, 10]
    torch.testing.assert_close(together.logits, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rows.logits, alone, rtol=1e-4, atol=1e-5)


def test_vectors_are_the_maximum_or_mean_of_a_sentence() -> None:
    model, documents = build(), [document(d) for d in DOCUMENTS]
    encoded = model.ponet.encode(**packed(documents))
    sentences = torch.cat([segments - 1 for _, segments in documents])
    sentences[torch.cat([ids for ids, _ in documents]) == SEP] = -1
    first = encoded.hidden[1:4]
    for pooling, expected in (("max", first.amax(0)), ("mean", first.mean(0))):
        torch.testing.assert_close(pool_sentences(encoded, sentences, pooling)[0][0], expected)


def test_sentence_ids_take_the_place_of_segments() -> None:
    model, inputs = build(), packed([document([2, 2, 2])])
    ids = torch.tensor([[-1, 0, 0, 0, 0, 1, 1, -1]])
    assert model(**inputs, sentence_ids=ids).logits.shape == (2,)
    with pytest.raises(ValueError, match="shape"):
        model(**inputs, sentence_ids=ids[:, 1:])


def test_loss_leaves_out_what_has_no_label() -> None:
    model, inputs = build(), packed([document([2, 2, 2])])
    logits = model(**inputs).logits
    labels = torch.tensor([1.0, -100, 0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[[0, 2]], labels[[0, 2]])
    torch.testing.assert_close(model(**inputs, labels=labels).loss, expected)
    assert model(**inputs, labels=torch.full((3,), -100)).loss == 0
    with pytest.raises(ValueError, match="3 sentences"):
        model(**inputs, labels=labels[:2])


def test_a_sentence_hears_seven_neighbours_with_three_layers() -> None:
    model = build()
    vectors = torch.randn(20, 16, requires_grad=True)
    model.scorer(vectors, torch.tensor([0, 20]))[10].backward()
    heard = vectors.grad.abs().sum(1).nonzero().squeeze(1)
    assert heard.tolist() == list(range(3, 18))


def test_differences_begin_as_nothing_and_train_alone(tmp_path) -> None:
    torch.manual_seed(1)
    plain = build()
    plain.save_pretrained(tmp_path / "plain")
    adapted = PoNetForSentenceScoring.from_pretrained(
        tmp_path / "plain", sentence_adapter_rank=2, ignore_mismatched_sizes=True
    ).eval()
    inputs = packed([document(d) for d in DOCUMENTS])
    torch.testing.assert_close(adapted(**inputs).logits, plain(**inputs).logits)
    adapted.ponet.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    before = adapted.ponet.encoder.layer[0].output.dense.weight.clone()
    for _ in range(3):
        adapted(**inputs, labels=torch.ones(10)).loss.backward()
        optimizer.step()
    assert all(p.grad is not None for p in adapted.adapter.parameters())
    assert torch.equal(adapted.ponet.encoder.layer[0].output.dense.weight, before)
    assert any(bool(p.any()) for name, p in adapted.adapter.named_parameters() if name.endswith("left"))
    adapted.save_pretrained(tmp_path / "adapted")
    again = PoNetForSentenceScoring.from_pretrained(tmp_path / "adapted").eval()
    torch.testing.assert_close(again(**inputs).logits, adapted(**inputs).logits)
    assert not torch.allclose(again(**inputs).logits, plain(**inputs).logits, atol=1e-3)
    again.merge_adapter()
    assert again.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(again(**inputs).logits, adapted(**inputs).logits)
    again.save_pretrained(tmp_path / "merged")
    merged = PoNetForSentenceScoring.from_pretrained(tmp_path / "merged").eval()
    torch.testing.assert_close(merged(**inputs).logits, adapted(**inputs).logits)
