"""Any texts -> a probability for each of their sentences, with a trained model, in bounded memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ponet.config.recipe import Recipe, load_recipe
from ponet.inference.documents import token_batches
from ponet.models.checkpoints import CHECKPOINTS
from ponet.tasks.models import checkpoint_folder, device
from ponet.tasks.sentences.encode import INPUTS, EncodedText, SentenceCollator, SentenceEncoder, Span, split_sentences
from ponet.tasks.sentences.modelling import FILE, is_adapter, open_adapter, open_run
from ponet.utils.batching import bounded
from ponet.utils.errors import PoNetError
from ponet.utils.files import read_json
from ponet.utils.precision import resolve_precision, torch_dtype

BUNDLED = CHECKPOINTS
"""The folder with the model that comes with the package for each task, in a folder of the task's name."""
BATCH_TOKENS = 16_384
BLOCK_TEXTS, BLOCK_CHARACTERS = 64, 4_000_000
"""Texts that are tokenized at a time, at most."""


@dataclass(frozen=True)
class ScoredText:
    """A text's sentences."""

    text: str
    spans: list[Span]
    counts: np.ndarray
    """`[k]`: tokens of each."""
    probabilities: np.ndarray
    """`[k]` float32."""


class SentenceScorer:
    """Scores the sentences of texts of any length, each text in one pass.

    Positions beyond the model's restart from the first. A run that was trained with `data.window` reads in windows.
    Raises PoNetError: no such model, one for another task, or a damaged one; or a `dtype` that this machine doesn't
    compute in.

    Args:
        task: "segmentation" or "summarization".
        model: a run folder, a folder with such a model, or an adapter's; None: the one that comes with the package.
        batch_tokens: tokens in a batch, at most; a longer text is alone.
        longest: tokens of a sentence, at most; a longer one is cut.
        dtype: of weights and activations: float32, bf16, fp16, or auto, the fastest here
            (`utils.precision.resolve_precision`). Probabilities are float32 in any case.

    Attributes:
        folder: of the model.
        threshold: the model's, from which on a sentence is chosen.
    """

    def __init__(
        self,
        task: str,
        model: str | Path | None = None,
        batch_tokens: int = BATCH_TOKENS,
        longest: int | None = None,
        dtype: str = "float32",
    ) -> None:
        precision = resolve_precision(dtype, "dtype")
        self.folder = folder = _folder(task, model)
        self.model, self.tokenizer = open_adapter(folder, task) if is_adapter(folder) else open_run(folder)
        self.model.merge_adapter()
        torch.nn.Module.to(self.model, device(), torch_dtype(precision))
        options = _options(folder, task)
        self.collate = SentenceCollator(options.get("window"), options.get("overlap", 0.25))
        self.encoder = SentenceEncoder(self.tokenizer, longest)
        self.batch_tokens = batch_tokens
        self.threshold = float(self.model.config.sentence_threshold)

    def stream(self, texts: Iterable[str]) -> Iterator[ScoredText]:
        """The texts with their sentences scored, in order."""
        return self.stream_split((text, split_sentences(text)) for text in texts)

    def stream_split(self, documents: Iterable[tuple[str, list[Span]]]) -> Iterator[ScoredText]:
        """As `stream`, for texts whose sentences are given."""
        for block in bounded(documents, lambda document: len(document[0]), BLOCK_TEXTS, BLOCK_CHARACTERS):
            encoded = self.encoder([text for text, _ in block], [spans for _, spans in block])
            scores = self._scores(encoded)
            for (text, _), one, probabilities in zip(block, encoded, scores, strict=True):
                yield ScoredText(text, one.spans, one.counts, probabilities)

    def _scores(self, encoded: list[EncodedText]) -> list[np.ndarray]:
        """`[k]` for each text; texts of similar length share a batch."""
        scores: list[np.ndarray] = [np.zeros(0, dtype=np.float32)] * len(encoded)
        filled = [index for index, each in enumerate(encoded) if each.spans]
        for batch in token_batches([len(encoded[index].input_ids) for index in filled], self.batch_tokens):
            indices = [filled[place] for place in batch]
            for index, found in zip(indices, self._batch([encoded[index] for index in indices]), strict=True):
                scores[index] = found
        return scores

    def _batch(self, texts: list[EncodedText]) -> list[np.ndarray]:
        batch = self.collate([{"input_ids": each.input_ids, "sentence_ids": each.sentence_ids} for each in texts])
        with torch.inference_mode():
            output: Any = self.model(**{name: batch[name].to(self.model.device) for name in INPUTS})
        logits = output.logits.float().cpu()
        if not bool(logits.isfinite().all()):
            raise PoNetError("The model answers with NaN or infinity instead of numbers: train it again.")
        owned = logits[batch["owned"]].sigmoid().numpy()
        return np.split(owned, batch["cu_sentences"][1:-1].numpy())


def _folder(task: str, model: str | Path | None) -> Path:
    if model is not None:
        return checkpoint_folder(str(model)) if not is_adapter(Path(model)) else Path(model)
    folder = BUNDLED / task
    if not folder.is_dir():
        raise PoNetError(
            f"No model for {task} comes with this installation of ponet: name a run with --model (model= in Python); "
            f"`ponet train {task}/wikipedia/pooling` makes one."
        )
    return folder


def _options(folder: Path, task: str) -> dict[str, Any]:
    """What the recipe of a run says of reading; nothing for a folder without one. Raises PoNetError: a run of another
    task."""
    if is_adapter(folder):
        return read_json(folder / FILE)
    if not (folder / "recipe.yaml").is_file():
        return {}
    recipe: Recipe = load_recipe(folder / "recipe.yaml")
    if recipe.task != task:
        raise PoNetError(
            f"'{folder}' is a run of the task '{recipe.task}', not of '{task}': name another with --model."
        )
    return {"window": recipe.data.window, "overlap": recipe.data.overlap}
