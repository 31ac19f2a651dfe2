"""The mixers of the Arena's other rows inside models: packed, padded, in chunks, checkpointed, compiled, saved."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tests.mixers.documents import SMALL, D, build, packed

from ponet import PoNetConfig, PoNetForSequenceClassification, PoNetModel

NAMES = ["linear", "linformer", "performer", "nystrom", "lsh", "external"]
LENGTHS = [11, 3, 24, 1]


def model(kind: type = PoNetModel, **changes):
    """One layer of each mixer."""
    settings = {"vocab_size": 30, "hidden_size": 12, "num_attention_heads": 2, "num_hidden_layers": len(NAMES)}
    settings |= {"intermediate_size": 8, "max_position_embeddings": 30, "cls_token_id": 2, "sep_token_id": 3}
    settings |= {"mixer_types": NAMES, "hidden_dropout_prob": 0.0, "norm_position": "pre", "classifier_dropout": 0.0}
    torch.manual_seed(0)
    made = kind(PoNetConfig(**settings | SMALL | changes)).double().eval()
    for name, parameter in made.named_parameters():
        if "LayerNorm" not in name:
            torch.nn.init.normal_(parameter, std=0.4)
    return made


def batch() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor]:
    """The same documents packed and padded on the left, and the padded rows' mask."""
    documents = [torch.randint(4, 30, (n,)) for n in LENGTHS]
    mask = torch.zeros(len(LENGTHS), 26, dtype=torch.int64)
    rows = torch.zeros_like(mask)
    for row, place, document in zip(rows, mask, documents, strict=True):
        row[26 - len(document) :] = document
        place[26 - len(document) :] = 1
    cu_seqlens = torch.tensor([0, *LENGTHS]).cumsum(0).int()
    together = torch.cat(documents)[None]
    return {"input_ids": together, "cu_seqlens": cu_seqlens}, {"input_ids": rows, "attention_mask": mask}, mask.bool()


@torch.no_grad()
def test_packed_and_padded_are_the_same():
    one, other, mask = batch()
    encoder = model()
    a, b = encoder(**one, output_attentions=True), encoder(**other)
    torch.testing.assert_close(a.last_hidden_state[0], b.last_hidden_state[mask], rtol=1e-8, atol=1e-8)
    assert a.attentions == tuple([None] * len(NAMES))


@torch.no_grad()
def test_chunks_of_inference_change_nothing():
    one, _, _ = batch()
    whole, parts = model()(**one).last_hidden_state, model(chunk_size=7)(**one).last_hidden_state
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", ["exact", "published"])
def test_checkpointing_gives_the_same_gradients(form):
    _, other, _ = batch()
    gradients = []
    for checkpointing in (False, True):
        made = model(PoNetForSequenceClassification, mixer_form=form, mixer_checkpointing=checkpointing).train()
        made(**other, labels=torch.tensor([0, 1, 1, 0])).loss.backward()
        gradients.append({name: p.grad for name, p in made.named_parameters()})
        assert all(gradient is not None for gradient in gradients[-1].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_a_saved_model_opens_with_the_same_numbers(tmp_path):
    made = model()
    made.save_pretrained(tmp_path)
    again = PoNetModel.from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert list(again.state_dict()) == list(made.state_dict())
    for name, value in made.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    one, _, _ = batch()
    torch.testing.assert_close(again(**one).last_hidden_state, made(**one).last_hidden_state, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compiling_is_harmless(name):
    """Graphs may break; numbers and gradients don't."""
    torch._dynamo.reset()
    mixer = build(name)
    compiled = torch.compile(mixer, backend="eager")
    for lengths in ([5, 12, 3], [4, 4]):
        results = []
        for function in (mixer, compiled):
            mixer.zero_grad()
            x = torch.linspace(-1, 1, sum(lengths) * D, dtype=torch.float64).sin().view(-1, D).requires_grad_()
            y, _ = function(x, packed(lengths))
            y.sin().sum().backward()
            results.append([y.detach(), x.grad, *(p.grad.clone() for p in mixer.parameters())])
        for expected, actual in zip(*results, strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-9)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"external_memory": 0}, "external_memory must be at least 1, not 0"),
        ({"lsh_chunk_length": 0}, "lsh_chunk_length must be at least 1"),
        ({"lsh_hashes": -1}, "lsh_hashes must be at least 1"),
        ({"linformer_features": 0}, "linformer_features must be at least 1"),
        ({"nystrom_landmarks": 0}, "nystrom_landmarks must be at least 1"),
        ({"nystrom_kernel_size": -3}, "nystrom_kernel_size must be odd, or 0 for none, not -3"),
        ({"performer_features": 0}, "performer_features must be at least 1"),
        ({"mixer_form": "other"}, "mixer_form"),
        ({"attention_kernel": "flash"}, "attention_kernel"),
        ({"external_form": "mlp"}, "external_form"),
    ],
)
def test_fields_that_cannot_be_are_refused(changes, message):
    with pytest.raises(StrictDataclassError, match=message):
        PoNetConfig(**changes)
