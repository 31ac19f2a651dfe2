"""Raw text to prepared data: tokenized once, in parallel, in constant memory, and taken up again where it was cut off.

`sources` reads texts, `blocks` deals them out, `workers` has them tokenized by `encode`, which writes `shards`; the
folder that holds them is kept by `folder`.
"""

import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.data.corpora import CorpusSource, open_sources
from ponet.tasks.pretraining import learn
from ponet.tasks.pretraining.blocks import BLOCK_CHARACTERS, BlockReader
from ponet.tasks.pretraining.folder import (
    FORMAT,
    MANIFEST,
    SHARDS,
    TOKENIZER,
    VERSION,
    Manifest,
    discard,
    keep_to,
    opened,
)
from ponet.tasks.pretraining.progress import bar
from ponet.tasks.pretraining.shards import SPLITS, TRAIN, VALIDATION, Counts, Shard, check, read_shard
from ponet.tasks.pretraining.vocabulary import Vocabulary, fingerprint
from ponet.tasks.pretraining.workers import encoded
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.models.tokenization_ponet import PoNetTokenizer


@dataclass(frozen=True)
class PreparedData:
    """What `prepare` did, for the command to print."""

    folder: Path
    splits: dict[str, Counts]
    vocab_size: int
    shards: int
    bytes: int
    """Of UTF-8 text that was tokenized now, not by an earlier call."""
    seconds: float
    """What that took, without learning a vocabulary."""
    vocabulary_seconds: float
    notices: tuple[str, ...]


def prepare(
    corpus: Sequence[str],
    out: str | Path,
    tokenizer: str | None = None,
    vocab_size: int | None = None,
    validation: Sequence[str] = (),
    validation_fraction: float | None = None,
    text_column: str = "text",
    lowercase: bool = True,
    processes: int | None = None,
    show_progress: bool = False,
    block_characters: int = BLOCK_CHARACTERS,
) -> PreparedData:
    """Makes pre-training data of a corpus in the folder `out`; the same call again goes on with what is there.

    Args:
        corpus: names, as `ponet.data.corpora.open_sources` takes them.
        tokenizer: a folder, `vocab.txt`, name in the data folder or on the hub. Without it a WordPiece vocabulary is
            learned from the corpus.
        vocab_size: pieces of that vocabulary. [default: 16,000]
        validation: a held-out corpus. Documents of `corpus` with the same text are left out.
        validation_fraction: the share of the documents of `corpus` to hold out instead, 0 to below 1. [default:
            what comes to about 2 MB of the files, but from 0.005 to 0.1]
        text_column: where the text is, in all but text files.
        lowercase: lower-case and strip accents, for a vocabulary that is learned.
        processes: how many tokenize. [default: one for each core that this process may use, but one for a small corpus]
        show_progress: a bar on standard error.
        block_characters: text in a shard, about.

    Raises:
        PoNetError: for a corpus that is missing, empty, binary or unreadable, a tokenizer that can't be opened, a
            folder that holds something else or was begun otherwise, a full disk. Finished shards stay.
    """
    if tokenizer is not None and vocab_size is not None:
        raise PoNetError("Give a tokenizer, or a vocab_size to learn one with, not both.")
    if validation and validation_fraction is not None:
        raise PoNetError("Give a validation corpus or a validation fraction, not both.")
    if validation_fraction is not None and not 0 <= validation_fraction < 1:
        raise PoNetError(f"The validation fraction must be at least 0 and below 1, not {validation_fraction:g}.")
    if processes is not None and processes < 1:
        raise PoNetError(f"The number of processes must be at least 1, not {processes}.")
    out = Path(out)
    train = open_sources(corpus, text_column)
    held_out = open_sources(validation, text_column) if validation else []
    reader = BlockReader(train, held_out, 0.0 if held_out else validation_fraction, block_characters)
    given = None if tokenizer is None else _open_tokenizer(tokenizer)
    size = vocab_size or learn.VOCAB_SIZE
    settings: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "corpus": _names(train),
        "validation": _names(held_out),
        "validation_fraction": reader.fraction,
        "text_column": text_column,
        "block_characters": block_characters,
        "tokenizer": fingerprint(given) if given else {"vocab_size": size, "lowercase": lowercase},
    }
    with opened(out, settings):
        started = time.monotonic()
        if not (out / TOKENIZER).is_dir():
            made = given or learn.learn(train, size, lowercase, show_progress)
            Vocabulary.of(made)  # raises for what can't serve
            learn.save(made, out / TOKENIZER)
        learned = time.monotonic() - started
        saved = _open_tokenizer(str(out / TOKENIZER))
        keep_to(out, settings, fingerprint(given or saved))
        keep_to(out, settings, fingerprint(saved))
        (out / SHARDS).mkdir(exist_ok=True)
        few = reader.bytes < block_characters // 4  # of Parquet the text is larger: still about a block
        return _encode(out, reader, saved, processes or (1 if few else _cores()), show_progress, learned)


