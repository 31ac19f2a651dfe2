"""The vocabulary of a corpus: learned from a sample of it, and saved whole or not at all."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ponet.data.corpora import CorpusSource
from ponet.tasks.pretraining.blocks import text_hash
from ponet.tasks.pretraining.progress import bar
from ponet.utils.files import explain

if TYPE_CHECKING:
    from ponet.models.tokenization_ponet import PoNetTokenizer

VOCAB_SIZE = 16_000
SAMPLE_BYTES = 100_000_000
"""A vocabulary is learned from about so much of the corpus, spread over all of it."""
_SAMPLE_SALT = "sample "


class _Sample:
    """About `SAMPLE_BYTES` of the corpus, whole documents chosen by their hash; can be read again and again."""

    def __init__(self, sources: Sequence[CorpusSource], advance: Callable[[int, int], None]) -> None:
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


def learn(sources: Sequence[CorpusSource], vocab_size: int, lowercase: bool, show: bool) -> "PoNetTokenizer":
    """A tokenizer with a WordPiece vocabulary of so many pieces at most, learned from the corpus.

    Raises:
        PoNetError: for a corpus that can't be read or holds no text, and too small a vocabulary for its characters.
    """
    from ponet.data.tokenizer_training import PASSES, train_wordpiece

    total = sum(source.size(index) for source in sources for index in range(len(source.files)))
    with bar(show, "Learning a vocabulary", PASSES * total, 0) as advance:
        return train_wordpiece(_Sample(sources, advance), vocab_size, lowercase)


def save(tokenizer: "PoNetTokenizer", folder: Path) -> None:
    """Saves a tokenizer to a new folder, whole or not at all.

    Raises:
        PoNetError: where the disk is full or the folder can't be written to.
    """
    temporary = Path(tempfile.mkdtemp(prefix=".tokenizer.", suffix=".tmp", dir=folder.parent))
    try:
        os.chmod(temporary, 0o755)
        tokenizer.save_pretrained(temporary)
        tokenizer.save_vocabulary(str(temporary))
        os.rename(temporary, folder)
    except OSError as error:
        raise explain(error, folder) from error
    except Exception as error:  # the Rust library has no exception of its own for what the system refuses
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        raise explain(OSError(int(found[1]), os.strerror(int(found[1]))), folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
