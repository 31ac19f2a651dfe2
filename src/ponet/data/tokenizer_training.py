"""WordPiece vocabularies from text, in memory or from a corpus of any size: the same input gives the same vocabulary.

The trainer of the `tokenizers` library numbers the pieces of one character in the order of a randomly seeded hash map,
so that ids differ from run to run, and with them which of two equally frequent pairs is merged first. Here a first pass
finds those pieces, and the second is given them in a fixed order. Hence each text is read twice.
"""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from ponet.data.corpora import TextCorpus, pieces
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.utils.errors import PoNetError
from ponet.utils.files import check_utf8_name, explain, explained

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MOST_PIECES = 10**7
"""Of a vocabulary: the library sets memory aside for as many as are asked for."""
MOST_OFTEN = 2**32 - 1
PASSES = 2
TOKENIZER_FILES = re.compile(r"tokenizer\.json|tokenizer_config\.json|vocab\.txt|(ponet_\w+|tokenization_ponet)\.py")


@dataclass(frozen=True)
class TokenizerSummary:
    """What `train_tokenizer_from_corpus` did, for the command to print."""

    folder: Path
    vocab_size: int
    """Pieces in the vocabulary, special tokens included; fewer than asked for where the corpus is small."""
    texts: int
    """Text files, and rows of the others that hold text."""
    characters: int
    seconds: float
    notices: tuple[str, ...]
    """Sentences the user should read: fewer pieces than asked for, rare characters left out."""


def train_wordpiece(
    texts: Iterable[str],
    vocab_size: int,
    lowercase: bool = True,
    min_frequency: int = 2,
    show_progress: bool = False,
    limit_alphabet: int = 1000,
) -> PoNetTokenizer:
    """A tokenizer with a WordPiece vocabulary learned from `texts`: [PAD] is 0, then [UNK], [CLS], [SEP], [MASK].

    Args:
        texts: read twice; an iterator, which can be read but once, is first read into memory.
        vocab_size: pieces at most, special tokens and single characters included.
        lowercase: lower-case and strip accents, in training and in the tokenizer.
        min_frequency: how often two pieces must stand together to become one.
        show_progress: a bar on the terminal (standard error).
        limit_alphabet: how many different characters to keep, the most frequent; a word with any other becomes [UNK].

    Raises:
        PoNetError: where there is no text, `vocab_size` can't even hold the single characters, or a number is absurd.
    """
    corpus = list(texts) if isinstance(texts, Iterator) else texts
    with _progress(show_progress) as progress:
        task = progress.add_task("reading", total=None)

        def read() -> Iterator[str]:
            for text in corpus:
                yield from pieces(text)
                progress.advance(task, len(text))

        return _learn(read, vocab_size, lowercase, min_frequency, limit_alphabet)[0]


def train_tokenizer_from_corpus(
    corpus: Sequence[str | Path],
    out: str | Path,
    vocab_size: int,
    lowercase: bool = True,
    text_column: str = "text",
    min_frequency: int = 2,
    overwrite: bool = False,
    show_progress: bool = True,
    limit_alphabet: int = 1000,
) -> TokenizerSummary:
    """Learns a vocabulary from files and writes the tokenizer to the folder `out`, whole or not at all.

    The corpus is streamed: memory holds the counts of different words, never the text.

    Args:
        corpus: files or folders, as `ponet.data.corpora.TextCorpus` reads them.
        out: a new or empty folder; with `overwrite`, also one that holds a tokenizer.
        text_column: where the text is, in all but text files.
        vocab_size, lowercase, min_frequency, limit_alphabet: as in `train_wordpiece`.

    Raises:
        PoNetError: for a file or column that is missing, unreadable, binary or not UTF-8, a corpus without text, a
            vocabulary too small for its characters, an output folder that can't be written or holds something else.
    """
    started = time.monotonic()
    source = TextCorpus(corpus, text_column)
    with _filled(Path(out), overwrite) as folder, _progress(show_progress) as progress:
        task = progress.add_task("finding characters", total=PASSES * source.bytes)
        passed: list[bool] = []

        def read() -> Iterator[str]:
            yield from source.pieces(lambda count: progress.advance(task, count))
            passed.append(True)
            progress.update(task, description="merging pieces" if len(passed) == PASSES else "counting words")

        tokenizer, characters, notices = _learn(read, vocab_size, lowercase, min_frequency, limit_alphabet)
        with explained(Path(out)):
            tokenizer.save_pretrained(folder)
            tokenizer.save_vocabulary(str(folder))
    seconds = time.monotonic() - started
    return TokenizerSummary(Path(out), len(tokenizer), source.texts, characters, seconds, tuple(notices))


