"""`torch.compile`: every mixer is one graph, the same numbers come out, and new lengths need no new graphs."""

import shutil

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from ponet import PoNetConfig, PoNetForPreTraining, PoNetModel
from ponet.mixers import build_mixer
from ponet.models.packing import PackedBatch
from ponet.ops import Layout, backends, use_backend

D = 16
MIXERS = ["pooling", "attention", "fourier"]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def config(**changes) -> PoNetConfig:
    settings = {"vocab_size": 30, "hidden_size": D, "num_attention_heads": 4, "num_hidden_layers": 2}
    settings |= {"intermediate_size": 24, "max_position_embeddings": 40, "cls_token_id": 2, "sep_token_id": 3}
    return PoNetConfig(**settings | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} | changes)


def ragged(documents: int, length: int) -> Layout:
    """Gaps, unsorted segments, special tokens, and the last row empty."""
    mask = torch.rand(documents, length) < 0.7
    mask[:, 0], mask[-1] = True, False
    special = torch.rand(documents, length) < 0.2
    return Layout.from_padded(mask, torch.randint(3, (documents, length)), special)[0]


def compare(mixer, compiled, layout: Layout, tolerance: float = 1e-5) -> None:
    """Results, weights, and every gradient."""
    inputs = torch.randn(layout.num_tokens, D)
    results = []
    for function in (mixer, compiled):
        mixer.zero_grad()
        x = inputs.clone().requires_grad_()
        y, weights = function(x, layout, True)
        y.sin().sum().backward()
        gradients = [p.grad.clone() for p in mixer.parameters()]
        results.append([y.detach(), x.grad, *gradients, *([] if weights is None else [weights.detach()])])
    for expected, actual in zip(*results, strict=True):
        assert (actual - expected).abs().max() <= tolerance * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize(
    ("kind", "formulation"),
    [("pooling", "absorbed"), ("pooling", "published"), ("attention", "absorbed"), ("fourier", "absorbed")],
)
def test_mixers_are_one_graph(kind, formulation):
    mixer = build_mixer(kind, config(pooling_formulation=formulation))
    compiled = torch.compile(mixer, fullgraph=True, backend="eager")
    compare(mixer, compiled, ragged(3, 9))
    full, _ = Layout.from_padded(torch.ones(3, 9), torch.arange(9).expand(3, 9) // 4)
    compare(mixer, compiled, full)


def test_new_lengths_need_no_new_graph():
    mixer = build_mixer("pooling", config())
    counter = CompileCounter()
    compiled = torch.compile(mixer, fullgraph=True, backend=counter)
    shapes = [(3, 9), (4, 13), (5, 8)]
    for documents, length in shapes:
        compiled(torch.randn((layout := ragged(documents, length)).num_tokens, D), layout)
    graphs = counter.frame_count
    for documents in range(2, 8):
        for length in (6, 17, 31):
            layout = ragged(documents, length)
            compiled(torch.randn(layout.num_tokens, D), layout)
    assert counter.frame_count <= graphs + 3, "one for each case of segments sorted or not, rows full or not"


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("kind", MIXERS)
def test_mixers_through_inductor(kind):
    mixer = build_mixer(kind, config())
    compiled = torch.compile(mixer, fullgraph=True)
    for documents, length in ((3, 9), (4, 13), (2, 5)):
        compare(mixer, compiled, ragged(documents, length))


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_of_a_long_document_through_inductor(dtype):
    """Sums over thousands of tokens, in half precision too."""
    mixer = build_mixer("pooling", config())
    x = torch.randn(5000, D) + 1
    layout = Layout.from_packed(torch.tensor([0, 3000, 5000]), torch.arange(5000) // 50)
    expected, _ = mixer(x, layout)
    compiled = torch.compile(mixer.to(dtype), fullgraph=True)
    actual, _ = compiled(x.to(dtype), layout)
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    assert (actual.float() - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*MIXERS, ["pooling", "fourier"]])
def test_whole_model(kind):
    """Graph breaks while packing are allowed; results are the same, padded and packed, in training too."""
    model = PoNetForPreTraining(config(mixer_types=kind)).eval()
    compiled = torch.compile(model, backend="eager")
    for documents, length in ((3, 9), (2, 12)):
        mask = torch.rand(documents, length) < 0.7
        mask[:, 0] = True
        ids = torch.randint(30, (documents, length))
        inputs = {"input_ids": ids, "attention_mask": mask, "labels": ids}
        inputs["next_sentence_label"] = torch.zeros(documents, dtype=torch.int64)
        results = []
        for function in (model, compiled):
            model.zero_grad()
            output = function(**inputs)
            output.loss.backward()
            gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
            results.append((output, gradients))
        (expected, expected_gradients), (actual, gradients) = results
        torch.testing.assert_close(actual.prediction_logits, expected.prediction_logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(actual.loss, expected.loss, rtol=1e-5, atol=1e-5)
        for name, value in expected_gradients.items():
            torch.testing.assert_close(gradients[name], value, rtol=1e-4, atol=1e-5, msg=name)
    packed = {"input_ids": torch.randint(30, (1, 11)), "cu_seqlens": torch.tensor([0, 4, 4, 11], dtype=torch.int32)}
    with torch.no_grad():
        expected, actual = model(**packed), compiled(**packed)
    torch.testing.assert_close(actual.prediction_logits, expected.prediction_logits, rtol=1e-5, atol=1e-5)


def test_layers_are_one_graph_each():
    """Packed inputs go through embeddings and encoder without a graph break."""
    model = PoNetModel(config()).eval()
    layout = ragged(3, 9)
    tokens = torch.randint(30, (layout.num_tokens,))
    batch = PackedBatch(tokens, torch.arange(layout.num_tokens), None, layout, is_packed=False)

    def forward(batch):
        return model.encoder(model.embeddings(batch), batch, True, True).hidden

    compiled = torch.compile(forward, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(batch), forward(batch))


@pytest.mark.skipif("numba" not in backends(), reason="needs Numba")
def test_a_compiled_model_follows_the_chosen_backend():
    called: list[str] = []

    def note(graph, _):
        called.extend(str(node.target) for node in graph.graph.nodes if "ponet.numba" in str(node.target))
        return graph.forward

    model = PoNetModel(config(num_hidden_layers=1, execution="packed")).eval()
    compiled, ids = torch.compile(model, backend=note), torch.randint(30, (2, 9))
    with torch.no_grad():
        expected = model(ids).last_hidden_state
        for name, found in (("reference", False), ("numba", True)):
            with use_backend(name):
                torch.testing.assert_close(compiled(ids).last_hidden_state, expected, rtol=1e-5, atol=1e-5)
            assert bool(called) == found, name


@pytest.mark.slow
@needs_compiler
def test_whole_model_through_inductor():
    model = PoNetForPreTraining(config()).eval()
    compiled = torch.compile(model)
    for documents, length in ((3, 9), (2, 12)):
        ids = torch.randint(30, (documents, length))
        expected, actual = model(ids, labels=ids), compiled(ids, labels=ids)
        torch.testing.assert_close(actual.prediction_logits, expected.prediction_logits, rtol=1e-5, atol=1e-5)
        actual.loss.backward()
