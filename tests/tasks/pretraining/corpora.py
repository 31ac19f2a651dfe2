"""A small corpus and vocabulary, for the tests of pre-training data."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ponet.tasks.pretraining.prepare import prepare

NOUNS = ["river", "mountain", "house", "garden", "ship", "king", "bird", "forest", "road", "window"]
VERBS = ["sees", "follows", "finds", "leaves", "keeps"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "title", *NOUNS, *VERBS, "##s", ".", *"0123456789"]
PIECES += [f"##{digit}" for digit in "0123456789"]
BLOCK = 2_000
"""Characters: the corpus of `write` makes about ten shards."""


def documents(count: int = 60, seed: int = 0) -> list[str]:
    """A title and three paragraphs of three sentences each, one a line."""
    draw = random.Random(seed)

    def sentence() -> str:
        return f"The {draw.choice(NOUNS)} {draw.choice(VERBS)} the {draw.choice(NOUNS)}."

    return [
        f"Title {seed}{index}\n" + "\n".join(" ".join(sentence() for _ in range(3)) for _ in range(3))
        for index in range(count)
    ]


def write(path: Path, texts: Sequence[str | None], column: str = "text") -> str:
    """JSON lines; the path, as a corpus is named."""
    path.write_text("".join(json.dumps({column: text}) + "\n" for text in texts), encoding="utf-8")
    return str(path)


def vocabulary(path: Path, pieces: Sequence[str] = PIECES) -> str:
    """A `vocab.txt`."""
    path.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    return str(path)


def prepared(corpus: str | Sequence[str], out: Path, **options: Any) -> Any:
    """`prepare` in small blocks, in this process and with nothing held out unless told."""
    names = [corpus] if isinstance(corpus, str) else corpus
    options.setdefault("validation_fraction", None if options.get("validation") else 0.0)
    return prepare(names, out, **{"processes": 1, "block_characters": BLOCK, **options})


def files(folder: Path) -> dict[str, bytes]:
    """All files of prepared data with their bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(walk(folder))}


def walk(folder: Path) -> Iterator[Path]:
    """All files under a folder."""
    return (path for path in folder.rglob("*") if path.is_file())
