"""PoNet: a linear-time pooling encoder for long documents, as a Hugging Face model family.

Importing this package registers PoNet with transformers' Auto classes.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from ponet.embedding import embed
from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.modeling_ponet import (
    PoNetForMaskedLM,
    PoNetForMultipleChoice,
    PoNetForPreTraining,
    PoNetForQuestionAnswering,
    PoNetForSequenceClassification,
    PoNetForTokenClassification,
    PoNetModel,
)
from ponet.models.tokenization_ponet import PoNetTokenizer
from ponet.shipped import checkpoint

AutoConfig.register("ponet", PoNetConfig, exist_ok=True)
for _auto, _model in (
    (AutoModel, PoNetModel),
    (AutoModelForPreTraining, PoNetForPreTraining),
    (AutoModelForMaskedLM, PoNetForMaskedLM),
    (AutoModelForSequenceClassification, PoNetForSequenceClassification),
    (AutoModelForTokenClassification, PoNetForTokenClassification),
    (AutoModelForQuestionAnswering, PoNetForQuestionAnswering),
    (AutoModelForMultipleChoice, PoNetForMultipleChoice),
):
    _auto.register(PoNetConfig, _model, exist_ok=True)
AutoTokenizer.register(PoNetConfig, tokenizer_class=PoNetTokenizer, exist_ok=True)

__all__ = [
    "PoNetConfig",
    "PoNetForMaskedLM",
    "PoNetForMultipleChoice",
    "PoNetForPreTraining",
    "PoNetForQuestionAnswering",
    "PoNetForSequenceClassification",
    "PoNetForTokenClassification",
    "PoNetModel",
    "PoNetTokenizer",
    "checkpoint",
    "embed",
]
