"""Prepared data, opened to be learned from: one split's token arrays, memory-mapped, shard by shard."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.tasks.pretraining.folder import SHARDS, TOKENIZER, Manifest
from ponet.tasks.pretraining.shards import ADVICE, TRAIN, check
from ponet.tasks.pretraining.vocabulary import fingerprint
from ponet.utils.errors import PoNetError
from ponet.utils.files import explain

if TYPE_CHECKING:
    from ponet.models.tokenization_ponet import PoNetTokenizer


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
        folder: the prepared data.
        split: "train" or "validation".
        contents: whether the SHA-256 of every array is compared, which reads all of it once; sizes always are.

    Raises:
        PoNetError: no prepared data there, or a shard of it that is missing, cut off or changed; it is named.
    """

    def __init__(self, folder: str | Path, split: str = TRAIN, contents: bool = False) -> None:
        self.folder, self.split = Path(folder), split
        self.manifest = Manifest.read(self.folder)
        self.shards = [shard for shard in self.manifest.shards if shard.splits.get(split) is not None]
        for shard in self.shards:
            for name, facts in shard.files.items():
                if name.startswith(f"{split}."):
                    check(self.folder / SHARDS / shard.name, name, facts, contents)
        self.tokens = sum(shard.splits[split].tokens for shard in self.shards)
        self.documents = sum(shard.splits[split].documents for shard in self.shards)
        self._open: dict[int, ShardArrays] = {}

    def __len__(self) -> int:
        return len(self.shards)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def shard(self, index: int) -> ShardArrays:
        """The arrays of one shard; tokens stay on disk until they are read.

        Raises:
            PoNetError: where they can't be read.
        """
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
                raise PoNetError(f"The shard '{folder}' is corrupt. {ADVICE}") from error
            self._open[index] = ShardArrays(tokens, sentences, documents)
        return self._open[index]

    def digest(self) -> str:
        """Tells this split from any other: its shards' checksums and the tokenizer's fingerprint."""
        parts = [self.manifest.tokenizer, self.split]
        for shard in self.shards:
            parts += [facts["sha256"] for name, facts in sorted(shard.files.items()) if name.startswith(self.split)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def tokenizer(self) -> "PoNetTokenizer":
        """The tokenizer that the data was made with.

        Raises:
            PoNetError: where the one in the folder is another.
        """
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

    Args:
        folders: what `ponet pretrain prepare` made, all with one tokenizer.
        split: "train" or "validation".
        contents: as `TokenCorpus`'s.

    Raises:
        PoNetError: as `TokenCorpus`, or where the tokenizers differ.
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
        """Tells these texts from any others."""
        return " ".join(corpus.digest() for corpus in self.corpora)

    def tokenizer(self) -> "PoNetTokenizer":
        """The tokenizer that all was made with."""
        return self.corpora[0].tokenizer()
