"""Sentences of any text: bounded, in order, with everything but space; and articles as sections."""

from hypothesis import given
from hypothesis import strategies as st

from ponet.tasks.sentences.documents import is_heading, is_prose, parse_article
from ponet.tasks.sentences.encode import LONGEST, split_sentences

ARTICLE = """Ada

Ada was a town by the river, with a mill and a bridge.
It was founded by a miller and his three sons.
History.
Early years.
The first house was built of stone, and it stands to this day.
Growth.
Then came the railway, and with it came many new people.
Geography.
The river is wide here, and there is a wood behind the hills.
See also.
[[Category:Towns]]
A list of all towns by the river is to be found elsewhere.
"""


@given(st.text(alphabet=st.sampled_from("ab .!?\n#\u3002\u00e9\t"), max_size=400))
def test_everything_but_space_is_in_one_sentence(text) -> None:
    spans = split_sentences(text)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert all(start < end for start, end in spans)
    inside = "".join(text[start:end] for start, end in spans)
    assert "".join(inside.split()) == "".join(text.split())


def test_text_without_marks_is_cut_at_lines_then_at_space_then_anywhere() -> None:
    lines = "\n".join(["so today we talk about trains"] * 60)
    assert all(lines[end] == "\n" for _, end in split_sentences(lines)[:-1])
    spoken = "so today we talk about trains " * 60
    assert all(spoken[end] == " " for _, end in split_sentences(spoken)[:-1])
    unbroken = "\u706b" * 1201
    assert [end - start for start, end in split_sentences(unbroken)] == [LONGEST, LONGEST, 201]


def test_markdown_headings_belong_to_what_follows() -> None:
    text = "# Title\n\n## Part\n\nFirst one. Second one.\n\n## Last\n"
    assert [text[start:end] for start, end in split_sentences(text)] == [
        "# Title\n\n## Part\n\nFirst one.",
        "Second one.",
        "## Last",
    ]


def test_an_article_has_sections_without_lists() -> None:
    article = parse_article(ARTICLE)
    assert article.title == "Ada"
    assert [section.headings for section in article.sections] == [
        (),
        ("History", "Early years"),
        ("Growth",),
        ("Geography",),
    ]
    assert len(article.sections[0].paragraphs) == 2
    assert [section.headings[:1] for section in article.top_level().sections] == [(), ("History",), ("Geography",)]
    assert len(article.top_level().sections[1].paragraphs) == 2


def test_headings_and_prose_are_told_apart() -> None:
    assert is_heading("Etymology and terminology.")
    assert is_heading("2001 – Persian Gulf.")
    for line in ("The river is wide.", "Geography", "and so on.", "</dl>", "A. " * 60 + "."):
        assert not is_heading(line)
    assert is_prose("Then came the railway, and with it people.")
    for line in ("Route 5", "* an item of a list that goes on and on.", "It has no end and goes on"):
        assert not is_prose(line)
