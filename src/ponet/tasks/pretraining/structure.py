"""From a document's text to its sentences: which line breaks mean something, then the rules of the tokenizer.

Text comes in three shapes, and one document keeps to one of them: a paragraph on each line (Wikipedia, most web text),
paragraphs parted by blank lines and wrapped at some width (novels, mail), and the same without blank lines. So a
line break is undone only in wrapped text, and there only where the next line's first word would not have fitted, begins
with a small letter, or follows a long line that ends no sentence: a heading, a line of verse, the end of a paragraph
stay what they are.
"""

from collections.abc import Iterator
from itertools import pairwise

from ponet.models.segmentation import sentence_spans

WIDEST = 105
"""Characters: text with longer lines than this, but for a few in a hundred, wasn't wrapped by hand or editor."""
NARROWEST = 40
FEW = 0.02
"""The share of lines that may be longer than `WIDEST`: tables, addresses, slips."""
LONG = 0.1
"""The share of lines that are longer than the width: wrapped by hand, they end near it, some beyond it."""
ROOM = 3
"""A line counts as full where the next word would have ended within so many characters of the width."""
HALF = 0.6
"""The share of the width from which on a line is no heading."""
FULL, AMID = 0.4, 0.2
"""The shares of lines in wrapped text, at least, that are nearly full, and that end amid a sentence."""
_ENDS = frozenset(".!?:;…\"'”’»)]*_")


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs and headings of a document, each in one piece, wrapped lines joined by a space."""
    lines = [line.strip() for line in text.splitlines()]
    width = wrapped_at([line for line in lines if line])
    paragraph: list[str] = []
    for line in lines:
        if paragraph and (not line or width is None or not _goes_on(paragraph[-1], line, width)):
            yield _joined(paragraph)
            paragraph = []
        if line:
            paragraph.append(line)
    if paragraph:
        yield _joined(paragraph)


def wrapped_at(lines: list[str]) -> int | None:
    """The width at which these lines (no empty ones, no space around them) were wrapped, or None where they weren't."""
    count = len(lines)
    if count < 4:
        return None
    ordered = sorted(map(len, lines))
    widest, width = (ordered[count - 1 - int(count * share)] for share in (FEW, LONG))
    if widest > WIDEST or width < NARROWEST:
        return None
    # in wrapped text most lines are nearly full, and many end amid a sentence; a list or a poem has short lines of all
    # lengths, and few of them begin with a small letter
    full = sum(length >= 0.8 * width for length in ordered)
    amid = sum(_amid(line, following) for line, following in pairwise(lines))
    return width if full >= FULL * count and amid >= AMID * count else None


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, by the rules that also give the model its segments."""
    return [paragraph[start:end] for start, end in sentence_spans(paragraph)]


def _goes_on(line: str, following: str, width: int) -> bool:
    word = following.split(maxsplit=1)[0]
    if len(line) + 1 + len(word) > width - ROOM or word[0].islower():
        return True
    return len(line) >= HALF * width and line[-1] not in _ENDS


def _amid(line: str, following: str) -> bool:
    return following[0].islower() and line[-1] not in _ENDS


def _joined(lines: list[str]) -> str:
    """Lines in one piece; a word that was parted at its hyphen is one word again, hyphen and all."""
    parts = [lines[0]]
    for before, line in pairwise(lines):
        hyphen = len(before) > 1 and before[-1] == "-" and before[-2].isalpha()
        parts += ["" if hyphen else " ", line]
    return "".join(parts)
