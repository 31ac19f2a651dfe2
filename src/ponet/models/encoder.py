"""The encoder on packed tokens: embeddings, layers of mixer and feed-forward, pooler. Parameter names as published."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from ponet.mixers import Mixer, build_mixer
from ponet.mixers.pooling_parts import part_borders
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.feed_forward import gelu_linear
from ponet.models.packing import pad, unpad
from ponet.ops.dropout import dropout
from ponet.ops.hooks import has_hooks
from ponet.ops.layout import Layout


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

    def forward(
        self, words: Tensor, positions: Tensor, token_types: Tensor | None, layout: Layout, packed: bool = False
    ) -> Tensor:
        """`words` `[T]` ids or `[T, d]` embeddings; `positions` and `token_types` `[T]` -> `[T, d]`.

        Embeddings that have hooks, or are more than `nn.Embedding`, are called on rows (`[B, N]`, 0 at padding, or
        `[1, T]` where `packed`), which is what hooks written for other models expect.
        """
        if _in_parts(self.chunk_size, positions) and not any(map(_by_rows, self._tables())):
            size = self.chunk_size
            types = [None] * len(positions.split(size)) if token_types is None else token_types.split(size)
            parts = zip(words.split(size), positions.split(size), types, strict=True)
            return _gather((self._embed(*part, layout, packed) for part in parts), len(positions))
        return self._embed(words, positions, token_types, layout, packed)

    def _tables(self) -> list[nn.Module]:
        names = ("word_embeddings", "position_embeddings", "token_type_embeddings")
        return [self.get_submodule(name) for name in names if hasattr(self, name)]

    def _embed(
        self, words: Tensor, positions: Tensor, token_types: Tensor | None, layout: Layout, packed: bool
    ) -> Tensor:
        def look_up(table: nn.Module, ids: Tensor) -> Tensor:
            return unpad(table(pad(ids, layout, packed)), layout, packed) if _by_rows(table) else table(ids)

        x = words if words.is_floating_point() else look_up(self.word_embeddings, words)
        if hasattr(self, "token_type_embeddings"):
            table = self.token_type_embeddings
            if token_types is None:
                token_types = torch.zeros_like(positions) if _by_rows(table) else positions.new_zeros(1)
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


class PoNetSelfOutput(nn.Module):
    """What stands behind the mixer: a linear map (not in FNet), dropout, residual sum; and the block's LayerNorm."""

    def __init__(self, config: PoNetConfig, has_projection: bool) -> None:
        super().__init__()
        d = config.hidden_size
        self.dense = nn.Linear(d, d) if has_projection else nn.Identity()
        self.LayerNorm = nn.LayerNorm(d, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)


class PoNetAttention(nn.Module):
    """The mixing block. `self` is the mixer, under BERT's name."""

    def __init__(self, config: PoNetConfig, mixer_type: str) -> None:
        super().__init__()
        mixer = build_mixer(mixer_type, config)
        self.self = mixer
        self.output = PoNetSelfOutput(config, mixer.has_output_projection)
        self.pre_norm = config.norm_position == "pre"
        self.checkpointing = config.mixer_checkpointing

    def forward(self, x: Tensor, layout: Layout, output_weights: bool) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and the mixer's weights."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            mixed, weights = checkpoint(self._mix, x, layout, output_weights, use_reentrant=False)
        else:
            mixed, weights = self._mix(x, layout, output_weights)
        return self.finish(x, mixed), weights

    def _mix(self, x: Tensor, layout: Layout, output_weights: bool) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self(self.norm(x), layout, output_weights)
        return self.output.dense(mixed), weights

    def norm(self, x: Tensor) -> Tensor:
        """What the mixer reads: `[T, d]` -> `[T, d]`."""
        return self.output.LayerNorm(x) if self.pre_norm else x

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The residual sum behind the linear map, and post-norm: `[T, d]`, `[T, d]` -> `[T, d]`."""
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

    def activate(self, raised: Tensor) -> Tensor:
        """What follows the linear map: `[T, f]` -> `[T, f]`."""
        return dropout(self.activation(raised), self.dropout)


class PoNetOutput(nn.Module):
    """The feed-forward's second half, and the block's LayerNorm."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)


