"""Prepared data on disk: a manifest, and for each block of the corpus a shard of token arrays.

manifest.json        counts, size and SHA-256 of each array; it is moved in last, so where it is, everything is
prepare.json         the settings and the corpus that the data was made with
tokenizer/           what it was tokenized with
shards/000000/       for each split that the shard has documents of, four arrays that `numpy.load` opens:
  train.tokens.npy     [T] ids, uint16 where the vocabulary allows, else uint32; no special tokens
  train.sentences.npy  [S + 1] uint32: sentence i is tokens[sentences[i]:sentences[i + 1]]
  train.documents.npy  [D + 1] uint32: document i is the sentences documents[i] to documents[i + 1] - 1
  train.hashes.npy     [D] uint64, of each document's text
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.artifacts import MANIFEST, STAGING, checksums, damage
from ponet.tasks.pretraining.vocabulary import fingerprint
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain, read_json, write_json

if TYPE_CHECKING:
    from ponet.models.tokenization_ponet import PoNetTokenizer

FORMAT, VERSION = "ponet-pretraining", 1
PART_FORMAT = "ponet-pretraining-part"
"""Of what `prepare --shard` makes: no data yet, until it is merged."""
SETTINGS, TOKENIZER, SHARDS = "prepare.json", "tokenizer", "shards"
TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)
ARRAYS = ("tokens", "sentences", "documents", "hashes")


@dataclass
class Counts:
    """What a split holds."""

    documents: int = 0
    paragraphs: int = 0
    """Headings included."""
    sentences: int = 0
    tokens: int = 0
    unknown: int = 0
    """Tokens that are [UNK]."""
    bytes: int = 0
    """Of UTF-8 text."""

    def add(self, other: "Counts") -> None:
        """Adds another's counts to these."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Encoded:
    """The documents of one split in one block, as flat arrays."""

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    hashes: np.ndarray
    counts: Counts


@dataclass
class Shard:
    """What the manifest says of a shard."""

    name: str
    splits: dict[str, Counts] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By file name: `bytes` and `sha256`."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Documents without text, of fewer than two tokens, or also in the validation corpus."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Shard":
        """From JSON."""
        splits = {name: Counts(**counts) for name, counts in values["splits"].items()}
        return cls(values["name"], splits, values["files"], values["left_out"])


def write_shard(folder: Path, name: str, splits: dict[str, Encoded], left_out: dict[str, int]) -> Shard:
    """Writes a shard to `folder/name`."""
    (folder / name).mkdir()
    for split, encoded in splits.items():
        for array in ARRAYS:
            with (folder / name / f"{split}.{array}.npy").open("wb") as file:
                np.save(file, getattr(encoded, array))
                file.flush()
                os.fsync(file.fileno())  # so that a power cut leaves no manifest beside arrays of zeros
    counts = {split: encoded.counts for split, encoded in splits.items()}
    return Shard(name, counts, checksums(folder / name), left_out)


@dataclass
class Manifest:
    """What `manifest.json` says."""

    tokenizer: str
    """The tokenizer's fingerprint."""
    vocab_size: int
    dtype: str
    shards: list[Shard]
    part: int = 1
    """Which of `parts`, from 1."""
    parts: int = 0
    """Into how many folders the shards are parted; 0: they aren't, and this is all of them."""
    blocks: int = 0
    """Shards of all parts together."""

    @property
    def splits(self) -> dict[str, Counts]:
        """What each split holds, over all shards."""
        totals = {split: Counts() for split in SPLITS}
        for shard in self.shards:
            for split, counts in shard.splits.items():
                totals[split].add(counts)
        return totals

    @property
    def left_out(self) -> dict[str, int]:
        """Documents left out, by reason."""
        reasons = Counter[str]()
        for shard in self.shards:
            reasons.update(shard.left_out)
        return reasons

    def write(self, folder: Path) -> None:
        """Writes it to a folder."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "tokenizer": self.tokenizer,
            "vocab_size": self.vocab_size,
            "dtype": self.dtype,
            "splits": {split: vars(counts) for split, counts in self.splits.items()},
            "left_out": self.left_out,
            "shards": [asdict(shard) for shard in self.shards],
        }
        if self.parts:
            values |= {"format": PART_FORMAT, "part": self.part, "parts": self.parts, "blocks": self.blocks}
        write_json(folder / MANIFEST, values)

    @classmethod
    def read(cls, folder: Path, part: bool = False) -> "Manifest":
        """The manifest of a folder.

        Args:
            part: whether it is one of `prepare --shard`.

        Raises:
            PoNetError: where there is none, or it isn't one.
        """
        if not (folder / MANIFEST).is_file():
            if (folder / SETTINGS).is_file() or (folder / STAGING).is_dir():
                raise PoNetError(f"The data in '{folder}' isn't complete: prepare it again.")
            raise PoNetError(f"'{folder}' holds no pre-training data: `ponet pretrain prepare` makes it.")
        values = read_json(folder / MANIFEST)
        if isinstance(values, dict) and values.get("format") == PART_FORMAT and not part:
            raise PoNetError(f"'{folder}' is a part of the data only: put all together with `ponet pretrain merge`.")
        if not isinstance(values, dict) or values.get("format") != (PART_FORMAT if part else FORMAT):
            raise PoNetError(f"'{folder / MANIFEST}' isn't the manifest of pre-training data.")
        if values.get("version") != VERSION:
            raise PoNetError(
                f"The data in '{folder}' has version {values.get('version')}, and this ponet reads {VERSION}: "
                "prepare it again elsewhere."
            )
        try:
            shards = [Shard.from_dict(shard) for shard in values["shards"]]
            whole = cls(values["tokenizer"], values["vocab_size"], values["dtype"], shards)
            if part:
                whole.part, whole.parts, whole.blocks = (int(values[name]) for name in ("part", "parts", "blocks"))
            return whole
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PoNetError(f"'{folder / MANIFEST}' is incomplete: prepare the data again elsewhere.") from error


def check_files(folder: Path, shards: Sequence[Shard], contents: bool, split: str = "", again: str = "it") -> None:
    """Compares the files of shards with the manifest.

    Args:
        contents: whether their SHA-256 too, which reads all of them.
        split: whose files alone.
        again: what is to be prepared again where they differ.

    Raises:
        PoNetError: one is missing, cut off or changed; it is named.
    """
    for shard in shards:
        for name, facts in shard.files.items():
            path = folder / SHARDS / shard.name / name
            if name.startswith(split) and (
                found := damage(path, facts["bytes"], facts["sha256"] if contents else None)
            ):
                raise _damaged(path.parent, f": '{name}' {found}", folder, again)


def _damaged(shard: Path, how: str, folder: Path, again: str) -> PoNetError:
    return PoNetError(f"The shard '{shard}' is damaged{how}. Delete '{folder}' and prepare {again} again.")


@dataclass(frozen=True)
class ShardArrays:
    """One split's part of a shard."""

    tokens: np.ndarray
    """`[T]`, ids."""
    sentences: np.ndarray
    """`[S + 1]` int64, the token at which each sentence begins."""
    documents: np.ndarray
    """`[D + 1]` int64, the sentence at which each document begins."""


