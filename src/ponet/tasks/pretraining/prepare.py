"""Raw text to prepared data: tokenized once, in parallel and in constant memory, whole or not at all.

`ponet.data.corpora` reads texts, `encode` deals them out in blocks and tokenizes them, `shards` is what comes of it.
What several machines prepared in parts, `merge` puts together: what one process would have made, to the byte.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponet.artifacts import MANIFEST, available_cores, building, parallel_map, progress
from ponet.data.corpora import CorpusSource, open_sources
from ponet.tasks.models import open_tokenizer
from ponet.tasks.pretraining import shards
from ponet.tasks.pretraining.encode import BLOCK_CHARACTERS, BlockEncoder, BlockReader
from ponet.tasks.pretraining.shards import SETTINGS, SHARDS, TOKENIZER, Counts, Manifest, TokenCorpus, check_files
from ponet.tasks.pretraining.vocabulary import VOCAB_SIZE, Vocabulary, fingerprint, learn_vocabulary
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json, write_json

if TYPE_CHECKING:
    from ponet.models.tokenization_ponet import PoNetTokenizer

PARTS = ".parts"
"""Ends the name of the folder that holds the parts of another."""
MOST_PARTS = 100_000
_NAME = re.compile(r"(\d+)-of-(\d+)")
SHOWN = 10
"""Missing parts that a message lists at most."""


@dataclass(frozen=True)
class PreparedData:
    """What `prepare` did, for the command to print."""

    folder: Path
    splits: dict[str, Counts]
    vocab_size: int
    shards: int
    bytes: int
    """Of UTF-8 text that was tokenized now; 0 where the data was there."""
    seconds: float
    """What that took, without learning a vocabulary."""
    vocabulary_seconds: float
    notices: tuple[str, ...]
    part: tuple[int, int] | None = None
    """Which of how many parts it is, from 1, where it isn't everything: `merge` puts them together."""


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
    block_characters: int = BLOCK_CHARACTERS,
    part: tuple[int, int] | None = None,
) -> PreparedData:
    """Makes pre-training data of a corpus in the folder `out`; the same call again finds it there.

    Several machines share the work with `part`: each reads the whole corpus and tokenizes a part of its blocks into a
    folder beside `out`, and `merge` makes of them what one process makes, to the byte.

    Args:
        corpus: names, as `ponet.data.corpora.open_sources` takes them.
        tokenizer: as `open_tokenizer` takes it. Without it a WordPiece vocabulary is learned from the corpus.
        vocab_size: pieces of that vocabulary. [default: 16,000]
        validation: a held-out corpus. Documents of `corpus` with the same text are left out.
        validation_fraction: the share of the documents of `corpus` to hold out instead, 0 to below 1. [default:
            what comes to about 2 MB of the files, but from 0.005 to 0.1]
        text_column: where the text is, in all but text files.
        lowercase: lower-case and strip accents, for a vocabulary that is learned.
        processes: how many tokenize. [default: one for each core that this process may use, but one for a small corpus]
        block_characters: text in a shard, about.
        part: which of how many parts to make, from 1; needs a tokenizer.

    Raises:
        PoNetError: for a corpus that is missing, empty, binary or unreadable, a tokenizer that can't be opened, a
            folder that holds something else, other data or damaged data, a full disk.
    """
    if tokenizer is not None and vocab_size is not None:
        raise PoNetError("Give a tokenizer, or a vocab_size to learn one with, not both.")
    if validation and validation_fraction is not None:
        raise PoNetError("Give a validation corpus or a validation fraction, not both.")
    if validation_fraction is not None and not 0 <= validation_fraction < 1:
        raise PoNetError(f"The validation fraction must be at least 0 and below 1, not {validation_fraction:g}.")
    if processes is not None and processes < 1:
        raise PoNetError(f"The number of processes must be at least 1, not {processes}.")
    if part is not None and tokenizer is None:
        raise PoNetError(
            "All shards need one tokenizer: name it (--tokenizer), or make one first with `ponet tokenizer train`."
        )
    if part is not None and not 1 <= part[0] <= part[1] <= MOST_PARTS:
        raise PoNetError(f"A shard is i/n with i from 1 to n, and n up to {MOST_PARTS:,}; not {part[0]}/{part[1]}.")
    place = out = Path(out)
    if part is not None:
        place = out.with_name(out.name + PARTS) / f"{part[0]:0{len(str(part[1]))}d}-of-{part[1]}"
    train = open_sources(corpus, text_column)
    held_out = open_sources(validation, text_column) if validation else []
    reader = BlockReader(train, held_out, 0.0 if held_out else validation_fraction, block_characters)
    given = None if tokenizer is None else open_tokenizer(tokenizer)
    size = vocab_size or VOCAB_SIZE
    settings: dict[str, Any] = {
        "format": shards.FORMAT,
        "version": shards.VERSION,
        "corpus": _names(train),
        "validation": _names(held_out),
        "validation_fraction": reader.fraction,
        "text_column": text_column,
        "block_characters": block_characters,
        "tokenizer": fingerprint(given) if given else {"vocab_size": size, "lowercase": lowercase},
    }
    if out.exists() and not out.is_dir():
        raise PoNetError(f"'{out}' is a file: name a folder for the data.")
    written, learned, started = 0, 0.0, time.monotonic()
    busy = f"Another process is preparing data in '{place}': wait for it, or stop it."
    with building(place, busy) as made:
        if made is not None:
            write_json(made / SETTINGS, settings)
            chosen = given or learn_vocabulary(train, size, lowercase)
            Vocabulary.of(chosen)  # raises for what can't serve
            chosen.save_pretrained(made / TOKENIZER)
            chosen.save_vocabulary(str(made / TOKENIZER))
            learned = time.monotonic() - started
            few = reader.bytes < block_characters // 4  # of Parquet the text is larger: still about a block
            written = _encode(made, reader, chosen, processes or (1 if few else available_cores()), part)
        else:
            _check(place, settings, part)
    manifest = Manifest.read(place, part is not None)
    seconds = time.monotonic() - started - learned
    notices = tuple(notices_of(manifest, reader.fraction)) if part is None else ()
    sizes = (manifest.vocab_size, len(manifest.shards), written)
    return PreparedData(place, manifest.splits, *sizes, seconds, learned, notices, part)


