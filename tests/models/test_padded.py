"""The padded form of the forward: the packed form's numbers, in one graph that `torch.export` can write."""

import pytest
import torch
from torch.export import Dim

import ponet
from ponet import PoNetConfig
from ponet.models import modeling_ponet

MIXERS = ["pooling", "attention", "fourier"]
FORMS = {
    "published": {"pooling_formulation": "published"},
    "arena": {"clsgsepg": False, "norm_position": "pre", "embedding_norm": False, "classifier_pooling": "mean"},
    "pairs": {"classifier_pairs": True, "classifier_pooling": "padded_mean"},
    "untyped": {"type_vocab_size": 0},
    "without SMP": {"pooling_parts": ["ga1", "ga2", "lmp"]},
    "GA's stage 1 alone": {"pooling_parts": ["ga1"]},
    "attention in windows": {"mixer_types": "attention", "attention_window": 3},
}


def make(kind: str = "SequenceClassification", mixer: str | list[str] = "pooling", **changes):
    torch.manual_seed(0)
    settings = {"vocab_size": 30, "hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2}
    settings |= {"intermediate_size": 24, "max_position_embeddings": 40, "cls_token_id": 2, "sep_token_id": 3}
    settings |= {"num_labels": 3, "initializer_range": 0.5, "mixer_types": mixer}  # far from a new model's symmetry
    name = "PoNetModel" if kind == "Model" else f"PoNetFor{kind}"
    return getattr(modeling_ponet, name)(PoNetConfig(**settings | changes)).eval()


def batch(rows: int = 4, length: int = 11, segments: bool = True) -> dict[str, torch.Tensor]:
    """A full row, rows with gaps, one padded left, and one of padding alone; segments in any order, negative too."""
    mask = torch.rand(rows, length) < 0.6
    mask[0], mask[1, : length // 2], mask[1, length // 2 :], mask[-1] = True, False, True, False
    ids = torch.randint(30, (rows, length))
    ids[:, 0] = 2
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    return inputs | ({"segment_ids": torch.randint(-3, 50, (rows, length))} if segments else {})


def both(model, **inputs):
    """The outputs of the packed and of the padded form."""
    packed = model(**inputs)
    model.config.execution = "padded"
    padded = model(**inputs)
    model.config.execution = "auto"
    return packed, padded


def assert_same(packed, padded, real: torch.Tensor) -> None:
    for name, expected in packed.items():
        tensors = (
            zip(expected, padded[name], strict=True) if isinstance(expected, tuple) else [(expected, padded[name])]
        )
        for one, other in tensors:
            if one is None:
                continue
            if name == "attentions" and one.dim() == 4:  # rows of the weights at padding have no meaning
                one, other = one * real[:, None, :, None], other * real[:, None, :, None]
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("mixer", [*MIXERS, ["pooling", "fourier"]])
def test_padded_and_packed_are_the_same(mixer, segments):
    for kind in ("Model", "PreTraining", "MaskedLM", "TokenClassification", "QuestionAnswering"):
        inputs = batch(segments=segments)
        outputs = both(make(kind, mixer), **inputs, output_attentions=True, output_hidden_states=True)
        assert_same(*outputs, inputs["attention_mask"])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_classifier(form):
    inputs = batch()
    assert_same(*both(make(**FORMS[form]), **inputs), inputs["attention_mask"])


def test_losses_count_real_tokens_alone():
    inputs = batch()
    labels = torch.randint(3, inputs["input_ids"].shape)
    packed, padded = both(make("TokenClassification"), **inputs, labels=labels)
    torch.testing.assert_close(padded.loss, packed.loss)


def test_gradients_are_the_same():
    model, inputs = make(), batch()
    gradients = []
    for execution in ("packed", "padded"):
        model.config.execution = execution
        model.zero_grad()
        model(**inputs, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-4, atol=1e-5, msg=name)


def test_choices_and_embeddings():
    model = make("MultipleChoice")
    ids = torch.randint(30, (2, 3, 5))
    assert_same(*both(model, input_ids=ids), torch.ones(6, 5))
    encoder = make("Model")
    embeds = torch.randn(2, 5, 16)
    assert_same(*both(encoder, inputs_embeds=embeds), torch.ones(2, 5))


def test_half_precision_stays_near():
    model, inputs = make(), batch()
    expected = model(**inputs).logits
    model.config.execution = "padded"
    actual = model.bfloat16()(**inputs).logits.float()
    assert (actual - expected).abs().max() < 0.05 * expected.abs().max()


def test_positions_repeat_and_too_long_documents_are_refused():
    model = make(max_position_embeddings=8, repeat_positions=True)
    inputs = batch(length=20)
    assert_same(*both(model, **inputs), inputs["attention_mask"])
    model.config.repeat_positions, model.config.execution = False, "padded"
    with pytest.raises(ValueError, match="a document of 20 tokens, but the model has 8 positions"):
        model(**inputs)


@pytest.mark.parametrize(
    ("inputs", "mixer", "message"),
    [
        ({"cu_seqlens": torch.tensor([0, 3, 5])}, "pooling", "this input is packed"),
        ({"position_ids": torch.arange(5)[None]}, "pooling", "leave position_ids out"),
        ({}, ["pooling", "performer"], "the mixer 'performer' has no such form"),
    ],
)
def test_what_cannot_be_computed_on_rows_is_one_sentence(inputs, mixer, message):
    model, ids = make("Model", mixer, execution="padded"), torch.randint(30, (1, 5))
    with pytest.raises(ValueError, match=message):
        model(ids, **inputs)


@pytest.mark.slow
def test_a_compiled_model_is_one_graph():
    torch._dynamo.reset()
    model = make()
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=True)
    for rows, length in ((4, 11), (2, 7)):
        inputs = batch(rows, length)
        torch.testing.assert_close(compiled(**inputs).logits, model(**inputs).logits, rtol=1e-5, atol=1e-5)
    packed = {"input_ids": torch.randint(30, (1, 5)), "cu_seqlens": torch.tensor([0, 3, 5], dtype=torch.int32)}
    broken = torch.compile(model, backend="eager")  # packed input is packed here too
    torch.testing.assert_close(broken(**packed).logits, model(**packed).logits, rtol=1e-5, atol=1e-5)
    torch._dynamo.reset()


@pytest.mark.parametrize("mixer", ["pooling", *(pytest.param(each, marks=pytest.mark.slow) for each in MIXERS[1:])])
def test_an_exported_program_takes_any_batch_and_length(mixer):
    model, inputs = make(mixer=mixer, execution="packed", num_hidden_layers=1), batch()
    shape = {0: Dim("batch"), 1: Dim("length")}
    program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, shape)).module()
    for rows, length in ((1, 1), (3, 1), (2, 4), (5, 33)):
        mask = torch.ones(rows, length, dtype=torch.int64)
        if length > 1:
            mask[0, length // 2 :], mask[-1, : length // 3] = 0, 0
        inputs = {"input_ids": torch.randint(30, (rows, length)), "attention_mask": mask}
        inputs["segment_ids"] = torch.arange(length).expand(rows, length).contiguous() // 3
        torch.testing.assert_close(program(**inputs).logits, model(**inputs).logits, rtol=1e-5, atol=1e-5)


def test_an_export_of_another_mixer_is_refused():
    inputs = batch()
    with pytest.raises(Exception, match=r"torch.export and ONNX compute on padded rows, and the mixer 'linear'"):
        torch.export.export(make(mixer="linear"), (), inputs)


def test_a_saved_model_keeps_its_execution(tmp_path):
    make("Model", execution="padded").save_pretrained(tmp_path)
    assert ponet.PoNetModel.from_pretrained(tmp_path).config.execution == "padded"
