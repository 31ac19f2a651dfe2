"""A document's result never depends on its batch: neighbours, order, padding on either side, gaps, packing."""

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ponet import (
    PoNetConfig,
    PoNetForMultipleChoice,
    PoNetForPreTraining,
    PoNetForQuestionAnswering,
    PoNetForSequenceClassification,
    PoNetForTokenClassification,
    PoNetModel,
)

CLS, SEP, VOCABULARY = 2, 3, 12
MIXERS = {
    "pooling": "pooling",
    "attention": "attention",
    "fourier": "fourier",
    "hybrid": ["attention", "pooling", "fourier"],
}
TOLERANCE = 1e-5

# For each model the outputs that have a row a token, and those that have a row a document.
HEADS = {
    "body": (PoNetModel, ["last_hidden_state"], ["pooler_output"]),
    "pretraining": (PoNetForPreTraining, ["prediction_logits"], ["seq_relationship_logits"]),
    "cls": (PoNetForSequenceClassification, [], ["logits"]),
    "mean": (PoNetForSequenceClassification, [], ["logits"]),
    "tokens": (PoNetForTokenClassification, ["logits"], []),
    "answer": (PoNetForQuestionAnswering, ["start_logits", "end_logits"], []),
    "choice": (PoNetForMultipleChoice, [], ["logits"]),
}


@cache
def build(mixer: str, head: str, norm_position: str = "post"):
    config = PoNetConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=24,
        cls_token_id=CLS,
        sep_token_id=SEP,
        num_labels=3,
        mixer_types=MIXERS[mixer],
        norm_position=norm_position,
        classifier_pooling="mean" if head == "mean" else "cls",
    )
    torch.manual_seed(0)
    model = HEADS[head][0](config).eval()
    for name, parameter in model.named_parameters():
        if "LayerNorm.weight" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@dataclass
class Document:
    ids: list[int]
    types: list[int]
    segments: list[int]
    places: list[int]
    """Where its tokens lie in its row, from 0; a step of more than 1 is a gap in the mask."""

    @property
    def has_gaps(self) -> bool:
        return self.places != list(range(len(self.ids)))


@st.composite
def documents(draw, gaps: bool = True) -> Document:
    n = draw(st.integers(1, 7))

    def numbers(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=n, max_size=n))

    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=n - 1, max_size=n - 1)) if gaps else [1] * (n - 1)
    return Document(numbers(0, VOCABULARY - 1), numbers(0, 1), numbers(-1, 2), [sum(steps[:i]) for i in range(n)])


@dataclass
class Batch:
    """Rows of one document each (None for a row of padding alone), shifted to the right by an offset."""

    rows: list[Document | None]
    offsets: list[int]
    length: int
    given_segments: bool

    def inputs(self) -> dict[str, torch.Tensor]:
        """Padded inputs, with anything at all at padding."""
        shape = (len(self.rows), self.length)
        inputs = {
            "input_ids": torch.randint(VOCABULARY, shape),
            "token_type_ids": torch.randint(2, shape),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
        }
        if self.given_segments:
            inputs["segment_ids"] = torch.randint(-1, 3, shape)
        for b, (document, places) in enumerate(zip(self.rows, self.places(), strict=True)):
            if document is not None:
                inputs["input_ids"][b, places] = torch.tensor(document.ids)
                inputs["token_type_ids"][b, places] = torch.tensor(document.types)
                inputs["attention_mask"][b, places] = 1
                if self.given_segments:
                    inputs["segment_ids"][b, places] = torch.tensor(document.segments)
        return inputs

    def places(self) -> list[list[int]]:
        return [
            [] if document is None else [offset + place for place in document.places]
            for document, offset in zip(self.rows, self.offsets, strict=True)
        ]


@st.composite
def batches(draw) -> Batch:
    rows: list[Document | None] = draw(st.lists(st.none() | documents(), min_size=2, max_size=5))
    spans = [0 if document is None else document.places[-1] + 1 for document in rows]
    length = max(spans) + draw(st.integers(0, 3))
    offsets = [draw(st.integers(0, length - span)) for span in spans]
    return Batch(rows, offsets, length, draw(st.booleans()))


def alone(document: Document, given_segments: bool) -> Batch:
    return Batch([document], [0], document.places[-1] + 1, given_segments)


