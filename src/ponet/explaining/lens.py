"""Which token won each channel that a token heard, layer by layer, and what the answer of a classifier rests on."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ponet.mixers.pooling import PoolingMixer
    from ponet.models.modeling_ponet import PoNetPreTrainedModel
    from ponet.ops.layout import Layout

POOLING = "pooling"


@dataclass(frozen=True)
class Lens:
    """What the `T` tokens of `B` documents heard in each of `L` layers of `d` channels and `h` heads.

    Tokens are packed: document after document, real tokens alone. A layer with another mixer than pooling, or without
    a part (`config.pooling_parts`), has zeros.

    A token *wins* a channel where it holds the maximum that another token, or itself, is given for it; of several with
    the same value the first wins. Where the special-token rule holds, [CLS] and [SEP] are given no maximum: nothing
    is won at them, and nothing in a segment that has no other tokens.
    """

    mixers: tuple[str, ...]
    """The mixer of each layer."""
    cu_seqlens: np.ndarray
    """`[B + 1]` int64: document `b` has the tokens `cu_seqlens[b] : cu_seqlens[b + 1]`."""
    segment: np.ndarray
    """`[T]` int64: the segment of each token, numbered over the whole batch."""
    special: np.ndarray
    """`[T]` bool: tokens that are given no maximum."""
    segment_wins: np.ndarray
    """`[L, T]` int64, segment max-pooling (SMP): channels of its segment that the token won, 0 to `d`. They sum to `d`
    over each segment in which something is won."""
    local_wins: np.ndarray
    """`[L, T]` int64, local max-pooling (LMP): channels that the token won in its own window and its neighbours', 0 to
    `3 d`. They sum to `d` times the tokens of a document that are given a maximum."""
    windows: np.ndarray
    """`[T]` int64: in how many windows the token is, 0 to 3: its own, and its neighbours'."""
    weights: np.ndarray
    """`[L, h, T]` float64, global aggregation (GA): the share of each token in what every token is given, as the model
    computes it; in all, 1 for each head and document. Without the second stage the mean, the same for all tokens."""
    width: int
    """`d`."""
    segment_winners: np.ndarray | None = None
    """`[L, S, d]` int32, where asked for: the token that won each channel of each segment; -1 where nothing is won."""
    local_winners: np.ndarray | None = None
    """`[L, T, d]` int32, where asked for: the token that won each channel in each token's window; -1 likewise."""
    example: np.ndarray | None = None
    """`[T]` int64, of a sequence classifier as all that follows: which of its `E` examples a token is of. That is the
    document, unless the model compares pairs of documents, or reads a text in windows."""
    targets: np.ndarray | None = None
    """`[E]` int64: the class that is explained."""
    attributions: np.ndarray | None = None
    """`[T]` float64, integrated gradients: what each token adds to the logit of the class. The path begins at the same
    tokens with zero for the vector of every word but [CLS] and [SEP]."""
    gradient_x_input: np.ndarray | None = None
    """`[T]` float64: the gradient of the logit times the token's embedding, at the embeddings' output."""
    logits: np.ndarray | None = None
    """`[E]` float64, of the class."""
    differences: np.ndarray | None = None
    """`[E]` float64: the logit less that at the beginning of the path, to which the attributions sum."""
    errors: np.ndarray | None = None
    """`[E]` float64: by how much they miss it. Within `tolerance`, unless `max_steps` were too few."""
    steps: np.ndarray | None = None
    """`[E]` int64: at how many points the gradient was taken."""

    def share(self, part: Literal["smp", "lmp", "ga"]) -> np.ndarray:
        """`[L, T]` float64, from 0 to 1: what each token won of all that it could, comparable between models.

        Args:
            part: "smp": of the channels of its segment; "lmp": of those of the windows that it is in; "ga": its weight,
                the mean over the heads.
        """
        if part == "ga":
            return self.weights.mean(1)
        if part == "smp":
            return self.segment_wins / self.width
        return self.local_wins / (self.width * np.maximum(self.windows, 1))


