"""Vectors of texts of any length: the mean of a model's last hidden states."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pyarrow as pa

from ponet.inference.documents import BLOCK_CHARACTERS, BLOCK_TEXTS, Texts, encoded_blocks, token_batches
from ponet.models.checkpoints import LONG_DOCUMENTS, checkpoint
from ponet.utils.batching import bounded
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json
from ponet.utils.precision import resolve_precision, torch_dtype

if TYPE_CHECKING:
    from torch import Tensor

    from ponet.models.modeling_ponet import PoNetModel
    from ponet.models.tokenization_ponet import PoNetTokenizer
    from ponet.tasks.sentences.encode import EncodedText

BATCH_TOKENS = 8192
Span = tuple[int, int]
"""Half-open character offsets."""


@dataclass(frozen=True)
class SegmentVectors:
    """The vectors of a text and of its segments, from one pass and in one space."""

    vector: np.ndarray
    """`[d]`, as `embed` gives it without segments."""
    spans: list[Span]
    """Of the `k` segments: `text[start:end]` is one."""
    segments: np.ndarray
    """`[k, d]`: each the mean of its tokens' states, which know the whole text, of length 1."""


@dataclass
class Document:
    """One text as arrays of one length `[n]`."""

    input_ids: np.ndarray
    segment_ids: np.ndarray
    dropped: int = 0
    """Tokens that were cut away."""

    def __len__(self) -> int:
        return len(self.input_ids)

    def part(self, places: list[int], dropped: int = 0) -> "Document":
        """Some of its tokens."""
        return Document(self.input_ids[places], self.segment_ids[places], dropped)


@dataclass
class TextEncoder:
    """Texts to tokens, cut at `max_length`; in a worker process too."""

    tokenizer: "PoNetTokenizer"
    max_length: int | None

    def __call__(self, texts: Texts) -> list[Document]:
        """A document each."""
        left_out = {"return_attention_mask": False, "return_token_type_ids": False}
        encoded = self.tokenizer([text for text, _ in texts], truncation=False, verbose=False, **left_out)
        documents = []
        for ids, segments in zip(encoded["input_ids"], encoded["segment_ids"], strict=True):
            document = Document(np.asarray(ids), np.asarray(segments))
            over = 0 if self.max_length is None else len(document) - self.max_length
            if self.max_length is not None and over > 0:
                document = document.part([*range(self.max_length - 1), len(document) - 1], over)
            documents.append(document)
        return documents


@dataclass
class SegmentedText:
    """One text with its sentences, whole."""

    text: str
    sentences: list[Span]
    tokens: "EncodedText"
    dropped: int = 0


@dataclass
class SegmentEncoder:
    """Texts to tokens and sentences; in a worker process too."""

    tokenizer: "PoNetTokenizer"

    def __call__(self, texts: Texts) -> list[SegmentedText]:
        """A document each."""
        from ponet.tasks.sentences.encode import SentenceEncoder, split_sentences

        read = [text for text, _ in texts]
        sentences = [split_sentences(text) for text in read]
        return list(map(SegmentedText, read, sentences, SentenceEncoder(self.tokenizer)(read, sentences)))