def _encode(
    made: Path, reader: BlockReader, tokenizer: "PoNetTokenizer", processes: int, part: tuple[int, int] | None
) -> int:
    """Writes shards and manifest. Returns the bytes of text."""
    (made / SHARDS).mkdir()
    encoder = BlockEncoder(made / TOKENIZER / "tokenizer.json", made / SHARDS)
    size = Vocabulary.of(tokenizer).size
    manifest = Manifest(fingerprint(tokenizer), size, "uint16" if size <= 1 << 16 else "uint32", [])
    number, parts = part or (1, 1)
    with (
        closing(parallel_map(encoder, reader.blocks(number - 1, parts), processes)) as encoded,
        progress("Tokenizing", reader.bytes, "bytes") as advance,
    ):
        for shard, read in encoded:
            manifest.shards.append(shard)
            advance(read)
    if part is None:
        check_enough(manifest)
    else:
        manifest.part, manifest.parts, manifest.blocks = number, parts, reader.count
    manifest.write(made)
    return sum(counts.bytes for counts in manifest.splits.values())


def check_enough(manifest: Manifest) -> None:
    """Raises a PoNetError where there is too little text to learn from."""
    totals = manifest.splits
    if totals[shards.TRAIN].sentences < 2:
        if totals[shards.VALIDATION].sentences >= 2:
            raise PoNetError("All text is held out, and none is left to learn from: hold out less, or give more text.")
        found = "no text" if totals[shards.TRAIN].sentences == 0 else "one sentence only"
        raise PoNetError(f"The corpus holds {found}: pre-training needs documents of several sentences.")


def _check(folder: Path, settings: dict[str, Any], part: tuple[int, int] | None) -> None:
    """Raises a PoNetError where a folder doesn't hold the data of these settings, undamaged."""
    manifest = Manifest.read(folder, part is not None)
    before, now = read_json(folder / SETTINGS), json.loads(json.dumps(settings))
    different = [key for key in sorted(now) if not isinstance(before, dict) or before.get(key) != now[key]]
    if different:
        raise PoNetError(
            f"'{folder}' holds data made with other settings ({', '.join(different)}): repeat that command, or name a "
            "new folder."
        )
    if part is None:
        for split in shards.SPLITS:
            TokenCorpus(folder, split, contents=True)
    else:
        check_files(folder, manifest.shards, contents=True)


def notices_of(manifest: Manifest, fraction: float) -> list[str]:
    """Sentences about the data for the user."""
    found, counts, left_out = [], manifest.splits, manifest.left_out
    reasons = {"in_validation": "in the validation corpus too", "too_short": "a single token"}
    for reason, words in reasons.items():
        if left_out.get(reason):
            found.append(f"Documents left out because they are {words}: {left_out[reason]:,}.")
    train = counts[shards.TRAIN]
    if train.unknown > 0.01 * train.tokens:
        found.append(
            f"{train.unknown / train.tokens:.1%} of the tokens are [UNK]: the vocabulary doesn't fit the text."
        )
    if fraction and not counts["validation"].documents:
        found.append("No document is held out: there are too few for this validation fraction.")
    if train.documents == 1:
        found.append("The training text is a single document: the spans of SSO's class 2 come from within it.")
    return found


