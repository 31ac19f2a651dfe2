"""What is compared: two configurations of one encoder, and the variants that differ in how they mix tokens."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ponet.benchmarks.common import check_known
from ponet.mixers import mixer_names, mixer_title
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.modeling_ponet import PoNetForSequenceClassification
from ponet.onnx.graph import LOGITS, Exportable, open_session, quantize_graph, write_graph
from ponet.ops import use_backend

SENTENCE = 25
"""Mean tokens of a text-like segment; they are uniform from 5 to 45, as sentences are long and short."""
CLASSES = 2
KINDS = ("training", "inference")
"""What can be measured: a step with backward and update, or a forward pass."""


@dataclass(frozen=True)
class Setup:
    """One configuration of the encoder, and how it is measured unless said otherwise."""

    name: str
    fields: dict[str, Any]
    """Fields of `PoNetConfig`."""
    cpu_batch_tokens: int
    """Tokens of a batch on a CPU, all of documents of one length (one document at least)."""
    gpu_batch_tokens: int
    seconds: float
    """For the timing of one group of cells."""
    patience: float = 60.0
    """Seconds that one step may take; a variant that is expected to be slower is left out."""
    first_id: int = 1000
    """Documents are made of token ids from here to the end of the vocabulary."""
    segment_length: int | None = None
    """Tokens of a segment; None for text-like ones between [CLS] and [SEP]."""
    segments: str = f"segments as long as sentences ({SENTENCE} tokens on average)"
    """The same in words."""
    kinds: tuple[str, ...] = ("inference",)
    """What is measured on a CPU: training steps, inference, or both."""
    main_only: bool = True
    """Whether only `MAIN` is measured by default, since all would take hours."""


SETUPS = {
    "lra": Setup(
        "Long Range Arena, Text: 2 layers, d 64, 2 heads, FFN 128, pre-norm, dropout 0.1",
        {
            "vocab_size": 512,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 128,
            "type_vocab_size": 0,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "activation_dropout_prob": 0.1,
            "layer_norm_eps": 1e-5,
            "embedding_norm": False,
            "norm_position": "pre",
            "clsgsepg": False,
            "classifier_pooling": "mean",
            "classifier_hidden_size": 128,
        },
        cpu_batch_tokens=16_384,
        gpu_batch_tokens=131_072,
        seconds=30.0,
        patience=15.0,
        first_id=1,
        segment_length=2,
        segments="segments of 2 tokens",
        kinds=KINDS,
        main_only=False,
    ),
    "mini": Setup(
        "Mini, as distilled from MiniLM: 6 layers, d 384, 12 heads, FFN 1536, post-norm",
        {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
        cpu_batch_tokens=16_384,
        gpu_batch_tokens=131_072,
        seconds=30.0,
    ),
    "base": Setup(
        "Base: 12 layers, d 768, 12 heads, FFN 3072, post-norm",
        {},
        cpu_batch_tokens=1,
        gpu_batch_tokens=65_536,
        seconds=60.0,
    ),
}
"""By the name that `--config` takes."""


@dataclass(frozen=True)
class Variant:
    """One way to mix tokens, run in one way."""

    name: str
    """What people know it by."""
    mixer: str
    fields: dict[str, Any] = field(default_factory=dict)
    """Fields of `PoNetConfig` that differ from the configuration's."""
    backend: str | None = None
    """The ops' backend; None leaves the choice to them."""
    recomputes: Literal["", "mixer", "layer"] = ""
    """What the backward recomputes instead of saving it; matters in training alone."""
    attention_layers: int = 0
    """How many of the layers have attention in the place of `mixer`."""
    runtime: Literal["torch", "onnx", "int8"] = "torch"
    """What computes it: PyTorch, or ONNX Runtime on the exported graph, in float32 or quantized."""
    window: int | None = None
    """Documents are read in windows of so many tokens, each for itself; None for whole."""

    @property
    def infers_only(self) -> bool:
        """Whether it isn't trained."""
        return self.runtime != "torch" or self.window is not None

    def layers(self, count: int) -> list[str]:
        """The mixer of each of `count` layers: attention in as many as there should be, evenly, up to the last."""
        attention = {(k + 1) * count // self.attention_layers - 1 for k in range(min(self.attention_layers, count))}
        return ["attention" if layer in attention else self.mixer for layer in range(count)]


READ_WINDOW = 512
"""Tokens that a model with attention reads at once, where it reads long documents in windows: BERT's positions."""
_NO_WEIGHT_DROPOUT = {"attention_probs_dropout_prob": 0.0}
"""PyTorch's fused attention on a CPU knows no dropout of its weights: with it, SDPA would not be the fused kernel."""
WINDOW = 256
"""Tokens, at most, in a hybrid's attention windows."""


def variants() -> dict[str, Variant]:
    """All variants by the name that `--mixers` takes: those of the paper's question first, then every other mixer."""
    published, recomputed = {"pooling_formulation": "published"}, {"mixer_checkpointing": True}
    windows = f"Transformer, SDPA, windows of {READ_WINDOW}"
    made = {
        "pooling": Variant("PoNet", "pooling"),
        "pooling-published": Variant("PoNet, published form", "pooling", published, backend="reference"),
        "pooling-mixer-checkpointing": Variant("PoNet, mixer recomputed", "pooling", recomputed, recomputes="mixer"),
        "pooling-checkpointing": Variant(
            "PoNet, layer and mixer recomputed", "pooling", recomputed, recomputes="layer"
        ),
        "fourier": Variant("FNet", "fourier"),
        "attention": Variant("Transformer, SDPA", "attention", _NO_WEIGHT_DROPOUT),
        "attention-eager": Variant("Transformer, eager", "attention", {"attention_kernel": "eager"}),
        "attention-windows": Variant(windows, "attention", _NO_WEIGHT_DROPOUT, window=READ_WINDOW),
        "pooling-onnx": Variant("PoNet, ONNX Runtime", "pooling", runtime="onnx"),
        "pooling-int8": Variant("PoNet, ONNX Runtime, int8", "pooling", runtime="int8"),
    }
    titles = {name: mixer_title(name) for name in mixer_names()} | {"nystrom": "Nyströmformer"}
    made |= {name: Variant(title, name) for name, title in titles.items() if name not in made}
    for count in (1, 2, 3):
        name = f"PoNet, {count} layer{'s' if count > 1 else ''} with attention"
        hybrid = Variant(name, "pooling", _NO_WEIGHT_DROPOUT, attention_layers=count)
        within, name = _NO_WEIGHT_DROPOUT | {"attention_window": WINDOW}, f"{name} in windows of {WINDOW}"
        made |= {f"hybrid-{count}": hybrid, f"hybrid-{count}-window": replace(hybrid, name=name, fields=within)}
    return made


MAIN = (
    "pooling",
    "pooling-published",
    "pooling-mixer-checkpointing",
    "pooling-checkpointing",
    "fourier",
    "attention",
    "attention-eager",
)
"""The variants that are measured unless others are named."""
ALL = "all"


def choose_variants(names: Sequence[str] | None, setup: Setup, kinds: Sequence[str]) -> dict[str, Variant]:
    """The variants of these names ("all" for every one), in the given order; None for those that the configuration
    measures by default. Recomputing is left out where training isn't among the kinds, unless it was named.

    Raises:
        PoNetError: for a name that no variant has.
    """
    known = variants()
    for name in names or ():
        check_known("mixer or variant ", name, [*known, ALL])
    if names is None:
        usual = (name for name, each in known.items() if not each.attention_layers and not each.infers_only)
        names = MAIN if setup.main_only else tuple(usual)
    elif ALL in names:
        names = tuple(known)
    else:
        return {name: known[name] for name in names}
    return {name: known[name] for name in names if "training" in kinds or not known[name].recomputes}


WARM_TOKENS = 512
"""Enough that "auto" takes the same backend as for more."""


@dataclass(frozen=True)
class Cell:
    """One model on one batch: a place in the table. Plain values, which a child process can be given."""

    setup: str
    variant: str
    kind: str
    """ "training" or "inference". """
    length: int
    """Tokens of each document."""
    batch: int
    """Documents."""
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 0
    warm_tokens: int = WARM_TOKENS
    """Tokens of the document that a warm model has seen."""
    graph: str | None = None
    """The file of the exported graph, for a variant of ONNX Runtime."""


def build(setup: Setup, variant: Variant, positions: int, seed: int, **changes: Any) -> PoNetForSequenceClassification:
    """An untrained classifier for documents of up to `positions` tokens; `changes` are fields of `PoNetConfig`."""
    fields = setup.fields | variant.fields | {"max_position_embeddings": positions, "num_labels": CLASSES} | changes
    fields["mixer_types"] = variant.layers(PoNetConfig(**fields).num_hidden_layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PoNetForSequenceClassification(PoNetConfig(**fields))
    if variant.recomputes == "layer":
        # the second name is the one before transformers 5.20 or so
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return model


def make_batch(setup: Setup, length: int, batch: int, seed: int, vocab_size: int | None = None) -> dict[str, Tensor]:
    """`batch` random documents of `length` tokens, packed, with `labels [B]`."""
    random = np.random.default_rng([seed, length])
    vocabulary = vocab_size or PoNetConfig(**setup.fields).vocab_size
    documents, segments = [], []
    for _ in range(batch):
        ids = random.integers(setup.first_id, vocabulary, size=length)
        if setup.segment_length is not None:
            segments.append(fixed_ids(length, setup.segment_length))
        else:
            ids[0], ids[-1] = 101, 102
            segments.append(np.concatenate([[0], sentence_ids(max(length - 2, 0), random) + 1, [length]])[-length:])
        documents.append(ids)
    return pack(documents, segments) | {"labels": torch.from_numpy(random.integers(CLASSES, size=batch))}


def prepare(cell: Cell, warm: bool = False) -> Callable[[], object]:
    """A model, its batch, and what is measured: one training step, or one forward pass.

    A warm one has run on a small batch, so that the optimizer's state and the libraries' own first allocations are
    there before memory is watched.
    """
    setup, variant = SETUPS[cell.setup], variants()[cell.variant]
    if cell.graph is not None:
        return prepare_graph(cell, warm)
    model = build(setup, variant, max(cell.length, cell.warm_tokens), cell.seed)
    step = make_step(model, variant, cell.kind, cell.dtype, cell.device)
    if warm:
        step(move(make_batch(setup, cell.warm_tokens, 1, cell.seed), cell.device))
    length, batch = cell.length, cell.batch
    if variant.window is not None and length > variant.window:
        length, batch = variant.window, batch * -(-length // variant.window)
    inputs = move(make_batch(setup, length, batch, cell.seed), cell.device)
    return lambda: step(inputs)


def prepare_graph(cell: Cell, warm: bool) -> Callable[[], object]:
    """As `prepare`, of an exported graph on ONNX Runtime, with as many threads as torch has."""
    session = open_session(Path(str(cell.graph)), torch.get_num_threads())

    def rows(length: int, batch: int) -> dict[str, NDArray[np.int64]]:
        made = make_batch(SETUPS[cell.setup], length, batch, cell.seed)
        made["attention_mask"] = torch.ones_like(made["input_ids"])
        return {each.name: made[each.name].reshape(batch, length).numpy() for each in session.get_inputs()}

    if warm:
        session.run(None, rows(cell.warm_tokens, 1))
    inputs = rows(cell.length, cell.batch)
    return lambda: session.run(None, inputs)


@lru_cache(maxsize=8)
def exported_graph(setup: str, variant: str, positions: int, seed: int) -> str:
    """The file of a variant's graph, for documents of up to `positions` tokens; it goes with this process."""
    chosen, file = variants()[variant], Path(_graphs().name) / f"{setup}-{variant}-{positions}-{seed}.onnx"
    if chosen.runtime == "int8":
        quantize_graph(Path(exported_graph(setup, f"{chosen.mixer}-onnx", positions, seed)), file)
    else:
        write_graph(Exportable(build(SETUPS[setup], chosen, positions, seed).eval(), LOGITS), file)
    return str(file)


@lru_cache(maxsize=1)
def _graphs() -> TemporaryDirectory[str]:
    """A folder that is removed when this process ends."""
    return TemporaryDirectory(prefix="ponet-graphs-")


def prepare_warm(cell: Cell) -> Callable[[], object]:
    """As `prepare`, warm."""
    return prepare(cell, warm=True)


def make_step(
    model: PoNetForSequenceClassification, variant: Variant, kind: str, dtype: str, device: str
) -> Callable[[dict[str, Tensor]], object]:
    """A function of a batch: forward, backward and AdamW's update, or forward alone.

    In half precision training runs as `ponet train` does it, with autocast over float32 weights; for inference the
    weights themselves are in that type.
    """
    precision = getattr(torch, dtype)
    model.to(device)  # type: ignore[arg-type] # transformers' own annotation takes no string

    def backend() -> AbstractContextManager[None]:
        return nullcontext() if variant.backend is None else use_backend(variant.backend)

    if kind == "inference":
        model.to(precision).eval()

        def infer(inputs: dict[str, Tensor]) -> object:
            with backend(), torch.inference_mode():
                return model(**inputs).logits

        return infer

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def train(inputs: dict[str, Tensor]) -> None:
        optimizer.zero_grad()
        with backend():
            with torch.autocast(device, precision, enabled=precision != torch.float32):
                loss = model(**inputs).loss
            loss.backward()
        optimizer.step()

    return train


def move(inputs: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    """The batch on a device."""
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def sentence_ids(length: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Segment ids `[length]` of a text-like document: runs of 5 to 45 tokens."""
    ends = np.cumsum(random.integers(5, 2 * SENTENCE - 4, size=length // 5 + 1))
    return np.searchsorted(ends, np.arange(length), side="right")


def fixed_ids(length: int, segment_length: int) -> NDArray[np.int64]:
    """Segment ids `[length]`: runs of `segment_length` tokens."""
    return np.arange(length) // segment_length


def pack(documents: list[NDArray[np.int64]], segments: list[NDArray[np.int64]]) -> dict[str, Tensor]:
    """Documents of token ids `[n]`, end to end: `input_ids` and `segment_ids` `[1, T]`, `cu_seqlens` `[B + 1]`."""
    return {
        "input_ids": torch.from_numpy(np.concatenate(documents))[None],
        "segment_ids": torch.from_numpy(np.concatenate(segments))[None],
        "cu_seqlens": torch.tensor(np.cumsum([0, *map(len, documents)]), dtype=torch.int32),
    }