class PoNetLayer(GradientCheckpointingLayer):
    """One layer: mixing block, feed-forward block; post-norm or pre-norm."""

    def __init__(self, config: PoNetConfig, mixer_type: str) -> None:
        super().__init__()
        self.attention = PoNetAttention(config, mixer_type)
        self.intermediate = PoNetIntermediate(config)
        self.output = PoNetOutput(config)
        self.pre_norm = config.norm_position == "pre"

    def forward(
        self, x: Tensor, layout: Layout, output_weights: bool = False, borders: list[int] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and the mixer's weights. With `borders` part by part (see `Mixer.in_parts`)."""
        if borders is not None:
            return self._in_parts(x, layout, borders), None
        x, weights = self.attention(x, layout, output_weights)
        return self.feed_forward(x), weights

    def _in_parts(self, x: Tensor, layout: Layout, borders: list[int]) -> Tensor:
        block = self.attention
        mixer: Mixer = block.self
        parts = mixer.in_parts(lambda begin, end: block.norm(x[begin:end]), layout, borders)
        ends = pairwise(borders)
        finished = (block.finish(x[slice(*next(ends))], block.output.dense(mixed)) for mixed in parts)
        return _gather((self.feed_forward(part) for part in finished), len(x))

    def feed_forward(self, x: Tensor) -> Tensor:
        """The feed-forward block: `[T, d]` -> `[T, d]`."""
        output = self.output
        fed = self._feed(output.LayerNorm(x) if self.pre_norm else x)
        x = dropout(fed, output.dropout, x)
        return x if self.pre_norm else output.LayerNorm(x)

    def _feed(self, x: Tensor) -> Tensor:
        """Both linear maps of the feed-forward: `[T, d]` -> `[T, d]`."""
        inner, outer = self.intermediate, self.output.dense
        if not has_hooks(inner):
            raised = inner.dense(x)
            fed = gelu_linear(raised, inner.activation, inner.dropout, outer)
            return outer(inner.activate(raised)) if fed is None else fed
        return outer(inner(x))


class PoNetEncoder(nn.Module):
    """All layers, and in the pre-norm form the norm behind the last."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(PoNetLayer(config, mixer_type) for mixer_type in config.layer_mixers)
        if config.norm_position == "pre":
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.chunk_size = config.chunk_size

    def forward(
        self, x: Tensor, layout: Layout, output_states: bool, output_weights: bool, packed: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...] | None, tuple[Tensor | None, ...] | None]:
        """`[T, d]` -> `[T, d]`; where asked for, the states before and behind each layer, and each mixer's weights.

        States are rows, `[B, N, d]`, or `[1, T, d]` where `packed`. What is shown of them is what the next layer reads,
        so that the output has a gradient for each.
        """
        states: list[Tensor] = []
        all_weights: list[Tensor | None] = []

        def shown(x: Tensor) -> Tensor:
            if not output_states:
                return x
            states.append(pad(x, layout, packed))
            return unpad(states[-1], layout, packed)

        in_parts = _in_parts(self.chunk_size, x) and not output_weights
        borders = part_borders(layout, self.chunk_size or 1) if in_parts else None
        for layer in self.layer:
            x, weights = layer(shown(x), layout, output_weights, borders)
            all_weights.append(weights)
        if hasattr(self, "LayerNorm"):
            norm: nn.LayerNorm = self.LayerNorm
            x = norm(x) if borders is None else _gather(map(norm, x.tensor_split(borders[1:-1])), len(x))
        x = shown(x)
        return x, tuple(states) if output_states else None, tuple(all_weights) if output_weights else None


class PoNetPooler(nn.Module):
    """BERT's pooler: a tanh layer on one vector a document."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Tensor) -> Tensor:
        """`[B, d]` -> `[B, d]`."""
        return self.dense(first).tanh()


def _by_rows(table: nn.Module) -> bool:
    """Whether an embedding has to be called as other models call theirs."""
    return type(table) is not nn.Embedding or has_hooks(table)


def _in_parts(chunk_size: int | None, tokens: Tensor) -> TypeGuard[int]:
    """Whether to go through `[T, ...]` tokens a chunk at a time: only where nothing is kept for a backward."""
    if chunk_size is None or len(tokens) <= chunk_size:
        return False
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _gather(parts: Iterable[Tensor], total: int) -> Tensor:
    """Parts of `[T, d]` as one, never holding more than one of them beside the whole."""
    whole: Tensor | None = None
    place = 0
    for part in parts:
        if whole is None:
            whole = part.new_empty((total, *part.shape[1:]))
        whole[place : place + len(part)] = part
        place += len(part)
    assert whole is not None
    return whole
