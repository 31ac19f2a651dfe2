"""The sentences of any text as the tasks read them: none longer than a bound, and no heading apart from its text."""

import re

from ponet.models.segmentation import sentence_spans

LONGEST = 500
"""Characters of a sentence, at most; text without sentence marks (a transcript) is cut at line ends, else at space."""
_HEADING = re.compile(r"#{1,6}[ \t]\S[^\n]*")

Span = tuple[int, int]
"""Half-open character offsets."""


def split_sentences(text: str) -> list[Span]:
    """Sentences of a text: in order, disjoint, without space at either end, together everything but space.

    A Markdown heading belongs to the sentence behind it. Linear in `len(text)`.
    """
    pieces = [piece for span in sentence_spans(text) for piece in _cut(text, *span)]
    spans: list[Span] = []
    begin: int | None = None
    for start, end in pieces:
        first = start if begin is None else begin
        if _HEADING.fullmatch(text, start, end):
            begin = first
            continue
        spans.append((first, end))
        begin = None
    if begin is not None:
        spans.append((begin, pieces[-1][1]))
    return spans


def _cut(text: str, start: int, end: int) -> list[Span]:
    """A span in pieces of at most `LONGEST` characters, cut at a line's end, else at space, else anywhere."""
    pieces: list[Span] = []
    while end - start > LONGEST:
        limit = start + LONGEST
        place = text.rfind("\n", start, limit)
        if place <= start:
            place = next((at for at in range(limit, start, -1) if text[at].isspace()), limit)
        pieces.append(_trimmed(text, start, place))
        start = place
        while text[start].isspace():  # the span ends with something else
            start += 1
    return [*pieces, (start, end)]


def _trimmed(text: str, start: int, end: int) -> Span:
    while text[end - 1].isspace():
        end -= 1
    return start, end