def lens(
    model: "PoNetPreTrainedModel",
    batch: Mapping[str, Any],
    targets: "int | Sequence[int] | np.ndarray | Tensor | None" = None,
    *,
    attributions: bool = True,
    winners: bool = False,
    tolerance: float = 1e-3,
    max_steps: int = 513,
) -> Lens:
    """What each token of a batch heard, and, of a sequence classifier, what each adds to the logit of a class.

    The winners are those of the projections that the model pools, and the weights those that it pools with: nothing is
    estimated. Each is exact for its layer; what a won channel means for the answer is another question, which
    attributions are for.

    Args:
        model: a PoNet model, with any head. It is computed in evaluation mode, and left as it was.
        batch: the arguments of its `forward`, padded or packed, such as a tokenizer or a collator makes them. Labels
            are left out.
        targets: the class of each example, or one for all. None: the one with the highest logit.
        attributions: whether a classifier's answer is attributed by integrated gradients, which takes tens to hundreds
            of passes. Gradient x input, which takes one, is always there.
        winners: whether the winner of every channel is kept: `L (S + T) d` numbers.
        tolerance: how far the attributions of an example may be from summing to the difference of the logits.
        max_steps: points at which the gradient is taken, at most, where this isn't reached.

    Raises:
        PoNetError: not a PoNet model, or classes that it doesn't have.
        ValueError: as the model's `forward`.
    """
    import torch

    from ponet.models.modeling_ponet import PoNetForSequenceClassification, PoNetPreTrainedModel

    if not isinstance(model, PoNetPreTrainedModel):
        raise PoNetError(f"ponet.lens reads PoNet's models, and this is a {type(model).__name__}.")
    if targets is not None and not isinstance(model, PoNetForSequenceClassification):
        raise PoNetError(f"A {type(model).__name__} has no classes of a document: leave targets out.")
    inputs = {name: value for name, value in batch.items() if name not in _UNUSED}
    inputs = {name: v.to(model.device) if isinstance(v, torch.Tensor) else v for name, v in inputs.items()}
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        found = _listen(model, inputs, winners)
        if isinstance(model, PoNetForSequenceClassification):
            found |= _attribute(model, inputs, found["cu_seqlens"], targets, attributions, tolerance, max_steps)
    finally:
        for module, was in training.items():
            module.training = was
    return Lens(**found)


_UNUSED = ("labels", "output_attentions", "output_hidden_states", "return_dict")


def _attribute(
    model: Any,
    inputs: dict[str, Any],
    cu_seqlens: np.ndarray,
    targets: Any,
    integrate: bool,
    tolerance: float,
    max_steps: int,
) -> dict[str, Any]:
    from ponet.explaining.attribution import EmbeddingPath, attribute

    inputs = {**inputs, "always_packed": True}
    example = examples_of(cu_seqlens, inputs.get("window_counts"), bool(model.config.classifier_pairs))
    path = EmbeddingPath(model, inputs, example)
    chosen = _classes(path.logits, targets)
    found = attribute(path, example, chosen, tolerance, max_steps, integrate)
    return {
        "example": example,
        "targets": chosen,
        "attributions": found.values if integrate else None,
        "gradient_x_input": found.gradient_x_input,
        "logits": found.logits,
        "differences": found.differences if integrate else None,
        "errors": found.errors if integrate else None,
        "steps": found.steps if integrate else None,
    }


def examples_of(cu_seqlens: np.ndarray, window_counts: "Tensor | None", pairs: bool) -> np.ndarray:
    """`[T]` int64, the example of each token.

    Args:
        cu_seqlens: `[B + 1]`, where documents begin.
        window_counts: `[E]`, how many documents in a row are one example; None: each is one.
        pairs: whether two documents are one example.
    """
    documents = np.arange(len(cu_seqlens) - 1)
    if window_counts is not None:
        documents = np.repeat(np.arange(len(window_counts)), window_counts.cpu().numpy())
    elif pairs:
        documents //= 2
    return np.repeat(documents, np.diff(cu_seqlens))


def _classes(logits: "Tensor", targets: Any) -> np.ndarray:
    import torch

    count, classes = logits.shape
    if targets is None:
        chosen = logits.argmax(1).cpu().numpy()
    else:
        given = targets.cpu().numpy() if isinstance(targets, torch.Tensor) else np.asarray(targets)
        if given.dtype.kind not in "iu" or given.shape not in ((), (count,)):
            raise PoNetError(f"targets should be a class, or one for each of the {count} examples, as whole numbers.")
        chosen = np.broadcast_to(given, (count,)).astype(np.int64)
        wrong = chosen[(chosen < 0) | (chosen >= classes)]
        if len(wrong):
            raise PoNetError(f"targets should be classes from 0 to {classes - 1}, not {wrong[0]}.")
    return chosen


def _listen(model: Any, inputs: dict[str, Any], winners: bool) -> dict[str, Any]:
    """The fields of `Lens` that every model has, by watching its pooling mixers."""
    import torch

    from ponet.mixers.pooling import PoolingMixer
    from ponet.models.modeling_ponet import PoNetModel

    body: PoNetModel = model.base_model
    heard: dict[int, dict[str, Any]] = {}
    layouts: list[Layout] = []

    def watch(number: int) -> Callable[..., None]:
        def hook(mixer: "nn.Module", arguments: tuple[Any, ...], output: tuple[Any, ...]) -> None:
            assert isinstance(mixer, PoolingMixer)
            heard[number] = _heard(mixer, arguments[0], arguments[1], output[1], winners)

        return hook

    with ExitStack() as hooks, torch.no_grad():
        handle = body.embeddings.register_forward_hook(lambda _, arguments, __: layouts.append(arguments[0].layout))
        hooks.callback(handle.remove)
        for number, layer in enumerate(body.encoder.layer):
            mixer = layer.attention.self  # type: ignore[union-attr]
            if isinstance(mixer, PoolingMixer):
                hooks.callback(mixer.register_forward_hook(watch(number)).remove)
        # with weights, so that no layer is computed in chunks, of which a hook would see one after the other
        run = body.encode if hasattr(model, "cls") else model  # scores over a vocabulary would be for nothing
        more = {} if type(model).__name__ == "PoNetForSentenceScoring" else {"always_packed": True}
        run(**inputs, **more, output_attentions=True)
    [layout] = layouts
    config, T, L = model.config, layout.num_tokens, len(body.encoder.layer)
    d, h = config.hidden_size, config.num_attention_heads
    found: dict[str, Any] = {
        "mixers": tuple(config.layer_mixers),
        "cu_seqlens": layout.cu_seqlens.cpu().numpy(),
        "segment": layout.segment.cpu().numpy(),
        "special": np.zeros(T, dtype=bool) if layout.special is None else layout.special.cpu().numpy(),
        "segment_wins": np.zeros((L, T), dtype=np.int64),
        "local_wins": np.zeros((L, T), dtype=np.int64),
        "windows": _windows(layout),
        "weights": np.zeros((L, h, T)),
        "width": d,
    }
    if winners:
        found["segment_winners"] = np.full((L, layout.num_segments, d), -1, dtype=np.int32)
        found["local_winners"] = np.full((L, T, d), -1, dtype=np.int32)
    for number, parts in heard.items():
        for name, array in parts.items():
            found[name][number] = array
    return found


