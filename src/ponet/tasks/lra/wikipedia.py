"""Retrieval from Wikipedia, for those who don't have AAN: are two texts from one article, or of two on a like topic?

A pair is a text from the first half of an article and one from the second half, of the same article (1) or of another
one (0), in random order. Every text has exactly 4,000 bytes and begins with a paragraph, and within a round every
article gives one text to a pair of each kind on each side; so neither length nor one text alone is informative, only
the comparison does. No article is in two splits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from ponet.config.lra import DataOptions
from ponet.tasks.lra.published import identity, located, source_sizes
from ponet.tasks.lra.spec import TASKS, DatasetSpec, ExampleSource
from ponet.tasks.lra.store import Examples, digest
from ponet.tasks.lra.text import LIMIT, from_texts
from ponet.utils.errors import PoNetError

VERSION = 1
DEFAULT = "wikipedia"
ROUNDS = 8
"""How often the articles of a split are used, at most."""
_OPENING = 1_000
"""Characters of an article that say what it is about."""
_HEADLINE = 100
_LONGEST = 40_000
"""Bytes of an article that are used, which bounds what is held in memory."""
_PER_JOB = 1_000
NEAREST = 200
"""Neighbours that are known of each text."""
_CHUNK = 500
_WORDS = 50_000

Row = tuple[int, int, int, bool, int]
"""Articles of the text of a first and of a second half, round, whether they change places, label."""


def spec(options: DataOptions) -> DatasetSpec:
    """The whole data set."""
    source = options.source or DEFAULT
    wanted = options.sizes(TASKS["retrieval-wikipedia"].official)

    def sources() -> list[ExampleSource]:
        articles = read_articles(source, options.seed, max(sum(wanted.values()) // 2, 2 * len(wanted)))
        make = partial(_make, articles, options.seed)
        found = []
        for split, numbers in _shares(articles, wanted, source).items():
            rows = make_pairs(articles, numbers, wanted[split], options.seed)
            jobs = [rows[start : start + _PER_JOB] for start in range(0, len(rows), _PER_JOB)]
            found.append(ExampleSource(make, jobs, {split: wanted[split]}, _PER_JOB, "pairs", parallel=False))
        return found

    return DatasetSpec(
        task="retrieval-wikipedia",
        version=VERSION,
        parameters={"source": identity(source), "seed": options.seed, "sizes": wanted},
        source=f"Wikipedia from '{source}'",
        sources=sources,
        inputs=lambda: source_sizes(source),
        shift=1,
        remarks=lambda notes: [
            "Not an official task: Wikipedia articles in the place of AAN papers, one article or two of like topic in "
            "the place of shared citations."
        ],
    )


@dataclass(frozen=True)
class Articles:
    """The articles that are used: all in memory, since their number is no more than that of the pairs."""

    bodies: list[bytes]

    def __len__(self) -> int:
        return len(self.bodies)

    def openings(self, numbers: NDArray[np.int64]) -> list[str]:
        """What each of these articles is about."""
        return [self.bodies[number][: 4 * _OPENING].decode(errors="ignore")[:_OPENING] for number in numbers]

    def text(self, number: int, half: int, seed: int, round_: int) -> bytes:
        """4,000 bytes of the first or second half (0 or 1) of an article, from a paragraph's begin where one fits."""
        body = self.bodies[number]
        middle = len(body) // 2
        low, high = (0, middle - LIMIT) if half == 0 else (middle, len(body) - LIMIT)
        starts = [start for start in _paragraphs(body) if low <= start <= high]
        if not starts:
            starts = [body.find(b" ", low, high) + 1 or low]
        chosen = np.random.default_rng([seed, 1, number, half, round_]).integers(len(starts))
        start = starts[int(chosen)]
        return body[start : start + LIMIT]


@lru_cache(maxsize=4)
def _paragraphs(body: bytes) -> list[int]:
    starts = [0]
    while (end := body.find(b"\n", starts[-1])) >= 0:
        starts.append(end + 1)
    return starts


def read_articles(source: str, seed: int, most: int) -> Articles:
    """Up to `most` different articles long enough for two texts, a random choice from all; read in constant memory.
    Raises a PoNetError as the readers of files do."""
    seen: set[bytes] = set()
    fitting = []
    for number, text in enumerate(_texts(source)):
        body = _body(text)
        key = digest(body[:LIMIT])
        if len(body) >= 2 * LIMIT and key not in seen:
            seen.add(key)
            fitting.append(number)
    chosen = np.random.default_rng([seed, 0]).permutation(len(fitting))[:most]
    order = {fitting[int(place)]: rank for rank, place in enumerate(chosen)}
    bodies = [b""] * len(chosen)
    for number, text in enumerate(_texts(source)):
        if number in order:
            bodies[order[number]] = _body(text)
    return Articles(bodies)


