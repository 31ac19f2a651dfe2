"""Articles -> documents of labelled sentences."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ponet.config.sentences import SegmentationOptions, SummarizationOptions
from ponet.data.columns import text_column
from ponet.data.sources import TableSource
from ponet.tasks.sentences.articles import Article, parse_article
from ponet.tasks.sentences.encode import Span, split_sentences
from ponet.tasks.sentences.metrics import oracle
from ponet.utils.errors import PoNetError


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
