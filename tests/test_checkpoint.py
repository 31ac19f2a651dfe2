"""The checkpoint that comes with the package: whole, small enough, and knows more than the frequencies of words."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, pipeline

import ponet
from ponet import PoNetForPreTraining, PoNetModel
from ponet.models import checkpoints as shipped

PASSAGE = (
    "The river rises in the mountains in the north of the country and flows to the south for about two hundred miles. "
    "It was named after the first governor of the state, who was born in a small town near its mouth in the early part "
    "of the century. The town has a school, a church and a railway station. In summer many people come to visit the "
    "old castle, which was built by the king and was later used as a prison during the war."
)
"""Written for this test."""


@pytest.fixture(scope="module", params=shipped.checkpoint_names())
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(ponet.checkpoint(request.param))


def test_one_comes_with_the_package() -> None:
    assert "ponet-tiny" in shipped.checkpoint_names()
    assert PoNetModel.from_pretrained(ponet.checkpoint()).dtype == torch.float32


def test_it_is_small_and_has_its_card(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 25e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert all(figure in card for figure in ("masked words right (MLM)", "sentence order right (SSO)"))


def test_it_guesses_masked_words(folder: Path) -> None:
    """Each word of a passage masked in turn; by frequency alone, the loss is near 7 and 1 in 12 is right."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = PoNetForPreTraining.from_pretrained(folder).eval()
    batch = tokenizer(PASSAGE, return_tensors="pt")
    ids = batch["input_ids"][0]
    places = [place for place, token in enumerate(ids.tolist()) if token not in tokenizer.all_special_ids]
    masked = ids.repeat(len(places), 1)
    masked[range(len(places)), places] = tokenizer.mask_token_id
    segments = batch["segment_ids"].repeat(len(places), 1)
    with torch.inference_mode():
        scores = model(input_ids=masked, segment_ids=segments).prediction_logits
    found = scores[range(len(places)), places]
    truth = ids[places]
    assert torch.nn.functional.cross_entropy(found, truth) < 5
    assert (found.argmax(-1) == truth).float().mean() > 0.25


def test_it_fills_a_mask(folder: Path) -> None:
    found = pipeline("fill-mask", model=str(folder))("He was born in the [MASK] of the year.")
    assert len(found) == 5
    assert all(0 < guess["score"] < 1 and guess["token_str"].strip() for guess in found)


def test_it_reads_a_long_document_at_once(folder: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), PoNetModel.from_pretrained(folder).eval()
    batch = tokenizer(" ".join([PASSAGE] * 12), return_tensors="pt", truncation=True)
    assert batch["input_ids"].shape[1] == 1024
    with torch.inference_mode():
        assert torch.isfinite(model(**batch).last_hidden_state).all()