def _heard(
    mixer: "PoolingMixer", x: "Tensor", layout: "Layout", weights: "Tensor | None", winners: bool
) -> dict[str, np.ndarray]:
    """What was won and given in one layer, from the mixer's input `[T, d]`."""
    from ponet.ops.reference import segment_argmax

    _, s, l = mixer.project(x).chunk(3, 1)  # noqa: E741
    T, special = layout.num_tokens, layout.special
    found: dict[str, np.ndarray] = {}
    if hasattr(mixer, "dense_segment") and T:
        deaf = _deaf_segments(layout)
        places = segment_argmax(s, layout)  # [S, d]
        found["segment_wins"] = _counts(places if deaf is None else places[~deaf], T)
        if winners:
            found["segment_winners"] = _marked(places, deaf)
    if hasattr(mixer, "dense_local") and T:
        places = local_argmax(l, layout)
        found["local_wins"] = _counts(places if special is None else places[~special], T)
        if winners:
            found["local_winners"] = _marked(places, special)
    if weights is not None:
        found["weights"] = layout.unpad(weights.transpose(1, 2)).T.double().cpu().numpy()
    elif mixer.has_stage_1:
        share = 1 / layout.document_lengths[layout.document].double()
        found["weights"] = share.expand(mixer.num_heads, T).cpu().numpy()
    return found


def _windows(layout: "Layout") -> np.ndarray:
    """`[T]`: of how many tokens that are given a maximum each is in the window."""
    import torch

    left_in, right_in = _neighbours(layout)
    gives = torch.ones_like(layout.document) if layout.special is None else (~layout.special).long()
    counts = gives.clone()
    counts[:-1] += left_in.long() * gives[1:]
    counts[1:] += right_in.long() * gives[:-1]
    found: np.ndarray = counts.cpu().numpy()
    return found


def _neighbours(layout: "Layout") -> "tuple[Tensor, Tensor]":
    """`[T - 1]` bool each: whether a token is in the window of the next one, and the next one in its own."""
    joins, special = layout.joins_next[:-1], layout.special
    if special is None:
        return joins, joins
    return joins & ~special[:-1], joins & ~special[1:]


def local_argmax(l: "Tensor", layout: "Layout") -> "Tensor":  # noqa: E741
    """The token that holds the maximum of each token's window, the first where tied: `[T, d]` -> `[T, d]` int64.

    The windows are those of `ponet.ops.reference.local_max`; at a special token the result has no meaning either.
    """
    import torch

    left_in, right_in = _neighbours(layout)
    place = torch.arange(layout.num_tokens, device=l.device)[:, None].expand_as(l).clone()
    left = left_in[:, None] & (l[:-1] >= l[1:])
    best = l.clone()
    best[1:] = torch.where(left, l[:-1], l[1:])
    place[1:] -= left.long()
    right = right_in[:, None] & (l[1:] > best[:-1])
    place[:-1] = torch.where(right, torch.arange(1, layout.num_tokens, device=l.device)[:, None], place[:-1])
    return place


def _deaf_segments(layout: "Layout") -> "Tensor | None":
    """`[S]` bool: segments of special tokens alone, which are given no maximum; None where there are none."""
    import torch

    if layout.special is None:
        return None
    deaf = torch.ones(layout.num_segments, dtype=torch.bool, device=layout.special.device)
    deaf[layout.segment[~layout.special]] = False
    return deaf


def _counts(places: "Tensor", length: int) -> np.ndarray:
    found: np.ndarray = places.reshape(-1).bincount(minlength=length).cpu().numpy()
    return found


def _marked(places: "Tensor", nobody: "Tensor | None") -> np.ndarray:
    marked = places if nobody is None else places.masked_fill(nobody[:, None], -1)
    found: np.ndarray = marked.int().cpu().numpy()
    return found
