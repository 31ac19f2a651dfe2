"""PoNet with its heads, as a Hugging Face model family.

The arguments that all heads share are `PoNetModel.forward`'s: padded `[B, N]` input, or packed `[1, T]` input with
`cu_seqlens`; token outputs and token labels have the input's form, document outputs and labels are `[B, ...]`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from ponet.models.body import PoNetModel, PoNetPreTrainedModel
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.packing import PackedOutputs, takes_flattened
from ponet.ops.dispatch import mean_aggregation

_TIED = {
    "cls.predictions.decoder.weight": "ponet.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


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


class _WithVocabulary(PoNetPreTrainedModel):
    """What models with a prediction head share: where Hugging Face finds the decoder."""

    _tied_weights_keys = _TIED
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


class PoNetForPreTraining(_WithVocabulary):
    """Masked language modelling and the sentence structural objective (SSO; paper, section 3.4)."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.ponet = PoNetModel(config)
        self.cls = PoNetPreTrainingHeads(config, with_relationship=True)
        self.post_init()

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
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        prediction_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> PoNetForPreTrainingOutput:
        """Arguments as `PoNetModel.forward`'s.

        Args:
            labels: `[B, N]` (or `[1, T]`) word ids to predict, -100 elsewhere.
            next_sentence_label: `[B]`: 0 the second span follows the first, 1 they are swapped, 2 it is from elsewhere.
            prediction_positions: `[M]`, where words are predicted, as places among the batch's real tokens. Scores
                over the vocabulary are then computed there alone: `labels` are `[M]`, `prediction_logits` `[M, V]`.
        """
        encoded = self.ponet.encode(
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
        hidden = encoded.hidden
        if prediction_positions is not None:
            hidden = hidden.index_select(0, prediction_positions)
        scores = self.cls.predictions(hidden)
        relationship = self.cls.seq_relationship(self.ponet.pool(encoded))
        if labels is not None and prediction_positions is None:
            labels = encoded.from_border(labels)
        mlm_loss = None if labels is None else mean_cross_entropy(scores, labels).to(self.dtype)
        sso_loss = None
        if next_sentence_label is not None:
            sso_loss = mean_cross_entropy(relationship, next_sentence_label).to(self.dtype)
        losses = [loss for loss in (mlm_loss, sso_loss) if loss is not None]
        return PoNetForPreTrainingOutput(
            loss=torch.stack(losses).sum() if losses else None,
            mlm_loss=mlm_loss,
            sso_loss=sso_loss,
            prediction_logits=encoded.to_border(scores) if prediction_positions is None else scores,
            seq_relationship_logits=relationship,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,  # type: ignore[arg-type]
        )


class PoNetForMaskedLM(_WithVocabulary):
    """Masked language modelling alone; opens a pre-training checkpoint as well."""

    _keys_to_ignore_on_load_unexpected = [r"embeddings\.position_ids", r"cls\.seq_relationship", r"pooler"]  # noqa: RUF012

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.ponet = PoNetModel(config, add_pooling_layer=False)
        self.cls = PoNetPreTrainingHeads(config, with_relationship=False)
        self.post_init()

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
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """Arguments as `PoNetModel.forward`'s, and `labels` `[B, N]` (or `[1, T]`): word ids, -100 elsewhere."""
        encoded = self.ponet.encode(
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
        scores = self.cls.predictions(encoded.hidden)
        return MaskedLMOutput(
            loss=None if labels is None else mean_cross_entropy(scores, encoded.from_border(labels)).to(self.dtype),
            logits=encoded.to_border(scores),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,  # type: ignore[arg-type]
        )


class PoNetForSequenceClassification(PoNetPreTrainedModel):
    """One label, several labels or a number for each document; `config.classifier_*` say how documents are read."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.num_labels = count_labels(config)
        self.ponet = PoNetModel(config, add_pooling_layer=config.classifier_pooling == "cls")
        self.dropout = nn.Dropout(classifier_dropout(config))
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
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Arguments as `PoNetModel.forward`'s.

        Args:
            labels: `[B]` classes; `[B, C]` of 0 and 1 for several labels; `[B]` or `[B, C]` numbers for regression.
                With `config.classifier_pairs`, `B` counts the pairs.
        """
        encoded = self.ponet.encode(
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
        logits = self.classifier(self.dropout(self.read(encoded)))
        return SequenceClassifierOutput(
            loss=None if labels is None else self.loss(logits, labels).to(self.dtype),
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,  # type: ignore[arg-type]
        )

    def read(self, encoded: PackedOutputs) -> Tensor:
        """One vector for each document `[B, d]`, or for each pair of documents `[B / 2, 4 d]`."""
        layout = encoded.layout
        if self.config.classifier_pooling == "cls":
            documents = self.ponet.pool(encoded)
        else:
            documents = mean_aggregation(encoded.hidden, layout)
            if self.config.classifier_pooling == "padded_mean":
                share = layout.cu_seqlens.diff() / self.config.max_position_embeddings
                documents = documents * share[:, None].to(documents.dtype)
        if not self.config.classifier_pairs:
            return documents
        if layout.batch_size % 2:
            raise ValueError(f"classifier_pairs joins documents two by two, but the batch has {layout.batch_size}")
        a, b = documents[0::2], documents[1::2]
        return torch.cat([a, b, a * b, a - b], dim=-1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss for `config.problem_type`, which is settled by the first labels where it is None."""
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


class PoNetForTokenClassification(PoNetPreTrainedModel):
    """A label for each token."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.num_labels = count_labels(config)
        self.ponet = PoNetModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

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
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> TokenClassifierOutput:
        """Arguments as `PoNetModel.forward`'s.

        Args:
            labels: `[B, N]` (or `[1, T]`) classes, -100 for none; padding never counts.
        """
        encoded = self.ponet.encode(
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
        scores = self.classifier(self.dropout(encoded.hidden))
        return TokenClassifierOutput(
            loss=None if labels is None else mean_cross_entropy(scores, encoded.from_border(labels)).to(self.dtype),
            logits=encoded.to_border(scores),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,  # type: ignore[arg-type]
        )


class PoNetForQuestionAnswering(PoNetPreTrainedModel):
    """The span of a document that answers a question."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.ponet = PoNetModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

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
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> QuestionAnsweringModelOutput:
        """Arguments as `PoNetModel.forward`'s.

        Args:
            start_positions, end_positions: `[B]`, places in the padded row (in the document for packed input); an
                answer outside the row, or at padding, has no loss.

        Returns:
            `start_logits`, `end_logits`: `[B, N]` with the lowest number at padding, or `[1, T]` for packed input.
        """
        encoded = self.ponet.encode(
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
        scores = self.qa_outputs(encoded.hidden)
        # Rows, whatever the input's form: the softmax runs over one document.
        real = encoded.layout.pad(torch.ones_like(encoded.layout.document, dtype=torch.bool))
        rows = encoded.layout.pad(scores).masked_fill(~real[..., None], torch.finfo(scores.dtype).min)
        loss = None
        if start_positions is not None and end_positions is not None:
            ends = zip(rows.unbind(-1), (start_positions, end_positions), strict=True)
            losses = [answer_loss(row_scores, real, positions) for row_scores, positions in ends]
            loss = torch.stack(losses).mean().to(self.dtype)
        shown = scores[None] if encoded.packed else rows
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=shown[..., 0],
            end_logits=shown[..., 1],
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,  # type: ignore[arg-type]
        )


class PoNetForMultipleChoice(PoNetPreTrainedModel):
    """Which of several documents is right: `[B, C, N]` input, or packed input with the choices as documents."""

    def __init__(self, config: PoNetConfig) -> None:
        super().__init__(config)
        self.ponet = PoNetModel(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

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
        labels: Tensor | None = None,
        num_choices: int | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MultipleChoiceModelOutput:
        """Arguments as `PoNetModel.forward`'s, with `[B, C, N]` in the place of `[B, N]`.

        Args:
            labels: `[B]`, the right choice.
            num_choices: `C`, needed for packed input alone.
        """
        given = input_ids if input_ids is not None else inputs_embeds
        rows = cu_seqlens is None and given is not None and given.dim() == (3 if input_ids is not None else 4)
        if rows and given is not None:
            num_choices = given.shape[1]

        def flat(values: Tensor | None) -> Tensor | None:
            return values.flatten(0, 1) if rows and values is not None else values

        encoded = self.ponet.encode(
            flat(input_ids),
            flat(attention_mask),
            flat(token_type_ids),
            flat(position_ids),
            flat(segment_ids),
            flat(inputs_embeds),
            flat(special_tokens_mask),
            cu_seqlens,
            output_attentions,
            output_hidden_states,
        )
        if rows == encoded.packed and given is not None:
            raise ValueError(f"multiple choice wants [batch, choices, length] input, not {list(given.shape)}")
        documents = encoded.layout.batch_size
        if not num_choices or documents % num_choices:
            raise ValueError(
                "packed input needs num_choices: how many documents in a row are one question's choices; "
                f"it is {num_choices}, for {documents} documents"
            )
        scores = self.classifier(self.dropout(self.ponet.pool(encoded)))
        logits = scores.reshape(-1, num_choices)
        return MultipleChoiceModelOutput(
            loss=None if labels is None else mean_cross_entropy(logits, labels).to(self.dtype),
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,  # type: ignore[arg-type]
        )


def mean_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """`[n, C]`, `[n]` -> the mean over labels that aren't -100; 0, not NaN, where all are.

    Raises:
        ValueError: where the labels aren't `n`.
    """
    if labels.numel() != scores.shape[0]:
        raise ValueError(f"labels have the shape {list(labels.shape)}, but there are {scores.shape[0]} to predict")
    total = F.cross_entropy(scores.float(), labels.long().reshape(-1), ignore_index=-100, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)


def answer_loss(rows: Tensor, real: Tensor, positions: Tensor) -> Tensor:
    """The loss of one end of the answer: scores `[B, N]`, where tokens are `[B, N]`, places `[B]`."""
    positions = positions.reshape(-1, 1)
    if positions.shape[0] != rows.shape[0]:
        raise ValueError(f"{positions.shape[0]} answer positions for {rows.shape[0]} documents")
    found = (torch.arange(rows.shape[1], device=rows.device) == positions) & real
    return mean_cross_entropy(rows, positions[:, 0].where(found.any(1), -100))


def count_labels(config: PoNetConfig) -> int:
    """The number of classes, or of regressed numbers."""
    assert config.num_labels is not None
    return config.num_labels


def classifier_dropout(config: PoNetConfig) -> float:
    """The classifier's own dropout, or the model's where it has none."""
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout


__all__ = [
    "PoNetForMaskedLM",
    "PoNetForMultipleChoice",
    "PoNetForPreTraining",
    "PoNetForPreTrainingOutput",
    "PoNetForQuestionAnswering",
    "PoNetForSequenceClassification",
    "PoNetForTokenClassification",
    "PoNetModel",
    "PoNetPreTrainedModel",
]
