"""Chunks: joined they are the text, whatever it is; limits hold; LangChain's methods."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ponet
from ponet.models.checkpoints import CHECKPOINTS
from ponet.segmenting import Segmenter, TextSplitter, boundaries
from ponet.utils.errors import PoNetError

BOOK = "The mill stood by the river. It was old! Who built it? Nobody knew.\r\n\r\n" * 40
TEXTS = {
    "prose": BOOK,
    "empty": "",
    "space": " \n\t ",
    "one sentence": "The mill stood by the river",
    "no marks": "so today we talk about trains " * 300,
    "no space": "\u706b\u8eca" * 2000,
    "chinese": "\u706b\u8eca\u4f86\u4e86\u3002" * 300,
    "headings": "# One\n\n## Two\n\n### Three\n",
    "control": "\x01\x02 \x03\n\n\ufffe",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(("most", "least"), [(None, 0), (50, 20), (7, 7), (1, 0)])
def test_chunks_joined_are_the_text(sentence_model, name, most, least) -> None:
    text = TEXTS[name]
    [chunks] = ponet.segment([text], sentence_model, most, least)
    assert "".join(chunk.text for chunk in chunks) == text
    assert [chunk.start for chunk in chunks] == [0, *(chunk.end for chunk in chunks)][: len(chunks)]
    assert all(chunk.text == text[chunk.start : chunk.end] != "" for chunk in chunks)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet=st.sampled_from("ab. \n!#\u3002\U0001f600\x00"), max_size=80), max_size=4))
def test_any_texts_come_back(sentence_model, texts) -> None:
    found = ponet.segment(texts, sentence_model)
    assert ["".join(chunk.text for chunk in chunks) for chunks in found] == texts


def test_chunks_fit_an_index(sentence_model) -> None:
    segmenter = Segmenter(sentence_model, max_tokens=50, min_tokens=10)
    tokenizer = segmenter.scorer.tokenizer
    for name in ("prose", "no marks", "chinese"):
        sizes = [len(tokenizer(chunk.text)["input_ids"]) - 2 for chunk in segmenter.segment([TEXTS[name]])[0]]
        assert len(sizes) > 3
        assert max(sizes) <= 50
        assert min(sizes) >= 10


def test_models_compute_in_what_is_asked_for(sentence_model, monkeypatch) -> None:
    monkeypatch.setattr("ponet.utils.precision.cpu_computes_bf16", lambda: True)
    text = TEXTS["prose"]
    exact, half, fastest = (Segmenter(sentence_model, dtype=dtype) for dtype in ("float32", "bf16", "auto"))
    [before], [after] = (list(each.scorer.stream([text])) for each in (exact, half))
    assert after.probabilities.dtype == np.float32
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=0.02)
    assert (after.probabilities != before.probabilities).any()
    assert fastest.scorer.model.dtype == half.scorer.model.dtype != exact.scorer.model.dtype
    assert "".join(chunk.text for chunk in ponet.segment([text], sentence_model, dtype="bf16")[0]) == text
    assert ponet.summarize([text], CHECKPOINTS / "summarization", dtype="bf16")[0]
    for call in (ponet.segment, ponet.summarize):
        with pytest.raises(PoNetError, match="dtype=int8 is unknown"):
            call([text], dtype="int8")


def test_a_text_has_the_chunks_that_it_has_alone(sentence_model) -> None:
    texts = [TEXTS[name] for name in TEXTS]
    together = Segmenter(sentence_model, batch_tokens=3000).segment(texts)
    assert together == [Segmenter(sentence_model).segment([text])[0] for text in texts]
    assert any(len(chunks) > 1 for chunks in together)


def test_boundaries_follow_probabilities_and_limits() -> None:
    probabilities, counts = np.array([0.1, 0.9, 0.2, 0.6, 0.3, 0.99]), np.full(6, 10)
    assert boundaries(probabilities, counts, 0.5) == [2, 4]
    assert boundaries(probabilities, counts, 0.95) == []
    assert boundaries(probabilities, counts, 0.95, max_tokens=30) == [2, 4]
    assert boundaries(probabilities, counts, 0.5, max_tokens=10) == [1, 2, 3, 4, 5]
    assert boundaries(probabilities, np.array([10, 10, 10, 10, 2, 2]), 0.5, min_tokens=15) == [2]
    assert boundaries(probabilities, np.array([2, 2, 10, 10, 10, 10]), 0.5, min_tokens=15) == [4]
    left_over, counts = np.array([0, 0, 0, 0, 0, 0, 0.9, 0]), np.array([10, 10, 10, 10, 10, 10, 3, 10])
    assert boundaries(left_over, counts, 0.5, max_tokens=30) == [3, 6, 7]
    assert boundaries(left_over, counts, 0.5, max_tokens=30, min_tokens=5) == [3, 6]
    assert boundaries(probabilities[:1], counts[:1], 0.0) == []


def test_text_splitter_has_langchains_methods(sentence_model) -> None:
    splitter = TextSplitter(model=sentence_model, max_tokens=40)
    parts = splitter.split_text(BOOK)
    assert "".join(parts) == BOOK
    documents = splitter.create_documents([BOOK, "One."], [{"source": "a"}, {"source": "b"}])
    assert [each.page_content for each in documents] == [*parts, "One."]
    assert documents[1].metadata == {"source": "a", "start_index": len(parts[0])}
    assert documents[-1].metadata == {"source": "b", "start_index": 0}
    again = splitter.split_documents(documents[:1])
    assert again[0].metadata["source"] == "a"
    assert splitter.transform_documents(documents[:1]) == again


def test_one_sentence_for_bad_calls(sentence_model) -> None:
    with pytest.raises(PoNetError, match="list of texts"):
        ponet.segment("text")
    for options, message in (
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "min_tokens": 9}, "min_tokens"),
        ({"threshold": 2.0}, "probability"),
    ):
        with pytest.raises(PoNetError, match=message):
            Segmenter(sentence_model, **options)


def test_without_a_model_of_its_own_it_says_how_to_make_one(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("ponet.tasks.sentences.scoring.BUNDLED", tmp_path)
    with pytest.raises(PoNetError, match="ponet train segmentation"):
        Segmenter()


BANK = (
    "The central bank raised its interest rate by half a point. "
    "Inflation had reached nine per cent in the spring. "
    "Banks passed the higher rate on to borrowers within weeks. "
    "Mortgages became dearer and house prices fell. "
    "Economists expected a recession in the following year. Exports suffered from the strong currency. "
    "Unemployment rose slowly at first. The government answered with tax cuts. "
    "Bond yields climbed to their highest level in a decade. Markets calmed down in the autumn. "
)
MILL = (
    "The mill stood by the river for two hundred years. "
    "Its wheel was built of oak and turned by the stream. "
    "Farmers brought wheat and barley from the valley. The miller took a tenth of the flour as payment. "
    "In dry summers the river fell and the wheel stood still. A new wheel of iron was fitted in 1840. "
    "The stones came from a quarry in France. Every winter they were dressed again by hand. "
    "The mill closed when the railway brought cheap flour. Today it is a museum. "
)


def test_the_bundled_model_finds_where_the_topic_changes() -> None:
    [chunks] = ponet.segment([BANK + MILL])
    assert len(BANK) in [chunk.end for chunk in chunks]
    assert len(chunks) < 6
    assert "".join(chunk.text for chunk in chunks) == BANK + MILL


@pytest.mark.parametrize("task", ["segmentation", "summarization"])
def test_the_bundled_models_are_small_and_have_cards(task) -> None:
    folder = CHECKPOINTS / task
    assert (folder / "adapter.safetensors").stat().st_size < 2**21
    assert json.loads((folder / "adapter.json").read_text(encoding="utf-8"))["base"] == "ponet-mini"
    assert "## Where it comes from" in (folder / "README.md").read_text(encoding="utf-8")
