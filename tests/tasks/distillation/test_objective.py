"""The loss against its definition, computed with transformers' own BertModel, one passage at a time."""

import pytest
import torch
from transformers import BertModel

from ponet.config.distillation import DistillationOptions
from ponet.tasks.distillation.collate import DistillationCollator
from ponet.tasks.distillation.models import build_student, matched_layers, open_teacher
from ponet.tasks.distillation.objective import DistillationObjective, layer_variances
from ponet.tasks.distillation.passages import Passages, WithPairs
from ponet.tasks.pretraining.examples import Drawing, Key, PretrainingExamples
from ponet.tasks.pretraining.shards import JoinedCorpus
from ponet.tasks.pretraining.stream import PretrainingStream
from ponet.tasks.pretraining.vocabulary import Vocabulary
from ponet.utils.errors import PoNetError


@pytest.fixture
def options(teacher, prepared):
    return DistillationOptions(teacher=str(teacher), path=[str(prepared)], lengths=[40], short_share=0.5)


@pytest.fixture
def examples(options):
    corpus = JoinedCorpus(options.path, "train", True)
    passages = Passages(corpus, Vocabulary.of(corpus.tokenizer()), options.short_share, 0)
    return [passages[Key(40, 0, 0, row)] for row in range(8)]


def made(teacher, options, examples, **model):
    opened = open_teacher(str(teacher))
    torch.manual_seed(1)
    student = build_student(model, opened, options, [])
    layers = matched_layers(options, student.config.num_hidden_layers, opened.config.num_hidden_layers)
    collate = DistillationCollator(opened.config.max_position_embeddings, options.overlap)
    student.config.distillation = {"layers": layers, "variances": layer_variances(opened, layers, collate(examples))}
    return student, DistillationObjective(student.config, opened, options), collate


def figures(objective, student, batches):
    """The loss summed over batches of one step, and its figures."""
    totals = torch.stack([objective.counts(batch) for batch in batches]).sum(0)
    results = [objective(student, batch, totals) for batch in batches]
    return float(sum(loss for loss, _ in results)), objective.figures(sum(sums for _, sums in results))


def test_definition(teacher, options, examples) -> None:
    """Every error by hand: windows of 24 tokens by BERT itself, the student one passage at a time."""
    student, objective, collate = made(teacher, options, examples)
    bert = BertModel.from_pretrained(teacher).eval()
    errors, tokens, distances = torch.zeros(2), 0, 0.0
    for example in examples:
        ids, size = torch.from_numpy(example["input_ids"]), len(example["input_ids"])
        starts, text = collate.windows(size)
        targets = [torch.empty(size, 32), torch.empty(size, 32)]
        context = torch.full((size,), -1.0)
        vectors = []
        for start in starts:
            window = torch.cat([ids[:1], ids[1 + start : 1 + start + text], ids[-1:]])
            with torch.no_grad():
                read = bert(window[None], output_hidden_states=True)
            vectors.append(torch.nn.functional.normalize(read.last_hidden_state[0].mean(0), dim=0))
            for place in range(text):
                here = -abs(place - (text - 1) / 2) + size
                if here > context[1 + start + place]:
                    context[1 + start + place] = here
                    for target, states in zip(targets, read.hidden_states[1:], strict=True):
                        target[1 + start + place] = states[0, 1 + place]
            for target, states in zip(targets, read.hidden_states[1:], strict=True):
                if start == starts[0]:
                    target[0] = states[0, 0]
                if start == starts[-1]:
                    target[-1] = states[0, -1]
        with torch.no_grad():
            output = student(
                ids[None], segment_ids=torch.from_numpy(example["segment_ids"])[None], output_hidden_states=True
            )
        for layer in range(2):
            errors[layer] += (output.hidden_states[layer + 1][0] - targets[layer]).square().mean(1).sum()
        tokens += size
        distances += 1 - torch.cosine_similarity(output.hidden_states[-1][0].mean(0), sum(vectors), dim=0)
    errors = errors / torch.tensor(objective.variances) / tokens
    expected = errors.mean() + errors[-1] + 2 * distances / len(examples)
    loss, found = figures(objective, student, [collate(examples)])
    assert loss == pytest.approx(float(expected), rel=1e-4)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["cosine"] == pytest.approx(float(1 - distances / len(examples)), abs=1e-5)
    assert found["layer_1_error"] == pytest.approx(float(errors[0]), rel=1e-4)


def test_batches_of_a_step_dont_matter(teacher, options, examples) -> None:
    student, objective, collate = made(teacher, options, examples)
    whole = figures(objective, student, [collate(examples)])
    split = figures(objective, student, [collate(examples[:3]), collate(examples[3:4]), collate(examples[4:])])
    assert split[0] == pytest.approx(whole[0], rel=1e-5)
    assert split[1] == pytest.approx(whole[1], rel=1e-4)


def test_a_student_with_attention_is_the_teacher(teacher, options, examples) -> None:
    """Everything is copied: no error is left."""
    notices: list[str] = []
    opened = open_teacher(str(teacher))
    student = build_student({"mixer_types": "attention", "max_position_embeddings": 40}, opened, options, notices)
    short = [each for each in examples if len(each["input_ids"]) <= 24]
    student.config.distillation = {"layers": [1, 2], "variances": [1.0, 1.0]}
    objective = DistillationObjective(student.config, opened, options)
    loss, found = figures(objective, student, [DistillationCollator(24)(short)])
    assert loss == pytest.approx(0, abs=1e-5)
    assert found["cosine"] == pytest.approx(1, abs=1e-6)