def _body(text: str) -> bytes:
    """An article without a headline, which would give both its parts' topic away."""
    first, line, rest = text.strip().partition("\n")
    body = rest.lstrip() if line and len(first) <= _HEADLINE else text.strip()
    return body.encode(errors="replace")[:_LONGEST]


def _texts(source: str) -> Iterator[str]:
    from ponet.data.corpora import TextCorpus
    from ponet.data.sources import open_source

    if path := located(source):
        corpus = TextCorpus([path])
        for file in corpus.files:
            for text, _ in corpus.documents(file, limit=1 << 24):
                yield text
        return
    if source == DEFAULT:
        raise PoNetError(
            "There is no folder 'wikipedia' in the data folder ($PONET_DATA): name a folder or a hub data set of "
            "articles as source, with a column 'text'."
        )
    table = open_source(source).splits["train"]
    if "text" not in table.columns:
        raise PoNetError(f"'{table.origin}' has no column 'text', as Wikipedia has on the hub.")
    for batch in table.data.select(["text"]).to_batches(max_chunksize=64):
        for text in batch.column(0).to_pylist():
            yield text or ""


def _shares(articles: Articles, wanted: Mapping[str, int], source: str) -> dict[str, NDArray[np.int64]]:
    """Which articles each split may use: as many of each as it has of the pairs."""
    total = sum(wanted.values())
    ends = np.round(np.cumsum([0, *wanted.values()]) * (len(articles) / total)).astype(int)
    shares = {split: np.arange(ends[place], ends[place + 1]) for place, split in enumerate(wanted)}
    for split, numbers in shares.items():
        if len(numbers) < 2 or -(-wanted[split] // 2) > ROUNDS * len(numbers):
            raise PoNetError(
                f"'{source}' has {len(articles):,} different articles of {2 * LIMIT:,} bytes or more, too few for "
                f"{total:,} pairs: ask for fewer or give more text."
            )
    return shares


def make_pairs(articles: Articles, numbers: NDArray[np.int64], count: int, seed: int) -> list[Row]:
    """`count` pairs of these articles in random order, half of them (the odd one too) of one article."""
    random = np.random.default_rng([seed, 2, int(numbers[0])])
    nearest = neighbours(articles.openings(numbers))
    rows: list[Row] = []
    left = -(-count // 2)
    round_ = 0
    while left:
        chosen = random.permutation(len(numbers))[: max(left, 2)]
        others = partners(nearest, chosen, random)
        for text, other in zip(chosen[:left], others[:left], strict=True):
            first, second = int(numbers[text]), int(numbers[other])
            swaps = random.integers(2, size=2)
            rows.append((first, first, round_, bool(swaps[0]), 1))
            rows.append((first, second, round_, bool(swaps[1]), 0))
        left -= min(left, len(numbers))
        round_ += 1
    rows = rows[:count]
    return [rows[place] for place in random.permutation(len(rows))]


def _make(articles: Articles, seed: int, rows: list[Row]) -> Examples:
    first, second = [], []
    for one, other, round_, swapped, _ in rows:
        texts = articles.text(one, 0, seed, round_), articles.text(other, 1, seed, round_)
        first.append(texts[swapped])
        second.append(texts[1 - swapped])
    return from_texts([first, second], [label for *_, label in rows])


def neighbours(openings: Sequence[str]) -> NDArray[np.int64]:
    """`[n, min(n - 1, NEAREST)]` the numbers of the texts nearest to each one, the nearest first, itself left out."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    count = len(openings)
    words = TfidfVectorizer(stop_words="english", sublinear_tf=True, max_features=_WORDS, dtype=np.float32)
    vectors = words.fit_transform(openings)
    kept = min(count - 1, NEAREST)
    found = np.empty((count, kept), np.int64)
    for start in range(0, count, _CHUNK):
        likeness = (vectors[start : start + _CHUNK] @ vectors.T).toarray()
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -1
        # by number where two are as near, so that the order is the same everywhere
        found[start : start + _CHUNK] = np.argsort(-likeness.round(4), axis=1, kind="stable")[:, :kept]
    return found


def partners(nearest: NDArray[np.int64], chosen: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """`[m]` for each of the `chosen` texts another one of them, of like topic; every one is taken exactly once.

    In random order, each takes the nearest that is left. That no text is taken more often than another one matters:
    else a model could recognise pairs by one of their texts alone. `nearest` is as `neighbours` gives it, and `chosen`
    two or more different numbers.
    """
    free = np.zeros(len(nearest), bool)
    free[chosen] = True
    partner: dict[int, int] = {}
    for text in random.permutation(chosen):
        near = nearest[text][free[nearest[text]]]
        if len(near):
            other = int(near[0])
        else:
            left = np.flatnonzero(free)
            left = left[left != text]
            if not len(left):  # only the text itself is left: it takes what another one had, which takes it
                giver = next(iter(partner))
                partner[int(text)], partner[giver] = partner[giver], int(text)
                break
            other = int(random.choice(left))
        partner[int(text)] = other
        free[other] = False
    return np.array([partner[int(text)] for text in chosen])
