"""What a model makes of its arguments: embeddings in the place of ids, special tokens, positions."""

import pytest
import torch

from ponet import PoNetConfig, PoNetModel

CLS, SEP = 2, 3
SETTINGS = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "cls_token_id": CLS,
    "sep_token_id": SEP,
    "num_labels": 4,
    "initializer_range": 0.3,
}
MIXERS = ["pooling", "attention", "fourier"]


def build(head, **changes):
    return head(PoNetConfig(**SETTINGS | changes)).eval()


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(4, 20, (3, 9))
    ids[:, 0], ids[:, 4], ids[:, 8] = CLS, SEP, SEP
    return {"input_ids": ids, "attention_mask": (torch.arange(9) < torch.tensor([[9], [6], [1]])).long()}


def scores(model, **inputs) -> torch.Tensor:
    """The first output that isn't a loss."""
    return model(**inputs).to_tuple()[0]


def same(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("given", [True, False])
def test_inputs_embeds(mixer, given):
    """Embeddings know no special tokens: with those and their segments given, they are the same input."""
    model, inputs = build(PoNetModel, mixer_types=mixer), batch()
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    special = (ids == CLS) | (ids == SEP)
    derived = torch.tensor([0, 1, 1, 1, 2, 3, 3, 3, 4]).expand(3, 9)
    segments = torch.randint(3, (3, 9)) if given else derived
    expected = scores(model, **inputs, segment_ids=segments if given else None)
    embeds = model.get_input_embeddings()(ids)
    with_all = {"inputs_embeds": embeds, "special_tokens_mask": special, "segment_ids": segments}
    same(scores(model, attention_mask=mask, **with_all), expected)
    packed = {name: value[mask.bool()][None] for name, value in with_all.items()}
    together = scores(model, **packed, cu_seqlens=torch.tensor([0, 9, 15, 16]))
    same(together[0], expected[mask.bool()])


def test_inputs_embeds_without_segments_are_one_segment_without_special_tokens():
    model, inputs = build(PoNetModel), batch()
    embeds = model.get_input_embeddings()(inputs["input_ids"])
    alone = scores(model, inputs_embeds=embeds, attention_mask=inputs["attention_mask"])
    none = torch.zeros_like(inputs["input_ids"])
    same(alone, scores(model, **inputs, segment_ids=none, special_tokens_mask=none))
    assert (alone - scores(model, **inputs)).abs().max() > 1e-2


def test_given_special_tokens_go_before_the_ids():
    model, inputs = build(PoNetModel), batch()
    special = (inputs["input_ids"] == CLS) | (inputs["input_ids"] == SEP)
    assert torch.equal(scores(model, **inputs, special_tokens_mask=special.long()), scores(model, **inputs))
    moved = special.roll(1, dims=1)
    assert (scores(model, **inputs, special_tokens_mask=moved) - scores(model, **inputs)).abs().max() > 1e-2


def test_special_ids_come_from_the_configuration():
    model, inputs = build(PoNetModel), batch()
    other = build(PoNetModel, cls_token_id=10, sep_token_id=11)
    other.load_state_dict(model.state_dict())
    ids = inputs["input_ids"]
    none = torch.zeros_like(ids)
    with torch.no_grad():
        for a, b in ((CLS, 10), (SEP, 11)):  # the same word under another id
            other.get_input_embeddings().weight[b] = model.get_input_embeddings().weight[a]
    renamed = ids.masked_fill(ids == 10, 5).masked_fill(ids == 11, 5)
    ids = renamed.clone()
    renamed[ids == CLS], renamed[ids == SEP] = 10, 11
    mask = inputs["attention_mask"]
    same(scores(other, input_ids=renamed, attention_mask=mask), scores(model, input_ids=ids, attention_mask=mask))
    assert (scores(other, **{**inputs, "input_ids": ids}) - scores(model, **{**inputs, "input_ids": ids})).any()
    off = build(PoNetModel, clsgsepg=False)
    off.load_state_dict(model.state_dict())
    segments = {"segment_ids": none, "input_ids": ids}
    same(scores(off, **segments), scores(model, **segments, special_tokens_mask=none))


def test_given_positions():
    model, inputs = build(PoNetModel), batch()
    default = scores(model, **inputs)
    for positions in (torch.arange(9), torch.arange(9)[None], torch.arange(9).expand(3, 9)):
        assert torch.equal(scores(model, **inputs, position_ids=positions), default)
    assert (scores(model, **inputs, position_ids=torch.arange(9) + 2) - default).abs().max() > 1e-2


@pytest.mark.parametrize("mixer", MIXERS)
def test_positions_begin_again_where_they_may(mixer):
    model = build(PoNetModel, mixer_types=mixer)
    ids = torch.randint(4, 20, (1, 43))
    packed = {"input_ids": ids, "cu_seqlens": torch.tensor([0, 29, 43])}
    positions = torch.cat([torch.arange(29), torch.arange(14)])[None] % 12
    expected = scores(model, **packed, position_ids=positions)
    with pytest.raises(ValueError, match="a document of 29 tokens"):
        scores(model, **packed)
    model.config.repeat_positions = True
    assert torch.equal(scores(model, **packed), expected)
    padded = torch.nn.utils.rnn.pad_sequence(list(ids[0].split([29, 14])), batch_first=True)
    mask = torch.arange(29) < torch.tensor([[29], [14]])
    same(scores(model, input_ids=padded, attention_mask=mask.long())[mask], expected[0])


def test_int32_inputs():
    model, inputs = build(PoNetModel), batch()
    same(scores(model, **{name: value.int() for name, value in inputs.items()}), scores(model, **inputs))