def _names(sources: Sequence[CorpusSource]) -> list[dict[str, Any]]:
    """What is read, in order: enough to notice another corpus."""
    return [source.identity(index) for source in sources for index in range(len(source.files))]


def merge(out: str | Path) -> PreparedData:
    """Puts the parts of `ponet pretrain prepare --shard` together in `out`, and removes them.

    The arrays are linked where the file system can, so that they take no second place.

    Raises:
        PoNetError: parts that are missing, incomplete, damaged, or of different corpora or settings.
    """
    out = Path(out)
    started, folder = time.monotonic(), out.with_name(out.name + PARTS)
    if (out / MANIFEST).is_file():  # a process may have been killed before it removed all of the parts
        settings = read_json(out / SETTINGS)
        for file in folder.glob(f"*/{SETTINGS}"):
            if read_json(file) != settings:
                raise PoNetError(f"'{out}' holds other data than '{file.parent}': move one of them away.")
    else:
        _merge(out, folder)
    if folder.exists():
        shutil.rmtree(folder)
    manifest, settings = Manifest.read(out), read_json(out / SETTINGS)
    notices = tuple(notices_of(manifest, settings.get("validation_fraction", 0.0)))
    sizes = (manifest.vocab_size, len(manifest.shards), 0)
    return PreparedData(out, manifest.splits, *sizes, time.monotonic() - started, 0.0, notices)


def _merge(out: Path, folder: Path) -> None:
    parts = _parts(folder)
    manifests = [Manifest.read(part, part=True) for part in parts]
    _check_settings(parts, manifests)
    first = manifests[0]
    together = sorted((shard for manifest in manifests for shard in manifest.shards), key=lambda shard: shard.name)
    names = [f"{number:06d}" for number in range(first.blocks)]
    if any(each.blocks != first.blocks for each in manifests) or [shard.name for shard in together] != names:
        raise PoNetError(
            f"The parts in '{folder}' were cut from a corpus that changed: remove them, and prepare again."
        )
    for part, manifest in zip(parts, manifests, strict=True):
        check_files(part, manifest.shards, contents=False)
    with building(out, f"Another process is preparing data in '{out}': wait for it, or stop it.") as made:
        if made is not None:
            whole = Manifest(first.tokenizer, first.vocab_size, first.dtype, together)
            check_enough(whole)
            shutil.copyfile(parts[0] / SETTINGS, made / SETTINGS)
            shutil.copytree(parts[0] / TOKENIZER, made / TOKENIZER)
            (made / SHARDS).mkdir()
            for part, manifest in zip(parts, manifests, strict=True):
                for shard in manifest.shards:
                    shutil.copytree(part / SHARDS / shard.name, made / SHARDS / shard.name, copy_function=_link)
            whole.write(made)


def _parts(folder: Path) -> list[Path]:
    """The folders of all parts, in order. Raises a PoNetError: none, some that aren't there, or of two divisions."""
    found = [(path, match) for path in sorted(folder.glob("*")) if (match := _NAME.fullmatch(path.name))]
    if not found:
        raise PoNetError(
            f"There are no parts in '{folder}': `ponet pretrain prepare ... --shard i/n` with this --out makes them."
        )
    counts = sorted({int(match[2]) for _, match in found})
    if len(counts) > 1:
        names = " and ".join(f"{count:,}" for count in counts)
        raise PoNetError(f"'{folder}' has parts of divisions into {names}: remove those of one.")
    complete = {int(match[1]) for path, match in found if (path / MANIFEST).is_file()}
    missing = [number for number in range(1, counts[0] + 1) if number not in complete]
    if missing:
        shown = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        raise PoNetError(
            f"{len(missing):,} of {counts[0]:,} parts in '{folder}' aren't complete: prepare --shard {shown} again."
        )
    return [path for path, _ in found]


def _check_settings(parts: list[Path], manifests: list[Manifest]) -> None:
    settings = read_json(parts[0] / SETTINGS)
    for part, manifest in zip(parts[1:], manifests[1:], strict=True):
        other = read_json(part / SETTINGS)
        if other != settings or manifest.tokenizer != manifests[0].tokenizer:
            names = [key for key in settings if not isinstance(other, dict) or other.get(key) != settings[key]]
            what = ", ".join(names) or "tokenizer"
            raise PoNetError(f"'{parts[0]}' and '{part}' differ in {what}: remove one, and prepare it again.")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
