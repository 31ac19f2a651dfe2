"""Texts in windows: tokens, the mean of vectors, and a run of a model that reads few tokens at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.tasks.text.predicting import answers

from ponet.config.text import TextOptions
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.modeling_ponet import PoNetForSequenceClassification
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.tasks.text.encode import Encoder
from ponet.tasks.text.task import TextTask
from ponet.tasks.text.tokens import PackedCollator
from ponet.utils.errors import PoNetError

Make = Callable[..., Any]
Write = Callable[..., Path]
TEXTS = ["great fun. I loved it. " * 9, "", "awful", "what a waste. Awful. " * 30]


@pytest.mark.parametrize("segments", ["sentences", "none"])
def test_windows_hold_the_whole_text_in_order(tokenizer: PoNetTokenizer, segments: Any) -> None:
    whole = Encoder(tokenizer, TextOptions(max_length=100, segments=segments))(TEXTS)
    encoder = Encoder(tokenizer, TextOptions(max_length=100, segments=segments, window=16))
    for text, example in zip(whole, encoder(TEXTS), strict=True):
        assert example.document_lengths is not None
        lengths = example.document_lengths
        assert lengths.max() <= 16
        assert lengths.max() - lengths.min() <= 1
        assert len(lengths) == max(1, -(-(len(text.input_ids) - 2) // 14))
        assert example.dropped == text.dropped
        ends = np.cumsum(lengths)[:-1]
        inner = []
        for ids, segment in zip(np.split(example.input_ids, ends), np.split(example.segment_ids, ends), strict=True):
            assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
            assert set(np.diff(segment).tolist()) <= {0, 1}
            assert segment[0] == 0
            inner += ids[1:-1].tolist()
        assert inner == text.input_ids[1:-1].tolist()


def test_the_classifier_reads_the_mean_of_the_windows(tokenizer: PoNetTokenizer) -> None:
    config = PoNetConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        classifier_pooling="mean",
        mixer_types="attention",
    )
    model = PoNetForSequenceClassification(config).eval()
    encoded = Encoder(tokenizer, TextOptions(max_length=100, window=16))(TEXTS)
    batch = PackedCollator(windows=True)([example.example() for example in encoded])
    assert batch["window_counts"].tolist() == [len(example.document_lengths) for example in encoded]  # type: ignore[arg-type]
    counts = batch.pop("window_counts")
    with torch.no_grad():
        logits = model(**batch, window_counts=counts).logits
        alone = model(**batch).logits  # of a linear classifier the mean of logits is that of the mean vector
    by_hand = torch.stack([part.mean(0) for part in alone.split(counts.tolist())])
    torch.testing.assert_close(logits, by_hand, atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match="window_counts adds up to"):
        model(**batch, window_counts=counts + 1)


def test_a_run_needs_positions_for_a_window_alone(folder: Path, write_rows: Write, reviews: Any, recipe: Make) -> None:
    rows = [{**row, "text": f"{row['text']}. " * 12} for row in reviews(2)]
    write_rows(folder / "a.csv", rows)
    made = recipe(path="a.csv", max_length=64, window=16)
    prepared = TextTask().prepare(made)
    assert prepared.model.config.max_position_embeddings == 16
    assert int(prepared.train.lengths.max()) > 64, "special tokens of every window"
    batch = prepared.collate([prepared.train.examples[i] for i in range(4)])
    assert prepared.model(**batch).logits.shape == (4, 2)
    prepared.model.save_pretrained(folder / "run")
    assert prepared.processing_class is not None
    assert prepared.processing_class.model_max_length == 16
    prepared.processing_class.save_pretrained(folder / "run")
    records = list(answers(folder / "run", made, "a.csv", batch_tokens=50))
    assert len(records) == len(rows)
    evaluation = TextTask().evaluation(folder / "run", made, None, "validation", None)
    assert "window_counts" in evaluation.collate([evaluation.split.examples[0]])


def test_pairs_are_not_read_in_windows(folder: Path, write_rows: Write, recipe: Make) -> None:
    write_rows(folder / "a.csv", [{"sentence1": "a", "sentence2": "b", "label": k % 2} for k in range(20)])
    with pytest.raises(PoNetError, match="window is for single texts"):
        TextTask().prepare(recipe(path="a.csv", window=16))
