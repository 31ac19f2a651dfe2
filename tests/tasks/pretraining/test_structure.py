"""Documents to paragraphs to sentences: which line breaks mean something."""

import random
import textwrap

import pytest

from ponet.tasks.pretraining.encode import paragraphs, sentences, wrapped_at

WORDS = [
    "the",
    "a",
    "river",
    "stone",
    "house",
    "of",
    "and",
    "on",
    "under",
    "quiet",
    "morning",
    "walked",
    "stood",
    "they",
]
WORDS += ["they", "had", "been", "slowly", "wonderful"]


def prose(draw: random.Random, count: int) -> str:
    """A paragraph; the last word of each sentence is a capital name, so that some lines begin with one."""
    made = [[draw.choice(WORDS) for _ in range(draw.randint(6, 22))] for _ in range(count)]
    return " ".join(" ".join(["They", *words, "Anna"]) + "." for words in made)


def test_a_paragraph_on_each_line():
    text = "The title\n\nFirst sentence. Second one.\nHistory.\n  Third. \n\n\nFourth, of Dr. Smith. Fifth.\n"
    assert list(paragraphs(text)) == [
        "The title",
        "First sentence. Second one.",
        "History.",
        "Third.",
        "Fourth, of Dr. Smith. Fifth.",
    ]
    assert [sentences(p) for p in paragraphs(text)][4] == ["Fourth, of Dr. Smith.", "Fifth."]


@pytest.mark.parametrize("width", [45, 72, 100])
@pytest.mark.parametrize("gap", ["\n\n", "\n"])
def test_wrapped_text_is_put_together(width, gap):
    draw = random.Random(width)
    whole = []
    while len(whole) < 30:  # without blank lines a paragraph's end shows by its short last line alone
        paragraph = prose(draw, draw.randint(2, 6))
        if len(textwrap.wrap(paragraph, width)[-1]) < width - 20:
            whole.append(paragraph)
    text = gap.join(textwrap.fill(paragraph, width) for paragraph in whole)
    assert text.count("\n") > 60
    assert list(paragraphs(text)) == whole


def test_text_wrapped_by_hand_is_put_together():
    """Lines end anywhere in the last quarter of the width, and blank lines part paragraphs."""
    draw = random.Random(0)
    whole = [prose(draw, draw.randint(2, 6)) for _ in range(30)]
    ragged = []
    for paragraph in whole:
        lines, line = [], ""
        for word in paragraph.split():
            line = f"{line} {word}".strip()
            if len(line) > draw.randint(48, 72):
                lines.append(line)
                line = ""
        ragged.append("\n".join([*lines, line]).strip())
    found = list(paragraphs("\n\n".join(ragged)))
    assert [s for p in found for s in sentences(p)] == [s for p in whole for s in sentences(p)]


def test_headings_and_verse_in_wrapped_text_stay_apart():
    draw = random.Random(1)
    body = [textwrap.fill(prose(draw, 5), 70) for _ in range(12)]
    verse = "Tell me not in mournful numbers,\nLife is but an empty dream,\nFor the soul is dead that slumbers."
    text = "CHAPTER I\nThe Arrival\n" + "\n\n".join(body) + "\n\n" + verse
    found = list(paragraphs(text))
    assert found[:2] == ["CHAPTER I", "The Arrival"]
    assert found[-3:] == verse.split("\n")
    assert len(found) == 2 + 12 + 3


def test_a_word_parted_at_its_hyphen():
    draw = random.Random(2)
    body = textwrap.fill(prose(draw, 20), 60)
    text = body + "\n\nIn their great hurry they all walked out to get some-\nbody who knew the way - \nas it were."
    assert list(paragraphs(text))[-1].endswith("to get some-body who knew the way - as it were.")


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(
            ["Telephone lines in use in all: 37,400 of them", "Telephones mobile: 99,900 at the last count"] * 10
        ),
        "\n".join(["Shall I compare thee to a summer's day", "Thou art more lovely and more temperate"] * 10),
        "A line of some fifty characters, more or less, say\nand one\nand more of it",
        "",
        "\n \n",
    ],
)
def test_lists_poems_and_little_text_were_not_wrapped(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert wrapped_at(lines) is None
    assert list(paragraphs(text)) == lines


def test_all_characters_but_space_are_kept():
    draw = random.Random(3)
    text = "\n\n".join(textwrap.fill(prose(draw, 4), 66) for _ in range(20)) + "\x0bvertical\u2028separated\x1ctext…"
    kept = "".join("".join(sentences(p)) for p in paragraphs(text))
    assert "".join(kept.split()) == "".join(text.split())


@pytest.mark.data
def test_real_text(data_dir):
    parquet = pytest.importorskip("pyarrow.parquet")
    articles = parquet.read_table(data_dir / "wikipedia" / "validation.parquet").column("text").to_pylist()
    wrapped = [text for text in articles if wrapped_at([line.strip() for line in text.splitlines() if line.strip()])]
    assert wrapped == []
    novels = parquet.read_table(data_dir / "novels" / "train.parquet", columns=["title", "text"]).slice(14, 8)
    for text in novels.column("text").to_pylist():
        found = list(paragraphs(text))
        if wrapped_at([line.strip() for line in text.splitlines() if line.strip()]):
            assert sum(p[0].islower() for p in found) < 0.03 * len(found)
