"""The encoder on packed tokens: embeddings, layers of mixer and feed-forward, pooler. Parameter names as published."""

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from ponet.mixers import build_mixer
from ponet.models.configuration_ponet import PoNetConfig
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

    def forward(self, words: Tensor, positions: Tensor, token_types: Tensor | None) -> Tensor:
        """`words` `[T]` ids or `[T, d]` embeddings; `positions` and `token_types` `[T]` -> `[T, d]`."""
        x = words if words.is_floating_point() else self.word_embeddings(words)
        if hasattr(self, "token_type_embeddings"):
            x = x + self.token_type_embeddings(positions.new_zeros(1) if token_types is None else token_types)
        x = x + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(x))

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

    def forward(self, x: Tensor, layout: Layout, output_weights: bool) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and the mixer's weights."""
        output = self.output
        mixed, weights = self.self(output.LayerNorm(x) if self.pre_norm else x, layout, output_weights)
        x = x + output.dropout(output.dense(mixed))
        return x if self.pre_norm else output.LayerNorm(x), weights


class PoNetIntermediate(nn.Module):
    """The feed-forward's first half."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.activation_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        """`[T, d]` -> `[T, f]`."""
        return self.dropout(self.activation(self.dense(x)))


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

    def forward(self, x: Tensor, layout: Layout, output_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and the mixer's weights."""
        x, weights = self.attention(x, layout, output_weights)
        output = self.output
        fed = self.intermediate(output.LayerNorm(x) if self.pre_norm else x)
        x = x + output.dropout(output.dense(fed))
        return x if self.pre_norm else output.LayerNorm(x), weights


class PoNetEncoder(nn.Module):
    """All layers, and in the pre-norm form the norm behind the last."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(PoNetLayer(config, mixer_type) for mixer_type in config.layer_mixers)
        if config.norm_position == "pre":
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self, x: Tensor, layout: Layout, output_states: bool, output_weights: bool
    ) -> tuple[Tensor, list[Tensor] | None, list[Tensor | None] | None]:
        """`[T, d]` -> `[T, d]`; where asked for, the states before and behind each layer, and each mixer's weights."""
        states = [x]
        all_weights = []
        for layer in self.layer:
            x, weights = layer(x, layout, output_weights)
            if output_states:
                states.append(x)
            all_weights.append(weights)
        if hasattr(self, "LayerNorm"):
            x = self.LayerNorm(x)
            states[-1] = x
        return x, states if output_states else None, all_weights if output_weights else None


class PoNetPooler(nn.Module):
    """BERT's pooler: a tanh layer on one vector a document."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Tensor) -> Tensor:
        """`[B, d]` -> `[B, d]`."""
        return self.dense(first).tanh()
