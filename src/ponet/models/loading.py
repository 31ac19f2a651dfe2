"""Checks that a model got its weights from the checkpoint: without them, its results would be random numbers."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

BODY = ("embeddings.", "encoder.")
MIXER = ".attention.self."
"""In the name of every weight of a mixer."""
NAMED = 3
"""Weights that a message names before it counts the rest."""


class WeightsError(RuntimeError):
    """A checkpoint that lacks weights of the model, has them in other shapes, or has some that aren't numbers."""


def check_weights(
    place: str,
    model: Any,
    info: dict[str, Any],
    new_head: bool = False,
    changed: bool = False,
    reported: bool = False,
) -> None:
    """Raises an error where a model's weights aren't those of its checkpoint.

    A checkpoint of this class must have all of them; one of another class those of the encoder, so that a new head can
    be trained. A checkpoint of another family (BERT) may lack mixers too, which are then new.

    Args:
        place: the checkpoint, for the message.
        info: `from_pretrained`'s loading info.
        new_head: whether a head may be new even where the checkpoint is of this class.
        changed: whether the caller changed the configuration: mixers may then be new, and weights left over.
        reported: whether the caller gets the loading info, and so sees the weights that are missing or left over.

    Raises:
        WeightsError: naming the first few weights, and how many there are.
    """
    saved = [str(name) for name in model.config.architectures or ()]
    ours = any(name.startswith("PoNet") for name in saved)
    complete = type(model).__name__ in saved and not new_head
    wrong = [
        f"{name} {list(theirs)} instead of {list(mine)}"
        for name, theirs, mine in sorted(info["mismatched_keys"])
        if not new_head or in_body(name, model)
    ]
    if wrong:
        raise WeightsError(f"'{place}' has {_count(wrong)} of other shapes than its configuration's: {_some(wrong)}.")
    missing = [name for name in info["missing_keys"] if _needed(name, model, complete, ours and not changed)]
    if reported:
        return
    refuse_missing(place, model, missing)
    left = [name for name in sorted(info["unexpected_keys"]) if in_body(name, model)] if ours and not changed else []
    if left:
        raise WeightsError(f"'{place}' has {_count(left)} that its configuration has no place for: {_some(left)}.")


def refuse_missing(place: str, model: nn.Module, missing: Iterable[str]) -> None:
    """Raises WeightsError where any weights of a model are missing."""
    names = sorted(missing)
    if names:
        raise WeightsError(
            f"'{place}' lacks {len(names):,} of the {len(model.state_dict()):,} weights that its configuration "
            f"describes: {_some(names)}."
        )


def check_finite(place: str, model: nn.Module) -> None:
    """Raises WeightsError where weights aren't finite numbers."""
    broken = [name for name, value in model.state_dict().items() if not _finite(value)]
    if broken:
        raise WeightsError(f"'{place}' has {_count(broken)} with NaN or infinity among the numbers: {_some(broken)}.")


def in_body(name: str, model: Any) -> bool:
    """Whether a weight is the encoder's, and not a head's or the pooler's."""
    return name.removeprefix(f"{model.base_model_prefix}.").startswith(BODY)


def _needed(name: str, model: Any, complete: bool, mixers: bool) -> bool:
    if in_body(name, model):
        return mixers or MIXER not in name
    return complete and model.base_model is not model  # a body may be saved without its pooler


def _finite(value: Any) -> bool:
    plain = type(value) in (Tensor, nn.Parameter) and not value.is_meta and value.is_floating_point()
    return not plain or bool(torch.isfinite(value).all())


def _count(names: list[Any]) -> str:
    return f"{len(names):,} weight{'' if len(names) == 1 else 's'}"


def _some(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
