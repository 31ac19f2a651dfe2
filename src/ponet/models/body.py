"""The body of every PoNet model, and what all models share: loading, saving, longer positions.

Every forward takes padded `[B, N]` input, as usual, or packed: `input_ids [1, T]` and `cu_seqlens [B + 1]`. Inside,
only real tokens exist, so cost follows them, and a document's result never depends on the rest of its batch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import PreTrainedModel
from transformers.utils.generic import can_return_tuple

from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.encoder import PoNetEmbeddings, PoNetEncoder, PoNetLayer, PoNetPooler
from ponet.models.loading import check_finite, check_weights
from ponet.models.packing import PackedOutputs, pack, takes_flattened
from ponet.ops.dispatch import choose_for
from ponet.ops.hooks import is_transformed


class PoNetPreTrainedModel(PreTrainedModel):
    """Weights, loading and saving, shared by all."""

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

        A head is new where the checkpoint was saved from another class. `ignore_mismatched_sizes=True` takes whatever
        fits and initialises the rest, with transformers' report of it; `output_loading_info=True` reports weights
        missing and left over instead of refusing them; a `state_dict` is taken as it is.

        Raises:
            WeightsError: weights of the encoder, or those of this class as it was saved, are missing, of other shapes,
                left over, or not finite.
        """
        if pretrained_model_name_or_path is None or kwargs.get("state_dict") is not None:
            return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        asked = kwargs.pop("output_loading_info", False)
        lenient = kwargs.pop("ignore_mismatched_sizes", False)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
        )
        model, info = loaded
        place = str(pretrained_model_name_or_path)
        if not lenient:
            changed = not kwargs.keys().isdisjoint(PoNetConfig.__annotations__)
            check_weights(place, model, info, changed=changed, reported=asked)
        check_finite(place, model)
        return loaded if asked else model

    def get_position_embeddings(self) -> nn.Embedding:
        """The position embeddings."""
        body = self.base_model
        assert isinstance(body, PoNetModel)
        return body.embeddings.position_embeddings

    def resize_position_embeddings(self, num_positions: int) -> None:
        """Makes room for documents of `num_positions` tokens: further rows repeat the trained ones in order.

        As the published code does for multiples of the trained length, here for any. A smaller
        number keeps the first rows. Does nothing where the number is right already.

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
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        special_tokens_mask: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> PackedOutputs:
        """`forward` without the way back over the border: heads read packed tokens. Arguments as there."""
        try:
            inputs = pack(
                self.config,
                input_ids,
                attention_mask,
                token_type_ids,
                position_ids,
                segment_ids,
                inputs_embeds,
                special_tokens_mask,
                cu_seqlens,
            )
        except RuntimeError as error:
            if not is_transformed():
                raise
            raise ValueError(
                "torch.func.vmap can't map over ids, masks, positions or segments, whose values decide how a batch is "
                "packed: loop over the examples, or map over inputs_embeds or parameters"
            ) from error
        layout, packed = inputs.layout, inputs.packed
        choose_for(layout)
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        x = self.embeddings(inputs.words, inputs.positions, inputs.token_types, layout, packed)
        x, states, weights = self.encoder(x, layout, output_hidden_states, output_attentions, packed)
        return PackedOutputs(x, layout, packed, states, weights)

    def pool(self, encoded: PackedOutputs) -> Tensor:
        """`[B, d]`: the pooler's view of each document's first real token; of zeros for an empty document."""
        assert self.pooler is not None
        return self.pooler(encoded.layout.first_tokens(encoded.hidden))

    @can_return_tuple
    @takes_flattened
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        special_tokens_mask: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encodes a batch; `[B, N]` is `[1, T]` for packed input.

        Args:
            input_ids: `[B, N]`; or else `inputs_embeds`.
            attention_mask: `[B, N]`, nonzero at real tokens; anything may be padding. Default: all are real.
            token_type_ids: `[B, N]`; default 0.
            position_ids: `[B, N]`; default 0, 1, ... over each document's real tokens. Where they restart (runs that
                rise by one, each from the lowest position again), a single row without `attention_mask` is packed
                input, a document for each run; several rows, or one with a mask, are an error. Other positions
                (constant, with jumps), and any beside `cu_seqlens`, are taken as they are.
            segment_ids: `[B, N]`, any integers, local to a document. Default: from the special tokens (each, and each
                run between two, is one); with `inputs_embeds`, one segment a document.
            inputs_embeds: `[B, N, d]`, in the place of `input_ids`.
            special_tokens_mask: `[B, N]`, nonzero where the special-token rule holds. Default: at the configuration's
                `cls_token_id` and `sep_token_id`; with `inputs_embeds`, nowhere.
            cu_seqlens: `[B + 1]`, where each document begins in packed input, and the number of tokens. Every model
                also takes what `transformers.DataCollatorWithFlattening` gives: `cu_seq_lens_q`, `seq_idx`, ...
            output_attentions: also returns each mixer's weights: `[B, h, N]` for pooling (GA's second stage),
                `[B, h, N, N]` for attention, None for mixers without.
            output_hidden_states: also returns the embeddings and each layer's output, `[B, N, d]` each.

        Returns:
            `last_hidden_state [B, N, d]` (zeros at padding), `pooler_output [B, d]`, `hidden_states`, `attentions`.

        Raises:
            ValueError: for arguments that don't fit together, or documents longer than the model has positions.
        """
        encoded = self.encode(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            segment_ids,
            inputs_embeds,
            special_tokens_mask,
            cu_seqlens,
            output_attentions,
            output_hidden_states,
        )
        return BaseModelOutputWithPooling(
            last_hidden_state=encoded.to_border(encoded.hidden),
            pooler_output=None if self.pooler is None else self.pool(encoded),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,  # type: ignore[arg-type]
        )
