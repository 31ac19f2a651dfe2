"""Words in sentences: the places that a model gives them."""

from pathlib import Path

from transformers import pipeline

from ponet import checkpoint
from ponet.benchmarks.fill_mask import SENTENCES, FillMaskPlan, measure_fill_mask, word_ranks
from ponet.report.registry import find_report


def test_the_sentences_have_one_masked_word_each() -> None:
    assert len(SENTENCES) == 30
    assert all(sentence.count("[MASK]") == 1 for sentence in SENTENCES)


def test_ranks_are_those_of_the_pipeline(tmp_path: Path) -> None:
    folder = checkpoint("ponet-tiny")
    ranks = word_ranks(folder)
    fill = pipeline("fill-mask", model=folder, top_k=10)
    for sentence in list(SENTENCES)[:5]:
        words = [found["token_str"] for found in fill(sentence)]
        rank = ranks[sentence]
        assert (SENTENCES[sentence] in words) == (rank <= 10)
        assert rank > 10 or words[rank - 1] == SENTENCES[sentence]
    # a word that the vocabulary splits is never found
    assert all(1 <= rank <= 8000 for rank in ranks.values())

    values = measure_fill_mask(FillMaskPlan((folder,)), tmp_path / "fill-mask/cpu.json", lambda word: None)
    [row] = values["rows"]
    assert row["top_10"] == sum(rank <= 10 for rank in ranks.values()) / 30
    [table] = find_report("fill-mask").tables(tmp_path)
    assert table.rows[0][0] == "ponet-tiny"
