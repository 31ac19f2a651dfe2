"""PoNet as a Hugging Face model family: embeddings, layers, encoder, `PoNetModel`, and its heads.

Every `forward` takes padded `[B, N]` input or packed `[1, T]` input with `cu_seqlens` (see `packing.PoNetInputs`).
Inside, only real tokens exist, `[T, d]`, so that cost follows them and a document's result never depends on the rest of
its batch. Parameters are named as published, and never replaced: whatever is faster happens at run time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar, Unpack

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import initialization as init
from transformers.activations import ACT2FN, GELUActivation
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput

from ponet.mixers import build_mixer
from ponet.mixers.fused_linear import is_plain
from ponet.mixers.pooling_chunks import chunk_bounds
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.loading import check_finite, check_weights
from ponet.models.packing import (
    PackedBatch,
    PoNetInputs,
    computes_on_rows,
    find_special_tokens,
    model_forward,
    pack,
    read_rows,
)
from ponet.ops.dispatch import choose_for, mean_aggregation
from ponet.ops.dropout import RepeatableDropout, dropout, repeatable_dropout
from ponet.ops.hooks import are_plain, has_hooks, is_transformed
from ponet.ops.layout import Layout
from ponet.ops.padded import AnyLayout


class PoNetEmbeddings(nn.Module):
    """Word, position and token-type embeddings, summed."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, d, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, d)
        if config.type_vocab_size:
            self.token_type_embeddings = nn.Embedding(config.type_vocab_size, d)
        self.LayerNorm = nn.LayerNorm(d, eps=config.layer_norm_eps) if config.embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.chunk_size = config.chunk_size

    def forward(self, batch: PackedBatch) -> Tensor:
        """A batch of `T` tokens -> `[T, d]`.

        Embeddings that have hooks, or are more than `nn.Embedding`, are called on rows (`[B, N]`, 0 at padding, or
        `[1, T]` for packed input), as hooks written for other models expect.
        """
        T = batch.positions.shape[0]  # `len` of a tensor would fix the number in a traced graph
        tables = (getattr(self, f"{name}_embeddings", None) for name in ("word", "position", "token_type"))
        size = self.chunk_size
        if size is None or not _reads_chunks(size, T) or any(map(_needs_rows, filter(None, tables))):
            return self._embed(batch)
        return _concatenate((self._embed(_slice(batch, begin, begin + size)) for begin in range(0, T, size)), T)

    def _embed(self, batch: PackedBatch) -> Tensor:
        def look_up(table: nn.Module, ids: Tensor) -> Tensor:
            return batch.unpad(table(batch.pad(ids))) if _needs_rows(table) else table(ids)

        tokens, positions, token_types = batch.tokens, batch.positions, batch.token_types
        x = tokens if tokens.is_floating_point() else look_up(self.word_embeddings, tokens)
        if hasattr(self, "token_type_embeddings"):
            table = self.token_type_embeddings
            if token_types is None:
                token_types = torch.zeros_like(positions) if _needs_rows(table) else positions.new_zeros(1)
            x = x + look_up(table, token_types)
        x = x + look_up(self.position_embeddings, positions)
        return dropout(self.LayerNorm(x), self.dropout)

    def resize_positions(self, num_positions: int) -> None:
        """Keeps the first `num_positions` rows, or repeats the rows in order until there are as many."""
        old = self.position_embeddings
        if old.num_embeddings == num_positions:
            return
        rows = torch.arange(num_positions, device=old.weight.device) % old.num_embeddings
        weight = old.weight.detach()[rows].clone()
        self.position_embeddings = nn.Embedding.from_pretrained(weight, freeze=not old.weight.requires_grad)


def _needs_rows(table: nn.Module) -> bool:
    """Whether an embedding has to be called on rows, as in other models."""
    return type(table) is not nn.Embedding or has_hooks(table)


def _slice(batch: PackedBatch, begin: int, end: int) -> PackedBatch:
    """The tokens `begin : end` of a batch, with the layout of all."""
    types = None if batch.token_types is None else batch.token_types[begin:end]
    return batch._replace(tokens=batch.tokens[begin:end], positions=batch.positions[begin:end], token_types=types)


def _reads_chunks(chunk_size: int, num_tokens: int) -> bool:
    """Whether to compute a chunk of tokens at a time: only in inference, where nothing is saved for backward."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    return num_tokens > chunk_size


def _concatenate(chunks: Iterable[Tensor], total: int) -> Tensor:
    """Chunks of `[T, d]` as one tensor; as `torch.cat`, but with one chunk at a time in memory beside the whole."""
    whole: Tensor | None = None
    begin = 0
    for chunk in chunks:
        if whole is None:
            whole = chunk.new_empty((total, *chunk.shape[1:]))
        whole[begin : begin + len(chunk)] = chunk
        begin += len(chunk)
    assert whole is not None
    return whole


class PoNetOutput(nn.Module):
    """What is behind the mixer, and the feed-forward's second half: a linear map from `width` channels (none in FNet's
    mixing block) and dropout; and the block's LayerNorm."""

    def __init__(self, config: PoNetConfig, width: int | None) -> None:
        super().__init__()
        self.dense = nn.Identity() if width is None else nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)


