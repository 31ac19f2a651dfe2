"""Documents in Choi's form (Choi 2000): ten excerpts from different texts, one after the other."""

from collections.abc import Sequence

import numpy as np

from ponet.tasks.sentences.documents import Article, LabelledDocument, join_paragraphs
from ponet.tasks.sentences.encode import split_sentences

EXCERPTS = 10
SENTENCES = (3, 11)
"""Of an excerpt: from, to."""
PASSAGE = 8_000
"""Characters of a novel among which an excerpt's sentences are looked for."""
TRIES = 100


def choi_documents(novels: Sequence[str], articles: Sequence[Article], count: int, seed: int) -> list[LabelledDocument]:
    """Documents of ten excerpts each, from novels and articles (ten texts together, at least) by turns at random, no
    two of one text.

    An excerpt of a novel begins with a paragraph anywhere in it, one of an article with the article; each has 3 to 11
    sentences, on a line of its own. Choi's own documents are of the Brown corpus."""
    random = np.random.default_rng([seed, 10])
    found = []
    for _ in range(count):
        used: set[tuple[str, int]] = set()
        groups: list[list[str]] = []
        for _ in range(TRIES):
            if len(groups) == EXCERPTS:
                break
            from_novel = bool(novels) and (not articles or random.random() < 0.5)
            index = int(random.integers(len(novels if from_novel else articles)))
            size = int(random.integers(SENTENCES[0], SENTENCES[1] + 1))
            key = ("novel" if from_novel else "article", index)
            sentences = _novel(novels[index], random) if from_novel else _article(articles[index])
            if key not in used and len(sentences) >= size:
                used.add(key)
                groups.append([" ".join(sentences[:size])])
        text, spans, ends = join_paragraphs(groups)
        found.append(LabelledDocument(text, spans, ends))
    return found


def _novel(text: str, random: np.random.Generator) -> list[str]:
    """Sentences behind a random place, from the begin of a paragraph on, without its hard line ends."""
    at = int(random.integers(max(1, len(text) - PASSAGE)))
    begin = max(text.find("\n\n", at, at + PASSAGE), 0) or at
    passage = " ".join(text[begin : begin + PASSAGE].split())
    return [passage[start:end] for start, end in split_sentences(passage)][:-1]  # the last may be cut


def _article(article: Article) -> list[str]:
    sentences: list[str] = []
    for section in article.sections:
        for line in section.paragraphs:
            sentences += [line[start:end] for start, end in split_sentences(line)]
            if len(sentences) >= SENTENCES[1]:
                return sentences
    return sentences
