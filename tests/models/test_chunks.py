"""`chunk_size` and `mixer_checkpointing` change memory, and no result."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from ponet.mixers.pooling_chunks import chunk_bounds
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.modeling_ponet import PoNetModel
from ponet.ops.layout import Layout

SIZES = {"vocab_size": 120, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
SIZES |= {"intermediate_size": 24, "max_position_embeddings": 80}


def make_model(**changes):
    torch.manual_seed(0)
    model = PoNetModel(PoNetConfig(**SIZES | changes)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def with_chunks(model, size):
    other = PoNetModel(PoNetConfig.from_dict({**model.config.to_dict(), "chunk_size": size})).to(model.dtype)
    other.load_state_dict(model.state_dict())
    return other.eval()


def make_batch(random, lengths, sort):
    rows, width = len(lengths), max(*lengths, 1)
    ids = torch.randint(100, 104, (rows, width), generator=random)  # [CLS] and [SEP] among them
    mask = torch.rand(rows, width, generator=random) < 0.9
    mask &= torch.arange(width) < torch.tensor(lengths)[:, None]
    segments = torch.randint(0, 5, (rows, width), generator=random)
    return {"input_ids": ids, "attention_mask": mask.long(), "segment_ids": segments.sort(1)[0] if sort else segments}


@pytest.mark.parametrize("form", ["post", "pre"])
@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    size=st.integers(1, 50),
    seed=st.integers(0, 1000),
    sort=st.booleans(),
)
def test_chunks_of_any_size_give_the_same(form, lengths, size, seed, sort):
    model = make_model(norm_position=form)
    batch = make_batch(torch.Generator().manual_seed(seed), lengths, sort)
    with torch.no_grad():
        whole = model(**batch, output_hidden_states=True)
        parts = with_chunks(model, size)(**batch, output_hidden_states=True)
    torch.testing.assert_close(parts.last_hidden_state, whole.last_hidden_state, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(parts.pooler_output, whole.pooler_output, rtol=1e-9, atol=1e-9)
    for one, other in zip(parts.hidden_states, whole.hidden_states, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mixers", ["fourier", "attention", ["pooling", "attention"]])
def test_mixers_that_need_all_tokens_get_them(mixers):
    model = make_model(mixer_types=mixers)
    batch = make_batch(torch.Generator().manual_seed(1), [30, 7], True)
    with torch.no_grad():
        whole, parts = model(**batch).last_hidden_state, with_chunks(model, 8)(**batch).last_hidden_state
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)


def test_a_wrapped_key_projection_mixes_all_tokens_at_once():
    model = make_model()
    batch = make_batch(torch.Generator().manual_seed(1), [30, 7], True)
    chunked = with_chunks(model, 8)
    for each in (model, chunked):
        each.encoder.layer[0].attention.self.dense_k.register_forward_hook(lambda _, args, output: output * 2)
    with torch.no_grad():
        whole, parts = model(**batch).last_hidden_state, chunked(**batch).last_hidden_state
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)


def test_gradients_and_weights_with_chunk_size():
    model = with_chunks(make_model(), 8)
    batch = make_batch(torch.Generator().manual_seed(1), [30, 7], True)
    model(**batch).last_hidden_state.sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "pooler" not in name)
    with torch.no_grad():
        attentions = model(**batch, output_attentions=True).attentions
    assert attentions[0].shape == (2, 2, 30)


def test_half_precision_is_summed_in_single():
    model = make_model().to(torch.bfloat16)
    batch = make_batch(torch.Generator().manual_seed(2), [40, 33], True)
    with torch.no_grad():
        whole, parts = model(**batch).last_hidden_state, with_chunks(model, 8)(**batch).last_hidden_state
    assert parts.dtype == torch.bfloat16
    torch.testing.assert_close(parts, whole, rtol=0.05, atol=0.05)


def test_chunks_split_no_segment_that_fits():
    ids = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3])
    layout = Layout.from_packed(torch.tensor([0, 14]), ids)
    assert chunk_bounds(layout, 5) == [0, 4, 9, 14]  # 2's nine tokens are more than a chunk: they are split
    assert chunk_bounds(layout, 6) == [0, 4, 10, 14]
    assert chunk_bounds(layout, 20) == [0, 14]


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("form", ["post", "pre"])
def test_checkpointing_gives_the_same_gradients(form, dropout):
    model, other = (
        make_model(norm_position=form, hidden_dropout_prob=dropout, mixer_checkpointing=checkpointing).train()
        for checkpointing in (False, True)
    )
    saved = []
    for each in (model, other):
        torch.manual_seed(3)
        counted = Counted()
        with torch.autograd.graph.saved_tensors_hooks(counted.save, lambda tensor: tensor):
            loss = each(**make_batch(torch.Generator().manual_seed(1), [30, 7], True)).last_hidden_state.pow(2).sum()
        loss.backward()
        saved.append(counted.numbers)
    for (name, one), (_, two) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, msg=name)
    assert saved[1] < saved[0] * 0.75


class Counted:
    """Numbers that autograd saves for backward."""

    def __init__(self):
        self.numbers = 0

    def save(self, tensor):
        self.numbers += tensor.numel()
        return tensor


def test_a_chunk_has_a_token():
    with pytest.raises(StrictDataclassClassValidationError, match="chunk_size must be at least 1"):
        PoNetConfig(chunk_size=0)
