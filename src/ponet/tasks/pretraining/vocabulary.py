"""What pre-training must know of a vocabulary: its special ids, which pieces are words, and whether it is the same."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from ponet.models.tokenization_ponet import PoNetTokenizer

_UNUSED = re.compile(r"\[unused\d+\]")


@dataclass(frozen=True)
class Vocabulary:
    """The ids that examples are built with; made by `of`, so no id is ever assumed."""

    size: int
    cls: int
    sep: int
    mask: int
    special: np.ndarray
    """`[k]`, ids of all special tokens."""
    words: np.ndarray
    """`[w]`, ids that a masked token may be replaced with: no special token, and no piece kept free (`[unused1]`)."""
    continues: np.ndarray
    """`[size]` bool: pieces that go on with the word of the token before (`##ing`)."""

    @classmethod
    def of(cls, tokenizer: "PoNetTokenizer") -> "Vocabulary":
        """The vocabulary of a tokenizer.

        Raises:
            PoNetError: where it has no [CLS], [SEP] or [MASK], or no words.
        """
        pieces = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True)
        ids: dict[str, int] = {}
        for name in ("cls_token", "sep_token", "mask_token"):
            token = getattr(tokenizer, name)
            if token not in pieces:
                raise PoNetError(f"The tokenizer has no {name}: pre-training needs [CLS], [SEP] and [MASK].")
            ids[name] = pieces[token]
        size = max(pieces.values()) + 1
        special = np.array(sorted(set(tokenizer.all_special_ids)), dtype=np.int64)
        continues = np.zeros(size, dtype=bool)
        word = np.zeros(size, dtype=bool)
        for piece, index in pieces.items():
            continues[index] = piece.startswith("##") and len(piece) > 2
            word[index] = _UNUSED.fullmatch(piece) is None
        word[special] = False
        if not word.any():
            raise PoNetError("The tokenizer's vocabulary has no words, only special tokens.")
        return cls(
            size, ids["cls_token"], ids["sep_token"], ids["mask_token"], special, np.flatnonzero(word), continues
        )


def fingerprint(tokenizer: "PoNetTokenizer") -> str:
    """A digest of all that decides which ids a text gets; the same for a tokenizer that was saved and opened again."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = [
        sorted(tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True).items()),
        backend["normalizer"],
        backend["pre_tokenizer"],
        {name: getattr(tokenizer, name) for name in ("cls_token", "sep_token", "mask_token", "unk_token", "pad_token")},
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