def _learn(
    read: Callable[[], Iterable[str]], vocab_size: int, lowercase: bool, min_frequency: int, limit_alphabet: int
) -> tuple[PoNetTokenizer, int, list[str]]:
    """The tokenizer of what `read` gives, which is called twice and must give the same both times; how many characters
    that had, and what the user should read."""
    if vocab_size > MOST_PIECES:
        raise PoNetError(f"A vocabulary has at most {MOST_PIECES:,} pieces, not {vocab_size:,}.")
    if not 1 <= min_frequency <= MOST_OFTEN:
        raise PoNetError(f"min_frequency should be from 1 to {MOST_OFTEN:,}, not {min_frequency}.")
    seen: Counter[str] = Counter()

    def counted() -> Iterator[str]:
        for text in read():
            seen.update(text)
            yield text

    singles = _train(counted(), lowercase, vocab_size=0)  # no merges: what is left is single characters
    alphabet: Counter[str] = Counter({piece: 0 for piece in singles if len(piece) == 1})
    if not alphabet:
        raise PoNetError("There is no text to learn a vocabulary from.")
    normalizer = _backend(lowercase).normalizer
    for character, count in seen.items():
        for normal in set(normalizer.normalize_str(character)) & alphabet.keys():
            alphabet[normal] += count
    by_count = sorted(alphabet, key=lambda character: (-alphabet[character], character))
    kept = sorted(by_count[: max(limit_alphabet, 1)])
    first = [*SPECIAL_TOKENS, *kept, *(f"##{character}" for character in kept if f"##{character}" in singles)]
    if vocab_size < len(first):
        raise PoNetError(
            f"A vocabulary of {vocab_size} pieces is too small: special tokens and the single characters of the corpus "
            f"take {len(first)}. Ask for more."
        )
    # Passed as "special", they get their ids before the library comes upon them in an order of its own.
    vocabulary = _train(
        read(),
        lowercase,
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=first,
        initial_alphabet=kept,
        limit_alphabet=len(kept),
    )
    notices = []
    if len(vocabulary) < vocab_size:
        notices.append(
            f"The vocabulary has {len(vocabulary)} pieces, not {vocab_size}: no more pairs of pieces are frequent "
            "enough in this corpus."
        )
    if rare := by_count[len(kept) :]:
        left_out = sum(alphabet[character] for character in rare)
        notices.append(
            f"{len(rare)} rare characters ({left_out} of {seen.total()} in the corpus) are left out of the vocabulary: "
            "a word with one of them becomes [UNK]."
        )
    return PoNetTokenizer(vocab=vocabulary, do_lower_case=lowercase), seen.total(), notices


def _backend(lowercase: bool) -> Tokenizer:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend


def _train(texts: Iterable[str], lowercase: bool, **options: Any) -> dict[str, int]:
    """What the library learns from the texts, in the order of ids."""
    backend = _backend(lowercase)
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(show_progress=False, **options))
    vocabulary = backend.get_vocab(with_added_tokens=False)
    return {piece: vocabulary[piece] for piece in sorted(vocabulary, key=vocabulary.__getitem__)}


def _progress(show: bool) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not show,
    )


@contextmanager
def _filled(out: Path, overwrite: bool) -> Iterator[Path]:
    """Yields a folder in `out`; if the block ends well its files are moved to `out`, else nothing of it stays."""
    created = not out.exists()
    try:
        _check_folder(out, overwrite)
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=out, ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
            for file in sorted(Path(temporary).iterdir()):
                file.replace(out / file.name)
        created = False
    except OSError as error:
        raise explain(error, out) from error
    finally:
        if created and out.is_dir():
            out.rmdir()


def _check_folder(out: Path, overwrite: bool) -> None:
    check_utf8_name(out)
    if not out.exists():
        return
    if not out.is_dir():
        raise PoNetError(f"'{out}' is a file: name a folder for the tokenizer.")
    there = sorted(entry.name for entry in out.iterdir() if not entry.name.startswith("."))
    other = [name for name in there if not TOKENIZER_FILES.fullmatch(name)]
    if other:
        raise PoNetError(f"'{out}' holds other things, such as '{other[0]}': name a new folder.")
    if there and not overwrite:
        raise PoNetError(f"'{out}' holds a tokenizer already: name a new folder, or ask to overwrite it.")