STUDENTS = [
    {"mixer_types": "pooling"},
    {"mixer_types": "fourier"},
    {"mixer_types": ["pooling", "attention"]},
    {"hidden_size": 16},
]


@pytest.mark.parametrize("fields", STUDENTS, ids=str)
def test_a_few_steps_bring_the_student_nearer(teacher, options, examples, fields) -> None:
    student, objective, collate = made(teacher, options, examples, **fields)
    batch = collate(examples)
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss, _ = objective(student, batch, objective.counts(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
    assert all(parameter.grad is not None for parameter in student.parameters())  # DDP insists on it
    assert all(parameter.grad is None for parameter in objective.teacher.parameters())


def test_pairs_have_the_loss_of_pre_training_beside(teacher, prepared, options, examples) -> None:
    """A batch of both gives the passages' errors, and mean cross-entropies over the pairs' words and orders."""
    student, objective, collate = made(teacher, options, examples)
    corpus = JoinedCorpus(options.path, "train", True)
    vocabulary = Vocabulary.of(corpus.tokenizer())
    mixed = WithPairs(Passages(corpus, vocabulary, 0.5, 0), PretrainingExamples(corpus, vocabulary, Drawing(0)), 0.5)
    pairs = [mixed[Key(40, 0, 1, row)] for row in range(5)]
    alone, both = figures(objective, student, [collate(examples)]), collate([pairs[0], *examples, *pairs[1:]])
    loss, found = figures(objective, student, [both])
    assert found["hidden_loss"] == pytest.approx(alone[1]["hidden_loss"], rel=1e-4)
    assert found["cosine"] == pytest.approx(alone[1]["cosine"], abs=1e-5)
    assert loss == pytest.approx(found["loss"], rel=1e-5)
    mlm, masked, sso = 0.0, 0, 0.0
    for pair in pairs:
        inputs = {name: torch.from_numpy(pair[name])[None] for name in ("input_ids", "segment_ids", "token_type_ids")}
        with torch.no_grad():
            output = student(**inputs)
        labels = torch.from_numpy(pair["labels"])
        mlm += float(torch.nn.functional.cross_entropy(output.prediction_logits[0], labels, reduction="sum"))
        masked += int((labels != -100).sum())
        sso -= float(output.seq_relationship_logits[0].log_softmax(0)[pair["sentence_label"]])
    assert found["mlm_loss"] == pytest.approx(mlm / masked, rel=1e-4)
    assert found["sso_loss"] == pytest.approx(sso / 5, rel=1e-4)
    assert loss == pytest.approx(alone[0] + mlm / masked + sso / 5, rel=1e-4)
    only, _ = figures(objective, student, [collate(pairs)])
    assert only == pytest.approx(mlm / masked + sso / 5, rel=1e-4)


def test_pairs_take_their_share_of_the_text(options) -> None:
    corpus = JoinedCorpus(options.path * 3, "train", True)
    vocabulary = Vocabulary.of(corpus.tokenizer())
    passages = Passages(corpus, vocabulary, 0.5, 0)
    mixed = WithPairs(passages, PretrainingExamples(corpus, vocabulary, Drawing(0)), 0.25)
    stream = PretrainingStream(mixed, [(40, 1.0)], 400, None, steps=30)
    sizes = {True: 0, False: 0}
    for batch in stream:
        for key in batch:
            sizes["labels" in mixed[key]] += len(mixed[key]["input_ids"])
    assert 0.15 < sizes[True] / sum(sizes.values()) < 0.35
    assert len({corpus.digest(), JoinedCorpus(options.path, "train", True).digest()}) == 2


def test_fewer_layers_match_the_named_ones(teacher, options) -> None:
    opened = open_teacher(str(teacher))
    student = build_student({"num_hidden_layers": 1}, opened, options, [])
    theirs = opened.encoder.layer[1].intermediate.dense.weight
    assert torch.equal(student.ponet.encoder.layer[0].intermediate.dense.weight, theirs)
    options.layers = [1]
    student = build_student({"num_hidden_layers": 1}, opened, options, [])
    theirs = opened.encoder.layer[0].intermediate.dense.weight
    assert torch.equal(student.ponet.encoder.layer[0].intermediate.dense.weight, theirs)
    assert matched_layers(DistillationOptions(), 3, 12) == [4, 8, 12]
    options.layers = [3]
    with pytest.raises(PoNetError, match="layers"):
        build_student({"num_hidden_layers": 1}, opened, options, [])


def test_a_narrower_student_begins_along_the_embeddings_directions(teacher, options) -> None:
    opened = open_teacher(str(teacher))
    student = build_student({"hidden_size": 28}, opened, options, [])
    words = opened.embeddings.word_embeddings.weight
    ours = student.teacher_projection(student.ponet.embeddings.word_embeddings.weight)
    assert (ours - words).norm() < 0.4 * words.norm()


def test_longer_passages_repeat_the_positions(teacher, options) -> None:
    notices: list[str] = []
    student = build_student({}, open_teacher(str(teacher)), options, notices)
    positions = student.get_position_embeddings().weight
    assert student.config.max_position_embeddings == len(positions) == 40
    assert torch.equal(positions[24:], positions[:16])
    assert any("24 positions" in notice for notice in notices)
    restarting = build_student({"repeat_positions": True}, open_teacher(str(teacher)), options, [])
    assert len(restarting.get_position_embeddings().weight) == 24, "without a limit of length none are needed"
    assert student.config.hidden_dropout_prob == 0.1
