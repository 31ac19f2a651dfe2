"""The task whole: pretrain/tiny made smaller still, trained to a run folder, cut off, evaluated; and its errors."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.pretraining.stream_fixtures import made_up_texts, same, write_texts

from ponet import PoNetForPreTraining
from ponet.config.recipe import Recipe, load_recipe
from ponet.tasks.pretraining.prepare import prepare
from ponet.tasks.pretraining.task import PretrainingTask
from ponet.training.evaluation import evaluate, predict
from ponet.training.run import train
from ponet.utils.errors import PoNetError

SMALL = (
    *("hidden_size=32", "num_hidden_layers=2", "num_attention_heads=2", "intermediate_size=48"),
    *("data.max_length=48", "last_length=64", "last_share=0.25", "validation_examples=20", "batch_tokens=512"),
    *("max_steps=4", "eval_every=2", "log_every=1", "learning_rate=0.01", "warmup=1", "checkpoint_every=100"),
)


class Crash(BaseException):
    """Nothing catches it: the process is as good as gone."""


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps, the last one in the phase of longer examples."""
    folder = tmp_path_factory.mktemp("pretrained") / "run"
    train(recipe(data), folder, show=False)
    return folder


def recipe(data: Path | None, *changes: str) -> Recipe:
    return load_recipe("pretrain/tiny", [*([f"data.path={data}"] if data else []), *SMALL, *changes])


