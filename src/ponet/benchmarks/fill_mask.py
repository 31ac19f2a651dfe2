"""`ponet benchmark fill-mask`: everyday sentences with one masked word that people are sure of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ponet.benchmarks.common import Advance, Record
from ponet.models.modeling_ponet import PoNetForPreTraining
from ponet.tasks.models import checkpoint_folder, finished_model, open_tokenizer

SENTENCES = {
    "The capital of France is [MASK].": "paris",
    "The capital of Italy is [MASK].": "rome",
    "London is the capital of [MASK].": "england",
    "The opposite of hot is [MASK].": "cold",
    "The opposite of up is [MASK].": "down",
    "She opened the door with a [MASK].": "key",
    "The sun rises in the [MASK].": "east",
    "He was born in [MASK] York.": "new",
    "There are seven days in a [MASK].": "week",
    "There are twelve months in a [MASK].": "year",
    "The United [MASK] of America.": "states",
    "The president of the United States lives in the White [MASK].": "house",
    "The King and the [MASK] lived in a castle.": "queen",
    "My mother and my [MASK] are my parents.": "father",
    "The baby was born in the [MASK] and went home after two days.": "hospital",
    "He fought in the Second World [MASK].": "war",
    "The dog and the [MASK] chased a mouse.": "cat",
    "Once [MASK] a time there was a little girl.": "upon",
    "He read a [MASK] in the library.": "book",
    "She plays the [MASK] in an orchestra.": "violin",
    "The Earth moves around the [MASK].": "sun",
    "Ships sail across the [MASK].": "sea",
    "In winter it is [MASK].": "cold",
    "Please close the [MASK] when you leave the room.": "door",
    "The teacher works at a [MASK].": "school",
    "The band released its first [MASK] in 1995.": "album",
    "The film was directed [MASK] Steven Spielberg.": "by",
    "He drinks a cup of [MASK] every morning.": "coffee",
    "They got [MASK] in a church and had two children.": "married",
    "The football team won the [MASK] by two goals.": "game",
}
"""A sentence, and the word that is masked in it: each is one piece in BERT's English vocabulary."""
RANKS = (1, 5, 10)


@dataclass(frozen=True)
class FillMaskPlan:
    """Which models are asked."""

    models: tuple[str, ...]
    """Checkpoints with a head for masked words: folders, bundled ones, hub names."""
    seed: int = 0


def measure_fill_mask(plan: FillMaskPlan, path: Path, advance: Advance) -> dict[str, Any]:
    """Asks each model for each word, and writes the result file after each model.

    Raises:
        PoNetError: no such checkpoint, one without such a head, or a word that its vocabulary splits.
    """
    setup = {"device": "cpu", "dtype": "float32", "sentences": len(SENTENCES)}
    with Record(path, plan.seed, {"setup": setup, "rows": []}).keeping() as record:
        for model in plan.models:
            ranks = word_ranks(model)
            row = {f"top_{k}": sum(rank <= k for rank in ranks.values()) / len(ranks) for k in RANKS}
            record.values["rows"].append({"model": Path(model).name, "ranks": ranks} | row)
            record.save()
            advance(Path(model).name)
    return record.content


def masked_scores(model: str) -> tuple[Any, Callable[[str], Tensor]]:
    """A checkpoint's tokenizer, and what gives each entry of its vocabulary a score `[V]` at a sentence's [MASK].

    Raises:
        PoNetError: no such checkpoint, or one without a head for masked words.
    """
    tokenizer, encoder = open_tokenizer(model), finished_model(PoNetForPreTraining, checkpoint_folder(model))

    def scores(sentence: str) -> Tensor:
        inputs = tokenizer(sentence, return_tensors="pt")
        place = int((inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero())
        with torch.inference_mode():
            found: Tensor = encoder(**inputs).prediction_logits[0, place]
        return found

    return tokenizer, scores


def word_ranks(model: str) -> dict[str, int]:
    """The place, from 1, of each sentence's word in the model's order of its vocabulary; a word of several pieces comes
    last. Raises as `masked_scores`."""
    tokenizer, scores_of = masked_scores(model)
    ranks = {}
    for sentence, word in SENTENCES.items():
        scores, ids = scores_of(sentence), tokenizer(word, add_special_tokens=False)["input_ids"]
        ranks[sentence] = 1 + int((scores > scores[ids[0]]).sum()) if len(ids) == 1 else len(scores)
    return ranks
