"""Vectors don't depend on the batch or the order; they are means of the model's own states, for texts of any length."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import spearmanr

import ponet
from ponet.embedding import Embedder
from ponet.utils.errors import PoNetError

TEXTS = [
    "The river rose in spring.",
    "",
    "A long walk. Then a longer one! And tea, at last, in the garden.",
    "word " * 400,
    "The river rose in spring.",
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def test_order_and_batches_dont_matter(embedder: Embedder) -> None:
    whole = embedder.embed(TEXTS)
    assert whole.shape == (5, embedder.width)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(whole[0], whole[4], atol=1e-6)
    single = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(single, whole, atol=1e-5)
    small = Embedder(batch_tokens=8).embed(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(small, whole, atol=1e-5)


def test_a_vector_is_the_mean_of_the_last_states(embedder: Embedder) -> None:
    model, tokenizer = ponet.PoNetModel.from_pretrained(ponet.checkpoint()).eval(), embedder.tokenizer
    with torch.inference_mode():
        states = model(**tokenizer(TEXTS[2], return_tensors="pt")).last_hidden_state[0]
    expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
    np.testing.assert_allclose(ponet.embed([TEXTS[2]])[0], expected, atol=1e-5)


def test_longer_than_the_model_has_positions(embedder: Embedder) -> None:
    """A whole text is read, and what came before it doesn't change its vector."""
    long = "The river rose, and the town moved uphill. " * 400
    first = embedder.embed([long])
    assert not np.allclose(first, embedder.embed([long[: len(long) // 2] + " Nothing else happened."]), atol=1e-3)
    np.testing.assert_allclose(embedder.embed([*TEXTS, long])[-1:], first, atol=1e-5)


def test_cut_texts_are_counted() -> None:
    short = Embedder(max_length=6)
    vectors = short.embed(TEXTS)
    assert short.cut == 4
    np.testing.assert_allclose(vectors[1], Embedder().embed([""])[0], atol=1e-6)


def test_nothing_gives_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.width)


def test_what_it_refuses(tmp_path) -> None:
    with pytest.raises(PoNetError, match="list of texts"):
        ponet.embed("one text")
    with pytest.raises(PoNetError):
        ponet.embed(["text"], model=tmp_path)
    with pytest.raises(PoNetError, match="max_length"):
        Embedder(max_length=2)


@pytest.mark.data
def test_the_default_is_about_as_close_to_people_as_its_teacher(data_dir: Path) -> None:
    """STS-B's validation pairs without fine-tuning (0.861; the teacher has 0.867, ponet-tiny 0.5 after fine-tuning)."""
    pairs = pq.read_table(data_dir / "glue" / "stsb" / "validation.parquet")
    first, second = (Embedder().embed(pairs[name].to_pylist()) for name in ("sentence1", "sentence2"))
    assert spearmanr((first * second).sum(1), pairs["label"].to_pylist()).statistic > 0.85
