"""Texts cut at the characters where their tokens are cut, for readers that know no tokens."""

from typing import TYPE_CHECKING

import numpy as np

from ponet.config.text import TextOptions
from ponet.tasks.text.documents import Documents
from ponet.tasks.text.encode import CutCounts, batches, cut_lengths, kept_range
from ponet.tasks.text.progress import track

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast


def cut_documents(
    documents: Documents, tokenizer: "PreTrainedTokenizerFast", options: TextOptions, split: str
) -> tuple[Documents, CutCounts]:
    """The documents with just the text that `encode_documents` keeps, and the same counts."""
    import pyarrow as pa

    counts = CutCounts()
    texts: list[str] = []
    pairs: list[str] = []
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    with track(f"Cutting {split}", len(documents), "texts") as advance:
        for first, second in batches(documents):
            a = backend.encode_batch(first, add_special_tokens=False)
            b = None if second is None else backend.encode_batch(second, add_special_tokens=False)
            for row, text in enumerate(first):
                special = 2 if b is None else 3
                lengths = (len(a[row]), 0 if b is None else len(b[row]))
                kept = cut_lengths(*lengths, options.max_length - special)
                counts.add(sum(lengths) + special, sum(kept) + special)
                texts.append(cut_text(text, a[row], kept[0], options.keep))
                if second is not None and b is not None:
                    pairs.append(cut_text(second[row], b[row], kept[1], options.keep))
            advance(len(first))
    cut_pairs = None if documents.pairs is None else pa.chunked_array([pa.array(pairs, pa.large_string())])
    cut_texts = pa.chunked_array([pa.array(texts, pa.large_string())])
    return Documents(cut_texts, cut_pairs, documents.labels, documents.origin), counts


def cut_text(text: str, encoding: "Encoding", kept: int, keep: str) -> str:
    """The characters of the `kept` tokens: the head, the tail, or both ends with a space between."""
    if kept >= len(encoding):
        return text
    positions = kept_range(len(encoding), kept, keep)
    if not len(positions):
        return ""
    offsets = encoding.offsets
    gap = np.flatnonzero(np.diff(positions) > 1)
    ends = [*gap, len(positions) - 1]
    starts = [0, *(gap + 1)]
    return " ".join(
        text[offsets[positions[start]][0] : offsets[positions[end]][1]] for start, end in zip(starts, ends, strict=True)
    )
