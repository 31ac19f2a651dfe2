"""Articles, as plain text with section headings -> sections of prose -> documents of labelled sentences."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ponet.config.sentences import SegmentationOptions, SummarizationOptions
from ponet.data.columns import text_column
from ponet.data.sources import TableSource
from ponet.tasks.sentences.encode import Span, split_sentences
from ponet.tasks.sentences.metrics import oracle
from ponet.utils.errors import PoNetError

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


@dataclass(frozen=True)
class LabelledDocument:
    """A text, its sentences, and which of them are to be chosen."""

    text: str
    spans: list[Span]
    labels: np.ndarray
    """`[k]` bool: the topic ends with the sentence (the last one's is never read), or it is of the best summary."""
    reference: str = ""
    """The summary, where the task has one."""
    title: str = ""

    def sentences(self) -> list[str]:
        """The text of each sentence."""
        return [self.text[start:end] for start, end in self.spans]


Build = Callable[[Article], LabelledDocument | None]
"""Makes a document of an article; None where the article doesn't serve."""


def join_paragraphs(groups: Iterable[Iterable[str]]) -> tuple[str, list[Span], np.ndarray]:
    """A text of one paragraph a line, its sentences, and `[k]` bool: where a group of paragraphs ends."""
    lines: list[str] = []
    spans: list[Span] = []
    ends: list[bool] = []
    size = 0
    for group in groups:
        for line in group:
            found = split_sentences(line)
            spans += [(size + start, size + end) for start, end in found]
            ends += [False] * len(found)
            lines.append(line)
            size += len(line) + 1
        if ends:
            ends[-1] = True
    return "\n".join(lines), spans, np.array(ends, dtype=bool)


def segmentation_document(options: SegmentationOptions) -> Build:
    """An article's text without its headings; a topic ends with each section."""

    def build(article: Article) -> LabelledDocument | None:
        article = article.top_level() if options.levels == "top" else article
        if len(article.sections) < options.min_sections:
            return None
        text, spans, ends = join_paragraphs(section.paragraphs for section in article.sections)
        return LabelledDocument(text, spans, ends, title=article.title)

    return build


def summarization_document(options: SummarizationOptions) -> Build:
    """An article's body without its headings; its lead is the reference."""

    def build(article: Article) -> LabelledDocument | None:
        lead = article.sections[0] if article.sections else None
        if lead is None or lead.headings or len(article.sections) < 2:
            return None
        reference = " ".join(lead.paragraphs)
        text, spans, _ = join_paragraphs(section.paragraphs for section in article.sections[1:])
        if len(spans) < options.min_sentences or len(reference.split()) < options.min_lead_words:
            return None
        labels = np.zeros(len(spans), dtype=bool)
        labels[oracle([text[start:end] for start, end in spans], reference, options.sentences)] = True
        return LabelledDocument(text, spans, labels, reference, article.title)

    return build


def read_articles(source: TableSource, split: str, column: str, order: np.ndarray | None = None) -> Iterator[Article]:
    """The articles of a split, in the given order of rows. Raises PoNetError: no such split or column."""
    if split not in source.splits:
        raise PoNetError(f"The articles have no split '{split}'; they have: {', '.join(source.splits)}.")
    table = source.splits[split]
    if column not in table.columns:
        raise PoNetError(f"'{table.origin}' has no column '{column}' (data.text); it has: {', '.join(table.columns)}.")
    texts = text_column(table, column)
    for row in range(len(table)) if order is None else order.tolist():
        yield parse_article(texts[row].as_py())


def take(
    articles: Iterable[Article], build: Build, limit: int | None, advance: Callable[[int], None] = lambda count: None
) -> tuple[list[LabelledDocument], int]:
    """The first documents that articles give, at most `limit`, and how many articles didn't serve. Calls `advance(1)`
    for each document."""
    found: list[LabelledDocument] = []
    unfit = 0
    for document in map(build, articles):
        if document is None:
            unfit += 1
            continue
        found.append(document)
        advance(1)
        if len(found) == limit:
            break
    return found, unfit
