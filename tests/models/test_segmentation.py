"""Sentences and paragraphs: the rules by example, what holds for every text, and linear time."""

import ast
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ponet.models.segmentation as segmentation
from ponet.models.segmentation import paragraph_spans, sentence_spans

UNHURRIED = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])

SENTENCES = [
    "One.¦ Two!¦ Three?¦ Four",
    "No stop at all",
    "A line\nthat goes on.\nAnother.".replace(".\n", ".¦\n"),
    # what isn't an end
    "Mr. Brown met Dr. J. R. Smith.¦ Mrs. Brown didn't.",
    "It costs 3.50, or v2.0.1 at www.example.org.¦ Really.",
    "Apples, pears, etc. were sold, e.g. by Smith & Co. in town.¦ Next.",
    "See Fig. 3, no. 5, pp. 12 and Vol. 2.¦ No.¦ I won't.",
    "She was born on Jan. 5 at 5 p.m. in Washington, D.C. and left.",
    "1. First item.¦ 2. Second item.¦ iv. Fourth item.",
    "(a) One.¦ (b) Two.",
    "Brown v. Board of Education, op. cit., c. 1954.¦ End.",
    "said--Mr. Brown—Dr. Green.",
    "Wait... what?¦ So... yes.",
    "a . . . b",
    "He (!) came (?) and went [...] away.¦ End.",
    "Yahoo!x is not.¦ Is x!=y?¦ Yes: see /a?B=c here.",
    "Use System.Out.print or example.Com here.",
    # what is, though it looks like an abbreviation
    "He lives in the U.S. He works for the U.S. Senate.".replace("U.S. He", "U.S.¦ He"),
    "He is taller than I.¦ You aren't.",
    "Take vitamin C.¦ The rest is nothing.",
    "Paid by Smith Inc.¦ They said so.",
    "At 5 p.m.¦ The rain began.",
    "I have no.¦ Nothing.",
    "In 1984.¦ Then.",
    "Wait...¦ What?",
    "i like it.¦ it was good!!¦ really",
    # quotation and brackets
    '"Who is it?" he asked.¦ "Nobody."¦ The end.',
    "“Go!”¦ He went.¦ (He ran.)¦ Then he stopped.",
    "It ended.[12]¦ It began.[citation needed]¦ It went on.",
    "Il dit : « Oui. »¦ Il part.",
    "It is **bold.**¦ Next.",
    # tokens apart
    "He left .¦ Then ( she left . )¦ And `` he came . ''¦ Why ? !¦ So .",
    # no space
    "great movie.¦I loved it!¦It rocks?¦Yes, it does.",
    # other scripts
    "我来了。¦你呢\uff1f¦「好。」¦他说\uff01",
    "「行く。」と言った。¦終わり。",
    "यह है।¦ वह है।",
    "هل هذا؟¦ نعم.",
    # breaks
    "No stop\n\n¦nor here\r\n \r\n¦nor\u2029¦there",
    "One line\r\nstill the same line.",
    "It was good.<br />¦And<br>bad<br /><br />¦then<BR/> <br>¦over.<br><br>",
    "A<br>\n\n¦B",
    "<br /><br />A.",
]


def split(marked: str) -> tuple[str, list[str]]:
    return marked.replace("¦", ""), [piece.strip() for piece in marked.split("¦")]


@pytest.mark.parametrize("marked", SENTENCES)
def test_sentences(marked):
    text, expected = split(marked)
    assert [text[a:b] for a, b in sentence_spans(text)] == expected


@pytest.mark.parametrize(
    "marked",
    [
        "One. Two.\nStill one.\n\n¦Two.\n \t\n\n¦Three.",
        "One\r\none\r\n\r\n¦two\r\r¦three\u2029¦four",
        "One.<br />One.<br /><br />¦Two.",
        "\n\nOne.\n\n",
    ],
)
def test_paragraphs(marked):
    text, expected = split(marked)
    assert [text[a:b] for a, b in paragraph_spans(text)] == expected


@pytest.mark.parametrize("text", ["", " ", "\n\n \t\u2029"])
def test_nothing_but_space(text):
    assert sentence_spans(text) == []
    assert paragraph_spans(text) == []


PARTS = [
    *".!?…。\"')(”“[]» \n\r\t\u2029<>/aAIé3-",
    "...",
    "\n\n",
    "<br />",
    "<br>",
    "Mr.",
    "U.S.",
    "etc.",
    "The",
    "word",
    "[12]",
    "''",
    " . ",
]
texts = st.one_of(st.text(), st.lists(st.sampled_from(PARTS), max_size=40).map("".join))


@UNHURRIED
@given(texts)
def test_spans_are_ordered_disjoint_and_cover_what_is_not_space(text):
    for spans in (sentence_spans(text), paragraph_spans(text)):
        covered = 0
        for start, end in spans:
            assert covered <= start < end <= len(text)
            assert text[covered:start].strip() == ""
            assert text[start:end] == text[start:end].strip()
            covered = end
        assert text[covered:].strip() == ""


@UNHURRIED
@given(texts)
def test_every_sentence_lies_within_a_paragraph(text):
    paragraphs = paragraph_spans(text)
    for start, end in sentence_spans(text):
        assert any(a <= start and end <= b for a, b in paragraphs)


@UNHURRIED
@given(texts, texts)
def test_a_blank_line_makes_what_precedes_it_independent(before, after):
    # brackets after the blank line and tags may still be drawn to the sentence before: a plain word stops that
    text = f"{before} x\n\ny {after}"
    first = sentence_spans(f"{before} x")
    assert sentence_spans(text)[: len(first)] == first


PIECES = [
    *("a", " ", ".", "\n", ". ", "A.", "Mr. ", "1. ", '?"', ".[", ".[a", "x<br>", "<br ", "<br>", ".\n", "\r\n"),
    *("\r \n", ". ((", "!A", "。", "\n   ", ".[aaaaaaaaaaaaaaaaaaaaa", "I. ", "... ", ".-"),
]


def time_one_long_line(size: int) -> float:
    started = time.process_time()
    for piece in PIECES:
        text = piece * (size // len(piece))
        for lead in ("", " " * size + "x", "." + " " * size, "<br" + " " * size):
            sentence_spans(lead + text)
            paragraph_spans(lead + text)
    return time.process_time() - started


def test_time_is_linear_in_one_long_line():
    short = time_one_long_line(1_000)
    assert time_one_long_line(10_000) < 10 * 4 * short


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_a_line_of_a_million_characters_takes_seconds(piece):
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    for lead in ("", " " * 1_000_000 + "x"):
        sentence_spans(lead + text)
        paragraph_spans(lead + text)
    assert time.process_time() - started < 20  # a few seconds; what is quadratic takes minutes


def test_only_the_standard_library_is_imported():
    tree = ast.parse(Path(segmentation.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.ImportFrom)
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= sys.stdlib_module_names