class TokenCorpus:
    """One split of a folder that `ponet pretrain prepare` made. Can be pickled: a worker process opens its own maps.

    Args:
        split: "train" or "validation".
        contents: whether the SHA-256 of every array is compared, which reads all of it once; sizes always are.

    Raises:
        PoNetError: no prepared data there, or a shard of it that is missing, cut off or changed; it is named.
    """

    def __init__(self, folder: str | Path, split: str = TRAIN, contents: bool = False) -> None:
        self.folder, self.split = Path(folder), split
        self.manifest = Manifest.read(self.folder)
        self.shards = [shard for shard in self.manifest.shards if shard.splits.get(split) is not None]
        check_files(self.folder, self.shards, contents, f"{split}.", "the data")
        self.tokens = sum(shard.splits[split].tokens for shard in self.shards)
        self.documents = sum(shard.splits[split].documents for shard in self.shards)
        self._open: dict[int, ShardArrays] = {}

    def __len__(self) -> int:
        return len(self.shards)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def shard(self, index: int) -> ShardArrays:
        """The arrays of one shard; tokens stay on disk until they are read. Raises a PoNetError where they can't be
        read."""
        if index not in self._open:
            folder = self.folder / SHARDS / self.shards[index].name
            try:
                tokens = np.load(folder / f"{self.split}.tokens.npy", mmap_mode="r")
                sentences, documents = (
                    np.load(folder / f"{self.split}.{name}.npy").astype(np.int64) for name in ("sentences", "documents")
                )
            except OSError as error:
                raise explain(error, folder) from error
            except ValueError as error:
                raise _damaged(folder, "", self.folder, "the data") from error
            self._open[index] = ShardArrays(tokens, sentences, documents)
        return self._open[index]

    def digest(self) -> str:
        """Identifies this split: its shards' checksums and the tokenizer's fingerprint."""
        parts = [self.manifest.tokenizer, self.split]
        for shard in self.shards:
            parts += [facts["sha256"] for name, facts in sorted(shard.files.items()) if name.startswith(self.split)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def tokenizer(self) -> "PoNetTokenizer":
        """The tokenizer that the data was made with. Raises a PoNetError where the one in the folder is another."""
        from ponet.tasks.models import open_tokenizer

        tokenizer = open_tokenizer(str(self.folder / TOKENIZER))
        if fingerprint(tokenizer) != self.manifest.tokenizer:
            raise PoNetError(
                f"The tokenizer in '{self.folder / TOKENIZER}' isn't the one that the data was made with: put it back, "
                "or prepare the data again in a new folder."
            )
        return tokenizer


class JoinedCorpus:
    """One split of several folders of prepared data, as one sequence of shards; a folder may stand there repeatedly.

    Arguments and errors are those of `TokenCorpus`; also a PoNetError where the tokenizers differ.
    """

    def __init__(self, folders: Sequence[str], split: str, contents: bool) -> None:
        opened = {folder: TokenCorpus(folder, split, contents) for folder in dict.fromkeys(folders)}
        self.corpora = [opened[folder] for folder in folders]
        for corpus in self.corpora[1:]:
            if corpus.manifest.tokenizer != self.fingerprint:
                raise PoNetError(
                    f"'{self.corpora[0].folder}' and '{corpus.folder}' were prepared with different tokenizers: "
                    "prepare both with the teacher's."
                )
        self.tokens = sum(corpus.tokens for corpus in self.corpora)
        self.documents = sum(corpus.documents for corpus in self.corpora)
        self._places = [(corpus, shard) for corpus in self.corpora for shard in range(len(corpus))]

    @property
    def fingerprint(self) -> str:
        """Of the tokenizer."""
        return self.corpora[0].manifest.tokenizer

    def __len__(self) -> int:
        return len(self._places)

    def shard(self, index: int) -> ShardArrays:
        """The arrays of one shard."""
        corpus, shard = self._places[index]
        return corpus.shard(shard)

    def digest(self) -> str:
        """Identifies these texts."""
        return " ".join(corpus.digest() for corpus in self.corpora)

    def tokenizer(self) -> "PoNetTokenizer":
        """The tokenizer that all was made with."""
        return self.corpora[0].tokenizer()
