"""The methods that trained models are compared with, documents of Choi's form, and both benchmarks end to end."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ponet.benchmarks.retrieval import Apart, InOnePass, Passages, quality
from ponet.benchmarks.segmentation import EmbeddingChunker, EvenCuts, TrainedModel, agreement
from ponet.benchmarks.sentences import MethodsPlan, compare
from ponet.benchmarks.summarization import FirstSentences, LexRank, Oracle, TextRank
from ponet.benchmarks.summarization import TrainedModel as TrainedSummarizer
from ponet.cli.app import app
from ponet.tasks.sentences.choi import choi_documents
from ponet.tasks.sentences.documents import LabelledDocument, join_paragraphs, parse_article
from ponet.utils.errors import PoNetError

RIVER = ["The water of the river flows under the bridge.", "The river carries much water in spring."]
TRAIN = ["The engine pulled the heavy train.", "A train needs an engine and a railway."]


def document(*groups, reference="") -> LabelledDocument:
    text, spans, ends = join_paragraphs([[" ".join(group)] for group in groups])
    return LabelledDocument(text, spans, ends, reference)


def article(number: int) -> str:
    lines = [f"Town {number}", "", " ".join(f"The town {number} lies by a river of many bridges." for _ in range(6))]
    for name in ("History", "Trains"):
        lines += [f"{name}.", " ".join(f"In {name} of {number} there is a tale of year {year}." for year in range(8))]
    return "\n".join(lines)


def test_even_cuts() -> None:
    found = EvenCuts(2)([document(RIVER * 2, TRAIN * 2), document(RIVER[:1])])
    assert found[0].tolist() == [False, True, False, True, False, True, False]
    assert found[1].tolist() == []


def test_distant_neighbours_are_parted() -> None:
    chunker = EmbeddingChunker("ponet-tiny")
    [found] = chunker([document(RIVER * 4, TRAIN * 4)])
    assert found.shape == (15,)
    assert found.sum() == 1
    assert chunker([document(RIVER[:1])])[0].shape == (0,)


def test_trained_models_answer_for_every_sentence(sentence_model) -> None:
    text = "The mill.\n\n\x01\x02\n\nThe river.\n\nThe train."
    odd = LabelledDocument(text, [(0, 9), (11, 13), (15, 25), (27, 37)], np.zeros(4, dtype=bool))
    method = TrainedModel(str(sentence_model))
    method.scorer.threshold = 0.0
    assert method([odd])[0].tolist() == [False, True, True]  # behind the sentence without tokens
    method.scorer.threshold = 1.1
    assert not method([odd])[0].any()
    assert TrainedSummarizer(str(sentence_model))([odd], 4)[0] == [0, 1, 2, 3]


def test_agreement_is_of_all_boundaries() -> None:
    documents = [document(RIVER, TRAIN), document(RIVER, TRAIN)]
    right, wrong = np.array([False, True, False]), np.array([True, False, False])
    figures = agreement(documents, [right, wrong])
    assert (figures["f1"], figures["precision"], figures["recall"]) == (0.5, 0.5, 0.5)
    assert 0 < figures["pk"] < 1
    assert agreement(documents, [right, right])["pk"] == 0


def test_ranks_prefer_what_many_sentences_share() -> None:
    mixed = document([*RIVER, "The river under the bridge has water in spring.", "Nothing else."])
    for method in (TextRank(), LexRank()):
        [chosen] = method([mixed], 1)
        assert chosen != [3]
    assert FirstSentences()([mixed], 2) == [[0, 1]]
    assert Oracle()([document([*RIVER, *TRAIN], reference="An engine pulled the heavy train.")], 1) == [[2]]


def test_choi_documents_have_ten_excerpts() -> None:
    chapter = "Chapter {}. It was a day\nlike any other. He left novel {}. She stayed."
    novels = ["\n\n".join(chapter.format(i, number) for i in range(400)) for number in range(8)]
    articles = [parse_article(article(number)) for number in range(8)]
    documents = choi_documents(novels, articles, 4, seed=1)
    assert [int(each.labels.sum()) for each in documents] == [10] * 4
    for each in documents:
        sizes = np.diff([0, *(np.flatnonzero(each.labels) + 1)])
        assert sizes.min() >= 3
        assert sizes.max() <= 11
        lines = each.text.split("\n")
        assert len(lines) == 10
        origins = [re.findall(r"novel \d|The town \d", line)[:1] for line in lines]
        named = [origin[0] for origin in origins if origin]
        assert len(set(named)) == len(named) > 5
    again = choi_documents(novels, articles, 4, seed=1)
    assert [each.text for each in again] == [each.text for each in documents]
    assert choi_documents(novels, articles, 1, seed=2)[0].text != documents[0].text


def test_ranks_count_ties_against_a_method() -> None:
    scores = np.array([[3.0, 1, 2], [5, 5, 1], [9, 8, 7]])
    assert quality(scores) == {"recall_1": 1 / 3, "recall_10": 1.0, "mrr": pytest.approx((1 + 1 / 2 + 1 / 3) / 3)}


def test_sections_are_read_apart_and_in_one_pass() -> None:
    texts = [" ".join(RIVER), " ".join(TRAIN)]
    spans = [[(0, len(RIVER[0])), (len(RIVER[0]) + 1, len(texts[0]))], [(0, len(texts[1]))]]
    passages = Passages(texts, spans, ["a", "b", "c"])
    assert passages.sections() == [*RIVER, texts[1]]
    for kind in (Apart, InOnePass):
        method = kind("ponet-tiny")
        method.index(passages)
        assert method.scores(passages.queries).shape == (3, 3)
    own = Apart("ponet-tiny")
    own.index(passages)
    assert quality(own.scores(passages.sections()))["recall_1"] == 1


def test_each_method_is_measured_in_each_type(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("ponet.utils.precision.cpu_computes_bf16", lambda: True)
    plan = MethodsPlan(("a", "b"), dtypes=("bf16", "bfloat16", "float32"), rounds=2)
    calls: list[tuple[str, bool]] = []

    class Method:
        def __init__(self, model: str, dtype: str) -> None:
            self.title, self.dtype = model, dtype

    class Simple:
        title = "simple"

    def run(method, few: bool) -> str:
        calls.append((method.title, few))
        return method.title

    done: list[str] = []
    methods = [Simple, *plan.each(Method)]
    setup = {"words": 100}
    path = tmp_path / "result.json"
    values = compare(methods, run, lambda _, found: {"length": len(found)}, path, plan, setup, done.append)
    assert values == json.loads(path.read_text())
    assert values["setup"]["dtype"] == "bf16 and float32"
    found = [(row["method"], row["dtype"], row["length"]) for row in values["rows"]]
    assert found == [("simple", None, 6), ("a", "bf16", 1), ("a", "float32", 1), ("b", "bf16", 1), ("b", "float32", 1)]
    for row in values["rows"]:
        rate = row["words_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
    assert done == ["simple", "a", "a", "b", "b", "speed"]
    assert calls.count(("a", True)) == 2
    assert calls.count(("a", False)) == 2 * 3  # what it finds, and twice its speed
    with pytest.raises(PoNetError, match="dtype=int8 is unknown"):
        MethodsPlan((), dtypes=("int8",))


@pytest.mark.slow  # NLTK takes seconds to import
def test_the_benchmarks_write_results_that_their_reports_read(tmp_path, monkeypatch, sentence_model) -> None:
    pytest.importorskip("nltk")
    pytest.importorskip("rouge_score")
    pytest.importorskip("bm25s")
    from ponet.report.registry import markdown

    (tmp_path / "data" / "wikipedia").mkdir(parents=True)
    for split, size in (("train", 1), ("validation", 12)):
        rows = "".join(json.dumps({"text": article(number)}) + "\n" for number in range(size))
        (tmp_path / "data" / "wikipedia" / f"{split}.jsonl").write_text(rows)
    monkeypatch.setenv("PONET_DATA", str(tmp_path / "data"))
    for name, rows, model in (
        ("segmentation", 3, str(sentence_model)),
        ("summarization", 5, str(sentence_model)),
        ("retrieval", 3, "ponet-tiny"),
    ):
        out = tmp_path / "results" / name / "cpu.json"
        result = CliRunner().invoke(app, ["benchmark", name, model, "--limit", "3", "--json", str(out)])
        assert result.exit_code == 0, result.output
        values = json.loads(out.read_text())
        assert values["complete"]
        assert len(values["rows"]) == rows
        report = markdown(name, tmp_path / "results")
        assert Path(model).name in report
        assert "Nothing is measured" not in report