def crash(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """The process dies in its `at`-th step."""
    original = torch.optim.AdamW.step
    calls = 0

    def dying(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Crash
        return original(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", dying)


def history(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock says."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "tokens_per_second", "flops_per_second", "utilisation", "model_flop_utilisation")
    return [{key: value for key, value in line.items() if key not in clock} for line in lines]


# ---- a run


def test_a_run_says_what_it_did(run: Path, data: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["train"]["steps"] == 4
    assert 0.8 * 4 * 512 < result["train"]["tokens"] <= 4 * 512
    assert result["train"]["flops"] > 0
    assert result["train"]["utilisation"] > 0
    figures = {"loss", "mlm_loss", "mlm_accuracy", "sso_loss", "sso_accuracy"}
    assert figures <= set(result["validation"])
    assert result["validation"]["loss"] == pytest.approx(
        result["validation"]["mlm_loss"] + result["validation"]["sso_loss"]
    )
    assert result["data"]["validation"]["examples"] == 20
    logged = [line for line in history(run) if "mlm_loss" in line]
    assert len(logged) >= 4
    for line in logged:
        assert {"mlm_accuracy", "sso_loss", "sso_accuracy"} <= set(line)
        assert line["loss"] == pytest.approx(line["mlm_loss"] + line["sso_loss"], rel=1e-3)
    model = PoNetForPreTraining.from_pretrained(run)
    tokenizer = PretrainingTask().prepare(recipe(data)).processing_class
    assert tokenizer is not None
    assert model.config.vocab_size == len(tokenizer)
    assert (model.config.cls_token_id, model.config.sep_token_id) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert model.config.max_position_embeddings == 64
    assert model.config.num_sentence_labels == 3


@pytest.mark.parametrize("at", [2, 4])
def test_a_run_that_was_cut_off_ends_with_the_same_bits(
    at: int, run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fourth step is the first one of the phase of longer examples."""
    cut = recipe(data, "checkpoint_every=1")
    with monkeypatch.context() as patch:
        crash(patch, at)
        with pytest.raises(Crash):
            train(cut, tmp_path / "run", show=False)
    assert not (tmp_path / "run" / "result.json").exists()
    train(cut, tmp_path / "run", show=False)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert history(tmp_path / "run") == history(run)


def test_accumulation_changes_nothing_but_rounding(data: Path, tmp_path: Path) -> None:
    """Three batches of two are one of six, in the loss, in the figures and in the weights."""
    changes = ("batch_tokens=null", "last_length=null", "learning_rate=1e-3", "max_steps=2")
    for name, more in (
        ("one", ("batch_size=6",)),
        ("three", ("batch_size=2", "gradient_accumulation=3")),
    ):
        train(recipe(data, *changes, *more), tmp_path / name, show=False)
    one, three = history(tmp_path / "one"), history(tmp_path / "three")
    assert len(one) == len(three)
    for left, right in zip(one, three, strict=True):
        assert left.keys() == right.keys()
        for key, value in left.items():
            if isinstance(value, float) and "memory" not in key:
                assert right[key] == pytest.approx(value, rel=2e-4, abs=1e-6), key


@pytest.mark.parametrize(
    ("changes", "figures"),
    [
        (("data.objective=mlm+nsp", "mixer_types=attention"), {"mlm_accuracy", "nsp_loss", "nsp_accuracy"}),
        (("data.objective=mlm", "mixer_types=fourier", "whole_words=true"), {"mlm_accuracy"}),
    ],
)
def test_other_objectives_and_mixers(changes: tuple[str, ...], figures: set[str], data: Path, tmp_path: Path) -> None:
    result = train(recipe(data, *changes, "max_steps=1", "eval_every=1", "warmup=0"), tmp_path / "run", show=False)
    found = set(result["validation"])
    assert figures <= found
    assert not {"sso_loss", "sso_accuracy"} & found
    assert ("nsp_loss" in found) == ("nsp_loss" in figures)


def test_a_loss_falls(data: Path, tmp_path: Path) -> None:
    result = train(recipe(data, "max_steps=40", "eval_every=40"), tmp_path / "run", show=False)
    first = history(tmp_path / "run")[0]
    assert result["validation"]["mlm_loss"] < first["mlm_loss"] - 0.5


# ---- evaluation


def test_evaluation_repeats_the_run_s_figures(run: Path) -> None:
    """The held-out examples are the same whatever the seed, so that runs can be compared."""
    result = json.loads((run / "result.json").read_text())
    again = evaluate(run, show=False)
    assert again["examples"] == 20
    for name in ("loss", "mlm_loss", "mlm_accuracy", "sso_loss", "sso_accuracy"):
        assert again["metrics"][name] == pytest.approx(result["validation"][name], rel=1e-5)
    assert evaluate(run, split="train", show=False)["metrics"]["loss"] != again["metrics"]["loss"]
    assert evaluate(run, fresh_test_seed=1, show=False)["metrics"]["loss"] != again["metrics"]["loss"]


def test_held_out_examples_do_not_depend_on_the_run(data: Path) -> None:
    one, other = (
        PretrainingTask().prepare(recipe(data, f"seed={seed}", f"max_length={length}"))
        for seed, length in ((0, 48), (1, 32))
    )
    assert one.validation is not None
    assert other.validation is not None
    assert all(map(same, one.validation.examples, other.validation.examples))
    assert one.validation.lengths.tolist() == [len(example["input_ids"]) for example in one.validation.examples]
    assert max(one.validation.lengths) == 64
    assert min(one.validation.lengths) > 5
    weights = [next(prepared.model.parameters()) for prepared in (one, other)]
    assert not torch.equal(*weights), "but the weights depend on the seed"


def test_no_document_is_held_out(data: Path, tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "corpus.jsonl", made_up_texts(40))
    prepare([str(corpus)], tmp_path / "data", tokenizer=str(data / "tokenizer"), processes=1, validation_fraction=0)
    result = train(recipe(tmp_path / "data", "max_steps=2"), tmp_path / "run", show=False)
    assert result["validation"] is None
    assert any("No document is held out" in notice for notice in result["notices"])
    with pytest.raises(PoNetError, match="has no validation documents: name other data with --data"):
        evaluate(tmp_path / "run", show=False)
    assert evaluate(tmp_path / "run", data=str(data), show=False)["examples"] == 20


def test_data_of_another_tokenizer(run: Path, data: Path, tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "corpus.jsonl", made_up_texts(60, seed=3))
    prepare([str(corpus)], tmp_path / "data", vocab_size=200, processes=1, validation_fraction=0.2)
    with pytest.raises(PoNetError, match=f"another vocabulary than the model's in '{run}': prepare the text again"):
        evaluate(run, data=str(tmp_path / "data"), show=False)
    with pytest.raises(PoNetError, match=f"The checkpoint '{run}' has another vocabulary than the prepared data"):
        PretrainingTask().prepare(load_recipe("pretrain/tiny", [f"data.path={tmp_path / 'data'}", f"init={run}"]))


# ---- going on


def going_on(data: Path, run: Path, *changes: str) -> Recipe:
    values = load_recipe("pretrain/tiny", [f"data.path={data}", "data.max_length=48", "last_length=null", *changes])
    values.model = {"init": str(run)}
    return values


def test_going_on_with_a_checkpoint(run: Path, data: Path) -> None:
    prepared = PretrainingTask().prepare(going_on(data, run))
    saved = PoNetForPreTraining.from_pretrained(run)
    for name, weight in saved.state_dict().items():
        assert torch.equal(prepared.model.state_dict()[name], weight), name
    longer = PretrainingTask().prepare(going_on(data, run, "max_length=100"))
    assert longer.model.config.max_position_embeddings == 100
    assert "The checkpoint's 64 positions are repeated to 100." in longer.notices


def test_going_on_with_another_objective_has_another_head(run: Path, data: Path) -> None:
    prepared = PretrainingTask().prepare(going_on(data, run, "objective=mlm+nsp"))
    assert prepared.model.config.num_sentence_labels == 2
    assert prepared.model.cls.seq_relationship.weight.shape == (2, 32)  # type: ignore[union-attr]
    saved = PoNetForPreTraining.from_pretrained(run)
    assert torch.equal(prepared.model.cls.predictions.bias, saved.cls.predictions.bias)  # type: ignore[union-attr]


def test_heads_learn_alone(run: Path, data: Path, tmp_path: Path) -> None:
    values = load_recipe(
        "pretrain/tiny",
        [f"data.path={data}", "max_length=48", "last_length=null", "freeze_encoder=true", "max_steps=20"],
    )
    values.model = {"init": str(run), "hidden_dropout_prob": 0.5}
    prepared = PretrainingTask().prepare(values)
    trained = {name for name, weight in prepared.model.named_parameters() if weight.requires_grad}
    assert all(name.startswith("cls.") for name in trained)
    inputs = {"input_ids": torch.tensor([[2, 9, 4, 8, 3]]), "segment_ids": torch.tensor([[0, 1, 1, 1, 2]])}
    states = [prepared.model.train(mode).ponet(**inputs).last_hidden_state for mode in (True, False)]
    assert torch.equal(*states)
    train(values, tmp_path / "run", show=False)
    before, after = (PoNetForPreTraining.from_pretrained(each).state_dict() for each in (run, tmp_path / "run"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == trained | {"cls.predictions.decoder.bias"}  # tied to predictions.bias
    with pytest.raises(PoNetError, match=r"keeps a checkpoint's encoder: name one with model\.init"):
        PretrainingTask().prepare(recipe(data, "freeze_encoder=true"))


# ---- errors


def test_no_path() -> None:
    with pytest.raises(PoNetError, match=r"`ponet pretrain prepare CORPUS --out DATA` makes it, and data\.path=DATA"):
        PretrainingTask().prepare(recipe(None))


@pytest.mark.parametrize("verify", ["true", "false"])
def test_a_corrupt_shard_is_named(verify: str, copy: Path) -> None:
    file = sorted((copy / "shards").glob("*/train.tokens.npy"))[2]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    if verify == "false":
        PretrainingTask().prepare(recipe(copy, "verify=false"))
        return
    with pytest.raises(PoNetError, match=f"The shard '{file.parent}' is damaged: 'train.tokens.npy'"):
        PretrainingTask().prepare(recipe(copy))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ("model.vocab_size=100",),
            r"model\.vocab_size follows from the prepared data and the objective: leave it out",
        ),
        (("model.num_sentence_labels=2",), r"model\.num_sentence_labels follows from the prepared data"),
        (("model.max_position_embeddings=20",), "is 20, but examples may have 64 tokens: leave it out"),
        (("model.init=/nowhere/at/all", "model.init_weights=false"), "leave model.init and init_weights out"),
        (("model.num_attention_heads=5",), "The model section doesn't describe a model"),
        (("model.init=/nowhere/at/all",), "nowhere"),
    ],
)
def test_a_model_that_doesn_t_go(changes: tuple[str, ...], said: str, data: Path) -> None:
    with pytest.raises(PoNetError, match=said) as error:
        PretrainingTask().prepare(recipe(data, *changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.max_length=4", "'data.max_length' should be at least 5"),
        ("data.last_length=3", "'data.last_length' should be at least 5"),
        ("data.validation_length=2", "'data.validation_length' should be at least 5"),
        ("data.mlm_rate=0", "'data.mlm_rate' should be greater than 0, not 0."),
        ("data.mlm_rate=1", "'data.mlm_rate' should be below 1, not 1."),
        ("data.short_share=1.5", "'data.short_share' should be at most 1"),
        ("data.last_share=-1", "'data.last_share' should be at least 0"),
        ("data.validation_examples=0", "'data.validation_examples' should be at least 1"),
        ("data.objective=sso", "objective"),
    ],
)
def test_options_out_of_range(change: str, said: str) -> None:
    with pytest.raises(PoNetError, match=said):
        recipe(None, change)


def test_other_splits_and_predictions(run: Path) -> None:
    with pytest.raises(PoNetError, match="has the splits validation and train, no 'dev'"):
        evaluate(run, split="dev", show=False)
    with pytest.raises(PoNetError, match=f"`ponet finetune DATA --model {run} --out RUN`"):
        list(predict(run, "text.txt"))


def test_changed_data_is_seen_when_a_run_goes_on(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        crash(patch, 2)
        with pytest.raises(Crash):
            train(recipe(copy, "checkpoint_every=1"), tmp_path / "run", show=False)
    corpus = write_texts(tmp_path / "other.jsonl", made_up_texts(60, seed=5))
    tokenizer = shutil.copytree(copy / "tokenizer", tmp_path / "tokenizer")
    shutil.rmtree(copy)
    prepare([str(corpus)], copy, tokenizer=str(tokenizer), processes=1, validation_fraction=0.2)
    with pytest.raises(PoNetError, match=r"isn't what the run in '.*' began with"):
        train(recipe(copy, "checkpoint_every=1"), tmp_path / "run", show=False)