class PoNetAttention(nn.Module):
    """The mixing block. `self` is the mixer, under BERT's name."""

    def __init__(self, config: PoNetConfig, mixer_type: str) -> None:
        super().__init__()
        mixer = build_mixer(mixer_type, config)
        self.self = mixer
        self.output = PoNetOutput(config, config.hidden_size if mixer.has_output_projection else None)
        self.pre_norm = config.norm_position == "pre"
        self.checkpointing = config.mixer_checkpointing

    def forward(self, x: Tensor, layout: AnyLayout, output_weights: bool) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and the mixer's weights."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            mixed, weights = checkpoint(self._mix, x, layout, output_weights, use_reentrant=False)
        else:
            mixed, weights = self._mix(x, layout, output_weights)
        return self._add(x, mixed), weights

    def forward_chunks(self, x: Tensor, layout: Layout, bounds: list[int]) -> Iterable[Tensor]:
        """`forward` without gradients or weights: yields `[end - begin, d]` for each chunk between two `bounds`."""
        mixed_chunks = self.self.forward_chunks(lambda begin, end: self._norm(x[begin:end]), layout, bounds)
        for (begin, end), mixed in zip(pairwise(bounds), mixed_chunks, strict=True):
            yield self._add(x[begin:end], self.output.dense(mixed))

    def _mix(self, x: Tensor, layout: AnyLayout, output_weights: bool) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self(self._norm(x), layout, output_weights)
        return self.output.dense(mixed), weights

    def _norm(self, x: Tensor) -> Tensor:
        return self.output.LayerNorm(x) if self.pre_norm else x

    def _add(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = dropout(mixed, self.output.dropout, x)
        return x if self.pre_norm else self.output.LayerNorm(x)


class PoNetIntermediate(nn.Module):
    """The feed-forward's first half."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.activation_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        """`[T, d]` -> `[T, f]`."""
        return self.activate(self.dense(x))

    def activate(self, x: Tensor) -> Tensor:
        """What follows the linear map: `[T, f]` -> `[T, f]`."""
        return dropout(self.activation(x), self.dropout)


class PoNetLayer(GradientCheckpointingLayer):
    """One layer: mixing block, feed-forward block; post-norm or pre-norm."""

    def __init__(self, config: PoNetConfig, mixer_type: str) -> None:
        super().__init__()
        self.attention = PoNetAttention(config, mixer_type)
        self.intermediate = PoNetIntermediate(config)
        self.output = PoNetOutput(config, config.intermediate_size)
        self.pre_norm = config.norm_position == "pre"

    def forward(
        self, x: Tensor, layout: AnyLayout, output_weights: bool = False, bounds: list[int] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and the mixer's weights; with `bounds` a chunk at a time, without weights."""
        if bounds is not None:
            assert isinstance(layout, Layout)  # chunks are of packed tokens
            chunks = self.attention.forward_chunks(x, layout, bounds)
            return _concatenate(map(self.feed_forward, chunks), len(x)), None
        x, weights = self.attention(x, layout, output_weights)
        return self.feed_forward(x), weights

    def feed_forward(self, x: Tensor) -> Tensor:
        """The feed-forward block: `[T, d]` -> `[T, d]`."""
        inner, output = self.intermediate, self.output
        normed = output.LayerNorm(x) if self.pre_norm else x
        if has_hooks(inner):
            result = output.dense(inner(normed))
        else:
            raised = inner.dense(normed)
            fused = gelu_linear(raised, inner.activation, inner.dropout, output.dense)
            result = output.dense(inner.activate(raised)) if fused is None else fused
        x = dropout(result, output.dropout, x)
        return x if self.pre_norm else output.LayerNorm(x)


def gelu_linear(x: Tensor, activation: nn.Module, dropout: nn.Module, linear: nn.Module) -> Tensor | None:
    """`linear(dropout(activation(x)))`, which saves only `x`: backward computes GELU and dropout again.

    The tensors between the two matrix products are most of what a training step saves, and half of that is GELU's
    result, which costs little to recompute. The result is that of the modules called one by one.

    Args:
        x: `[T, f]`.
        activation: Hugging Face's "gelu".
        dropout: an `nn.Dropout`; while it drops, only where dropout can be repeated (on a CPU with Numba).
        linear: an `nn.Linear` of `f` inputs with a bias.

    Returns:
        `[T, d]`; None where the modules have to be called: they are others than these or have hooks, nothing is saved
        anyway, or `torch.compile` decides what to save.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or is_transformed():
        return None
    # Hugging Face's class can also use a slower formula of its own
    if (
        type(activation) is not GELUActivation
        or getattr(activation, "act", None) is not F.gelu
        or has_hooks(activation)
    ):
        return None
    weight, bias = getattr(linear, "weight", None), getattr(linear, "bias", None)
    if not is_plain(linear) or not are_plain(x) or bias is None:
        return None
    drop = repeatable_dropout(x, dropout)
    if drop is None:
        return None
    result: Tensor = _GeluLinear.apply(x, weight, bias, drop)
    return result


class _GeluLinear(Function):
    """`x, weight, bias` -> `drop(gelu(x)) W' + b`; twice differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, drop: RepeatableDropout) -> Tensor:
        x = x.contiguous()  # what drops depends on the place in memory, which has to be that of the gradient
        ctx.save_for_backward(x, weight)
        ctx.drop, ctx.bias_dtype = drop, bias.dtype
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        with torch.autocast(device, enabled=False):
            return F.linear(drop.in_place(F.gelu(x)).to(dtype), weight.to(dtype), bias.to(dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        x, weight = ctx.saved_tensors
        # for second derivatives, or the gradients of several outputs at once (`is_grads_batched`)
        differentiable = torch.is_grad_enabled() or not are_plain(dy)
        drop = ctx.drop if differentiable else ctx.drop.in_place
        dx = d_weight = d_bias = None
        with torch.autocast(x.device.type, enabled=False):
            if ctx.needs_input_grad[1]:
                d_weight = (dy.T @ drop(F.gelu(x)).to(dy.dtype)).to(weight.dtype)
            if ctx.needs_input_grad[2]:
                d_bias = dy.sum(0).to(ctx.bias_dtype)
            if ctx.needs_input_grad[0]:
                dropped = drop((dy @ weight.to(dy.dtype)).to(x.dtype))
                if differentiable:
                    dx = torch.ops.aten.gelu_backward(dropped, x)
                else:
                    dx = torch.ops.aten.gelu_backward.grad_input(dropped, x, grad_input=dropped)
        return dx, d_weight, d_bias, None


Output = TypeVar("Output", bound=ModelOutput)


class EncodedBatch(NamedTuple):
    """The encoder's result for a batch, still packed; what it shows to the caller is padded already."""

    hidden: Tensor
    """`[T, d]`, the last layer's states."""
    batch: PackedBatch
    hidden_states: tuple[Tensor, ...] | None
    """The embeddings' output, then each layer's, `[B, N, d]` or `[1, T, d]`."""
    attentions: Any
    """For each layer `[B, h, N]` (pooling), `[B, h, N, N]` (attention) or None (mixers without weights)."""

    @property
    def layout(self) -> AnyLayout:
        """Where documents and segments are among the tokens."""
        return self.batch.layout

    def output(self, kind: type[Output], **values: Any) -> Output:
        """A model's output, with those of the encoder that the caller asked for."""
        return kind(**values, hidden_states=self.hidden_states, attentions=self.attentions)


class PoNetEncoder(nn.Module):
    """All layers, and in the pre-norm form the norm behind the last."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(PoNetLayer(config, mixer_type) for mixer_type in config.layer_mixers)
        if config.norm_position == "pre":
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.chunk_size = config.chunk_size

    def forward(self, x: Tensor, batch: PackedBatch, output_states: bool, output_weights: bool) -> EncodedBatch:
        """`[T, d]` -> `[T, d]`; where asked for, also the states before and behind each layer, and mixers' weights."""
        states: list[Tensor] = []
        all_weights: list[Tensor | None] = []

        def record(x: Tensor) -> Tensor:
            """The next layer reads the very states that the output shows, so that these have a gradient."""
            if not output_states:
                return x
            states.append(batch.pad(x))
            return batch.unpad(states[-1])

        bounds = None
        size, layout = self.chunk_size, batch.layout
        if size is not None and not output_weights and isinstance(layout, Layout) and _reads_chunks(size, x.shape[0]):
            bounds = chunk_bounds(layout, size)
        for layer in self.layer:
            x, weights = layer(record(x), batch.layout, output_weights, bounds)
            all_weights.append(weights)
        if hasattr(self, "LayerNorm"):
            norm: nn.LayerNorm = self.LayerNorm
            x = norm(x) if bounds is None else _concatenate(map(norm, x.tensor_split(bounds[1:-1])), len(x))
        x = record(x)
        attentions = tuple(all_weights) if output_weights else None
        return EncodedBatch(x, batch, tuple(states) if output_states else None, attentions)


class PoNetPooler(nn.Module):
    """BERT's pooler: a tanh layer on one vector for each document."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Tensor) -> Tensor:
        """`[B, d]` -> `[B, d]`."""
        return self.dense(first).tanh()


class PoNetPreTrainedModel(PreTrainedModel):
    """Weights, loading and saving, shared by all models."""

    config: PoNetConfig
    config_class = PoNetConfig
    base_model_prefix = "ponet"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _no_split_modules = [PoNetLayer.__name__]  # noqa: RUF012 - Hugging Face's own convention
    _keys_to_ignore_on_load_unexpected = [r"embeddings\.position_ids", r"teacher_projection"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter) and not isinstance(module, nn.Linear | nn.LayerNorm):
            init.zeros_(bias)  # the prediction head's own
        if hasattr(module, "init_buffers"):
            module.init_buffers()  # type: ignore[operator] # fixed random features, which a checkpoint of another mixer doesn't have

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *model_args: Any, **kwargs: Any) -> Any:
        """As transformers', but the result never has random numbers for weights that the checkpoint should have.

        A head is new where the checkpoint was saved from another class. `ignore_mismatched_sizes=True` loads whatever
        fits and initialises the rest, with transformers' report of it; `output_loading_info=True` reports weights
        missing and left over instead of refusing them; a `state_dict` is used as it is.

        Raises:
            WeightsError: weights of the encoder, or those of this class as it was saved, are missing, of other shapes,
                left over, or not finite.
        """
        if pretrained_model_name_or_path is None or kwargs.get("state_dict") is not None:
            return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        with_info = kwargs.pop("output_loading_info", False)
        lenient = kwargs.pop("ignore_mismatched_sizes", False)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
        )
        model, info = loaded
        name = str(pretrained_model_name_or_path)
        if not lenient:
            changed = not kwargs.keys().isdisjoint(PoNetConfig.__annotations__)
            check_weights(name, model, info, changed=changed, reported=with_info)
        check_finite(name, model)
        return loaded if with_info else model

    def get_position_embeddings(self) -> nn.Embedding:
        """The position embeddings."""
        body = self.base_model
        assert isinstance(body, PoNetModel)
        return body.embeddings.position_embeddings

    def resize_position_embeddings(self, num_positions: int) -> None:
        """Changes the longest document to `num_positions` tokens: further positions repeat the trained ones in order.

        As the published code does for multiples of the trained length, here for any. A smaller number keeps the first
        positions.

        Raises:
            ValueError: where `num_positions` isn't positive.
        """
        if num_positions < 1:
            raise ValueError(f"num_positions must be positive, not {num_positions}")
        body = self.base_model
        assert isinstance(body, PoNetModel)
        body.embeddings.resize_positions(num_positions)
        self.config.max_position_embeddings = num_positions


class PoNetModel(PoNetPreTrainedModel):
    """The encoder. `add_pooling_layer` adds BERT's tanh pooler on each document's first real token."""

    def __init__(self, config: PoNetConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = PoNetEmbeddings(config)
        self.encoder = PoNetEncoder(config)
        self.pooler = PoNetPooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the word embeddings."""
        self.embeddings.word_embeddings = value  # type: ignore[assignment]

    def encode(
        self,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        always_packed: bool = False,
        **inputs: Any,
    ) -> EncodedBatch:
        """`forward` without padding the result: heads read packed tokens. Arguments as there.

        `always_packed` also packs where `config.execution` wouldn't.

        Raises:
            ValueError: as `forward`.
        """
        try:
            on_rows = not always_packed and computes_on_rows(self.config, inputs)
            batch = read_rows(self.config, **inputs) if on_rows else pack(self.config, **inputs)
        except RuntimeError as error:
            if not is_transformed():
                raise
            raise ValueError(
                "torch.func.vmap can't map over ids, masks, positions or segments, whose values decide how a batch is "
                "packed: loop over the examples, or map over inputs_embeds or parameters"
            ) from error
        if isinstance(batch.layout, Layout):
            choose_for(batch.layout)
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        return self.encoder(self.embeddings(batch), batch, output_hidden_states, output_attentions)

    def pool(self, encoded: EncodedBatch) -> Tensor:
        """`[B, d]`: the pooler's view of each document's first real token; of zeros for an empty document."""
        assert self.pooler is not None
        return self.pooler(encoded.layout.first_tokens(encoded.hidden))

    @model_forward
    def forward(self, **inputs: Unpack[PoNetInputs]) -> BaseModelOutputWithPooling:
        """Encodes a batch: see [`PoNetInputs`][ponet.models.packing.PoNetInputs] for the arguments.

        Returns:
            `last_hidden_state [B, N, d]` (zeros at padding), `pooler_output [B, d]`, `hidden_states`, `attentions`.

        Raises:
            ValueError: for arguments that don't fit together, or documents longer than the model has positions.
        """
        encoded = self.encode(**inputs)
        hidden, pooled = encoded.batch.pad(encoded.hidden), None if self.pooler is None else self.pool(encoded)
        return encoded.output(BaseModelOutputWithPooling, last_hidden_state=hidden, pooler_output=pooled)


def mean_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """`[n, C]`, `[n]` -> the mean over labels that aren't -100; 0, not NaN, where all are.

    Raises:
        ValueError: where the labels aren't `n`.
    """
    if labels.numel() != scores.shape[0]:
        raise ValueError(f"labels have the shape {list(labels.shape)}, but there are {scores.shape[0]} to predict")
    total = F.cross_entropy(scores.float(), labels.long().reshape(-1), ignore_index=-100, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)


class PoNetPredictionTransform(nn.Module):
    """BERT's layer before the vocabulary: linear, activation, LayerNorm."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """`[T, d]` -> `[T, d]`."""
        return self.LayerNorm(self.activation(self.dense(x)))


class PoNetPredictionHead(nn.Module):
    """Scores over the vocabulary; the decoder is tied to the word embeddings."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.transform = PoNetPredictionTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, x: Tensor) -> Tensor:
        """`[T, d]` -> `[T, V]`."""
        return self.decoder(self.transform(x))


class PoNetPreTrainingHeads(nn.Module):
    """The `cls` of a published checkpoint: word predictions, and the relation of two spans where asked for."""

    def __init__(self, config: PoNetConfig, with_relationship: bool) -> None:
        super().__init__()
        self.predictions = PoNetPredictionHead(config)
        if with_relationship:
            self.seq_relationship = nn.Linear(config.hidden_size, config.num_sentence_labels)


class _PoNetWithDecoder(PoNetPreTrainedModel):
    """Models with a prediction head: where Hugging Face finds the decoder over the vocabulary."""

    _tied_weights_keys = {  # noqa: RUF012
        "cls.predictions.decoder.weight": "ponet.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    cls: PoNetPreTrainingHeads

    def get_output_embeddings(self) -> nn.Module:
        """The decoder over the vocabulary."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replaces the decoder, its bias included."""
        predictions = self.cls.predictions
        predictions.decoder = new_embeddings  # type: ignore[assignment]
        bias = new_embeddings.bias
        # Untied, `predictions.bias` has no effect, but must have the vocabulary's size, and storage of its own.
        predictions.bias = bias if self.config.tie_word_embeddings else nn.Parameter(bias.detach().clone())  # type: ignore[assignment, operator]


@dataclass
class PoNetForPreTrainingOutput(ModelOutput):
    """Output of `PoNetForPreTraining`; `loss` is the sum of the two that labels were given for."""

    loss: Tensor | None = None
    mlm_loss: Tensor | None = None
    sso_loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    """`[B, N, V]`, or `[M, V]` where positions were given."""
    seq_relationship_logits: Tensor | None = None
    """`[B, 3]`."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class PoNetForPreTraining(_PoNetWithDecoder):
    """Masked language modelling and the sentence structural objective (SSO; paper, section 3.4)."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.ponet = PoNetModel(config)
        self.cls = PoNetPreTrainingHeads(config, with_relationship=True)
        self.post_init()

    @model_forward
    def forward(
        self,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        prediction_positions: Tensor | None = None,
        **inputs: Unpack[PoNetInputs],
    ) -> PoNetForPreTrainingOutput:
        """Takes the arguments of [`PoNetInputs`][ponet.models.packing.PoNetInputs] and those below.

        Args:
            labels: `[B, N]` (or `[1, T]`) word ids to predict, -100 elsewhere.
            next_sentence_label: `[B]`: 0 the second span follows the first, 1 they are swapped, 2 it is from elsewhere.
            prediction_positions: `[M]`, where words are predicted, as places among the batch's real tokens. Scores
                over the vocabulary are then computed there alone: `labels` are `[M]`, `prediction_logits` `[M, V]`.
        """
        encoded = self.ponet.encode(always_packed=prediction_positions is not None, **inputs)
        hidden, batch = encoded.hidden, encoded.batch
        if prediction_positions is not None:
            hidden = hidden.index_select(0, prediction_positions)
        scores = self.cls.predictions(hidden)
        relationship = self.cls.seq_relationship(self.ponet.pool(encoded))
        if labels is not None and prediction_positions is None:
            labels = batch.unpad_labels(labels)
        mlm_loss = None if labels is None else mean_cross_entropy(scores, labels).to(self.dtype)
        sso_loss = None
        if next_sentence_label is not None:
            sso_loss = mean_cross_entropy(relationship, next_sentence_label).to(self.dtype)
        losses = [loss for loss in (mlm_loss, sso_loss) if loss is not None]
        return encoded.output(
            PoNetForPreTrainingOutput,
            loss=torch.stack(losses).sum() if losses else None,
            mlm_loss=mlm_loss,
            sso_loss=sso_loss,
            prediction_logits=batch.pad(scores) if prediction_positions is None else scores,
            seq_relationship_logits=relationship,
        )


class PoNetForMaskedLM(_PoNetWithDecoder):
    """Masked language modelling alone; opens a pre-training checkpoint as well."""

    _keys_to_ignore_on_load_unexpected = [r"embeddings\.position_ids", r"cls\.seq_relationship", r"pooler"]  # noqa: RUF012

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.ponet = PoNetModel(config, add_pooling_layer=False)
        self.cls = PoNetPreTrainingHeads(config, with_relationship=False)
        self.post_init()

    @model_forward
    def forward(self, labels: Tensor | None = None, **inputs: Unpack[PoNetInputs]) -> MaskedLMOutput:
        """Takes the arguments of [`PoNetInputs`][ponet.models.packing.PoNetInputs] and those below.

        Args:
            labels: `[B, N]` (or `[1, T]`) word ids to predict, -100 elsewhere.
        """
        encoded = self.ponet.encode(**inputs)
        scores = self.cls.predictions(encoded.hidden)
        loss = _token_loss(self, encoded, scores, labels)
        return encoded.output(MaskedLMOutput, loss=loss, logits=encoded.batch.pad(scores))


def _token_loss(model: PoNetPreTrainedModel, encoded: EncodedBatch, scores: Tensor, labels: Tensor | None) -> Any:
    """The mean loss of `scores [T, C]` for `labels [B, N]` (or `[1, T]`), in the model's dtype; None without labels."""
    return None if labels is None else mean_cross_entropy(scores, encoded.batch.unpad_labels(labels)).to(model.dtype)


class PoNetForSequenceClassification(PoNetPreTrainedModel):
    """One label, several labels or a number for each document, by the fields `classifier_*` of the configuration."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.num_labels: int = config.num_labels  # type: ignore[assignment]
        self.ponet = PoNetModel(config, add_pooling_layer=config.classifier_pooling == "cls")
        self.dropout = _classifier_dropout(config)
        width = config.hidden_size * (4 if config.classifier_pairs else 1)
        if config.classifier_hidden_size is None:
            self.classifier: nn.Module = nn.Linear(width, self.num_labels)
        else:
            self.classifier = nn.Sequential(
                nn.Linear(width, config.classifier_hidden_size),
                nn.ReLU(),
                nn.Linear(config.classifier_hidden_size, self.num_labels),
            )
        self.post_init()

    @model_forward
    def forward(
        self, labels: Tensor | None = None, window_counts: Tensor | None = None, **inputs: Unpack[PoNetInputs]
    ) -> SequenceClassifierOutput:
        """Takes the arguments of [`PoNetInputs`][ponet.models.packing.PoNetInputs] and those below.

        Args:
            labels: `[B]` classes; `[B, C]` of 0 and 1 for several labels; `[B]` or `[B, C]` numbers for regression.
                With `config.classifier_pairs`, `B` counts the pairs.
            window_counts: `[B]` int64, where a text is read in windows: how many of the input's documents in a row are
                one text's. The classifier reads the mean of their vectors.
        """
        encoded = self.ponet.encode(**inputs)
        vectors = self._document_vectors(encoded)
        if window_counts is not None:
            vectors = _window_means(vectors, window_counts)
        logits = self.classifier(self.dropout(vectors))
        loss = None if labels is None else self._loss(logits, labels).to(self.dtype)
        return encoded.output(SequenceClassifierOutput, loss=loss, logits=logits)

    def _document_vectors(self, encoded: EncodedBatch) -> Tensor:
        """One vector for each document `[B, d]`, or for each pair of documents `[B / 2, 4 d]`."""
        layout = encoded.layout
        if self.config.classifier_pooling == "cls":
            documents = self.ponet.pool(encoded)
        else:
            documents = mean_aggregation(encoded.hidden, layout)
            if self.config.classifier_pooling == "padded_mean":
                share = layout.document_lengths / self.config.max_position_embeddings
                documents = documents * share[:, None].to(documents.dtype)
        if not self.config.classifier_pairs:
            return documents
        if layout.batch_size % 2:
            raise ValueError(f"classifier_pairs joins documents two by two, but the batch has {layout.batch_size}")
        a, b = documents[0::2], documents[1::2]
        difference = (a - b).abs() if self.config.classifier_pair_difference == "absolute" else a - b
        return torch.cat([a, b, a * b, difference], dim=-1)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss for `config.problem_type`, which the first labels decide where it is None."""
        if self.config.problem_type is None:
            if self.num_labels == 1:
                self.config.problem_type = "regression"
            elif labels.is_floating_point():
                self.config.problem_type = "multi_label_classification"
            else:
                self.config.problem_type = "single_label_classification"
        if self.config.problem_type == "single_label_classification":
            return mean_cross_entropy(logits, labels)
        if labels.numel() != logits.numel():  # or else they would be broadcast
            raise ValueError(f"{self.config.problem_type} wants labels {list(logits.shape)}, not {list(labels.shape)}")
        numbers = labels.reshape(logits.shape).float()
        if self.config.problem_type == "regression":
            return F.mse_loss(logits.float(), numbers)
        return F.binary_cross_entropy_with_logits(logits.float(), numbers)


def _window_means(vectors: Tensor, counts: Tensor) -> Tensor:
    """The mean over each text's windows: `[W, d]`, `[B]` with the sum W -> `[B, d]`."""
    if int(counts.sum()) != len(vectors):
        raise ValueError(f"window_counts adds up to {int(counts.sum())}, and the input has {len(vectors)} documents")
    texts = torch.arange(len(counts), device=counts.device).repeat_interleave(counts, output_size=len(vectors))
    total = vectors.new_zeros((len(counts), vectors.shape[1]), dtype=torch.float32).index_add(0, texts, vectors.float())
    return (total / counts[:, None]).to(vectors.dtype)


def _classifier_dropout(config: PoNetConfig) -> nn.Dropout:
    """With the classifier's own probability, or the model's where it has none."""
    return nn.Dropout(config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout)


class PoNetForTokenClassification(PoNetPreTrainedModel):
    """A label for each token."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.num_labels: int = config.num_labels  # type: ignore[assignment]
        self.ponet = PoNetModel(config, add_pooling_layer=False)
        self.dropout = _classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    @model_forward
    def forward(self, labels: Tensor | None = None, **inputs: Unpack[PoNetInputs]) -> TokenClassifierOutput:
        """Takes the arguments of [`PoNetInputs`][ponet.models.packing.PoNetInputs] and those below.

        Args:
            labels: `[B, N]` (or `[1, T]`) classes, -100 for none; padding never counts.
        """
        encoded = self.ponet.encode(**inputs)
        scores = self.classifier(self.dropout(encoded.hidden))
        loss = _token_loss(self, encoded, scores, labels)
        return encoded.output(TokenClassifierOutput, loss=loss, logits=encoded.batch.pad(scores))


class PoNetForQuestionAnswering(PoNetPreTrainedModel):
    """The span of a document that answers a question."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.ponet = PoNetModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @model_forward
    def forward(
        self,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **inputs: Unpack[PoNetInputs],
    ) -> QuestionAnsweringModelOutput:
        """Takes the arguments of [`PoNetInputs`][ponet.models.packing.PoNetInputs] and those below.

        Args:
            start_positions, end_positions: `[B]`, places in the padded row (in the document for packed input); an
                answer outside the row, or at padding, has no loss.

        Returns:
            `start_logits`, `end_logits`: `[B, N]` with the lowest number at padding, or `[1, T]` for packed input.
        """
        encoded = self.ponet.encode(**inputs)
        scores = self.qa_outputs(encoded.hidden)
        # Rows, whatever the input's form: the softmax runs over one document.
        layout = encoded.layout
        real = layout.real_tokens()
        rows = layout.pad(scores).masked_fill(~real[..., None], torch.finfo(scores.dtype).min)
        loss = None
        if start_positions is not None and end_positions is not None:
            ends = zip(rows.unbind(-1), (start_positions, end_positions), strict=True)
            losses = [_answer_loss(row_scores, real, positions) for row_scores, positions in ends]
            loss = torch.stack(losses).mean().to(self.dtype)
        starts, stops = (scores[None] if encoded.batch.is_packed else rows).unbind(-1)
        return encoded.output(QuestionAnsweringModelOutput, loss=loss, start_logits=starts, end_logits=stops)


def _answer_loss(rows: Tensor, real: Tensor, positions: Tensor) -> Tensor:
    """The loss of one end of the answer: scores `[B, N]`, where tokens are `[B, N]`, places `[B]`."""
    positions = positions.reshape(-1, 1)
    if positions.shape[0] != rows.shape[0]:
        raise ValueError(f"{positions.shape[0]} answer positions for {rows.shape[0]} documents")
    found = (torch.arange(rows.shape[1], device=rows.device) == positions) & real
    return mean_cross_entropy(rows, positions[:, 0].where(found.any(1), -100))


class PoNetForMultipleChoice(PoNetPreTrainedModel):
    """Which of several documents is right: `[B, C, N]` input, or packed input with the choices as documents."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.ponet = PoNetModel(config)
        self.dropout = _classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    @model_forward
    def forward(
        self, labels: Tensor | None = None, num_choices: int | None = None, **inputs: Unpack[PoNetInputs]
    ) -> MultipleChoiceModelOutput:
        """Takes the arguments of [`PoNetInputs`][ponet.models.packing.PoNetInputs] and those below.

        `[B, N]` there is `[B, C, N]` here.

        Args:
            labels: `[B]`, the right choice.
            num_choices: `C`, needed for packed input alone.
        """
        ids, embeds = inputs.get("input_ids"), inputs.get("inputs_embeds")
        given, dimensions = (ids, 3) if ids is not None else (embeds, 4)
        is_padded = given is not None and given.dim() == dimensions
        flat: dict[str, Any] = dict(inputs)
        if is_padded and given is not None:
            num_choices = given.shape[1]
            flat |= {k: v.flatten(0, 1) for k, v in flat.items() if isinstance(v, Tensor) and v.dim() > 1}
        encoded = self.ponet.encode(**flat)
        if is_padded == encoded.batch.is_packed and given is not None:
            raise ValueError(f"multiple choice wants [batch, choices, length] input, not {list(given.shape)}")
        documents = encoded.layout.batch_size
        if not num_choices or documents % num_choices:
            raise ValueError(
                "packed input needs num_choices: how many documents in a row are one question's choices; "
                f"it is {num_choices}, for {documents} documents"
            )
        scores = self.classifier(self.dropout(self.ponet.pool(encoded)))
        logits = scores.reshape(-1, num_choices)
        loss = None if labels is None else mean_cross_entropy(logits, labels).to(self.dtype)
        return encoded.output(MultipleChoiceModelOutput, loss=loss, logits=logits)


@dataclass
class PoNetSentenceScoringOutput(ModelOutput):
    """Output of `PoNetForSentenceScoring`, for the `S` sentences of a batch, by document and then in order."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    """`[S]`."""
    cu_sentences: Tensor | None = None
    """`[B + 1]`: document `b` has the sentences `cu_sentences[b] : cu_sentences[b + 1]`."""
    sentence_states: Tensor | None = None
    """`[S, d]`, the maximum or mean of each sentence's tokens."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class PoNetSentenceBlock(nn.Module):
    """A residual convolution over the sentences of each document, three at a time."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.LayerNorm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, kernel_size=3, dilation=dilation, padding=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """`[B, S, w]` with `real [B, S, 1]`, 0 at padding -> `[B, S, w]`; padding is read as zeros."""
        mixed = self.conv((self.LayerNorm(x) * real).transpose(1, 2)).transpose(1, 2)
        return x + self.dropout(F.gelu(mixed))


class PoNetSentenceHead(nn.Module):
    """A score for each sentence from its vector and its neighbours'."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        width, dropout = config.sentence_hidden_size, _classifier_dropout(config).p
        self.dense = nn.Linear(config.hidden_size, width)
        self.layer = nn.ModuleList(
            PoNetSentenceBlock(width, 2**index, dropout) for index in range(config.sentence_layers)
        )
        self.LayerNorm = nn.LayerNorm(width)
        self.out_proj = nn.Linear(width, 1)

    def forward(self, vectors: Tensor, cu_sentences: Tensor) -> Tensor:
        """`[S, d]`, `[B + 1]` -> `[S]`."""
        counts = cu_sentences.diff()
        document = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        place = torch.arange(len(vectors), device=counts.device) - cu_sentences[document]
        x = self.dense(vectors)
        rows = x.new_zeros(len(counts), int(counts.max()) if len(counts) else 0, x.shape[1])
        real = rows.new_zeros(*rows.shape[:2], 1)
        rows, real = rows.index_put((document, place), x), real.index_put((document, place), real.new_ones(1))
        for layer in self.layer if rows.numel() else ():
            rows = layer(rows, real)
        return self.out_proj(self.LayerNorm(rows[document, place]))[:, 0]


class PoNetLowRank(nn.Module):
    """The difference of a matrix `[out, in]`, a product of two thin ones; it begins as zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.zeros(weight.shape[0], rank))
        self.right = nn.Parameter(torch.zeros(rank, weight.shape[1]))

    def init_buffers(self) -> None:
        """Draws one side, and makes the other zero: called where a checkpoint has none."""
        init.zeros_(self.left)
        init.normal_(self.right, std=self.right.shape[1] ** -0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """`[out, in]` -> `[out, in]`."""
        return weight + self.left @ self.right


class PoNetAdaptedEncoder(nn.Module):
    """Calls an encoder with the differences added to its layers' matrices, which stay as they are."""

    def __init__(self, body: PoNetModel, rank: int) -> None:
        super().__init__()
        matrices = {
            f"encoder.{name}.weight": module.weight
            for name, module in body.encoder.named_modules()
            if isinstance(module, nn.Linear)
        }
        self.places = {name.replace(".", "_"): name for name in matrices}
        self.difference = nn.ModuleDict({key: PoNetLowRank(matrices[name], rank) for key, name in self.places.items()})

    def forward(self, body: PoNetModel, inputs: dict[str, Any]) -> EncodedBatch:
        """As `PoNetModel.encode`."""
        own = dict(body.named_parameters())
        changed = {f"body.{name}": self.difference[key](own[name]) for key, name in self.places.items()}
        encoded: EncodedBatch = functional_call(_Encode(body), changed, kwargs=inputs)
        return encoded


class _Encode(nn.Module):
    def __init__(self, body: PoNetModel) -> None:
        super().__init__()
        self.body = body

    def forward(self, **inputs: Any) -> EncodedBatch:
        return self.body.encode(**inputs)


class PoNetForSentenceScoring(PoNetPreTrainedModel):
    """A score for each sentence of a document: whether a topic ends with it, how well it sums the document up.

    A sentence's vector is the maximum or mean of its tokens' last states (`config.sentence_pooling`); a small head of
    convolutions compares it with its neighbours'.
    """

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.ponet = PoNetModel(config, add_pooling_layer=False)
        self.dropout = _classifier_dropout(config)
        self.scorer = PoNetSentenceHead(config)
        rank = config.sentence_adapter_rank
        self.adapter = PoNetAdaptedEncoder(self.ponet, rank) if rank else None
        self.post_init()

    @torch.no_grad()
    def merge_adapter(self) -> None:
        """Adds the differences to the encoder's matrices, once instead of in each call, and drops them."""
        if self.adapter is not None:
            own = dict(self.ponet.named_parameters())
            for key, name in self.adapter.places.items():
                own[name].copy_(self.adapter.difference[key](own[name]))
            self.adapter, self.config.sentence_adapter_rank = None, 0

    @model_forward
    def forward(
        self, labels: Tensor | None = None, sentence_ids: Tensor | None = None, **inputs: Unpack[PoNetInputs]
    ) -> PoNetSentenceScoringOutput:
        """Takes the arguments of [`PoNetInputs`][ponet.models.packing.PoNetInputs] and those below.

        Args:
            labels: `[S]`, 0 or 1 for each sentence, -100 for none.
            sentence_ids: `[B, N]` (or `[1, T]`) the sentence of each token, 0, 1, ... within its document, -1 for a
                token of none. Default: the segments, without those of special tokens.

        Raises:
            ValueError: as the encoder, and for labels or ids of another shape.
        """
        given: dict[str, Any] = {**inputs, "always_packed": True}
        encoded = self.ponet.encode(**given) if self.adapter is None else self.adapter(self.ponet, given)
        sentences = self._sentences(encoded, inputs.get("input_ids"), sentence_ids)
        vectors, cu_sentences = pool_sentences(encoded, sentences, self.config.sentence_pooling)
        logits = self.scorer(self.dropout(vectors), cu_sentences)
        loss = None
        if labels is not None:
            if labels.shape != logits.shape:
                raise ValueError(f"labels have the shape {list(labels.shape)}, but there are {len(logits)} sentences")
            known = labels != -100
            losses = F.binary_cross_entropy_with_logits(
                logits.float(), labels.float().clamp(min=0), weight=known.float(), reduction="sum"
            )
            loss = (losses / known.sum().clamp(min=1)).to(self.dtype)
        return encoded.output(
            PoNetSentenceScoringOutput,
            loss=loss,
            logits=logits,
            cu_sentences=cu_sentences,
            sentence_states=vectors,
        )

    def _sentences(self, encoded: EncodedBatch, input_ids: Tensor | None, sentence_ids: Tensor | None) -> Tensor:
        """`[T]`, the sentence of each token within its document; -1 for a token of none."""
        batch, layout = encoded.batch, encoded.layout
        assert isinstance(layout, Layout)
        if sentence_ids is not None:
            return batch.unpad_labels(sentence_ids)
        special = torch.zeros_like(layout.document, dtype=torch.bool)
        if input_ids is not None:
            special = find_special_tokens(self.config, batch.tokens)
        has_words = torch.zeros(layout.num_segments, dtype=torch.bool, device=special.device)
        has_words[layout.segment[~special]] = True
        number = has_words.long().cumsum(0) - 1  # over the batch
        counts = torch.zeros(layout.batch_size, dtype=torch.int64, device=special.device)
        owner = torch.zeros_like(number).index_put((layout.segment,), layout.document)
        counts = counts.index_add(0, owner[has_words], torch.ones_like(owner[has_words]))
        first = F.pad(counts.cumsum(0), (1, 0))[layout.document]
        return torch.where(special, -1, number[layout.segment] - first)


def pool_sentences(encoded: EncodedBatch, sentences: Tensor, pooling: str) -> tuple[Tensor, Tensor]:
    """The vectors of sentences, `[S, d]`, and where each document's begin, `[B + 1]`.

    Args:
        encoded: `T` tokens of `B` documents.
        sentences: `[T]`, the sentence of each token, 0, 1, ... within its document without a gap, -1 for none.
        pooling: "max" or "mean".
    """
    hidden, layout = encoded.hidden, encoded.layout
    assert isinstance(layout, Layout)
    counts = torch.zeros(layout.batch_size, dtype=torch.int64, device=hidden.device)
    counts = counts.scatter_reduce(0, layout.document, sentences.long() + 1, "amax")
    cu_sentences = F.pad(counts.cumsum(0), (1, 0))
    words = (sentences >= 0).nonzero().squeeze(1)
    if len(words) < len(sentences):
        hidden = hidden.index_select(0, words)
    index = (sentences.long() + cu_sentences[layout.document])[words]
    total = int(cu_sentences[-1])
    if pooling == "mean":
        sums = hidden.new_zeros(total, hidden.shape[1]).index_add(0, index, hidden)
        sizes = hidden.new_zeros(total).index_add(0, index, hidden.new_ones(len(words)))
        return sums / sizes[:, None].clamp(min=1), cu_sentences
    empty = hidden.new_zeros(total, hidden.shape[1])
    places = index[:, None].expand_as(hidden)
    return empty.scatter_reduce(0, places, hidden, "amax", include_self=False), cu_sentences


__all__ = [
    "PoNetForMaskedLM",
    "PoNetForMultipleChoice",
    "PoNetForPreTraining",
    "PoNetForPreTrainingOutput",
    "PoNetForQuestionAnswering",
    "PoNetForSentenceScoring",
    "PoNetForSequenceClassification",
    "PoNetForTokenClassification",
    "PoNetModel",
    "PoNetPreTrainedModel",
]
