"""BERT's checkpoints open with `mixer_types="attention"` and give BERT's numbers; FNet's encoder likewise."""

import pytest
import torch
import transformers
from transformers import BertConfig, FNetConfig

import ponet
from ponet import PoNetConfig, PoNetModel
from ponet.models.packing import PackedBatch
from ponet.ops import Layout

BERT = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
    "initializer_range": 0.3,
}
HEADS = ["Model", "ForPreTraining", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"]
HEADS += ["ForQuestionAnswering", "ForMultipleChoice"]


def randomise(model: torch.nn.Module) -> None:
    """Biases and norms too, which a fresh model has at 0 and 1."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)


@pytest.fixture(params=HEADS)
def pair(request, tmp_path):
    """A random BERT model, and its folder opened as PoNet with attention in the place of pooling."""
    labels = {} if request.param in ("ForQuestionAnswering", "ForMultipleChoice") else {"num_labels": 3}
    config = BertConfig(**BERT, **labels, attn_implementation="eager")
    bert = getattr(transformers, f"Bert{request.param}")(config).eval()
    randomise(bert)
    bert.save_pretrained(tmp_path)
    ours, report = getattr(ponet, f"PoNet{request.param}").from_pretrained(
        tmp_path,
        key_mapping={r"^bert\.": "ponet."},
        mixer_types="attention",
        num_sentence_labels=2,
        output_loading_info=True,
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    return request.param, bert, ours.eval()


def test_bert(pair):
    head, bert, ours = pair
    ids = torch.randint(4, 30, (3, 9))
    mask = (torch.arange(9) < torch.tensor([[9], [5], [1]])).long()
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.randint(2, (3, 9))}
    labels = {
        "ForPreTraining": {"labels": ids, "next_sentence_label": torch.tensor([0, 1, 1])},
        "ForMaskedLM": {"labels": ids},
        "ForSequenceClassification": {"labels": torch.tensor([0, 2, 1])},
        "ForTokenClassification": {"labels": ids % 3},
        "ForQuestionAnswering": {
            "start_positions": torch.tensor([2, 3, 0]),
            "end_positions": torch.tensor([4, 4, 0]),
        },
        "ForMultipleChoice": {"labels": torch.tensor([2])},
    }.get(head, {})
    if "labels" in labels and labels["labels"].dim() == 2:
        labels["labels"] = labels["labels"].masked_fill(mask == 0, -100)  # BERT counts padding, PoNet doesn't
    if head == "ForMultipleChoice":
        inputs = {name: value[None] for name, value in inputs.items()}
    if head == "ForQuestionAnswering":
        labels = {}  # BERT's softmax runs over padding too
    theirs = bert(**inputs, **labels, output_hidden_states=True, output_attentions=True)
    mine = ours(**inputs, **labels, output_hidden_states=True, output_attentions=True)

    real = mask.bool()
    pairs = real[:, None, :, None] & real[:, None, None, :]
    compared = 0
    for name, expected in theirs.items():
        if name == "cross_attentions":
            continue
        actual = mine[name]
        if name == "attentions":
            checks = [(a * pairs, b * pairs) for a, b in zip(actual, expected, strict=True)]
        elif name == "hidden_states":
            checks = [(a[real], b[real]) for a, b in zip(actual, expected, strict=True)]
        elif expected.shape[:2] == (3, 9):
            checks = [(actual[real], expected[real])]
        else:
            checks = [(actual, expected)]
        for a, b in checks:
            assert a.shape == b.shape, name
            assert (a - b).abs().max() <= 1e-5 * max(1.0, b.abs().max().item()), name
            compared += 1
    assert compared >= 6
    if labels:
        assert theirs.loss > 0

    theirs.hidden_states[-1][real].sum().backward()
    mine.hidden_states[-1][real].sum().backward()
    expected, actual = bert.base_model.get_parameter, ours.base_model.get_parameter
    for name in ("encoder.layer.0.attention.self.query.weight", "embeddings.word_embeddings.weight"):
        torch.testing.assert_close(actual(name).grad, expected(name).grad, rtol=1e-4, atol=1e-4)


def test_bert_goes_on_as_ponet(tmp_path):
    """What BERT has and PoNet has too is kept; only the mixers are new."""
    bert = transformers.BertModel(BertConfig(**BERT))
    randomise(bert)
    bert.save_pretrained(tmp_path)
    ours, report = PoNetModel.from_pretrained(tmp_path, output_loading_info=True)
    assert all(".attention.self.dense_" in name for name in report["missing_keys"])
    assert len(report["missing_keys"]) == 2 * 10
    for name, value in bert.state_dict().items():
        if ".attention.self." not in name and not name.endswith("position_ids"):
            assert torch.equal(ours.get_parameter(name), value), name


def fnet():
    config = FNetConfig(**{name: value for name, value in BERT.items() if name != "num_attention_heads"})
    config.hidden_act = "gelu"
    model = transformers.FNetModel(config).eval()
    randomise(model)
    return model


def test_fnet_mixing_layer():
    theirs = fnet().encoder.layer[0].fourier.self
    ours = PoNetModel(PoNetConfig(**BERT, mixer_types="fourier")).encoder.layer[0].attention.self
    x = torch.randn(3, 7, 16)
    layout, _ = Layout.from_padded(torch.ones(3, 7))
    mixed, _ = ours(layout.unpad(x), layout)
    torch.testing.assert_close(layout.pad(mixed), theirs(x)[0], rtol=1e-5, atol=1e-5)


def test_fnet_encoder():
    theirs = fnet().encoder
    ours = PoNetModel(PoNetConfig(**BERT, mixer_types="fourier")).eval().encoder
    weights = {name.replace("fourier.output", "attention.output"): value for name, value in theirs.state_dict().items()}
    ours.load_state_dict(weights)
    x = torch.randn(3, 7, 16)
    layout, _ = Layout.from_padded(torch.ones(3, 7))
    states = theirs(x, output_hidden_states=True).hidden_states
    positions = layout.row_position
    batch = PackedBatch(positions, positions, None, layout, is_packed=False)
    for a, b in zip(ours(layout.unpad(x), batch, True, False).hidden_states, states, strict=True):
        assert (a - b).abs().max() <= 1e-5 * max(1.0, b.abs().max().item())


@pytest.mark.parametrize("mixer", ["performer", "lsh"])
def test_fixed_features_are_drawn_where_weights_of_another_model_have_none(mixer, tmp_path):
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
    transformers.BertModel(BertConfig(vocab_size=110, max_position_embeddings=8, **sizes)).save_pretrained(
        tmp_path / "bert"
    )
    model = PoNetModel.from_pretrained(tmp_path / "bert", mixer_types=mixer)
    drawn = dict(model.named_buffers())
    assert drawn
    for name, values in drawn.items():
        assert values.isfinite().all(), name
        assert 0.1 < values.std() < 10, name
    model.save_pretrained(tmp_path / "saved")
    again = dict(PoNetModel.from_pretrained(tmp_path / "saved").named_buffers())
    assert all(again[name].equal(values) for name, values in drawn.items())