class Embedder:
    """Embeds texts with one model: an `Annotator` of `ponet.inference`.

    Args:
        model: a folder, or a name on the hub; None: the best bundled checkpoint.
        max_length: tokens to which a text is truncated, special ones included; None: it isn't. Positions beyond the
            model's restart from the first.
        batch_tokens: tokens in a batch, at most; a longer text is alone.
        normalize: whether vectors have length 1.
        window: a longer text is read in overlapping windows of this many tokens, and its vector is the mean of their
            normalised vectors: for models that can't read it whole. None: every text is read whole.
        dtype: of weights and activations: float32, bf16, fp16, or auto, the fastest here
            (`utils.precision.resolve_precision`). Vectors are float32 in any case.

    Attributes:
        columns: `embedding`, `d` float32.
        cut: how many texts were truncated to `max_length` so far.

    Raises:
        PoNetError: no such model, or a damaged one, or a `dtype` that this machine doesn't compute in.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        max_length: int | None = None,
        batch_tokens: int = BATCH_TOKENS,
        normalize: bool = True,
        window: int | None = None,
        dtype: str = "float32",
    ) -> None:
        import torch

        from ponet.tasks.distillation.collate import DistillationCollator
        from ponet.tasks.models import device, open_tokenizer

        if max_length is not None and max_length < 3:
            raise PoNetError(f"max_length should be at least 3 (a word between special tokens), not {max_length}.")
        precision = resolve_precision(dtype, "dtype")
        name = checkpoint() if model is None else str(model)
        self.name, self.tokenizer = name, open_tokenizer(name)
        self.encode = TextEncoder(self.tokenizer, max_length)
        self.model = open_encoder(name)
        torch.nn.Module.to(self.model, device(), torch_dtype(precision))
        self.max_length, self.batch_tokens, self.normalize, self.dtype = max_length, batch_tokens, normalize, precision
        self.window, self.windows = window, None if window is None else DistillationCollator(window)
        self.cut = 0

    @property
    def width(self) -> int:
        """`d`, the length of a vector."""
        return self.model.config.hidden_size

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """`[n, d]` float32, a row for each text, in order."""
        rows = list(self.stream(texts))
        return np.stack(rows) if rows else np.zeros((0, self.width), dtype=np.float32)

    def stream(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """A vector `[d]` float32 for each text, in order, in bounded memory."""
        for documents in encoded_blocks(self, texts):
            yield from self.vectors(documents)

    def stream_segments(
        self, texts: Iterable[str], spans: Iterable[Sequence[Span]] | None = None
    ) -> Iterator[SegmentVectors]:
        """The vectors of each text and of its segments, in order, in bounded memory; a text is read in one pass.

        Args:
            texts: the texts.
            spans: for each text its segments, in order and disjoint, as those of `ponet.segment`'s chunks. None:
                sentences. One without words has no vector, and isn't among the result's.

        Raises:
            PoNetError: an embedder with `max_length` or `window`, or spans that aren't a text's.
        """
        encode = self.segment_encoder()
        given = None if spans is None else iter(spans)
        for block in bounded(texts, len, BLOCK_TEXTS, BLOCK_CHARACTERS):
            documents = encode([(text, None) for text in block])
            chosen = None if given is None else [_checked(next(given, None), text) for text in block]
            yield from self.segment_vectors(documents, chosen)

    def segment_encoder(self) -> "SegmentEncoder":
        """Turns texts into documents of `segment_vectors`. Raises PoNetError: an embedder that cuts or has windows."""
        if self.max_length is not None or self.windows is not None:
            raise PoNetError("Segments are embedded with their whole text: leave max_length and window out.")
        return SegmentEncoder(self.tokenizer)

    def segment_vectors(
        self, documents: Sequence["SegmentedText"], spans: Sequence[list[Span]] | None = None
    ) -> list[SegmentVectors]:
        """Of encoded texts, in order, with the segments of each (None: its sentences)."""
        wanted = [document.sentences for document in documents] if spans is None else spans
        inputs = [_with_segments(document.tokens) for document in documents]
        found: dict[int, SegmentVectors] = {}
        for batch in token_batches([len(each) for each in inputs], self.batch_tokens):
            hidden, ends = self._states([inputs[index] for index in batch])
            for index, (begin, end) in zip(batch.tolist(), pairwise(ends.tolist()), strict=True):
                found[index] = self._segmented(documents[index].tokens, wanted[index], hidden[begin:end])
        return [found[index] for index in range(len(documents))]

    def _segmented(self, text: "EncodedText", wanted: list[Span], hidden: "Tensor") -> SegmentVectors:
        import torch

        vector = hidden.mean(0)
        owner = np.searchsorted([start for start, _ in wanted], text.offsets, side="right") - 1
        inside = owner >= 0
        inside[inside] = text.offsets[inside] < np.array([end for _, end in wanted], dtype=np.int64)[owner[inside]]
        kept = np.unique(owner[inside])
        rows = torch.zeros(len(wanted), self.width, device=hidden.device)
        words = torch.from_numpy(np.flatnonzero(inside) + 1).to(hidden.device)
        rows.index_add_(0, torch.from_numpy(owner[inside]).to(hidden.device), hidden[words])
        if self.normalize:
            vector, rows = torch.nn.functional.normalize(vector, dim=0), torch.nn.functional.normalize(rows)
        elif len(wanted):
            counts = torch.from_numpy(np.bincount(owner[inside], minlength=len(wanted))).to(rows)
            rows /= counts.clamp(min=1)[:, None]
        return SegmentVectors(vector.cpu().numpy(), [wanted[index] for index in kept], rows.cpu().numpy()[kept])

    @property
    def columns(self) -> pa.Schema:
        """As `Annotator.columns`."""
        return pa.schema([("embedding", pa.list_(pa.float32(), self.width))])

    def annotate(self, documents: Sequence[Document]) -> pa.Table:
        """As `Annotator.annotate`."""
        flat = pa.array(self.vectors(documents).reshape(-1))
        return pa.table([pa.FixedSizeListArray.from_arrays(flat, self.width)], schema=self.columns)

    def identity(self) -> dict[str, Any]:
        """As `Annotator.identity`."""
        from ponet.tasks.models import checkpoint_folder, model_digest

        settings = {name: getattr(self, name) for name in ("dtype", "max_length", "normalize", "window")}
        return {"files": model_digest(checkpoint_folder(self.name)), **settings}

    def vectors(self, documents: Sequence[Document]) -> np.ndarray:
        """`[n, d]` float32 of encoded texts, a row for each, in order."""
        self.cut += sum(document.dropped > 0 for document in documents)
        if self.windows is None:
            return self._vectors(documents, self.normalize)
        pieces = [self._pieces(document) for document in documents]
        read = iter(self._vectors([piece for document in pieces for piece in document], normalize=True))
        means = np.stack([np.mean([next(read) for _ in document], axis=0) for document in pieces])
        return means / np.linalg.norm(means, axis=1, keepdims=True) if self.normalize else means

    def _pieces(self, document: Document) -> list[Document]:
        assert self.windows is not None
        starts, text = self.windows.windows(len(document))
        return [document.part([0, *range(1 + start, 1 + start + text), len(document) - 1]) for start in starts]

    def _vectors(self, documents: Sequence[Document], normalize: bool) -> np.ndarray:
        """`[n, d]` of documents in any order: similar lengths share a batch."""
        import torch

        from ponet.ops import Layout, mean_aggregation

        found = np.empty((len(documents), self.width), dtype=np.float32)
        for batch in token_batches([len(document) for document in documents], self.batch_tokens):
            hidden, ends = self._states([documents[each] for each in batch])
            with torch.inference_mode():
                vectors = mean_aggregation(hidden, Layout.from_packed(ends))
                found[batch] = (torch.nn.functional.normalize(vectors) if normalize else vectors).cpu().numpy()
        return found

    def _states(self, documents: list[Document]) -> "tuple[Tensor, Tensor]":
        """The last hidden states `[T, d]` of documents end to end, and where each begins `[B + 1]`."""
        import torch

        arrays = {
            "input_ids": np.concatenate([each.input_ids for each in documents])[None],
            "segment_ids": np.concatenate([each.segment_ids for each in documents])[None],
            "cu_seqlens": np.cumsum([0, *map(len, documents)]).astype(np.int32),
        }
        inputs: Any = {name: torch.from_numpy(array).to(self.model.device) for name, array in arrays.items()}
        with torch.inference_mode():
            hidden: Tensor = self.model(**inputs).last_hidden_state[0].float()
        return hidden, inputs["cu_seqlens"]


def open_encoder(name: str) -> "PoNetModel":
    """An encoder in evaluation mode, in float32: PoNet's, or one of BERT's architecture, which then has attention.

    For longer documents than the model has positions, these are repeated (`repeat_positions`).

    Raises:
        PoNetError: no such model, or one that lacks weights.
    """
    from ponet.models.modeling_ponet import PoNetModel
    from ponet.tasks.distillation.models import open_teacher
    from ponet.tasks.models import checkpoint_folder, load_checkpoint

    config = read_json(checkpoint_folder(name) / "config.json")
    # published PoNet checkpoints say "bert" too, but have the special-token rule
    if isinstance(config, dict) and config.get("model_type") == "bert" and "clsgsepg" not in config:
        teacher = open_teacher(name)
        teacher.config.repeat_positions = True
        return teacher
    model, info = load_checkpoint(PoNetModel, name, LONG_DOCUMENTS)
    lacking = [each for each in info["missing_keys"] if not each.startswith("pooler.")]
    lacking += [entry[0] for entry in info["mismatched_keys"]]
    if lacking:
        raise PoNetError(f"'{name}' lacks {len(lacking)} of the encoder's weights, such as '{lacking[0]}'.")
    return model.eval()


class SegmentEmbedder:
    """Embeds texts and their segments, each text in one pass: an `Annotator` of `ponet.inference`.

    Args:
        embedder: the model, for whole texts.
        split: gives the segments of each of some texts; None: sentences.
        settings: what the segments depend on.

    Attributes:
        columns: `embedding`, `d` float32; `segments`, of each its `start`, `end` and `embedding`.

    Raises:
        PoNetError: an embedder that cuts texts, or reads them in windows.
    """

    max_length = None

    def __init__(
        self,
        embedder: Embedder,
        split: Callable[[list[str]], list[list[Span]]] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.embedder, self.split, self.settings = embedder, split, settings or {}
        self.encode = embedder.segment_encoder()
        vector = pa.list_(pa.float32(), embedder.width)
        segment = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("embedding", vector)])
        self.columns = pa.schema([("embedding", vector), ("segments", pa.list_(segment))])

    def annotate(self, documents: Sequence[SegmentedText]) -> pa.Table:
        """As `Annotator.annotate`."""
        spans = None if self.split is None else self.split([document.text for document in documents])
        found = self.embedder.segment_vectors(documents, spans)
        sizes, edges = [len(each.spans) for each in found], [span for each in found for span in each.spans]
        kind = self.columns.field("segments").type.value_type
        columns = [
            pa.array([start for start, _ in edges], pa.int64()),
            pa.array([end for _, end in edges], pa.int64()),
            self._vectors([each.segments for each in found]),
        ]
        segments = pa.StructArray.from_arrays(columns, fields=list(kind))
        lists = pa.ListArray.from_arrays(pa.array(np.cumsum([0, *sizes]), pa.int32()), segments)
        return pa.table([self._vectors([each.vector[None] for each in found]), lists], schema=self.columns)

    def _vectors(self, rows: list[np.ndarray]) -> pa.FixedSizeListArray:
        flat = np.concatenate(rows).reshape(-1) if rows else np.zeros(0, dtype=np.float32)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), self.embedder.width)

    def identity(self) -> dict[str, Any]:
        """As `Annotator.identity`."""
        return {**self.embedder.identity(), "segments": self.settings}


def _with_segments(text: "EncodedText") -> Document:
    """Each sentence a segment, and so are the special tokens."""
    sentences = text.sentence_ids.astype(np.int64)
    segments = np.concatenate([[0], sentences[1:-1] + 1, [sentences.max(initial=-1) + 2]])
    return Document(text.input_ids.astype(np.int64), segments)


_embedder = lru_cache(maxsize=2)(Embedder)


@overload
def embed(
    texts: Sequence[str], model: str | Path | None = None, segments: Literal[False] = False, dtype: str = "float32"
) -> np.ndarray: ...
@overload
def embed(
    texts: Sequence[str],
    model: str | Path | None = None,
    *,
    segments: Literal[True] | Sequence[Sequence[Span]],
    dtype: str = "float32",
) -> list[SegmentVectors]: ...
def embed(
    texts: Sequence[str],
    model: str | Path | None = None,
    segments: bool | Sequence[Sequence[Span]] = False,
    dtype: str = "float32",
) -> np.ndarray | list[SegmentVectors]:
    """Vectors of texts of any length: `[n, d]` float32, each of length 1, so that a product of two is their cosine.

    Args:
        texts: the texts.
        model: a folder, or a name on the hub; None: the best bundled checkpoint. It is cached for the next call.
        segments: True: of each text also the vectors of its sentences, from the same pass (`SegmentVectors`); or, for
            each text, the spans of other segments, such as the chunks of `ponet.segment`.
        dtype: what is computed in: float32, bf16, fp16, or auto, the fastest here.

    Raises:
        PoNetError: a single string instead of several, no such model, or a damaged one, or a `dtype` that this machine
            doesn't compute in.
    """
    if isinstance(texts, str):
        raise PoNetError("embed takes a list of texts: embed([text])[0] is the vector of one.")
    embedder = _embedder(None if model is None else str(model), dtype=dtype)
    if segments is False:
        return embedder.embed(texts)
    spans = None if segments is True else segments
    if spans is not None and len(spans) != len(texts):
        raise PoNetError(f"segments holds {len(spans)} lists of spans for {len(texts)} texts: give one a text.")
    return list(embedder.stream_segments(texts, spans))


def _checked(spans: Sequence[Span] | None, text: str) -> list[Span]:
    edges = [edge for span in spans or () for edge in span]
    if spans is None or edges != sorted(edges) or any(not 0 <= edge <= len(text) for edge in edges):
        raise PoNetError("The segments of a text are its spans (start, end), in order, disjoint and within it.")
    return [(start, end) for start, end in spans]
