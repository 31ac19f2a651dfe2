"""PoNet: a linear-time pooling encoder for long documents, as a Hugging Face model family.

Importing this package registers PoNet with transformers' Auto classes, before or after they are imported. It imports
nothing heavy itself: what it names is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ponet.models.registration import register

if TYPE_CHECKING:
    from ponet.embedding import embed
    from ponet.explaining.lens import lens
    from ponet.models.checkpoints import checkpoint
    from ponet.models.configuration_ponet import PoNetConfig
    from ponet.models.modeling_ponet import (
        PoNetForMaskedLM,
        PoNetForMultipleChoice,
        PoNetForPreTraining,
        PoNetForQuestionAnswering,
        PoNetForSentenceScoring,
        PoNetForSequenceClassification,
        PoNetForTokenClassification,
        PoNetModel,
    )
    from ponet.models.tokenization_ponet import PoNetTokenizer
    from ponet.segmenting import TextSplitter, segment
    from ponet.summarizing import summarize

__all__ = [
    "PoNetConfig",
    "PoNetForMaskedLM",
    "PoNetForMultipleChoice",
    "PoNetForPreTraining",
    "PoNetForQuestionAnswering",
    "PoNetForSentenceScoring",
    "PoNetForSequenceClassification",
    "PoNetForTokenClassification",
    "PoNetModel",
    "PoNetTokenizer",
    "TextSplitter",
    "checkpoint",
    "embed",
    "lens",
    "segment",
    "summarize",
]

register()


def __getattr__(name: str) -> Any:
    if name in ("mixers", "models", "ops"):
        return import_module(f"ponet.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'ponet' has no attribute '{name}'")
    places = {"PoNetConfig": "models.configuration_ponet", "PoNetTokenizer": "models.tokenization_ponet"}
    places |= {"checkpoint": "models.checkpoints", "embed": "embedding", "summarize": "summarizing"}
    places |= {"lens": "explaining.lens", "segment": "segmenting", "TextSplitter": "segmenting"}
    place = places.get(name, "models.modeling_ponet")
    return getattr(import_module(f"ponet.{place}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
