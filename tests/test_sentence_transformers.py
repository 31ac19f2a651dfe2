"""sentence-transformers opens the checkpoint in the package: the vectors of `ponet.embed`, without padding."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.test_standalone import WITHOUT_PONET

import ponet
from ponet.embedding import Embedder

library = pytest.importorskip("sentence_transformers", reason="pip install 'ponet[sentence-transformers]'")

TEXTS = [
    "The river rose in spring.",
    "",
    "A long walk. Then a longer one! And tea, at last, in the garden.",
    "word " * 400,
    "The river rose, and the town moved uphill. " * 400,
]


@pytest.fixture
def model() -> Any:
    return library.SentenceTransformer(ponet.checkpoint(), device="cpu")


def test_vectors_are_those_of_embed(model: Any) -> None:
    expected = ponet.embed(TEXTS)
    np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.encode(TEXTS, batch_size=2), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.encode(TEXTS[4]), expected[4], rtol=0, atol=1e-5)
    assert model.get_embedding_dimension() == expected.shape[1]
    assert model.similarity(expected, expected).numpy() == pytest.approx(expected @ expected.T, abs=1e-5)


def test_no_pad_token_is_computed(model: Any) -> None:
    """The longest text of the batch is 300 times as long as the shortest."""
    features = model.preprocess(TEXTS)
    tokens = sum(len(ids) for ids in model.tokenizer(TEXTS, truncation=False, verbose=False)["input_ids"])
    assert features["input_ids"].shape == (1, tokens)
    states = model[0](features)["token_embeddings"]
    assert states.shape == (1, tokens, model.get_embedding_dimension())


def test_a_limit_cuts_and_is_saved(model: Any, tmp_path: Path) -> None:
    expected = Embedder(max_length=16).embed(TEXTS)
    whole = model.encode(TEXTS)
    by_call = model.encode(TEXTS, processing_kwargs={"text": {"max_length": 16}})
    np.testing.assert_allclose(by_call, expected, rtol=0, atol=1e-5)
    model.max_seq_length = 16
    np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=1e-5)
    assert np.abs(whole - expected).max() > 0.01
    model.save_pretrained(str(tmp_path))
    again = library.SentenceTransformer(str(tmp_path), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), expected, rtol=0, atol=1e-5)


def test_saved_and_opened_again(model: Any, tmp_path: Path) -> None:
    expected = ponet.embed(TEXTS)
    for folder in (tmp_path / "one", tmp_path / "two"):
        model.save_pretrained(str(folder))
        model = library.SentenceTransformer(str(folder), device="cpu")
        np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ponet.embed(TEXTS, model=tmp_path / "two"), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_saved_folder_opens_without_ponet(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(str(tmp_path / "saved"))
    script = f"""{WITHOUT_PONET}
import numpy
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], trust_remote_code=True, device="cpu")
numpy.save(sys.argv[2], model.encode({TEXTS!r}))
"""
    place = str(Path(library.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": place, "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", script, str(tmp_path / "saved"), str(tmp_path / "vectors.npy")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), ponet.embed(TEXTS), rtol=0, atol=1e-5)


def test_training(model: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers.sentence_transformer import losses

    rows = Dataset.from_dict(
        {
            "anchor": [f"What is the number {i}?" for i in range(12)],
            "positive": [f"It is {i}, said the clerk. " * (1 + 5 * (i % 4)) for i in range(12)],
        }
    )
    arguments = library.SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=3,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
    )
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    loss = losses.MultipleNegativesRankingLoss(model)
    trainer = library.SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss)
    trainer.train()
    figures = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(figures) == 3
    assert np.isfinite(figures).all()
    still = {name for name, weight in model.named_parameters() if torch.equal(weight, before[name])}
    assert all("pooler" in name for name in still), still


def test_mini_batches_of_a_packed_batch_give_its_gradients(model: Any) -> None:
    from sentence_transformers.sentence_transformer import losses

    model.eval()  # no dropout
    pairs = [TEXTS[:3], [text + "Again." for text in TEXTS[:3]]]
    gradients = []
    for loss in (
        losses.MultipleNegativesRankingLoss(model),
        losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2),
    ):
        model.zero_grad()
        loss([model.preprocess(texts) for texts in pairs], None).backward()
        gradients.append(model.transformers_model.embeddings.word_embeddings.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