def _encode(
    out: Path, reader: BlockReader, tokenizer: "PoNetTokenizer", processes: int, show: bool, learned: float
) -> PreparedData:
    started = time.monotonic()
    shards, notices = _finished(out / SHARDS)
    written = 0
    mark = fingerprint(tokenizer)
    if not _complete(out, shards, mark):
        (out / MANIFEST).unlink(missing_ok=True)
        number = next(i for i in range(len(shards) + 1) if i not in shards)
        start = shards[number - 1].end if number else (0, 0)
        blocks = (block for block in reader.blocks(number, start) if block.number not in shards)
        files = out / TOKENIZER / "tokenizer.json", out / SHARDS
        with bar(show, "Tokenizing", reader.bytes, reader.before(start)) as advance:
            for shard, read in encoded(blocks, *files, processes):
                shards[int(shard.name)] = shard
                size = sum(counts.bytes for counts in shard.splits.values())
                written += size
                advance(read, size)
        _require_text(out, list(shards.values()))
        vocabulary = Vocabulary.of(tokenizer)
        dtype = "uint16" if vocabulary.size <= 1 << 16 else "uint32"
        Manifest(mark, vocabulary.size, dtype, _ordered(shards)).write(out)
    manifest = Manifest.read(out)
    notices += _notices(manifest, reader)
    seconds = time.monotonic() - started
    return PreparedData(
        out, manifest.splits, manifest.vocab_size, len(shards), written, seconds, learned, tuple(notices)
    )


def _finished(folder: Path) -> tuple[dict[int, Shard], list[str]]:
    """The shards that are there and whole, by number. One that isn't is removed, to be made again."""
    shards, notices = {}, []
    for place in sorted(folder.iterdir()):
        if not re.fullmatch(r"\d{6,}", place.name):
            continue
        try:
            shard = read_shard(place)
            for name, facts in shard.files.items():
                check(place, name, facts)
        except PoNetError:
            shutil.rmtree(place) if place.is_dir() else place.unlink()
            notices.append(f"The shard '{place}' was corrupt and has been made again.")
        else:
            shards[int(place.name)] = shard
    return shards, notices


def _complete(out: Path, shards: dict[int, Shard], tokenizer: str) -> bool:
    """Whether the manifest is there, and of just these shards."""
    try:
        manifest = Manifest.read(out)
    except PoNetError:
        return False
    return manifest.tokenizer == tokenizer and manifest.shards == _ordered(shards)


def _ordered(shards: dict[int, Shard]) -> list[Shard]:
    return [shards[number] for number in sorted(shards)]


def _require_text(out: Path, shards: list[Shard]) -> None:
    """Data that nothing can be learned from is removed again, so that the folder is free for better."""
    totals = {split: Counts() for split in SPLITS}
    for shard in shards:
        for split, counts in shard.splits.items():
            totals[split].add(counts)
    if totals[TRAIN].sentences >= 2:
        return
    discard(out, whole=True)
    if totals[VALIDATION].sentences >= 2:
        raise PoNetError("All text is held out, and none is left to learn from: hold out less, or give more text.")
    found = "no text" if totals[TRAIN].sentences == 0 else "one sentence only"
    raise PoNetError(f"The corpus holds {found}: pre-training needs documents of several sentences.")


def _notices(manifest: Manifest, reader: BlockReader) -> list[str]:
    found, counts = [], manifest.splits
    left_out = manifest.left_out
    if left_out.get("in_validation"):
        found.append(
            f"Documents left out because they are in the validation corpus too: {left_out['in_validation']:,}."
        )
    if left_out.get("too_short"):
        found.append(f"Documents left out because they are a single token: {left_out['too_short']:,}.")
    train = counts[TRAIN]
    if train.unknown > 0.01 * train.tokens:
        found.append(
            f"{train.unknown / train.tokens:.1%} of the tokens are [UNK]: the vocabulary doesn't fit the text."
        )
    if reader.fraction and not counts["validation"].documents:
        found.append("No document is held out: there are too few for this validation fraction.")
    if train.documents == 1:
        found.append("The training text is a single document: the spans of SSO's class 2 come from within it.")
    return found


def _open_tokenizer(name: str) -> "PoNetTokenizer":
    from ponet.tasks.models import open_tokenizer

    return open_tokenizer(name)


def _names(sources: Sequence[CorpusSource]) -> list[dict[str, Any]]:
    """What is read, in order: enough to notice another corpus."""
    return [source.identity(index) for source in sources for index in range(len(source.files))]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