def run(model, head: str, inputs: dict[str, torch.Tensor], **more):
    if head == "choice" and "cu_seqlens" not in inputs:
        inputs = {name: value[:, None] for name, value in inputs.items()}
    elif head == "choice":
        more["num_choices"] = 1
    if head == "body":
        more |= {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        return model(**inputs, **more)


def split(output, head: str, places: list[list[int]]) -> list[dict[str, torch.Tensor]]:
    """What the output of a padded batch says about each row's real tokens."""
    _, of_tokens, of_documents = HEADS[head]
    results = []
    for b, where in enumerate(places):
        result = {name: output[name][b, where] for name in of_tokens}
        result |= {name: output[name][b] for name in of_documents}
        if head == "body":
            result |= {f"state {i}": state[b, where] for i, state in enumerate(output.hidden_states)}
            result |= {
                f"weights {i}": weights[b][:, where] if weights.dim() == 3 else weights[b][:, where][:, :, where]
                for i, weights in enumerate(output.attentions)
                if weights is not None
            }
        results.append(result)
    return results


def assert_same(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].shape == value.shape, name
        assert torch.isfinite(actual[name]).all(), name
        if value.numel():
            assert (actual[name] - value).abs().max() <= TOLERANCE * max(1.0, value.abs().max().item()), name


quick = settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("norm_position", ["post", "pre"])
@pytest.mark.parametrize("mixer", MIXERS)
@quick
@given(batches())
def test_padded_batch_is_its_documents(mixer, norm_position, batch):
    for head in HEADS if norm_position == "post" else ["body"]:
        model = build(mixer, head, norm_position)
        together = split(run(model, head, batch.inputs()), head, batch.places())
        for document, result in zip(batch.rows, together, strict=True):
            if document is None:
                continue
            single = alone(document, batch.given_segments)
            assert_same(result, split(run(model, head, single.inputs()), head, single.places())[0])


@pytest.mark.parametrize("mixer", MIXERS)
@quick
@given(st.lists(documents(gaps=False) | st.none(), min_size=1, max_size=5), st.booleans())
def test_packed_batch_is_its_documents(mixer, rows, given_segments):
    there = [document for document in rows if document is not None]
    lengths = [0 if document is None else len(document.ids) for document in rows]
    ends = torch.tensor([0, *lengths]).cumsum(0)
    inputs = {
        "input_ids": torch.tensor([[i for document in there for i in document.ids]], dtype=torch.int64),
        "token_type_ids": torch.tensor([[i for document in there for i in document.types]], dtype=torch.int64),
        "cu_seqlens": ends.to(torch.int32),
    }
    if given_segments:
        segments = [[i for document in there for i in document.segments]]
        inputs["segment_ids"] = torch.tensor(segments, dtype=torch.int64)
    for head, (_, of_tokens, of_documents) in HEADS.items():
        model = build(mixer, head)
        output = run(model, head, inputs)
        for b, document in enumerate(rows):
            part = slice(ends[b], ends[b + 1])
            if document is None:
                for name in of_documents:
                    assert torch.isfinite(output[name][b]).all()
                continue
            single = alone(document, given_segments)
            expected = split(run(model, head, single.inputs()), head, single.places())[0]
            result = {name: output[name][0, part] for name in of_tokens}
            result |= {name: output[name][b] for name in of_documents}
            if head == "body":
                result |= {f"state {i}": state[0, part] for i, state in enumerate(output.hidden_states)}
                n = len(document.ids)
                result |= {
                    f"weights {i}": weights[b, ..., :n] if weights.dim() == 3 else weights[b, ..., :n, :n]
                    for i, weights in enumerate(output.attentions)
                    if weights is not None
                }
            assert_same(result, expected)


@pytest.mark.parametrize("mixer", ["attention", "fourier"])
@quick
@given(documents())
def test_gaps_are_nothing_to_mixers_without_neighbours(mixer, document):
    model = build(mixer, "body")
    closed = Document(document.ids, document.types, document.segments, list(range(len(document.ids))))
    a, b = (alone(d, given_segments=True) for d in (document, closed))
    (with_gaps,), (without,) = (split(run(model, "body", x.inputs()), "body", x.places()) for x in (a, b))
    assert_same(with_gaps, without)


def test_a_gap_cuts_the_local_window():
    ids, mask = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[1, 1, 0, 1]])
    model = build("pooling", "body")
    with_gap = model(ids, attention_mask=mask).last_hidden_state[mask.bool()]
    closed = model(ids[mask.bool()][None]).last_hidden_state[0]
    assert (with_gap - closed).abs().max() > 1e-2


@pytest.mark.parametrize("mixer", MIXERS)
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(batches())
def test_gradient_of_a_batch_is_the_sum_over_its_documents(mixer, batch):
    model = build(mixer, "pretraining").double()  # in float32 a sum of gradients may be off by more than the tolerance

    def gradients(part: Batch) -> dict[str, torch.Tensor]:
        model.zero_grad(set_to_none=True)
        output = model(**part.inputs())
        total = output.prediction_logits.new_zeros(())
        for b, (document, places) in enumerate(zip(part.rows, part.places(), strict=True)):
            if document is not None:
                scores = output.prediction_logits[b, places]
                total = total + scores.log_softmax(-1)[range(len(places)), document.ids].sum()
                total = total + output.seq_relationship_logits[b].log_softmax(-1)[1]
        if total.requires_grad:
            total.backward()
        return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}

    together = gradients(batch)
    expected = {name: torch.zeros_like(value) for name, value in together.items()}
    for document in batch.rows:
        if document is not None:
            for name, value in gradients(alone(document, batch.given_segments)).items():
                expected[name] += value
    largest = max(float(value.abs().max()) for value in expected.values())
    for name, value in together.items():
        assert torch.isfinite(value).all(), name
        assert (value - expected[name]).abs().max() <= TOLERANCE * max(1.0, largest), name


@pytest.mark.parametrize("mixer", MIXERS)
def test_padding_alone_gives_zeros(mixer):
    model = build(mixer, "body")
    output = model(torch.full((2, 4), CLS), attention_mask=torch.zeros(2, 4), output_hidden_states=True)
    for state in output.hidden_states:
        assert state.shape == (2, 4, 16)
        assert not state.any()
    assert torch.isfinite(output.pooler_output).all()
