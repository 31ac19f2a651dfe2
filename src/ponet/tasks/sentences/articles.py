"""Articles with section headings, as plain text: parsed into sections, with what isn't prose left out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

HEADING_CHARACTERS, HEADING_WORDS = 90, 11
"""The most of a heading; what is longer and ends with a full stop is a paragraph."""
PROSE_WORDS = 6
"""The least words of a paragraph: shorter lines are items of lists, captions and leftovers of markup."""


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(","))


_VERBS = _names(
    "is, was, are, were, has, have, had, may, can, will, would, do, does, did, became, been, began, came, uses, "
    "include, includes, contain, contains, it, they, he, she, this, these"
)
"""Words that a short sentence has, and a heading hardly ever."""
_MARKUP = re.compile(r"</?[a-zA-Z]|\[\[|\{\{|[*\u2217•|=]")
_ENDS = re.compile(r"[.!?…:;][\"'”’)\]]*$")
APPARATUS = _names(
    "references, notes, footnotes, citations, sources, bibliography, filmography, discography, publications, gallery, "
    "awards, see also, external links, further reading, notes and references, works cited, selected works"
)
"""Names of sections that hold lists, in lower case."""
TOP_LEVEL = _names(
    """history, geography, demographics, economy, culture, government, politics, education, transport, transportation,
    climate, etymology, biography, career, legacy, reception, plot, production, development, overview, background,
    description, classification, characteristics, geology, ecology, distribution, uses, applications, design, structure,
    infrastructure, sports, media, religion, language, music, science, society, administration, aftermath, death, works,
    themes, criticism, controversy, controversies, influence, origins, definition, taxonomy, behavior, behaviour,
    physiology, evolution, properties, occurrence, synthesis, theory, examples, gameplay, release, synopsis, cast,
    characters, style, personnel, equipment, early life, personal life, later life, later years, early years,
    life and career, foreign relations, notable people, in popular culture, popular culture, health effects,
    early history, modern history"""
)
"""Names that sections of the top level usually have, in lower case."""


@dataclass(frozen=True)
class Section:
    """The text under one heading."""

    headings: tuple[str, ...]
    """The headings right above the text, the outer ones first, without their full stops; none for the lead."""
    paragraphs: tuple[str, ...]

    @property
    def is_top_level(self) -> bool:
        """Whether it seems to begin a section of the top level: plain text doesn't mark levels."""
        return len(self.headings) != 1 or self.headings[0].lower() in TOP_LEVEL


@dataclass(frozen=True)
class Article:
    """A title, and sections that all have text; the lead comes first where the article has one."""

    title: str
    sections: tuple[Section, ...]

    def top_level(self) -> "Article":
        """The same article with the sections of lower levels joined to those before them."""
        merged: list[Section] = []
        for index, section in enumerate(self.sections):
            if index < 2 or section.is_top_level:
                merged.append(section)
            else:
                last = merged.pop()
                merged.append(Section(last.headings, last.paragraphs + section.paragraphs))
        return Article(self.title, tuple(merged))


def parse_article(text: str) -> Article:
    """An article from its text: the title, then one paragraph or heading a line."""
    title, _, body = text.strip().partition("\n")
    sections: list[Section] = []
    headings: list[str] = []
    paragraphs: list[str] = []
    has_text = False  # whether any line followed the headings, even one that is left out

    def close() -> None:
        if paragraphs and not any(heading.lower() in APPARATUS for heading in headings):
            sections.append(Section(tuple(headings), tuple(paragraphs)))

    for line in _lines(body):
        if is_heading(line):
            if has_text or (not headings and paragraphs):
                close()
                headings, paragraphs = [], []
            headings.append(line[:-1])
            has_text = False
        else:
            has_text = True
            if is_prose(line):
                paragraphs.append(line)
    close()
    return Article(title.strip(), tuple(sections))


def is_heading(line: str) -> bool:
    """Whether a line of an article is a section heading: short, with a full stop at its end and no verb."""
    if len(line) > HEADING_CHARACTERS or not line.endswith(".") or line[0].islower() or _MARKUP.match(line):
        return False
    words = line[:-1].split()
    return 0 < len(words) <= HEADING_WORDS and not any(word.lower() in _VERBS for word in words)


def is_prose(line: str) -> bool:
    """Whether a line is a paragraph of sentences: not an item of a list, a caption or markup."""
    return len(line.split()) >= PROSE_WORDS and not _MARKUP.match(line) and _ENDS.search(line) is not None


def _lines(body: str) -> Iterator[str]:
    return (line.strip() for line in body.split("\n") if line.strip())
