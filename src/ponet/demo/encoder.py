"""The encoders that the demo compares: the Long Range Arena's, equal but for the mixer."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ponet.models.configuration_ponet import PoNetConfig
from ponet.models.modeling_ponet import PoNetForSequenceClassification
from ponet.tasks.lra.listops import CLASSES, VOCAB_SIZE, ListOps

MODELS = {"pooling": "PoNet", "attention": "Transformer"}
"""Mixer -> the name that people know the model by."""
SEGMENT_LENGTH = 16
"""Tokens of a segment: runs of fixed length, as the published Arena set-up has them."""


def build(mixer: str, positions: int, seed: int) -> PoNetForSequenceClassification:
    """An untrained encoder of 2 layers, d 64, for documents of up to `positions` tokens."""
    config = PoNetConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=positions,
        type_vocab_size=0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-5,
        embedding_norm=False,
        norm_position="pre",
        clsgsepg=False,
        mixer_types=mixer,
        classifier_pooling="mean",
        classifier_hidden_size=128,
        num_labels=CLASSES,  # type: ignore[call-arg] # one of the keywords that every configuration takes
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PoNetForSequenceClassification(config)


def batch(data: ListOps, indices: NDArray[np.int64]) -> dict[str, Tensor]:
    """Some expressions as one packed batch, with their `labels` `[B]`."""
    documents = [data[int(i)].astype(np.int64) for i in indices]
    return pack(documents) | {"labels": torch.from_numpy(data.labels[indices].astype(np.int64))}


def pack(documents: list[NDArray[np.int64]]) -> dict[str, Tensor]:
    """Documents of token ids `[n]`, end to end: `input_ids` and `segment_ids` `[1, T]`, `cu_seqlens` `[B + 1]`."""
    lengths = [len(document) for document in documents]
    segments = [np.arange(length) // SEGMENT_LENGTH for length in lengths]
    return {
        "input_ids": torch.from_numpy(np.concatenate(documents))[None],
        "segment_ids": torch.from_numpy(np.concatenate(segments))[None],
        "cu_seqlens": torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32),
    }
