"""The task `lra-masked`: self-pre-training, masked tokens of a Long Range Arena task's own training inputs.

After "Never Train from Scratch" (arXiv 2310.02980): no labels and no other data; the classifier of the task `lra` then
begins with this encoder (`model.init`).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ponet.config.lra import LraMaskedOptions
from ponet.tasks.base import Evaluation, Example, Prepared
from ponet.tasks.lra.batches import SequenceCollator, segment_rule
from ponet.tasks.lra.data import open_data
from ponet.tasks.lra.spec import LraTask, get_lra_task
from ponet.tasks.lra.task import begin_as_published, check_fields, make_split, open_split
from ponet.utils.errors import PoNetError

if TYPE_CHECKING:
    from torch import Tensor

    from ponet.config.recipe import Recipe
    from ponet.tasks.text.predict import Predictor

VALIDATION_SEED = 0
"""Draws the masks of evaluations, whatever the run's seed."""
MASKED, REPLACED = 0.8, 0.9
"""Of the chosen tokens, the shares up to which one becomes the mask, and another token; the rest stay."""


class MaskedArenaTask:
    """Masked tokens of ListOps, Text or Retrieval."""

    def prepare(self, recipe: "Recipe") -> Prepared:
        """As `ponet.tasks.base.Task.prepare`."""
        from transformers import set_seed

        from ponet.models.modeling_ponet import PoNetForPreTraining
        from ponet.tasks.models import new_model
        from ponet.tasks.pretraining.objective import PretrainingObjective

        options: LraMaskedOptions = recipe.data
        task = _task(options)
        set_seed(recipe.seed)  # the weights of a run depend on its seed alone, not on what was drawn before
        model = new_model(PoNetForPreTraining, {**check_fields(recipe.model, task), "vocab_size": task.vocab_size})
        begin_as_published(model.ponet)  # not the decoder, whose weights are the word embeddings
        data = open_data(task.name, options)
        return Prepared(
            model=model,
            processing_class=None,
            train=make_split(data.splits["train"], task),
            validation=make_split(data.splits["validation"], task),
            test=None,
            collate=_collator(task, options, model.config.max_position_embeddings),
            compute_metrics=None,
            best_metric="loss",
            greater_is_better=False,
            notices=data.notices,
            facts=data.facts,
            objective=PretrainingObjective(model.config, second=None),
        )

    def evaluation(
        self, run: Path, recipe: "Recipe", data: str | None, split: str, fresh_seed: int | None
    ) -> Evaluation:
        """As `ponet.tasks.base.Task.evaluation`, on the recipe's own data."""
        from ponet.models.configuration_ponet import PoNetConfig
        from ponet.tasks.pretraining.objective import PretrainingObjective

        options: LraMaskedOptions = recipe.data
        task, config = _task(options), PoNetConfig.from_pretrained(run)
        if data is not None or fresh_seed is not None:
            raise PoNetError("Masked tokens are measured on the task's own data: leave --data and a fresh seed out.")
        found, notices = open_split(task, options, split)
        collate = _collator(task, options, config.max_position_embeddings)
        return Evaluation(found, collate, None, notices, PretrainingObjective(config, second=None))

    def predictor(self, run: Path, recipe: "Recipe", **options: Any) -> "Predictor":
        """There are no labels yet."""
        raise PoNetError(
            f"This model has no labels yet: `ponet train lra/{recipe.data.dataset}/MIXER model.init={run}`."
        )


@dataclass(frozen=True)
class MaskingCollator:
    """Batches as the classifier reads them, with some tokens masked.

    Gives `input_ids` and `segment_ids` `[1, T]`, `cu_seqlens` `[D + 1]`, `prediction_positions` and `labels` `[M]`
    int64, and `sentence_labels` `[D]`, zeros that count for nothing.
    """

    documents: SequenceCollator
    mask_id: int
    rate: float

    def __call__(self, examples: Sequence[Example]) -> "dict[str, Tensor]":
        import torch

        batch = self.documents(examples)
        del batch["labels"]
        ids = batch["input_ids"][0].numpy()
        # In training from torch's generator, whose state is part of every checkpoint; else from what the batch holds.
        training = torch.is_grad_enabled()
        seed = int(torch.randint(2**62, ())) if training else zlib.crc32(ids.tobytes())
        generator = np.random.default_rng([VALIDATION_SEED, seed])
        count = max(1, round(self.rate * len(ids)))
        places = np.sort(generator.choice(len(ids), count, replace=False))
        kind, other = generator.random(count), generator.choice(ids, count)
        masked = ids.copy()
        masked[places] = np.where(kind < MASKED, self.mask_id, np.where(kind < REPLACED, other, ids[places]))
        return batch | {
            "input_ids": torch.from_numpy(masked)[None],
            "prediction_positions": torch.from_numpy(places),
            "labels": torch.from_numpy(ids[places]),
            "sentence_labels": torch.zeros(len(batch["cu_seqlens"]) - 1, dtype=torch.int64),
        }


def _task(options: LraMaskedOptions) -> LraTask:
    task = get_lra_task(options.dataset)
    if task.images:
        raise PoNetError(
            f"'{task.name}' uses every id of its {task.vocab_size} for a pixel, so that none is left for the mask: "
            "masked tokens are there for listops, text and retrieval."
        )
    return task


def _collator(task: LraTask, options: LraMaskedOptions, padded_length: int) -> MaskingCollator:
    return MaskingCollator(
        SequenceCollator(segment_rule(task, options, padded_length)), task.vocab_size - 1, options.mask_rate
    )
