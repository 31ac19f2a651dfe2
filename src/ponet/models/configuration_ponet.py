"""PoNet's configuration: BERT's fields, each layer's mixer, and the Long Range Arena encoder's differences."""

import math
import os
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers.activations import ACT2FN
from transformers.configuration_utils import PreTrainedConfig

from ponet.models.standalone import AUTO_MAP, copy_model_code

_POSITIVE = (
    *("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings"),
    *("num_sentence_labels", "sentence_hidden_size", "classifier_hidden_size", "chunk_size", "attention_window"),
    *("external_memory", "linformer_features", "linformer_length", "lsh_chunk_length", "lsh_hashes"),
    *("nystrom_landmarks", "performer_features"),
)
_COUNTS = ("num_hidden_layers", "type_vocab_size", "sentence_layers", "sentence_adapter_rank")
_PROBABILITIES = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "activation_dropout_prob"),
    *("classifier_dropout", "sentence_threshold"),
)
_MOST_LAYERS = 10_000
_PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


@strict
class PoNetConfig(PreTrainedConfig):
    r"""
    Configuration of every PoNet model. The defaults are the published base model; a published `config.json`
    (`model_type` "bert" or "ponet") opens as it is.

    Args:
        clsgsepg (`bool`):
            The special-token rule: [CLS] and [SEP] are excluded from their neighbours' local windows, and have no
            segment and local part themselves. True in the published language models, False in the Long Range Arena.
        mixer_types (`str` or `list[str]`):
            The token mixer of all layers, or of each: "pooling" (PoNet), "attention" (BERT), "fourier" (FNet), or any
            that `ponet.mixers.register_mixer` added; further "linear" (Linear Transformer), "linformer", "performer",
            "nystrom" (Nystromformer), "lsh" (Reformer), "external" (External Attention).
        mixer_form (`str`):
            "exact": a document's result depends on nothing but the document. "published": linear, linformer,
            performer, nystrom and lsh as in the published Arena code, where padding and the padded length count.
        attention_kernel (`str`):
            What computes attention: "sdpa", PyTorch's fused kernels, or "eager", which stores the weights of all pairs.
        attention_window (`int`, *optional*):
            Attention layers attend within windows of at most so many tokens, into which a document is cut evenly: cost
            is linear in its length. What is further away reaches a token through layers of other mixers. None: within
            the whole document.
        linformer_features (`int`):
            Keys and values that a Linformer's head projects a document to.
        linformer_length (`int`, *optional*):
            Positions that Linformer's projection is learned for. None: `max_position_embeddings` at the time when the
            configuration is made.
        performer_features (`int`):
            Random features of a Performer's head.
        nystrom_landmarks (`int`):
            Landmarks of a document in Nystromformer; documents of no more tokens have full attention.
        nystrom_kernel_size (`int`):
            Width of Nystromformer's convolution over the values; odd, or 0 for none.
        lsh_hashes (`int`):
            Rounds of hashing in Reformer.
        lsh_chunk_length (`int`):
            Tokens of the chunks in which Reformer attends.
        external_form (`str`):
            "external": External Attention; "softmax_mlp": the simpler view of it that PoNet started from.
        external_memory (`int`):
            Units of External Attention's memory.
        pooling_formulation (`str`):
            "absorbed" computes three projections a token, "published" five, with the same result.
        pooling_parts (`list[str]`, *optional*):
            The parts of "pooling" that there are: "ga1" and "ga2", the stages of global aggregation (without "ga2" its
            result is the mean query of stage 1), "smp", segment max-pooling, and "lmp", local max-pooling. A part that
            is left out is 0 in the fusion, and has no weights. None: all.
        mixer_checkpointing (`bool`):
            Whether backward recomputes each mixing block in place of saving its inner tensors (the projections, the
            segment maxima): less memory, for one more matrix product.
        chunk_size (`int`, *optional*):
            Inference without gradients computes each layer on chunks of at most about this many tokens, so that
            memory beyond the hidden states follows this number and not the length. The result is the same. Mixers
            that need the whole document (all but "pooling") mix all tokens at once. None: no chunks.
        repeat_positions (`bool`):
            Whether documents longer than `max_position_embeddings` are read whole, with positions that restart from the
            first; otherwise they are an error.
        execution (`str`):
            "auto": real tokens alone are computed (packed), and padded rows, padding included, in a graph that
            `torch.export` or `torch.compile` traces; "packed": rows in exported graphs alone; "padded": rows always.
            The result is the same. Only "pooling", "attention" and "fourier" compute on rows.
        norm_position (`str`):
            "post": `LayerNorm(x + f(x))`, as BERT; "pre": `x + f(LayerNorm(x))` and a final norm, as in the Arena.
        embedding_norm (`bool`):
            Whether the embeddings have a LayerNorm.
        activation_dropout_prob (`float`):
            Dropout behind the feed-forward's activation.
        classifier_pooling (`str`):
            The input of the sequence classifier: "cls" the pooled first token; "mean" the mean over real tokens;
            "padded_mean" their sum over `max_position_embeddings`, as the published Arena code does.
        classifier_hidden_size (`int`, *optional*):
            Width of a hidden ReLU layer in the sequence classifier; None for a single linear map.
        classifier_pairs (`bool`):
            Whether documents 2i and 2i + 1 are one example of sequence classification, as in the Arena's Retrieval:
            the input of the classifier is `[a, b, a * b, a - b]`.
        classifier_pair_difference (`str`):
            The last part of that input: "signed", `a - b`, or "absolute", `|a - b|`, which a linear classifier can't
            make of a and b by itself.
        sentence_pooling (`str`):
            What stands for a sentence where sentences are scored: the "max" or the "mean" of its tokens' states.
        sentence_hidden_size (`int`):
            Width of the head that scores sentences.
        sentence_layers (`int`):
            Convolutions over neighbouring sentences in that head, dilated by 1, 2, 4, ...: with 3 a sentence's score
            depends on the vectors of the 7 before it and the 7 after it. 0: on its own alone.
        sentence_adapter_rank (`int`):
            Rank of a trainable difference of each matrix of the encoder's layers, where sentences are scored (LoRA,
            Hu et al. 2021), so that the encoder itself can stay as it is. 0: none.
        sentence_threshold (`float`):
            The probability from which on a sentence is chosen.
        num_sentence_labels (`int`):
            Classes of the second pre-training objective: 3 for SSO, 2 for next sentence prediction.
        cls_token_id, sep_token_id (`int`, *optional*):
            The special tokens. None, as published configurations have it, means bert-base-uncased's 101 and 102, or
            no such token where the vocabulary is too small for them.
    """

    model_type = "ponet"
    keys_to_ignore_at_inference = ["loss", "mlm_loss", "sso_loss"]  # noqa: RUF012 - the Trainer takes the rest as predictions

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    activation_dropout_prob: float | int = 0.0
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    cls_token_id: int | None = None
    sep_token_id: int | None = None
    tie_word_embeddings: bool = True
    clsgsepg: bool = True
    mixer_types: str | list[str] | None = "pooling"
    mixer_form: Literal["exact", "published"] = "exact"
    attention_kernel: Literal["sdpa", "eager"] = "sdpa"
    attention_window: int | None = None
    linformer_features: int = 256
    linformer_length: int | None = None
    performer_features: int = 256
    nystrom_landmarks: int = 64
    nystrom_kernel_size: int = 35
    lsh_hashes: int = 2
    lsh_chunk_length: int = 64
    external_form: Literal["external", "softmax_mlp"] = "external"
    external_memory: int = 64
    pooling_parts: list[Literal["ga1", "ga2", "smp", "lmp"]] | None = None
    pooling_formulation: Literal["absorbed", "published"] = "absorbed"
    mixer_checkpointing: bool = False
    chunk_size: int | None = None
    repeat_positions: bool = False
    execution: Literal["auto", "packed", "padded"] = "auto"
    norm_position: Literal["post", "pre"] = "post"
    embedding_norm: bool = True
    classifier_pooling: Literal["cls", "mean", "padded_mean"] = "cls"
    classifier_dropout: float | int | None = None
    classifier_hidden_size: int | None = None
    classifier_pairs: bool = False
    classifier_pair_difference: Literal["signed", "absolute"] = "signed"
    sentence_pooling: Literal["max", "mean"] = "max"
    sentence_hidden_size: int = 128
    sentence_layers: int = 3
    sentence_adapter_rank: int = 0
    sentence_threshold: float | int = 0.5
    num_sentence_labels: int = 3

    def __post_init__(self, **kwargs: Any) -> None:
        layers: Any = self.num_hidden_layers  # its type is checked later
        if isinstance(layers, int) and layers > _MOST_LAYERS:
            raise ValueError(f"num_hidden_layers must be at most {_MOST_LAYERS:,}, not {layers:,}")
        if self.cls_token_id is None and self.vocab_size > 101:
            self.cls_token_id = 101
        if self.sep_token_id is None and self.vocab_size > 102:
            self.sep_token_id = 102
        if self.mixer_types is None:
            self.mixer_types = "pooling"
        if self.linformer_length is None and "linformer" in self.layer_mixers:
            self.linformer_length = self.max_position_embeddings
        super().__post_init__(**kwargs)

    @property
    def layer_mixers(self) -> list[str]:
        """The mixer's name for each of the `num_hidden_layers` layers."""
        if isinstance(self.mixer_types, list):
            return self.mixer_types
        return [str(self.mixer_types)] * self.num_hidden_layers

    def check_length(self, tokens: int) -> None:
        """Raises an error where a document has more tokens than there are positions, unless these repeat.

        Raises:
            ValueError: saying what to do.
        """
        if tokens > self.max_position_embeddings and not self.repeat_positions:
            raise ValueError(
                f"a document of {tokens} tokens, but the model has {self.max_position_embeddings} positions: "
                f"truncate it, or call model.resize_position_embeddings({tokens}) first"
            )

    def save_pretrained(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Saves the configuration and beside it, so that the folder opens where `ponet` isn't installed, the code.

        A model's `save_pretrained` calls this.
        """
        copy_model_code(save_directory)
        self.auto_map = dict(AUTO_MAP)
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def validate_architecture(self) -> None:
        """Part of the strict validation: fields that don't fit together are an error before a model is built."""
        for names, least in ((_POSITIVE, 1), (_COUNTS, 0)):
            for name in names:
                value = getattr(self, name)
                if value is not None and value < least:
                    raise ValueError(f"{name} must be at least {least}, not {value}")
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is a probability, from 0 to 1, not {value}")
        for name in ("initializer_range", "layer_norm_eps"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a finite number, 0 or more, not {value}")
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"pad_token_id ({self.pad_token_id}) must be None or one of the {self.vocab_size} words, from 0 on"
            )
        if self.nystrom_kernel_size and (self.nystrom_kernel_size < 0 or self.nystrom_kernel_size % 2 == 0):
            raise ValueError(f"nystrom_kernel_size must be odd, or 0 for none, not {self.nystrom_kernel_size}")
        parts = self.pooling_parts
        if parts is not None and (not set(parts) - {"ga2"} or ("ga2" in parts and "ga1" not in parts)):
            raise ValueError(
                f"pooling_parts must name one of ga1, smp and lmp at least, and ga2 not without ga1, not {parts}"
            )
        if self.hidden_act not in ACT2FN:
            raise ValueError(f"unknown hidden_act '{self.hidden_act}'; known: {', '.join(sorted(ACT2FN))}")
        if self.problem_type not in (None, *_PROBLEM_TYPES):
            raise ValueError(f"unknown problem_type '{self.problem_type}'; known: {', '.join(_PROBLEM_TYPES)}, or None")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be a multiple of "
                f"num_attention_heads ({self.num_attention_heads})"
            )
        if len(self.layer_mixers) != self.num_hidden_layers:
            raise ValueError(
                f"mixer_types names {len(self.layer_mixers)} mixers for {self.num_hidden_layers} layers; "
                "give one name for all, or one for each layer"
            )


__all__ = ["PoNetConfig"]
