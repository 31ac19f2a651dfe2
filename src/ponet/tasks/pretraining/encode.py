"""What a worker process does: a block of documents in, a shard on disk out."""

import os
import signal
import threading
from array import array
from collections.abc import Iterator
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ponet.tasks.pretraining.blocks import Block, Document
from ponet.tasks.pretraining.shards import SPLITS, Counts, Encoded, Shard, write_shard
from ponet.tasks.pretraining.structure import paragraphs, sentences

BATCH_CHARACTERS = 1_000_000
"""Text handed to the tokenizer at once: its encodings take some hundred bytes a token."""
MIN_TOKENS = 2
"""A shorter document can't be parted into two spans."""


def shard_name(number: int) -> str:
    """The folder of the block's shard."""
    return f"{number:06d}"


class BlockEncoder:
    """Splits, tokenizes and writes blocks.

    Args:
        tokenizer: a `tokenizer.json`.
        folder: where the shards go.
    """

    def __init__(self, tokenizer: str | Path, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True  # "[SEP]" in a text is a text, not the end of a span
        size = max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.dtype = np.dtype(np.uint16 if size <= 1 << 16 else np.uint32)
        self.unknown = self.tokenizer.token_to_id(getattr(self.tokenizer.model, "unk_token", None) or "[UNK]")

    def __call__(self, block: Block) -> Shard:
        """The shard of a block, written.

        Raises:
            PoNetError: where it can't be written.
        """
        left_out = {"without_text": 0, "too_short": 0, "in_validation": block.held_out}
        splits = {}
        for split in SPLITS:
            documents = [document for document in block.documents if document.split == split]
            if documents:
                splits[split] = self._encode(documents, left_out)
        return write_shard(self.folder, shard_name(block.number), splits, block.end, left_out)

    def _encode(self, documents: list[Document], left_out: dict[str, int]) -> Encoded:
        counts = Counts()
        tokens: list[np.ndarray] = []
        sentence_lengths, document_lengths, hashes = array("I"), array("I"), array("Q")
        for batch in _batches(documents):
            parts = [[sentences(paragraph) for paragraph in paragraphs(document.text)] for document in batch]
            flat = [sentence for document in parts for paragraph in document for sentence in paragraph]
            encoded = iter(self.tokenizer.encode_batch_fast(flat, add_special_tokens=False))
            for document, structure in zip(batch, parts, strict=True):
                ids = [next(encoded).ids for paragraph in structure for _ in paragraph]
                ids = [sentence for sentence in ids if sentence]  # one of control characters alone has no tokens
                length = sum(map(len, ids))
                if length < MIN_TOKENS:
                    left_out["without_text" if length == 0 else "too_short"] += 1
                    continue
                tokens.append(np.fromiter((i for sentence in ids for i in sentence), dtype=self.dtype, count=length))
                sentence_lengths.extend(map(len, ids))
                document_lengths.append(len(ids))
                hashes.append(document.hash)
                counts.add(Counts(1, len(structure), len(ids), length, 0, len(document.text.encode())))
        joined = np.concatenate(tokens) if tokens else np.zeros(0, self.dtype)
        if self.unknown is not None:
            counts.unknown = int(np.count_nonzero(joined == self.unknown))
        return Encoded(
            joined,
            _offsets(sentence_lengths),
            _offsets(document_lengths),
            np.frombuffer(hashes, dtype=np.uint64) if hashes else np.zeros(0, np.uint64),
            counts,
        )


def _batches(documents: list[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        if batch and size + len(document.text) > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += len(document.text)
    if batch:
        yield batch


def _offsets(lengths: "array[int]") -> np.ndarray:
    ends = np.cumsum(np.array(lengths, dtype=np.int64))
    return np.concatenate([[0], ends]).astype(np.uint32)


_encoder: BlockEncoder | None = None


def begin(tokenizer: str, folder: str, stop: Connection) -> None:
    """Makes a fresh process a worker, which ends with its parent however that ends, or when it closes `stop`."""
    global _encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group, and the parent speaks for all
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a process a core is parallel enough
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel, stop), daemon=True).start()
    _encoder = BlockEncoder(tokenizer, Path(folder))


def _end_with(sentinel: int, stop: Connection) -> None:
    connection.wait([sentinel, stop])
    os._exit(1)  # killed with -9 it could tell nobody, and a worker would wait for work for ever


def work(block: Block) -> Shard:
    """Encodes a block, in a worker."""
    assert _encoder is not None  # `begin` came first
    return _encoder(block)
