"""Raw text to prepared data: tokenized once, in parallel, in constant memory, and taken up again where it was cut off."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.errors import PoNetError
from ponet.files import explain
from ponet.tasks.pretraining.blocks import BLOCK_CHARACTERS, Block, BlockReader, text_hash
from ponet.tasks.pretraining.encode import BlockEncoder, begin, shard_name, work
from ponet.tasks.pretraining.folder import FORMAT, MANIFEST, SHARDS, TOKENIZER, VERSION, Manifest, discard, opened
from ponet.tasks.pretraining.shards import TRAIN, Counts, Shard, check, read_shard
from ponet.tasks.pretraining.sources import Source, open_sources
from ponet.tasks.pretraining.vocabulary import Vocabulary, fingerprint

if TYPE_CHECKING:
    from ponet.models.tokenization_ponet import PoNetTokenizer

VOCAB_SIZE = 16_000
SAMPLE_BYTES = 100_000_000
"""A vocabulary is learned from about so much of the corpus, spread over all of it."""
_SAMPLE_SALT = "sample "


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
        corpus: names, as `sources.open_sources` takes them.
        tokenizer: a folder, `vocab.txt`, name in the data folder or on the hub. Without it a WordPiece vocabulary is
            learned from the corpus.
        vocab_size: pieces of that vocabulary. [default: 16,000]
        validation: a held-out corpus. Documents of `corpus` with the same text are left out.
        validation_fraction: the share of the documents of `corpus` to hold out instead, 0 to below 1.
        text_column: where the text is, in all but text files.
        lowercase: lower-case and strip accents, for a vocabulary that is learned.
        processes: how many tokenize. [default: one for each core that this process may use]
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
    reader = BlockReader(train, held_out, validation_fraction or 0.0, block_characters)
    given = None if tokenizer is None else _open_tokenizer(tokenizer)
    settings: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "corpus": _names(train),
        "validation": _names(held_out),
        "validation_fraction": validation_fraction or 0.0,
        "text_column": text_column,
        "block_characters": block_characters,
        "tokenizer": fingerprint(given) if given else {"vocab_size": vocab_size or VOCAB_SIZE, "lowercase": lowercase},
    }
    with opened(out, settings):
        started = time.monotonic()
        if not (out / TOKENIZER).is_dir():
            made = given or _learn(train, vocab_size or VOCAB_SIZE, lowercase, show_progress)
            Vocabulary.of(made)  # raises for what can't serve
            _save(made, out / TOKENIZER)
        opened_tokenizer = _open_tokenizer(str(out / TOKENIZER))
        learned = time.monotonic() - started
        if given and fingerprint(opened_tokenizer) != fingerprint(given):
            raise PoNetError(f"The tokenizer in '{out / TOKENIZER}' isn't the one that is named: name a new folder.")
        (out / SHARDS).mkdir(exist_ok=True)
        return _encode(out, reader, opened_tokenizer, processes or _cores(), show_progress, learned)


def _encode(
    out: Path, reader: BlockReader, tokenizer: "PoNetTokenizer", processes: int, show: bool, learned: float
) -> PreparedData:
    started = time.monotonic()
    shards, notices = _finished(out / SHARDS)
    written = 0
    if not _complete(out, shards):
        (out / MANIFEST).unlink(missing_ok=True)
        number = next(i for i in range(len(shards) + 1) if i not in shards)
        start = shards[number - 1].end if number else (0, 0)
        blocks = (block for block in reader.blocks(number, start) if block.number not in shards)
        with _bar(show, "Tokenizing", reader.bytes, reader.before(start)) as advance:
            for shard, block in _encoded(blocks, out, processes):
                shards[int(shard.name)] = shard
                size = sum(counts.bytes for counts in shard.splits.values())
                written += size
                advance(block, size)
        _require_text(out, list(shards.values()))
        ordered = [shards[i] for i in sorted(shards)]
        vocabulary = Vocabulary.of(tokenizer)
        dtype = "uint16" if vocabulary.size <= 1 << 16 else "uint32"
        Manifest(fingerprint(tokenizer), vocabulary.size, dtype, ordered).write(out)
    manifest = Manifest.read(out)
    notices += _notices(manifest, reader)
    seconds = time.monotonic() - started
    return PreparedData(
        out, manifest.splits, manifest.vocab_size, len(shards), written, seconds, learned, tuple(notices)
    )


def _encoded(blocks: Iterator[Block], out: Path, processes: int) -> Iterator[tuple[Shard, int]]:
    """Each block's shard, as they are done, and the bytes of files behind it; a few blocks are in memory at a time."""
    tokenizer, folder = str(out / TOKENIZER / "tokenizer.json"), out / SHARDS
    if processes == 1:
        encoder = BlockEncoder(tokenizer, folder)
        for block in blocks:
            yield encoder(block), block.file_bytes
        return
    waiting: dict[Future[Shard], int] = {}
    context = get_context("spawn")  # a fork would copy whatever threads the libraries have started
    pool = ProcessPoolExecutor(processes, context, begin, (tokenizer, str(folder)))
    try:
        for block in blocks:
            waiting[pool.submit(work, block)] = block.file_bytes
            if len(waiting) > processes:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result(), waiting.pop(future)
        for future in list(waiting):
            yield future.result(), waiting[future]
    except BrokenProcessPool as error:
        raise PoNetError(
            "A worker process died, for want of memory perhaps. The same command goes on; give it fewer processes."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
            shutil.rmtree(place)
            notices.append(f"The shard '{place}' was corrupt and has been made again.")
        else:
            shards[int(place.name)] = shard
    return shards, notices


def _complete(out: Path, shards: dict[int, Shard]) -> bool:
    return (out / MANIFEST).is_file() and len(Manifest.read(out).shards) == len(shards)


def _require_text(out: Path, shards: list[Shard]) -> None:
    """Data that nothing can be learned from is removed again, so that the folder is free for better."""
    total = Counts()
    for shard in shards:
        total.add(shard.splits.get(TRAIN, Counts()))
    if total.sentences < 2:
        discard(out, whole=True)
        found = "no text" if total.sentences == 0 else "one sentence only"
        raise PoNetError(f"The corpus holds {found}: pre-training needs documents of several sentences.")


def _notices(manifest: Manifest, reader: BlockReader) -> list[str]:
    found, counts = [], manifest.splits
    left_out = manifest.left_out
    if left_out.get("in_validation"):
        found.append(f"{left_out['in_validation']:,} documents are left out: they are in the validation corpus too.")
    if left_out.get("too_short"):
        found.append(f"{left_out['too_short']:,} documents of a single token are left out.")
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


class _Sample:
    """About `SAMPLE_BYTES` of the corpus, whole documents chosen by their hash; can be read again and again."""

    def __init__(self, sources: Sequence[Source], advance: Callable[[int, int], None]) -> None:
        self.sources = sources
        self.advance = advance

    def __iter__(self) -> Iterator[str]:
        total = sum(source.size(i) for source in self.sources for i in range(len(source.files)))
        share = min(1.0, SAMPLE_BYTES / max(total, 1))  # of Parquet the text is larger than the file: a fair sample
        for source in self.sources:
            for index in range(len(source.files)):
                done = 0
                for text, position in source.documents(index):
                    if share == 1.0 or text_hash(_SAMPLE_SALT + text) < share * 2.0**64:
                        yield text
                    self.advance(position - done, 0)
                    done = position


def _learn(sources: Sequence[Source], vocab_size: int, lowercase: bool, show: bool) -> "PoNetTokenizer":
    from ponet.tokenizer_training import PASSES, train_wordpiece

    total = sum(source.size(index) for source in sources for index in range(len(source.files)))
    with _bar(show, "Learning a vocabulary", PASSES * total, 0) as advance:
        return train_wordpiece(_Sample(sources, advance), vocab_size, lowercase)


def _open_tokenizer(name: str) -> "PoNetTokenizer":
    from ponet.tasks.text.modelling import open_tokenizer

    return open_tokenizer(name)


def _save(tokenizer: "PoNetTokenizer", folder: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=".tokenizer.", suffix=".tmp", dir=folder.parent))
    try:
        os.chmod(temporary, 0o755)
        tokenizer.save_pretrained(temporary)
        tokenizer.save_vocabulary(str(temporary))
        os.rename(temporary, folder)
    except OSError as error:
        raise explain(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _names(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Names and sizes of what is read: enough to notice another corpus, and no paths of this machine."""
    return [
        {"name": Path(file).name if isinstance(file, Path) else file, "bytes": source.size(index)}
        for source in sources
        for index, file in enumerate(source.files)
    ]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _bar(show: bool, description: str, total: int, completed: int) -> Iterator[Callable[[int, int], None]]:
    """A bar over the bytes of the files, with MB/s of text and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    started, text = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not show) as progress:
        bar = progress.add_task(description, total=total, completed=completed, rate="")

        def advance(read: int, size: int) -> None:
            nonlocal text
            text += size
            rate = f"{text / 1e6 / max(time.monotonic() - started, 1e-9):.1f} MB/s of text" if text else ""
            progress.update(bar, advance=read, rate=rate)

        yield advance
