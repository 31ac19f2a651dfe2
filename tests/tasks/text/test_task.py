"""The task as the engine sees it: prepared, evaluated, and what can go wrong with models and tokenizers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, EvalPrediction

from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.modeling_ponet import PoNetForPreTraining
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.base import Prepared
from ponet.tasks.text.task import TextTask
from ponet.utils.errors import PoNetError

Write = Callable[..., Path]
Reviews = Callable[..., list[dict[str, Any]]]
Make = Callable[..., Any]


@pytest.fixture
def data(folder: Path, write_rows: Write, reviews: Reviews) -> Path:
    """`a.csv` in the working folder."""
    return write_rows(folder / "a.csv", reviews(4))


@pytest.fixture
def checkpoint(folder: Path, tokenizer: PoNetTokenizer) -> Path:
    """A pre-trained model for 16 positions, with its tokenizer."""
    config = PoNetConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    PoNetForPreTraining(config).save_pretrained(folder / "checkpoint")
    tokenizer.save_pretrained(folder / "checkpoint")
    return folder / "checkpoint"


def batch(prepared: Prepared, count: int = 4) -> dict[str, torch.Tensor]:
    return prepared.collate([prepared.train.examples[i] for i in range(count)])


def train(prepared: Prepared, steps: int = 60) -> None:
    """A few steps by hand: the engine is tested elsewhere."""
    model = prepared.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    inputs = batch(prepared, len(prepared.train))
    for _ in range(steps):
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()
    model.eval()


def save(prepared: Prepared, run: Path) -> Path:
    """As the engine leaves a run."""
    prepared.model.save_pretrained(run)
    assert prepared.processing_class is not None
    prepared.processing_class.save_pretrained(run)
    return run


def test_from_scratch_everything_fits_together(data: Path, recipe: Make) -> None:
    prepared = TextTask().prepare(recipe(path="a.csv", max_length=32, test_fraction=0.1))
    config, tokenizer = prepared.model.config, prepared.processing_class
    assert tokenizer is not None
    assert (config.max_position_embeddings, config.vocab_size) == (32, len(tokenizer))
    assert (config.cls_token_id, config.sep_token_id) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert config.id2label == {0: "bad", 1: "good"}
    assert config.problem_type == "single_label_classification"
    assert config.classifier_pooling == "mean"
    assert (len(prepared.train), len(prepared.validation or []), len(prepared.test or [])) == (32, 4, 4)
    output = prepared.model(**batch(prepared))
    assert output.logits.shape == (4, 2)
    assert torch.isfinite(output.loss)
    figures = prepared.compute_metrics(
        EvalPrediction(output.logits.detach().numpy(), batch(prepared)["labels"].numpy())
    )  # type: ignore[misc]
    assert prepared.best_metric in figures
    json.dumps(prepared.facts)
    assert prepared.facts["splits"]["train"]["tokens"] == int(prepared.train.lengths.sum())
    assert any("WordPiece vocabulary" in notice for notice in prepared.notices)


def test_the_weights_depend_on_the_seed_alone(data: Path, recipe: Make) -> None:
    def weights(**options: Any) -> torch.Tensor:
        torch.manual_seed(np.random.default_rng().integers(1 << 30))
        model = TextTask().prepare(recipe(path="a.csv", max_length=32, **options)).model
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    assert torch.equal(weights(seed=1), weights(seed=1))
    assert not torch.equal(weights(seed=1), weights(seed=2))


def test_splits_are_the_same_for_all_seeds_unless_each_is_to_have_its_own(data: Path, recipe: Make) -> None:
    def validation(seed: int, split_seed: int | None) -> list[list[int]]:
        made = recipe(path="a.csv", max_length=32, validation_fraction=0.3, seed=seed, split_seed=split_seed)
        split = TextTask().prepare(made).validation
        assert split is not None
        return [example["input_ids"].tolist() for example in split.examples]

    assert validation(1, 0) == validation(2, 0)
    assert validation(1, None) == validation(2, 1)
    assert validation(1, None) != validation(2, None)


def test_a_run_is_evaluated_on_the_rows_that_its_seed_held_out(data: Path, folder: Path, recipe: Make) -> None:
    made = recipe(path="a.csv", max_length=32, validation_fraction=0.3, seed=5, split_seed=None)
    prepared = TextTask().prepare(made)
    again = TextTask().evaluation(save(prepared, folder / "run"), made, None, "validation", None)
    assert prepared.validation is not None
    first, second = (
        [example["input_ids"].tolist() for example in split.examples] for split in (prepared.validation, again.split)
    )
    assert first == second


@pytest.mark.parametrize(
    ("label", "kind", "problem", "shape", "dtype"),
    [
        (lambda i: ["a", "b"][: i % 3], "auto", "multi_label_classification", (4, 2), torch.float32),
        (lambda i: i / 7, "auto", "regression", (4,), torch.float32),
        (lambda i: i % 5, "auto", "single_label_classification", (4,), torch.int64),
        (lambda i: i, "regression", "regression", (4,), torch.float32),
    ],
)
def test_every_kind_of_label_trains(
    folder: Path, write_rows: Write, recipe: Make, label: Any, kind: str, problem: str, shape: Any, dtype: Any
) -> None:
    write_rows(folder / "a.jsonl", [{"text": f"text number {i}", "label": label(i)} for i in range(30)])
    prepared = TextTask().prepare(recipe(path="a.jsonl", max_length=32, kind=kind))
    assert prepared.model.config.problem_type == problem
    inputs = batch(prepared)
    assert inputs["labels"].shape == shape
    assert inputs["labels"].dtype == dtype
    output = prepared.model(**inputs)
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert prepared.compute_metrics is not None
    figures = prepared.compute_metrics(EvalPrediction(output.logits.detach().numpy(), inputs["labels"].numpy()))
    assert prepared.best_metric in figures


def test_a_new_regression_head_begins_at_the_mean(folder: Path, write_rows: Write, recipe: Make) -> None:
    rows = [{"text": f"text number {i}", "label": 50.5 + i} for i in range(30)]
    write_rows(folder / "a.jsonl", rows)
    prepared = TextTask().prepare(recipe(path="a.jsonl", max_length=32, validation_fraction=0))
    mean = float(np.mean([row["label"] for row in rows]))
    assert prepared.model.classifier.bias.item() == pytest.approx(mean)
    with torch.no_grad():
        assert prepared.model.eval()(**batch(prepared)).logits.mean().item() == pytest.approx(mean, abs=2)
    with torch.no_grad():
        prepared.model.classifier.bias.fill_(7.0)
    save(prepared, folder / "run")
    again = TextTask().prepare(recipe(path="a.jsonl", max_length=32, model={"init": "run"}))
    assert again.model.classifier.bias.item() == 7.0  # a trained head is kept
    write_rows(folder / "b.jsonl", [{**row, "label": row["label"] * 1000} for row in rows])
    scaled = TextTask().prepare(recipe(path="b.jsonl", max_length=32, kind="regression"))
    assert any("standard deviation is 8" in notice and "scale them" in notice for notice in scaled.notices)


@pytest.mark.slow
def test_a_five_megabyte_document_in_a_csv_simply_works(
    folder: Path, write_rows: Write, reviews: Reviews, recipe: Make
) -> None:
    rows = [*reviews(2), {"text": "great fun, " * 476_626, "label": "good"}]
    write_rows(folder / "a.csv", rows)
    prepared = TextTask().prepare(recipe(path="a.csv", max_length=64, validation_fraction=0))
    assert int(prepared.train.lengths[-1]) == 64
    assert any("1 of 21 train texts (4.8%) are longer than 64 tokens" in notice for notice in prepared.notices)
    assert torch.isfinite(prepared.model(**prepared.collate([prepared.train.examples[20]])).loss)


def test_pairs_have_two_token_types(folder: Path, write_rows: Write, recipe: Make) -> None:
    rows = [{"premise": f"one {i}", "hypothesis": f"two {i}", "label": i % 2} for i in range(20)]
    write_rows(folder / "a.csv", rows)
    inputs = batch(TextTask().prepare(recipe(path="a.csv", max_length=32)))
    assert set(inputs["token_type_ids"].flatten().tolist()) == {0, 1}


def test_class_weights_reach_the_loss(folder: Path, write_rows: Write, recipe: Make, reviews: Reviews) -> None:
    rows = [row for i, row in enumerate(reviews(4)) if row["label"] == "good" or i % 4 == 1]
    write_rows(folder / "a.csv", rows)
    prepared = TextTask().prepare(recipe(path="a.csv", max_length=32, class_weights="balanced", validation_fraction=0))
    inputs = batch(prepared, len(prepared.train))
    labels = inputs.pop("labels")
    assert prepared.compute_loss is not None
    with torch.no_grad():
        output = prepared.model.eval()(**inputs)
    losses = torch.nn.functional.cross_entropy(output.logits, labels, reduction="none")
    by_class = torch.stack([losses[labels == index].mean() for index in range(2)])
    torch.testing.assert_close(prepared.compute_loss(output, labels), by_class.mean())  # each class counts the same
    assert set(prepared.facts["class_weights"]) == {"bad", "good"}
    assert TextTask().prepare(recipe(path="a.csv", max_length=32)).compute_loss is None


def test_a_checkpoint_s_positions_are_repeated_for_longer_texts(data: Path, checkpoint: Path, recipe: Make) -> None:
    prepared = TextTask().prepare(recipe(path="a.csv", max_length=40, model={"init": "checkpoint"}))
    rows = prepared.model.base_model.embeddings.position_embeddings.weight
    assert rows.shape[0] == 40
    assert torch.equal(rows[16:32], rows[:16])
    assert any("16 positions are repeated to 40" in notice for notice in prepared.notices)
    words = PoNetForPreTraining.from_pretrained(checkpoint).ponet.embeddings.word_embeddings.weight
    assert torch.equal(prepared.model.base_model.embeddings.word_embeddings.weight, words)
    assert prepared.processing_class is not None
    assert len(prepared.processing_class) == words.shape[0]
    short = TextTask().prepare(recipe(path="a.csv", max_length=10, model={"init": "checkpoint"}))
    assert short.model.config.max_position_embeddings == 16


def test_a_checkpoint_in_half_precision_is_trained_in_full(data: Path, checkpoint: Path, recipe: Make) -> None:
    PoNetForPreTraining.from_pretrained(checkpoint).half().save_pretrained(checkpoint)
    prepared = TextTask().prepare(recipe(path="a.csv", max_length=16, model={"init": "checkpoint"}))
    assert {parameter.dtype for parameter in prepared.model.parameters()} == {torch.float32}


def test_a_classifier_for_other_classes_gets_a_new_head(
    data: Path, recipe: Make, folder: Path, write_rows: Write
) -> None:
    write_rows(folder / "three.csv", [{"text": f"text {i}", "label": f"c{i % 3}"} for i in range(30)])
    save(TextTask().prepare(recipe(path="three.csv", max_length=16)), folder / "three")
    prepared = TextTask().prepare(recipe(path="a.csv", max_length=16, model={"init": "three"}))
    assert prepared.model.config.id2label == {0: "bad", 1: "good"}
    assert prepared.new_weights == {"classifier.weight", "classifier.bias"}, "they may have head_learning_rate"
    assert prepared.model(**batch(prepared)).logits.shape == (4, 2)


def test_bert_s_weights_open_with_attention_and_are_refused_without(
    data: Path, folder: Path, tokenizer: PoNetTokenizer, recipe: Make
) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    bert = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, **sizes))
    bert.save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    model = {"init": "bert", "mixer_types": "attention"}
    prepared = TextTask().prepare(recipe(path="a.csv", max_length=16, model=model))
    ours = prepared.model.base_model.embeddings.word_embeddings.weight
    assert torch.equal(ours, bert.bert.embeddings.word_embeddings.weight)
    assert not any("start at random" in notice for notice in prepared.notices)
    with pytest.raises(PoNetError, match="a checkpoint of another kind"):
        TextTask().prepare(recipe(path="a.csv", max_length=16, model={"init": "bert"}))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"hiden_size": 16}, r"There is no 'model\.hiden_size'\. Did you mean 'hidden_size'"),
        ({"num_labels": 5}, r"model\.num_labels follows from the labels"),
        ({"hidden_size": 15, "num_attention_heads": 2}, "doesn't describe a model: .*multiple"),
        ({"mixer_types": "poling"}, "doesn't describe a model: .*poling"),
        ({"hidden_size": "wide"}, "doesn't describe a model"),
        ({"max_position_embeddings": 8}, r"max_position_embeddings is 8, but texts may have max_length=16"),
        ({"vocab_size": 10}, r"model\.vocab_size is 10, but the tokenizer has"),
        ({"init": "checkpoint", "hidden_size": 32}, "of shape .* leave sizes out"),
        ({"init": "./nowhere"}, r"There is no folder '\./nowhere'\. Check the path"),
        ({"init": "a.csv"}, r"'a\.csv' is no checkpoint folder"),
        ({"init": "empty"}, r"'empty' is no checkpoint folder: it has no config\.json"),
        ({"init": "owner/nothing"}, "There is no folder 'owner/nothing', and the hub can't be reached"),
    ],
)
def test_a_model_that_cannot_be_is_one_sentence(
    data: Path, checkpoint: Path, recipe: Make, model: dict[str, Any], message: str
) -> None:
    Path("empty").mkdir()
    named = "checkpoint" if model.get("init") in ("./nowhere", "a.csv", "empty") else None
    with pytest.raises(PoNetError, match=message) as caught:
        TextTask().prepare(recipe(path="a.csv", max_length=16, model=model, tokenizer=named))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["half", "empty", "config"])
def test_a_truncated_checkpoint_is_one_sentence(data: Path, checkpoint: Path, recipe: Make, damage: str) -> None:
    file = checkpoint / ("config.json" if damage == "config" else "model.safetensors")
    whole = file.read_bytes()
    file.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    with pytest.raises(PoNetError, match=r"The checkpoint 'checkpoint' can't be read|can't be opened") as caught:
        TextTask().prepare(recipe(path="a.csv", max_length=16, model={"init": "checkpoint"}))
    assert "\n" not in str(caught.value)


def test_tokenizers_by_folder_file_name_and_wrongly(
    data: Path,
    folder: Path,
    checkpoint: Path,
    tokenizer: PoNetTokenizer,
    recipe: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def vocabulary(name: str) -> int:
        prepared = TextTask().prepare(recipe(path="a.csv", max_length=16, tokenizer=name))
        return int(prepared.facts["vocab_size"])

    size = vocabulary("checkpoint")
    (folder / "sets" / "bert").mkdir(parents=True)
    tokenizer.save_vocabulary(str(folder / "sets" / "bert"))
    assert vocabulary("sets/bert/vocab.txt") == size
    monkeypatch.setenv("PONET_DATA", "sets")
    assert vocabulary("bert") == size
    (folder / "bare").mkdir()
    (folder / "words.txt").write_text("just\nwords\n")
    for name, message in (
        ("bare", "'bare' has no tokenizer"),
        ("no/such/tokenizer", r"There is no folder 'no/such/tokenizer'\. Check the path"),
        ("nothing.txt", r"There is no 'nothing\.txt'"),
        ("nothing", "and the hub can't be reached"),
        ("words.txt", "isn't BERT's kind"),
    ):
        with pytest.raises(PoNetError, match=message):
            vocabulary(name)
    (checkpoint / "tokenizer.json").write_text("{")
    with pytest.raises(PoNetError, match="can't be opened as a tokenizer"):
        vocabulary("checkpoint")


def test_a_checkpoint_of_the_hub_is_fetched_once_asked(
    data: Path, checkpoint: Path, recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.hf_api import ModelInfo

    info = ModelInfo(
        id="owner/model", siblings=[{"rfilename": "model.safetensors"}, {"rfilename": "pytorch_model.bin"}]
    )
    fetched: list[dict[str, Any]] = []

    def fetch(name: str, **options: Any) -> str:
        fetched.append(options)
        return str(checkpoint)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, timeout: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    model = TextTask().prepare(recipe(path="a.csv", max_length=16, model={"init": "owner/model"})).model
    theirs = PoNetForPreTraining.from_pretrained(checkpoint).ponet.embeddings.word_embeddings.weight
    assert torch.equal(model.base_model.embeddings.word_embeddings.weight, theirs)
    assert ["tokenizer*.json" in options["allow_patterns"] for options in fetched] == [True, False]
    assert all(options["ignore_patterns"] == ["*.bin*"] for options in fetched)


def test_a_tokenizer_too_large_for_the_checkpoint_is_refused(
    data: Path, folder: Path, checkpoint: Path, tokenizer: PoNetTokenizer, recipe: Make
) -> None:
    words = [*sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__), "one", "more"]
    (folder / "more.txt").write_text("\n".join(words) + "\n")
    with pytest.raises(PoNetError, match="leave tokenizer out to take the checkpoint's own"):
        TextTask().prepare(recipe(path="a.csv", max_length=16, model={"init": "checkpoint"}, tokenizer="more.txt"))


def test_a_run_is_evaluated_as_it_was_trained(data: Path, folder: Path, write_rows: Write, recipe: Make) -> None:
    options = {"path": "a.csv", "max_length": 24, "validation_fraction": 0.2, "keep": "both", "segments": "paragraphs"}
    prepared = TextTask().prepare(recipe(**options))
    train(prepared)
    run = save(prepared, folder / "run")
    again = TextTask().evaluation(run, recipe(**options), None, "validation", None)
    assert prepared.validation is not None
    for one, other in zip(prepared.validation.examples, again.split.examples, strict=True):
        assert {key: value.tolist() for key, value in one.items()} == {
            key: value.tolist() for key, value in other.items()
        }
    write_rows(
        folder / "new.jsonl", [{"text": "truly wonderful", "label": "good"}, {"text": "what a waste", "label": "bad"}]
    )
    fresh = TextTask().evaluation(run, recipe(**options), "new.jsonl", "test", None)
    with torch.no_grad():
        logits = prepared.model(**fresh.collate(list(fresh.split.examples))).logits
    assert fresh.compute_metrics is not None
    labels = np.array([example["labels"] for example in fresh.split.examples])
    assert fresh.compute_metrics(EvalPrediction(logits.numpy(), labels))["accuracy"] == 1.0
    write_rows(folder / "odd.jsonl", [{"text": "a", "label": "ugly"}])
    with pytest.raises(PoNetError, match="test label 'ugly'"):
        TextTask().evaluation(run, recipe(**options), "odd.jsonl", "test", None)
    with pytest.raises(PoNetError, match="generated from a seed"):
        TextTask().evaluation(run, recipe(**options), None, "test", 1)
    with pytest.raises(PoNetError, match="has no finished model"):
        TextTask().evaluation(folder / "none", recipe(**options), None, "test", None)
    weights = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(PoNetError, match=r"The model in .* can't be read"):
        TextTask().evaluation(run, recipe(**options), None, "validation", None)


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("Ο ποταμός ανέβηκε την άνοιξη και η πόλη μεταφέρθηκε στον λόφο.", True),  # noqa: RUF001
        ("Весной река поднялась, и город перенесли на холм.", True),
        ("春天河水上涨，小镇搬到了山上。医生说，费用很高。", True),  # noqa: RUF001
        ("봄에 강물이 불어나자 마을은 언덕 위로 옮겨졌다.", True),
        ("वसंत में नदी उफान पर आ गई और शहर पहाड़ी पर चला गया।", True),
        ("แม่น้ำสูงขึ้นในฤดูใบไม้ผลิ และเมืองก็ย้ายขึ้นไปบนเนินเขา", True),
        ("The river rose in spring, and the town moved uphill; X-rays cost $1,984.50 in 1987-88.", False),
        ("Der Fluss stieg im Frühling an, und die Stadtverwaltung verbot das Bauen am Ufer.", False),
        ("for i in range(10): print(i, a[i], x ** 2)  # 3.14159 2.71828", False),
        ("1987 1988 1990 :-) !!! ...", False),
        ("", False),
    ],
)
def test_texts_that_a_checkpoint_s_tokenizer_doesn_t_know(
    text: str, foreign: bool, folder: Path, write_rows: Write, recipe: Make
) -> None:
    rows = [{"text": f"{text} {i}", "label": f"{i % 2}"} for i in range(20)]
    write_rows(folder / "a.csv", rows)
    notices = TextTask().prepare(recipe(path="a.csv", model={"init": "ponet-tiny"}, max_length=64)).notices
    said = [notice for notice in notices if "another language or script" in notice]
    assert len(said) == foreign
    assert all("tokenizer of 'ponet-tiny'" in notice and "ponet tokenizer train" in notice for notice in said)


def test_nothing_is_said_of_a_vocabulary_made_from_the_texts(folder: Path, write_rows: Write, recipe: Make) -> None:
    rows = [{"text": f"Весной река поднялась, и город перенесли на холм {i}", "label": f"{i % 2}"} for i in range(20)]
    write_rows(folder / "a.csv", rows)
    assert not any("another language" in notice for notice in TextTask().prepare(recipe(path="a.csv")).notices)
