"""What a model shows of its insides lies on the way to its output, and its embeddings can be watched and replaced."""

import pytest
import torch
from torch import nn
from transformers.integrations.neftune import neftune_post_forward_hook

from ponet import PoNetConfig, PoNetForPreTraining, PoNetForSequenceClassification, PoNetModel
from ponet.mixers import mixer_names

SIZES = {"vocab_size": 110, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 3, "intermediate_size": 8}
SIZES |= {"max_position_embeddings": 64, "performer_features": 6, "linformer_features": 3, "nystrom_landmarks": 3}
SIZES |= {"lsh_chunk_length": 4, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": 3}
SIZES |= {"initializer_range": 0.3, "cls_token_id": 2, "sep_token_id": 3}
MASK = torch.tensor([[1] * 9, [0, 0, 1, 1, 1, 0, 1, 0, 0], [1] * 5 + [0] * 4])
IDS = torch.randint(4, 110, (3, 9), generator=torch.Generator().manual_seed(0)).where(MASK == 1, 0)
IDS[:, 4] = 3
PADDED = {"input_ids": IDS, "attention_mask": MASK}
FULL = {"input_ids": IDS}
PACKED = {"input_ids": IDS[MASK == 1][None], "cu_seqlens": torch.tensor([0, 9, 13, 18])}
INPUTS = pytest.mark.parametrize("inputs", [PADDED, FULL, PACKED], ids=["padded", "full", "packed"])


def build(head=PoNetModel, **changes):
    return head(PoNetConfig(**SIZES | changes)).eval()


# Hidden states and weights on the path


@INPUTS
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("mixer", mixer_names())
def test_hidden_states_are_on_the_path(mixer, norm, inputs):
    model = build(mixer_types=mixer, norm_position=norm)
    plain = model(**inputs)
    output = model(**inputs, output_hidden_states=True)
    torch.testing.assert_close(output.last_hidden_state, plain.last_hidden_state)
    assert len(output.hidden_states) == 4
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    weights = torch.randn(output.last_hidden_state.shape)
    gradients = torch.autograd.grad((output.last_hidden_state * weights).sum(), output.hidden_states)
    for gradient in gradients:
        assert gradient.any()
        assert inputs is not PADDED or not gradient[MASK == 0].any()


@INPUTS
def test_a_gradient_for_a_state_is_that_of_changing_it(inputs):
    model = build().double()
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    rows = MASK[..., None] if inputs is PADDED else 1
    change = torch.randn(states[1].shape, dtype=torch.float64) * rows
    output = model(**inputs, output_hidden_states=True)
    (gradient,) = torch.autograd.grad(output.pooler_output.sum(), output.hidden_states[1])
    results = []
    for step in (1e-6, -1e-6):
        packed = change if inputs is not PADDED else change[MASK == 1][None]
        moved = (change if inputs is FULL else packed).reshape(-1, 8) * step
        handle = model.encoder.layer[0].register_forward_hook(lambda *a, moved=moved: (a[2][0] + moved, a[2][1]))
        results.append(model(**inputs).pooler_output.sum().item())
        handle.remove()
    assert (results[0] - results[1]) / 2e-6 == pytest.approx((gradient * change).sum().item(), rel=1e-5)


@INPUTS
@pytest.mark.parametrize(
    "changes",
    [{"mixer_types": "attention"}, {"mixer_types": "pooling"}, {"pooling_formulation": "published"}],
    ids=["attention", "absorbed", "published"],
)
def test_attentions_are_on_the_path(changes, inputs):
    model = build(**changes)
    output = model(**inputs, output_attentions=True)
    torch.testing.assert_close(output.last_hidden_state, model(**inputs).last_hidden_state, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        for a, b in zip(output.attentions, model(**inputs, output_attentions=True).attentions, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for each in output.attentions:
        each.retain_grad()
    (output.last_hidden_state * torch.randn(output.last_hidden_state.shape)).sum().backward()
    for each in output.attentions:
        assert each.grad.shape == each.shape
        assert each.grad.any()
    twin = build(**changes)
    twin.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    weights = torch.randn(output.last_hidden_state.shape)
    for each, asked in ((model, True), (twin, False)):
        each.zero_grad()
        (each(**inputs, output_attentions=asked).last_hidden_state * weights).sum().backward()
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_gradients_are_retained_with_checkpointing_too():
    model = build(PoNetForSequenceClassification).train()
    model.gradient_checkpointing_enable()
    output = model(**PADDED, labels=torch.tensor([0, 1, 2]), output_hidden_states=True)
    output.hidden_states[0].retain_grad()
    output.loss.backward()
    assert output.hidden_states[0].grad.any()


# Embeddings that are watched


@INPUTS
@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize("name", ["word", "position", "token_type"])
def test_embeddings_with_hooks_are_called_on_rows(name, chunk_size, inputs):
    model = build(chunk_size=chunk_size)
    shapes = []
    with torch.no_grad():
        expected = model(**inputs).last_hidden_state
        table = getattr(model.embeddings, f"{name}_embeddings")
        table.register_forward_hook(lambda module, args, output: shapes.append((args[0].shape, output.shape)))
        assert torch.equal(model(**inputs).last_hidden_state, expected)
    rows = inputs["input_ids"].shape
    assert shapes == [(rows, (*rows, 8))]


class Doubled(nn.Module):
    """Embeddings of somebody's own, for rows alone."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows, length = ids.shape
        return 2 * self.table(ids).reshape(rows, length, -1)


@INPUTS
def test_embeddings_of_another_kind(inputs):
    model, twin = build(), build()
    twin.load_state_dict(model.state_dict())
    model.set_input_embeddings(Doubled(model.get_input_embeddings()))
    with torch.no_grad():
        twin.get_input_embeddings().weight *= 2
    torch.testing.assert_close(model(**inputs).last_hidden_state, twin(**inputs).last_hidden_state)


@INPUTS
def test_neftune_on_every_form_of_input(inputs):
    """transformers' own hook: noise in training, by the length of the rows; none at inference."""
    model = build(PoNetForSequenceClassification)
    table = model.get_input_embeddings()
    expected = model(**inputs).logits
    table.neftune_noise_alpha = 5.0
    table.register_forward_hook(neftune_post_forward_hook)
    assert torch.equal(model(**inputs).logits, expected)
    output = model.train()(**inputs, labels=torch.tensor([0, 1, 2]))
    assert not torch.allclose(output.logits, expected)
    output.loss.backward()
    assert table.weight.grad.any()


# Losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("head", ["PreTraining", "MaskedLM", "SequenceClassification", "TokenClassification"])
def test_losses_have_the_type_of_the_model(head, dtype):
    import ponet

    model = build(getattr(ponet, f"PoNetFor{head}")).to(dtype)
    labels = torch.tensor([0, 1, 2]) if head == "SequenceClassification" else IDS % 3
    more = {"next_sentence_label": torch.tensor([0, 1, 2])} if head == "PreTraining" else {}
    assert model(**PADDED, labels=labels, **more).loss.dtype == dtype
    if dtype == torch.float32:
        with torch.autocast("cpu", torch.bfloat16):
            assert model(**PADDED, labels=labels, **more).loss.dtype == torch.float32


@pytest.mark.parametrize("head", ["QuestionAnswering", "MultipleChoice"])
def test_losses_of_the_other_heads(head):
    import ponet

    model = build(getattr(ponet, f"PoNetFor{head}")).to(torch.bfloat16)
    if head == "QuestionAnswering":
        output = model(**PADDED, start_positions=torch.tensor([1, 2, 0]), end_positions=torch.tensor([2, 3, 1]))
    else:
        output = model(IDS[None], attention_mask=MASK[None], labels=torch.tensor([1]))
    assert output.loss.dtype == torch.bfloat16


# The plain Trainer


class Examples(torch.utils.data.Dataset):
    """Rows with labels for both objectives."""

    def __init__(self, relations: bool = True) -> None:
        self.relations = relations

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        ids, mask = IDS[i % 3], MASK[i % 3]
        row = {"input_ids": ids, "attention_mask": mask, "labels": ids.where(mask == 1, -100)}
        return row | ({"next_sentence_label": torch.tensor(i % 3)} if self.relations else {})


def trainer(model, folder, **changes):
    from transformers import Trainer, TrainingArguments

    settings = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 4, "max_steps": 2, "use_cpu": True}
    settings |= {"report_to": [], "save_strategy": "no", "disable_tqdm": True}
    return Trainer(model, TrainingArguments(str(folder), **settings | changes), train_dataset=Examples())


@pytest.mark.parametrize("relations", [True, False])
def test_pretraining_under_the_plain_trainer(relations, tmp_path):
    model = build(PoNetForPreTraining)
    run = trainer(model, tmp_path, label_names=None if relations else ["labels"])
    assert run.evaluate(Examples(relations))["eval_loss"] > 0
    found = run.predict(Examples(relations))
    words, relation = found.predictions
    assert words.shape == (6, 9, 110)
    assert relation.shape == (6, 3)


def test_no_loss_is_a_prediction_where_a_label_is_missing(tmp_path):
    """The Trainer then sees the model's loss, and doesn't know it for one."""
    words, relation = trainer(build(PoNetForPreTraining), tmp_path).predict(Examples(relations=False)).predictions
    assert words.shape == (6, 9, 110)
    assert relation.shape == (6, 3)


def test_pretraining_that_shows_its_states_under_the_plain_trainer(tmp_path):
    model = build(PoNetForPreTraining, output_hidden_states=True)
    predictions = trainer(model, tmp_path).predict(Examples()).predictions
    assert len(predictions) == 3


def test_neftune_under_the_plain_trainer(tmp_path):
    model = build(PoNetForPreTraining)
    assert trainer(model, tmp_path, neftune_noise_alpha=5.0).train().training_loss > 0
    assert not model.get_input_embeddings()._forward_hooks


# captum


def test_integrated_gradients_of_padded_batches():
    captum = pytest.importorskip("captum.attr")
    model = build(PoNetForSequenceClassification)
    reference = torch.zeros_like(IDS)

    def score(ids, mask):
        return model(ids, attention_mask=mask).logits

    method = captum.LayerIntegratedGradients(score, model.ponet.embeddings.word_embeddings)
    inputs = {"inputs": IDS, "baselines": reference, "additional_forward_args": (MASK,), "target": 1}
    found, gap = method.attribute(**inputs, n_steps=300, return_convergence_delta=True)
    assert found.shape == (3, 9, 8)
    assert found[MASK == 1].any()
    assert not found[MASK == 0].any()
    difference = score(IDS, MASK)[:, 1] - score(reference, MASK)[:, 1]
    assert (found.sum((1, 2)) - difference).abs().max() < 0.05 * difference.abs().max() + 1e-2
    assert gap.abs().max() < 0.05 * difference.abs().max() + 1e-2
    alone, _ = method.attribute(
        IDS[2:, :5], reference[2:, :5], additional_forward_args=(MASK[2:, :5],), target=1, n_steps=300,
        return_convergence_delta=True,
    )  # fmt: skip
    torch.testing.assert_close(found[2:, :5], alone, rtol=1e-3, atol=1e-4)
