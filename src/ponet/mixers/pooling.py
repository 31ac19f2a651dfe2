"""PoNet's mixer: global aggregation, segment and local max-pooling, pooling fusion (paper, section 3)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ponet.mixers.base import Mixer, register_mixer
from ponet.mixers.fused_linear import fused_linear, is_plain
from ponet.mixers.pooling_chunks import attention_pools, document_means, pool_chunks
from ponet.ops.dispatch import mean_aggregation, segment_local_fusion, softmax_aggregation
from ponet.ops.layout import Layout
from ponet.ops.padded import AnyLayout, PaddedLayout
from ponet.ops.padded import global_aggregation_published as published_on_rows
from ponet.ops.reference import absorbed_queries, absorbed_values, global_aggregation_published

PARTS = ("ga1", "ga2", "smp", "lmp")
"""Names in `config.pooling_parts`."""


@register_mixer("pooling")
class PoolingMixer(Mixer):
    """Multi-granularity pooling and its fusion, linear in the number of tokens.

    `config.pooling_formulation` says how GA is computed: `"absorbed"` makes three projections a token, `"published"`
    five; the results differ by rounding alone. A key projection that is no plain linear map (wrapped by LoRA,
    quantized, pruned, offloaded) can't be absorbed and is always called.

    `config.pooling_parts` leaves parts out, which then have no weights and are 0 in the fusion: the kernels get zeros
    in their place, for which they compute exact zeros.
    """

    title = "PoNet"
    takes_padded = True
    dense_local: nn.Linear
    dense_segment: nn.Linear
    dense_q: nn.Linear
    dense_k: nn.Linear
    dense_o: nn.Linear

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        d = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.formulation = config.pooling_formulation
        self.width = d
        parts = config.pooling_parts or PARTS
        self.has_stage_1, self.has_stage_2 = "ga1" in parts, "ga2" in parts
        needed = {
            "dense_local": "lmp",
            "dense_segment": "smp",
            "dense_q": "ga1",
            "dense_k": "ga2",
            "dense_o": "ga1 smp",
        }
        for name, uses in needed.items():
            if set(uses.split()) & set(parts):
                self.add_module(name, nn.Linear(d, d))

    def forward(
        self, hidden_states: Tensor, layout: AnyLayout, output_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[T, d]` -> `[T, d]`, and GA's stage-2 weights `[B, h, N]`, zeros at padding, where asked for."""
        g: Tensor
        weights: Tensor | None
        if not self.has_stage_2:
            g, weights = self.stage_1(mean_aggregation(hidden_states, layout)), None
        elif self.formulation == "published" or not is_plain(self.dense_k):
            g, weights = self.global_aggregation_published(hidden_states, layout, output_weights)
        else:
            g, weights = self.global_aggregation(hidden_states, layout, output_weights)
        projections = self.project(hidden_states)
        return segment_local_fusion(g.to(projections.dtype), projections, layout), weights

    def forward_chunks(
        self, read: Callable[[int, int], Tensor], layout: Layout, bounds: Sequence[int]
    ) -> Iterator[Tensor]:
        """See `Mixer.forward_chunks`; GA is absorbed, whatever the formulation."""
        if self.has_stage_2 and not is_plain(self.dense_k):
            yield from super().forward_chunks(read, layout, bounds)
            return
        g = self.stage_1(document_means(read, layout, bounds))
        if self.has_stage_2:
            queries = absorbed_queries(g, self.dense_k.weight, self.num_heads)
            pooled = attention_pools(read, queries, layout, bounds)
            g = absorbed_values(pooled, self.dense_k.weight, self.dense_k.bias, layout)
        yield from pool_chunks(read, self.project, g, layout, bounds)

    def stage_1(self, mean: Tensor) -> Tensor:
        """GA's stage 1 of the mean tokens, which is the mean query: `[B, d]` -> `[B, d]`; zeros without it."""
        g: Tensor = self.dense_q(mean) if self.has_stage_1 else torch.zeros_like(mean)
        return g

    def project(self, x: Tensor) -> Tensor:
        """The projections `o | s | l`: `[T, d]` -> `[T, 3 d]`; zeros for a part that is left out."""
        names = ("dense_o", "dense_segment", "dense_local")
        maps = [self.get_submodule(name) for name in names if hasattr(self, name)]
        made = fused_linear(x, maps)
        if len(maps) == len(names):
            return made
        columns, nothing = iter(made.split(self.width, 1)), made.new_zeros(made.shape[0], self.width)
        return torch.cat([next(columns) if hasattr(self, name) else nothing for name in names], 1)

    def global_aggregation(self, x: Tensor, layout: AnyLayout, output_weights: bool) -> tuple[Tensor, Tensor | None]:
        """GA without a query or key for any token: `x [T, d]` -> `g' [B, d]` (see `reference.global_aggregation`)."""
        g = self.dense_q(mean_aggregation(x, layout))
        queries = absorbed_queries(g, self.dense_k.weight, self.num_heads)
        pooled, weights = softmax_aggregation(x, queries.to(x.dtype), layout, output_weights)
        if weights is not None:
            weights = layout.pad(weights).transpose(1, 2)  # [B, h, N]
            if torch.is_grad_enabled():  # compute the output from the returned weights, so that these have a gradient
                pooled = weights @ layout.pad(x)
        return absorbed_values(pooled, self.dense_k.weight, self.dense_k.bias, layout), weights

    def global_aggregation_published(
        self, x: Tensor, layout: AnyLayout, output_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """GA from the query and key of every token: `x [T, d]` -> `g' [B, d]`; both maps are called."""
        keys = self.dense_k(x)
        aggregate: Any = published_on_rows if isinstance(layout, PaddedLayout) else global_aggregation_published
        g, weights = aggregate(self.dense_q(x), keys, layout, self.num_heads, output_weights)
        if weights is not None:
            weights = layout.pad(weights).transpose(1, 2)
            if torch.is_grad_enabled():
                heads = layout.pad(keys).unflatten(2, (self.num_heads, -1))  # [B, N, h, e]
                g = torch.einsum("bhn,bnhe->bhe", weights, heads).flatten(1)
        return g, weights
