"""From a document's text to its sentences: which line breaks mean something, then the rules of the tokenizer.

Text comes in three shapes, and one document keeps to one of them: a paragraph on each line (Wikipedia, most web text),
paragraphs parted by blank lines and wrapped at some width (novels, mail), and the same without blank lines. So a
line break is undone only in wrapped text, and there only where the next line's first word would not have fitted: a
heading, a line of verse, the end of a paragraph stay what they are.
"""

from collections.abc import Iterator

from ponet.models.segmentation import sentence_spans

WIDEST = 100
"""Characters: text with longer lines than this, but for a few in a hundred, wasn't wrapped by hand or editor."""
NARROWEST = 40
FEW = 0.02
"""The share of lines that may be longer than the width: tables, addresses, slips."""
ROOM = 3
"""A line counts as full where the next word would have ended within so many characters of the width."""


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs and headings of a document, each in one piece, wrapped lines joined by a space."""
    lines = [line.strip() for line in text.splitlines()]
    width = wrapped_at([len(line) for line in lines if line])
    paragraph: list[str] = []
    for line in lines:
        if paragraph and (not line or width is None or not _goes_on(paragraph[-1], line, width)):
            yield " ".join(paragraph)
            paragraph = []
        if line:
            paragraph.append(line)
    if paragraph:
        yield " ".join(paragraph)


def wrapped_at(lengths: list[int]) -> int | None:
    """The width at which lines of these lengths (no empty ones) were wrapped, or None where they weren't."""
    if len(lengths) < 4:
        return None
    ordered = sorted(lengths)
    width = ordered[int((len(ordered) - 1) * (1 - FEW))]
    if not NARROWEST <= width <= WIDEST:
        return None
    # in wrapped text most lines are nearly full; a list or a poem has short lines of all lengths
    nearly = sum(0.8 * width <= length <= width + ROOM for length in lengths)
    return width if nearly >= 0.4 * len(lengths) else None


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, by the rules that also give the model its segments."""
    return [paragraph[start:end] for start, end in sentence_spans(paragraph)]


def _goes_on(line: str, following: str, width: int) -> bool:
    word = following.split(maxsplit=1)[0]
    return len(line) + 1 + len(word) > width - ROOM
